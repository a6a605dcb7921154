"""One line for each record of a journal, for people: what happened in the words of `watch`, and what came in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import get_args

from rich.text import Text

from circuit_guard.cli import event_lines, words
from circuit_guard.core.acts import BeginMaintenance, EndMaintenance, RebaselineCommand, ValidateState
from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import (
    Check,
    HaltCommand,
    Observation,
    OrdersCheck,
    PhaseCommand,
    PolicyCommand,
    Reference,
    ResetCommand,
    Restarted,
    ResumeCommand,
)
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS
from circuit_guard.journal.codec import CodecError, decode
from circuit_guard.journal.record import CheckpointNote, DecisionsDropped, Kind, Record, Start
from circuit_guard.server.convert import events

_KIND_WIDTH = max(len(kind) for kind in Kind)
_SEQUENCE_WIDTH = 8


def line(record: Record) -> Text:
    """Return a record as `42 2026-01-19 04:33:00.250Z FACT what happened`, coloured by how bad it is."""
    what, style = _describe(record)
    head = f"{record.sequence:>{_SEQUENCE_WIDTH}} {_time(record.at_ns)} {record.kind.value:<{_KIND_WIDTH}} "
    return Text(head, style="dim").append(what, style=style or "not dim")


def _describe(record: Record) -> tuple[str, str]:
    try:
        value = decode(record.payload)
    except CodecError as error:
        return f"cannot be read: {error}", "yellow"
    if isinstance(value, get_args(Fact)):
        return event_lines.describe(events.event(value))
    return _note(value, record.scope) or _market_data(value) or _command(value), ""


def _note(value: object, scope: str) -> str:
    match value:
        case Start():
            return f"circuit_guard {value.program_version} starts to write, on {value.host} as process {value.pid}"
        case Policy():
            shadow = ", in shadow" if value.shadow else ""
            return f"policy {value.revision} for {len(value.markets)} markets{shadow}"
        case CheckpointNote():
            name = f" {scope}" if scope else ""
            return f"checkpoint{name} of the state after record {value.covers}, SHA-256 {value.digest}"
        case DecisionsDropped():
            return f"{value.count} decisions before this were not recorded: the disk was too slow"
        case _:
            return ""


def _market_data(value: object) -> str:
    match value:
        case Observation():
            place = f"{value.market} observation of {value.source}, epoch {value.epoch}, number {value.feed_sequence}"
            return f"{place}: {_values(value)}"
        case Reference():
            return f"{value.market} reference of {value.source}: {value.price}"
        case Check():
            basis = f"computed with mark {_given(value.basis.mark_price)}, "
            basis += f"funding index {_given(value.basis.funding_index)}"
            what = f"{value.kind.value} of {value.account_id}, size {value.size}"
            return f"{value.market} check: {what}, {basis}{_account(value)} [{value.request_id}]"
        case OrdersCheck():
            markets = ", ".join(dict.fromkeys(order.market for order in value.orders))
            return f"{len(value.orders)} orders to judge, in {markets or 'no market'}"
        case _:
            return ""


def _command(value: object) -> str:
    match value:
        case HaltCommand():
            until = "" if value.expires_ns is None else f" until {_time(value.expires_ns)}"
            return f"halt {_all(value.markets)}{until}, says {value.actor}: {value.reason}"
        case ResumeCommand():
            return f"resume {_all(value.markets)}, says {value.actor}: {value.reason}"
        case ResetCommand():
            return f"reset {_all(value.scopes)}, says {value.actor}: {value.reason}"
        case PhaseCommand():
            rollback = " after a rollback" if value.rollback else ""
            where = f"{_all(value.markets)} enters phase {value.phase.value}{rollback}"
            return f"{where}, says {value.actor}: {value.reason}"
        case PolicyCommand():
            return f"policy {value.revision} is to take effect"
        case Restarted():
            return "the guard has restarted with the state it had"
        case _:
            return _act(value)


def _act(value: object) -> str:
    match value:
        case BeginMaintenance():
            return f"maintenance begins, checkpoint {value.checkpoint}, says {value.actor}: {value.reason}"
        case ValidateState():
            return f"the exchange's state of {words.markets(len(value.rows))} to validate, says {value.actor}"
        case EndMaintenance():
            unvalidated = ", validated or not" if value.unvalidated else ""
            return f"maintenance ends{unvalidated}, says {value.actor}: {value.reason}"
        case RebaselineCommand():
            source = "" if value.checkpoint is None else f" from checkpoint {value.checkpoint}"
            values = [f"{item.market} to {item.funding_index}" for item in value.baselines]
            repaired = [f"{market} repaired" for market in value.repaired]
            return f"rebaseline{source}: {words.scopes(values + repaired)}, says {value.actor}: {value.reason}"
        case _:
            return f"a {type(value).__name__}, which this version has no words for"


def _values(observed: Observation) -> str:
    values = {
        "mark": observed.mark_price,
        "index": observed.index_price,
        "funding index": observed.funding_index,
        "funding rate": observed.funding_rate,
        "funding premium": observed.funding_premium,
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None) or "no value"


def _account(asked: Check) -> str:
    if asked.account is None:
        return ""
    held, collateral = len(asked.account.positions), asked.account.collateral
    return f", with collateral {collateral} and {held} position{'' if held == 1 else 's'}"


def _given(value: Decimal | None) -> str:
    return "not given" if value is None else str(value)


def _all(scopes: tuple[str, ...]) -> str:
    return ", ".join(scopes) or GLOBAL_SCOPE


def _time(at_ns: int) -> str:
    second, rest_ns = divmod(at_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}.{rest_ns // 1_000_000:03}Z"
