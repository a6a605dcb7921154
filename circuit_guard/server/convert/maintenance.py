"""Requests of a maintenance as core inputs. Every function raises WireError for the first field that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core.inputs import StateRow, ValidateState
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.server.convert import fields, requests
from circuit_guard.v1 import maintenance_pb2

ROWS_MAX = 5_000
"""Markets in one dump: request and answer then stay below the 4 MiB that gRPC takes by default."""


@dataclass(frozen=True, slots=True)
class Rebaseline:
    """What a request for a rebaseline says. A `checkpoint_id` has scopes and no funding indices."""

    actor: str
    reason: str
    funding_indices: dict[str, Decimal]
    checkpoint_id: int | None
    scopes: tuple[str, ...]
    repaired: tuple[str, ...]


def validation(request: maintenance_pb2.ValidateStateRequest, at_ns: int) -> ValidateState:
    """Return the command to validate a dump; its values may be NaN, infinite or absurd: they are judged."""
    actor = fields.text(request.actor, "", "actor")
    requests.batch(request.rows, "rows", ROWS_MAX)
    rows = tuple(_row(row, f"rows[{number}]") for number, row in enumerate(request.rows))
    requests.once((row.market for row in rows), "", "rows", "market")
    return ValidateState(at_ns, rows, actor)


def _row(message: maintenance_pb2.StateRow, path: str) -> StateRow:
    return StateRow(
        market=fields.text(message.market, path, "market"),
        event_time_ns=fields.time_ns(
            message.event_time if message.HasField("event_time") else None, path, "event_time"
        ),
        mark_price=fields.decimal(message.mark_price, path, "mark_price"),
        index_price=fields.decimal(message.index_price, path, "index_price"),
        funding_index=fields.decimal(message.funding_index, path, "funding_index"),
    )


def rebaseline(request: maintenance_pb2.RebaselineRequest, scopes_max: int) -> Rebaseline:
    """Return what a request for a rebaseline says: baselines, or a checkpoint, or repaired markets alone."""
    actor, reason = requests.operator(request.actor, request.reason)
    checkpoint_id = request.checkpoint_id if request.HasField("checkpoint_id") else None
    if checkpoint_id is not None and request.baselines:
        raise fields.error("", "baselines", _items(len(request.baselines)), "none beside a checkpoint_id")
    if checkpoint_id is None and request.scopes:
        expected = "none without a checkpoint_id: they are what to take from it"
        raise fields.error("", "scopes", ", ".join(request.scopes), expected)
    if checkpoint_id is None and not request.baselines and not request.repaired:
        expected = "at least one, or a checkpoint_id, or repaired markets"
        raise fields.error("", "baselines", _items(0), expected)
    return Rebaseline(
        actor,
        reason,
        _funding_indices(request, scopes_max),
        None if checkpoint_id is None else fields.count(checkpoint_id, "", "checkpoint_id"),
        () if checkpoint_id is None else _scopes(request, scopes_max),
        _repaired(request, scopes_max),
    )


def _funding_indices(request: maintenance_pb2.RebaselineRequest, items_max: int) -> dict[str, Decimal]:
    if request.baselines:
        requests.batch(request.baselines, "baselines", items_max)
    requests.once((baseline.market for baseline in request.baselines), "", "baselines", "market")
    return {
        fields.text(baseline.market, path, "market"): fields.required(baseline.funding_index, path, "funding_index")
        for path, baseline in ((f"baselines[{number}]", item) for number, item in enumerate(request.baselines))
    }


def _scopes(request: maintenance_pb2.RebaselineRequest, scopes_max: int) -> tuple[str, ...]:
    scopes = tuple(requests.scopes(request.scopes, scopes_max))
    if GLOBAL_SCOPE in scopes and len(scopes) > 1:
        raise fields.error("", "scopes", ", ".join(scopes), f"{GLOBAL_SCOPE} alone, or markets")
    return scopes


def _repaired(request: maintenance_pb2.RebaselineRequest, items_max: int) -> tuple[str, ...]:
    if request.repaired:
        requests.batch(request.repaired, "repaired", items_max)
    requests.once(request.repaired, "", "repaired", "")
    return tuple(fields.text(market, "", f"repaired[{number}]") for number, market in enumerate(request.repaired))


def _items(count: int) -> str:
    return f"{count} items"
