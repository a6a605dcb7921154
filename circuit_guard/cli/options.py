"""The options that several commands share, each written once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli.output import CommandError, ExitCode
from circuit_guard.cli.rpc import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Identification
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.connection import Tls
from circuit_guard.core.types import GLOBAL_SCOPE

SETTINGS_VARIABLE = "CIRCUIT_GUARD_SETTINGS"
TOKEN_VARIABLE = "CIRCUIT_GUARD_TOKEN"  # noqa: S105  # the name of a variable
OWN_VARIABLES = frozenset(
    {SETTINGS_VARIABLE, TOKEN_VARIABLE}
    | {f"CIRCUIT_GUARD_{option}" for option in ("ADDRESS", "ACTOR", "CA", "CERT", "KEY", "TOKEN_FILE")}
)
"""The environment variables of the command line itself. They are not settings."""

Address = Annotated[
    str,
    typer.Option("--address", envvar="CIRCUIT_GUARD_ADDRESS", help="Where the guard listens: host:port or unix:path."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, max=600.0, help="Seconds to wait for an answer.", metavar="SECONDS")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")]
Actor = Annotated[
    str, typer.Option("--actor", envvar="CIRCUIT_GUARD_ACTOR", help="Who does this: your name, for the audit.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="CIRCUIT_GUARD_CA", help="TLS: the CA that signed the guard's certificate, PEM."),
]
Cert = Annotated[Path | None, typer.Option("--cert", envvar="CIRCUIT_GUARD_CERT", help="mTLS: your certificate, PEM.")]
Key = Annotated[Path | None, typer.Option("--key", envvar="CIRCUIT_GUARD_KEY", help="mTLS: its key, PEM.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="CIRCUIT_GUARD_TOKEN_FILE",
        help=f"A file with your bearer token. Or set {TOKEN_VARIABLE} to the token.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why you do this, for the audit.")]
Markets = Annotated[list[str] | None, typer.Argument(metavar="MARKETS", help="Markets, for instance BTC-USD-PERP.")]
All = Annotated[bool, typer.Option("--all", help="Everything at once: the scope GLOBAL.")]

ADDRESS = DEFAULT_ADDRESS
TIMEOUT_S = DEFAULT_TIMEOUT_S


def scopes_of(markets: list[str] | None, everything: bool) -> list[str]:
    """Return the scopes that markets and --all name. Raise typer.BadParameter for none, and for both."""
    if everything and markets:
        raise typer.BadParameter(f"give markets or --all, not both: markets were {', '.join(markets)}")
    if not everything and not markets:
        raise typer.BadParameter("name at least one market, or give --all for everything")
    return [GLOBAL_SCOPE] if everything else list(markets or ())


def identification(ca: Path | None, cert: Path | None, key: Path | None, token_file: Path | None) -> Identification:
    """Return who asks. Raise CommandError for files that do not go together or cannot be read."""
    if ca is None and (cert or key):
        raise CommandError("--ca was not given, expected it with --cert and --key", ExitCode.BAD_INPUT)
    try:
        tls = None if ca is None else Tls(ca, cert, key)
    except ArgumentError as error:
        raise CommandError(str(error), ExitCode.BAD_INPUT) from error
    return Identification(tls, _token(token_file))


def _token(file: Path | None) -> str | None:
    """Return the token of the file, or of the environment; never of the command line, which others can read."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"--token-file was {file}, expected a readable file with a token"
        raise CommandError(sentence, ExitCode.BAD_INPUT) from error
