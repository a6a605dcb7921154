"""The options that several commands share, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

from circuit_guard.cli.rpc import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S
from circuit_guard.core.types import GLOBAL_SCOPE

SETTINGS_VARIABLE = "CIRCUIT_GUARD_SETTINGS"
ADDRESS_VARIABLE = "CIRCUIT_GUARD_ADDRESS"
ACTOR_VARIABLE = "CIRCUIT_GUARD_ACTOR"
OWN_VARIABLES = frozenset({SETTINGS_VARIABLE, ADDRESS_VARIABLE, ACTOR_VARIABLE})
"""The environment variables that belong to the command line, and are no settings."""

Address = Annotated[
    str, typer.Option("--address", envvar=ADDRESS_VARIABLE, help="Where the guard listens: host:port or unix:path.")
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, max=600.0, help="Seconds to wait for an answer.", metavar="SECONDS")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")]
Actor = Annotated[
    str, typer.Option("--actor", envvar=ACTOR_VARIABLE, help="Who does it: a person's name, for the audit.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why it is done, for the audit.")]
Markets = Annotated[list[str] | None, typer.Argument(metavar="MARKETS", help="Markets, for instance BTC-USD-PERP.")]
All = Annotated[bool, typer.Option("--all", help="Everything, by one act over the scope GLOBAL.")]

ADDRESS = DEFAULT_ADDRESS
TIMEOUT_S = DEFAULT_TIMEOUT_S


def scopes_of(markets: list[str] | None, everything: bool) -> list[str]:
    """Return the scopes that markets and --all name. Raise typer.BadParameter for none, and for both."""
    if everything and markets:
        raise typer.BadParameter(f"give markets or --all, not both: markets were {', '.join(markets)}")
    if not everything and not markets:
        raise typer.BadParameter("name at least one market, or give --all for everything")
    return [GLOBAL_SCOPE] if everything else list(markets or ())
