"""`maintenance`: restart the exchange under the eyes of the guard. Each act names who does it and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from circuit_guard.cli import options, state_dump, wire
from circuit_guard.cli.output import ExitCode, as_json, display, print_json
from circuit_guard.cli.rpc import Guard
from circuit_guard.core import sentences
from circuit_guard.core.explain import AUDIT
from circuit_guard.core.formatting import markets
from circuit_guard.core.types import MarketOutcome, Outcome
from circuit_guard.server.convert import received
from circuit_guard.v1 import maintenance_pb2

app = typer.Typer(
    help="Restart the exchange: begin, validate its state before it publishes, end.", no_args_is_help=True
)

Unvalidated = Annotated[
    bool, typer.Option("--unvalidated", help="End it even if nothing was validated: every market then latches.")
]


@app.command("begin")
def begin(
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Deny every closure, and keep a checkpoint of what is trusted now.

    Exit code 1: nothing was changed. Either a maintenance runs already, or the guard keeps no journal.
    """
    request = maintenance_pb2.BeginMaintenanceRequest(actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.BeginMaintenanceResponse = guard.call(guard.maintenance.BeginMaintenance, request)
    if json:
        print_json(as_json(response))
        return
    display(Text(f"maintenance begun by {actor}: closures are denied in every market", style="bold yellow"))
    display(f"checkpoint {response.checkpoint_id}, {response.checkpoint_name}, SHA-256 {response.checkpoint_digest}")
    display("next: restart the exchange, then circuit-guard maintenance validate DUMP --actor NAME")


@app.command("validate")
def validate(
    dump: Annotated[Path, typer.Argument(metavar="DUMP", help="A .json or .csv file; `-` is JSON on standard input.")],
    actor: options.Actor,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Compare a dump of the restarted exchange's state with what was last trusted, before it is published.

    Exit code 0: every market is clean. 1: a market is not clean, or no maintenance has begun; publish nothing. 2: the
    dump cannot be used. 3: no answer.
    """
    rows = map(wire.state_row, state_dump.read(dump))
    request = maintenance_pb2.ValidateStateRequest(actor=actor, rows=rows)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.ValidateStateResponse = guard.call(guard.maintenance.ValidateState, request)
    if json:
        print_json(as_json(response))
    else:
        for line in _found([received.outcome(one) for one in response.outcomes]):
            display(line)
    raise typer.Exit(ExitCode.OK if response.clean else ExitCode.DENIED)


@app.command("end")
def end(
    actor: options.Actor,
    reason: options.Reason,
    unvalidated: Unvalidated = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Put the clean markets into POST_ONLY, and latch the others.

    Exit code 1: nothing was changed. Either no maintenance has begun, or nothing was validated.
    """
    request = maintenance_pb2.EndMaintenanceRequest(actor=actor, reason=reason, unvalidated=unvalidated)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.EndMaintenanceResponse = guard.call(guard.maintenance.EndMaintenance, request)
    if json:
        print_json(as_json(response))
        return
    display(Text(f"maintenance ended by {actor}", style="bold"))
    if response.clean:
        count = f"{markets(len(response.clean))} in POST_ONLY, opening once data are good"
        display(Text(f"{count}: {', '.join(response.clean)}", style="green"))
    if response.latched:
        display(Text(f"{markets(len(response.latched))} latched: {', '.join(response.latched)}", style="bold red"))
        display(f"once the cause is gone: circuit-guard reset {' '.join(response.latched)} {AUDIT}")


def _found(outcomes: list[MarketOutcome]) -> list[Text]:
    """Return a line for each market that is not clean, then how many there are of each kind."""
    not_clean = [one for one in outcomes if one.outcome is not Outcome.OK]
    clean = markets(len(outcomes) - len(not_clean))
    if not not_clean:
        return [Text(f"{clean} clean: end the maintenance, then publish", style="bold green")]
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(one.outcome for one in not_clean).most_common())
    return [
        *(Text(sentences.outcome_line(one), style="red") for one in not_clean),
        Text(f"{markets(len(not_clean))} not clean ({counts}): publish nothing", style="bold red"),
        Text(f"{clean} clean"),
    ]
