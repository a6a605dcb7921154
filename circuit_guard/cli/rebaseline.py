"""`rebaseline`: say which funding indices are the truth, because the exchange moved them legitimately."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from circuit_guard.cli import event_lines, options, words
from circuit_guard.cli.explain import AUDIT
from circuit_guard.cli.output import as_json, display, print_json
from circuit_guard.cli.proposals import end_if_proposed
from circuit_guard.cli.rpc import Guard
from circuit_guard.v1 import maintenance_pb2, status_pb2

Values = Annotated[
    list[str] | None,
    typer.Argument(metavar="MARKET=INDEX...", help="The true funding indices; with --checkpoint, markets alone."),
]
CheckpointId = Annotated[
    int | None,
    typer.Option(
        "--checkpoint", min=1, metavar="ID", help="Take them from this checkpoint: the exchange is back there."
    ),
]
All = Annotated[bool, typer.Option("--all", help="With --checkpoint: every market of the policy.")]
Repaired = Annotated[
    list[str] | None,
    typer.Option(
        "--repaired", metavar="MARKET", help="The exchange has repaired the accounts in this market; may be repeated."
    ),
]


def rebaseline(
    actor: options.Actor,
    reason: options.Reason,
    values: Values = None,
    checkpoint: CheckpointId = None,
    everything: All = False,
    repaired: Repaired = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Say which funding indices are the truth from now on, whatever was trusted before.

    Breakers and halts stay as they are. After a rollback name the checkpoint: accounts that were settled with what was
    published since are then denied until the exchange has repaired them.

    Exit code 1: it was only proposed, or nothing could be changed.
    """
    request = maintenance_pb2.RebaselineRequest(actor=actor, reason=reason, repaired=repaired or ())
    if checkpoint is None:
        if everything:
            raise typer.BadParameter("--all was given without --checkpoint, expected MARKET=INDEX for each market")
        if not values and not repaired:
            raise typer.BadParameter("name at least one MARKET=INDEX, or give --checkpoint, or --repaired")
        request.baselines.extend(map(_baseline, values or ()))
    else:
        request.checkpoint_id = checkpoint
        request.scopes.extend(options.scopes_of(values, everything))
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.RebaselineResponse = guard.call(guard.maintenance.Rebaseline, request)
        if json:
            print_json(as_json(response))
        else:
            for event in response.events:
                display(event_lines.line(event))
        end_if_proposed(response, "rebaseline with the same values", json=json)
        if not json:
            for line in _still_latched(guard.status(), response):
                display(line)


def _baseline(text: str) -> maintenance_pb2.Baseline:
    market, equals, index = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"the value was {text}, expected MARKET=INDEX, for instance BTC-USD-PERP=20511.93")
    return maintenance_pb2.Baseline(market=market, funding_index=index)


def _still_latched(status: status_pb2.GuardStatus, response: maintenance_pb2.RebaselineResponse) -> list[Text]:
    """Return a sentence where a breaker still denies: the values are right again, and nobody has said so of it."""
    moved = {event.rebaselined.market for event in response.events if event.HasField("rebaselined")}
    latched = [market.market for market in status.markets if market.market in moved and market.breaker.latched]
    if not latched:
        return []
    count = words.markets(len(latched))
    return [
        Text(f"{count} still latched, a reset is needed: circuit-guard reset {' '.join(latched)} {AUDIT}", "bold red")
    ]
