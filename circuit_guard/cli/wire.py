"""Core types as the requests that a publisher, an operator and a liquidation engine send."""

from __future__ import annotations

from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core.inputs import Account, Check, Observation, PhaseCommand, Position, Reference, StateRow
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS
from circuit_guard.recording.format import margin_texts
from circuit_guard.v1 import admin_pb2, liquidation_pb2, maintenance_pb2, market_data_pb2


def observation(observed: Observation) -> market_data_pb2.Observation:
    """Return an observation as its publisher sends it."""
    return market_data_pb2.Observation(
        market=observed.market,
        source=observed.source,
        epoch=observed.epoch,
        feed_sequence=observed.feed_sequence,
        event_time=_time(observed.event_time_ns),
        mark_price=_text(observed.mark_price),
        index_price=_text(observed.index_price),
        funding_index=_text(observed.funding_index),
        funding_rate=_text(observed.funding_rate),
        funding_premium=_text(observed.funding_premium),
    )


def reference(referred: Reference) -> market_data_pb2.Reference:
    """Return an independent price as it is sent."""
    return market_data_pb2.Reference(
        market=referred.market,
        source=referred.source,
        event_time=_time(referred.event_time_ns),
        price=_text(referred.price),
    )


def phase(command: PhaseCommand, actor: str) -> admin_pb2.SetPhaseRequest:
    """Return a change of phase as the exchange's deploy script sends it."""
    return admin_pb2.SetPhaseRequest(
        phase=f"PHASE_{command.phase}",
        scopes=command.markets or (GLOBAL_SCOPE,),
        actor=actor,
        reason=f"the exchange enters {command.phase}",
    )


def check(asked: Check) -> liquidation_pb2.LiquidationCheck:
    """Return a question as a liquidation engine asks it."""
    return liquidation_pb2.LiquidationCheck(
        request_id=asked.request_id,
        account_id=asked.account_id,
        market=asked.market,
        size=_text(asked.size),
        kind=f"CHECK_KIND_{asked.kind}",
        execution_price=_text(asked.execution_price),
        basis=liquidation_pb2.Basis(
            mark_price=_text(asked.basis.mark_price), funding_index=_text(asked.basis.funding_index)
        ),
        account=None if asked.account is None else account(asked.account),
    )


def account(held: Account) -> liquidation_pb2.Account:
    """Return the account of a question."""
    return liquidation_pb2.Account(collateral=_text(held.collateral), positions=map(_position, held.positions))


def state_row(row: StateRow) -> maintenance_pb2.StateRow:
    """Return one market of a dump as a deploy script sends it."""
    return maintenance_pb2.StateRow(
        market=row.market,
        event_time=_time(row.event_time_ns),
        mark_price=_text(row.mark_price),
        index_price=_text(row.index_price),
        funding_index=_text(row.funding_index),
    )


def _position(position: Position) -> liquidation_pb2.Position:
    fraction, amount = margin_texts(position)
    return liquidation_pb2.Position(
        market=position.market,
        size=_text(position.size),
        entry_price=_text(position.entry_price),
        cached_funding_index=_text(position.cached_funding_index),
        maintenance_margin_fraction=fraction or "",
        maintenance_margin=amount or "",
    )


def _text(value: Decimal | None) -> str:
    return "" if value is None else str(value)


def _time(at_ns: int) -> Timestamp:
    return Timestamp(seconds=at_ns // SECOND_NS, nanos=at_ns % SECOND_NS)
