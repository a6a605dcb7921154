"""One coloured line for each record of `journal show`."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

from rich.text import Text

from circuit_guard.cli.lines import style
from circuit_guard.core import inputs, sentences
from circuit_guard.core.facts import Fact
from circuit_guard.core.formatting import counted, instant_ms, markets, scopes
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS
from circuit_guard.journal.codec import CodecError, decode
from circuit_guard.journal.record import CheckpointNote, DecisionsDropped, JournalAdopted, Kind, Record, Start

_KIND_WIDTH = max(len(kind) for kind in Kind)
_SEQUENCE_WIDTH = 8


def of_record(record: Record) -> Text:
    """Return a record as `42 2026-01-19 04:33:00.250Z FACT what happened`, coloured by how bad it is."""
    try:
        value = decode(record.payload)
    except CodecError as error:
        what, colour = f"cannot be read: {error}", "yellow"
    else:
        if isinstance(value, get_args(Fact)):
            what, colour = sentences.line(value), style(value)
        else:
            what, colour = _sentence(value, record.scope), ""
    head = f"{record.sequence:>{_SEQUENCE_WIDTH}} {instant_ms(record.at_ns)} {record.kind.value:<{_KIND_WIDTH}} "
    return Text(head, style="dim").append(what, style=colour or "not dim")


def _sentence(value: object, scope: str) -> str:  # noqa: C901  # one case for each kind of input and note
    """Return what a record says that is no fact: an input, or a note of the journal."""
    match value:
        case Start():
            return f"circuit_guard {value.program_version} starts on {value.host} as process {value.pid}"
        case Policy():
            return f"policy {value.revision} for {markets(len(value.markets))}{', in shadow' if value.shadow else ''}"
        case CheckpointNote():
            name = f" {scope}" if scope else ""
            return f"checkpoint{name} of the state after record {value.covers}, SHA-256 {value.digest}"
        case DecisionsDropped():
            return f"{counted(value.count, 'decision')} before this not recorded: the disk was too slow"
        case JournalAdopted():
            actors = f"{value.actor} and {value.seconded_by}" if value.seconded_by else value.actor
            return f"journal adopted as it is by {actors}: {value.reason} ({value.problem})"
        case inputs.Observation():
            feed = f"epoch {value.epoch}, number {value.feed_sequence}"
            return f"{value.market}: observation of {value.source}, {feed}: {_values(value)}"
        case inputs.Reference():
            return f"{value.market}: reference of {value.source}: {value.price}"
        case inputs.Check():
            basis = f"mark {_given(value.basis.mark_price)}, funding index {_given(value.basis.funding_index)}"
            what = f"{value.kind.value} of {value.account_id}, size {value.size}, computed with {basis}"
            if (held := value.account) is not None:
                what += f", with collateral {held.collateral} and {counted(len(held.positions), 'position')}"
            return f"{value.market}: check {value.request_id}: {what}"
        case inputs.OrdersCheck():
            named = ", ".join(dict.fromkeys(order.market for order in value.orders))
            return f"{counted(len(value.orders), 'order')} to judge, in {named or 'no market'}"
        case inputs.HaltCommand():
            until = "" if value.expires_ns is None else f" until {instant_ms(value.expires_ns)}"
            return f"{value.actor} halts {_all(value.markets)}{until}: {value.reason}"
        case inputs.ResumeCommand():
            return f"{value.actor} resumes {_all(value.markets)}: {value.reason}"
        case inputs.ResetCommand():
            return f"{value.actor} resets the breaker of {_all(value.scopes)}: {value.reason}"
        case inputs.PhaseCommand():
            rollback = " after a rollback" if value.rollback else ""
            return f"{value.actor} sets phase {value.phase} in {_all(value.markets)}{rollback}: {value.reason}"
        case inputs.PolicyCommand():
            return f"policy {value.revision} takes effect"
        case inputs.Restarted():
            return "the guard restarted with the state it had"
        case inputs.BeginMaintenance():
            return f"{value.actor} begins a maintenance, with checkpoint {value.checkpoint}: {value.reason}"
        case inputs.ValidateState():
            return f"{value.actor} asks to validate the exchange's state of {markets(len(value.rows))}"
        case inputs.EndMaintenance():
            unvalidated = " even if nothing was validated" if value.unvalidated else ""
            return f"{value.actor} ends the maintenance{unvalidated}: {value.reason}"
        case inputs.RebaselineCommand():
            source = "" if value.checkpoint is None else f" from checkpoint {value.checkpoint}"
            values = [_baseline(item) for item in value.baselines]
            scaled = [f"{market} times {value.factor}" for market in value.rescaled]
            repaired = [f"{market} repaired" for market in value.repaired]
            return f"{value.actor} rebaselines{source}: {scopes(values + scaled + repaired)}: {value.reason}"
        case inputs.ClockMoved() | inputs.ClockCorrected():
            return _clock_sentence(value)
        case _:
            return f"a {type(value).__name__}, which this version cannot describe"


def _baseline(given: inputs.Baseline) -> str:
    more = {"mark": given.mark_price, "index": given.index_price, "funding premium": given.funding_premium}
    told = "".join(f", {name} {value}" for name, value in more.items() if value is not None)
    return f"{given.market} to {given.funding_index}{told}"


def _clock_sentence(value: inputs.ClockMoved | inputs.ClockCorrected) -> str:
    if isinstance(value, inputs.ClockMoved):
        return f"the machine's clock was set: it is {value.wall_ahead_ns / SECOND_NS:+.1f} s from the guard's"
    return f"the guard's clock goes on from the machine's, {value.by_ns / SECOND_NS:+.1f} s from here"


def _values(observed: inputs.Observation) -> str:
    values = {
        "mark": observed.mark_price,
        "index": observed.index_price,
        "funding index": observed.funding_index,
        "funding rate": observed.funding_rate,
        "funding premium": observed.funding_premium,
        "funding period in s": observed.funding_period_s,
        "cap on the funding rate": observed.funding_rate_max,
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None) or "no value"


def _given(value: Decimal | None) -> str:
    return "not given" if value is None else str(value)


def _all(named: tuple[str, ...]) -> str:
    return ", ".join(named) or GLOBAL_SCOPE
