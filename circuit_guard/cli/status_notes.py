"""What holds for the whole guard and is not as usual, one line each: the top of `status` and of `watch`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from circuit_guard.cli import words
from circuit_guard.v1 import status_pb2

NOT_READY_SHOWN_MAX = 3


def notes(status: status_pb2.GuardStatus) -> list[Text]:
    """Return the lines; none where all is as usual."""
    found = [*_maintenance(status), *_proposals(status), *_readiness(status)]
    if status.shadow:
        found.append("SHADOW: whatever is denied below goes through, except for operators' halts")
    return [Text(note, style="yellow") for note in found]


def _maintenance(status: status_pb2.GuardStatus) -> Iterator[str]:
    if not status.HasField("maintenance"):
        return
    running = status.maintenance
    when = f"since {words.time(running.since)}, for {words.between(running.since, status.at)}"
    yield f"MAINTENANCE {when}, by {running.actor}: {running.reason}; checkpoint {running.checkpoint_name}"
    if running.HasField("validated_at"):
        clean, others = words.markets(running.clean_count), running.not_clean_count
        yield f"MAINTENANCE state validated at {words.time(running.validated_at)}: {clean} clean, {others} not"
    else:
        yield "MAINTENANCE nothing is validated yet: circuit-guard maintenance validate DUMP --actor NAME"


def _proposals(status: status_pb2.GuardStatus) -> Iterator[str]:
    for asked in status.proposals:
        what = f"{asked.act} of {words.scopes(asked.scopes)}, proposed by {asked.actor}: {asked.reason}"
        yield f"NOT IN EFFECT: {what}; somebody else has to ask for the same before {words.time(asked.expires_at)}"


def _readiness(status: status_pb2.GuardStatus) -> Iterator[str]:
    reasons = status.not_ready_reasons
    for reason in reasons[:NOT_READY_SHOWN_MAX]:
        yield f"not ready: {reason}"
    if len(reasons) > NOT_READY_SHOWN_MAX:
        yield f"not ready: and {len(reasons) - NOT_READY_SHOWN_MAX} more reasons like these"
