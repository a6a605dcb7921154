"""`maintenance`: restart the exchange under the eyes of the guard. Each act names who does it and why."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from circuit_guard.cli import options, state_dump, words
from circuit_guard.cli.explain import AUDIT
from circuit_guard.cli.output import ExitCode, as_json, display, print_json
from circuit_guard.cli.rpc import Guard
from circuit_guard.core.acts import StateRow
from circuit_guard.core.types import SECOND_NS
from circuit_guard.v1 import maintenance_pb2, types_pb2

app = typer.Typer(
    help="Restart the exchange: begin, validate its state before it publishes, end.", no_args_is_help=True
)

Unvalidated = Annotated[
    bool, typer.Option("--unvalidated", help="Although nothing was validated: every market then latches.")
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

    Exit code 1: a maintenance runs already, or the guard keeps no journal; nothing was changed.
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
    """Hold a dump of the restarted exchange's state against what was last trusted, before it is published.

    Exit code 0: every market is clean. 1: one is not, or no maintenance has begun: publish nothing. 2: the dump cannot
    be used. 3: no answer.
    """
    rows = [_row(row) for row in state_dump.read(dump)]
    request = maintenance_pb2.ValidateStateRequest(actor=actor, rows=rows)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.ValidateStateResponse = guard.call(guard.maintenance.ValidateState, request)
    if json:
        print_json(as_json(response))
    else:
        for line in _found(response):
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
    """Let the markets that were clean into POST_ONLY, and latch the others.

    Exit code 1: no maintenance has begun, or nothing was validated; nothing was changed.
    """
    request = maintenance_pb2.EndMaintenanceRequest(actor=actor, reason=reason, unvalidated=unvalidated)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.EndMaintenanceResponse = guard.call(guard.maintenance.EndMaintenance, request)
    if json:
        print_json(as_json(response))
        return
    display(Text(f"maintenance ended by {actor}", style="bold"))
    if response.clean:
        count = words.markets(len(response.clean))
        display(Text(f"{count} in POST_ONLY, to open on evidence: {', '.join(response.clean)}", style="green"))
    if response.latched:
        display(
            Text(f"{words.markets(len(response.latched))} latched: {', '.join(response.latched)}", style="bold red")
        )
        display(f"once the cause is gone: circuit-guard reset {' '.join(response.latched)} {AUDIT}")


def _row(row: StateRow) -> maintenance_pb2.StateRow:
    second, nanos = divmod(row.event_time_ns, SECOND_NS)
    return maintenance_pb2.StateRow(
        market=row.market,
        event_time=Timestamp(seconds=second, nanos=nanos),
        mark_price=_text(row.mark_price),
        index_price=_text(row.index_price),
        funding_index=_text(row.funding_index),
    )


def _text(value: Decimal | None) -> str:
    return "" if value is None else str(value)


def _found(response: maintenance_pb2.ValidateStateResponse) -> list[Text]:
    """Return a line for each market that is not clean, then how many there are of each kind."""
    not_clean = [one for one in response.outcomes if one.outcome != types_pb2.OUTCOME_OK]
    lines = [Text(words.outcome(one), style="red") for one in not_clean]
    clean = words.markets(len(response.outcomes) - len(not_clean))
    if not not_clean:
        return [Text(f"{clean} clean: end the maintenance, then publish", style="bold green")]
    kinds = Counter(words.outcome_name(one.outcome) for one in not_clean)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines.append(Text(f"{words.markets(len(not_clean))} not clean ({counts}): publish nothing", style="bold red"))
    return [*lines, Text(f"{clean} clean")]
