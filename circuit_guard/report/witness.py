"""The window run again through the core from a checkpoint, and a witness that notes what a report needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from pathlib import Path

from circuit_guard.core import facts, taint
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.facts import Fact
from circuit_guard.core.formatting import format_time
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import Check, Observation, OrderAction, OrdersCheck, PolicyCommand, Position, Tick
from circuit_guard.core.market import FeedParameters, MarketState, Trusted, readable
from circuit_guard.core.names import UNKNOWN_MARKET
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.reasons import info_of
from circuit_guard.core.rules.validity import UNKNOWN_SOURCE
from circuit_guard.core.sentences import codes, findings_of, headline, scope_of, sentence
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import ARITHMETIC, GLOBAL_SCOPE, BreakerState, Decision, Finding, Phase, Severity, Verdict
from circuit_guard.errors import CircuitGuardError
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.codec import CodecError, decode, decode_as
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Chain, CheckpointNote, DecisionsDropped, Kind, Record, Start
from circuit_guard.journal.recovery import REMEDY, Rerun, rerun_from
from circuit_guard.report.evidence import (
    Ask,
    Corruption,
    Evidence,
    Gap,
    Happening,
    Held,
    OrderSeen,
    PolicyInForce,
    Seen,
    Tainted,
    Value,
    Window,
)
from circuit_guard.report.funding import FundingHistory, Published


class NothingToReport(CircuitGuardError):
    """The journal has nothing of the window, or no longer enough; the text says what it has."""


@dataclass(slots=True)
class Opening:
    """The checkpoint to begin with, with its state; every checkpoint there is, and the version at each."""

    checkpoint: Checkpoint
    checkpoints: list[Checkpoint] = field(default_factory=list)
    version: str = ""
    """The version of circuit_guard that wrote the checkpoint; empty where nothing says so."""


def open_at(reader: JournalReader, window: Window) -> Opening:
    """Return where to begin. Raise NothingToReport where the inputs of the window's beginning are no longer there."""
    checkpoints, versions = _checkpoints(reader)
    bounds = reader.bounds()
    kept_from = max(bound.pruned.sequence for bound in bounds.values())
    usable = [found for found in checkpoints if found.covers >= kept_from]
    for found in sorted(usable, key=lambda known: known.covers, reverse=True):
        if found.at_ns <= window.from_ns and (whole := _with_state(reader, found)) is not None:
            return Opening(whole, checkpoints, versions[found.sequence])
    first = next((whole for found in usable if (whole := _with_state(reader, found)) is not None), None)
    if first is None:
        raise NothingToReport("the journal has no checkpoint to begin with; let the guard run until its next one")
    if bounds[Chain.RECORDER].pruned.sequence or first.sequence != checkpoints[0].sequence:
        begins = f"the first window that can still be reported begins at {format_time(first.at_ns)}"
        raise NothingToReport(f"what led up to {format_time(window.from_ns)} is no longer kept; {begins}")
    return Opening(first, checkpoints, versions[first.sequence])


def _checkpoints(reader: JournalReader) -> tuple[list[Checkpoint], dict[int, str]]:
    """Return every checkpoint without its state, oldest first, and by whom each was written."""
    found: list[Checkpoint] = []
    versions: dict[int, str] = {}
    version = ""
    for record in reader.records(kinds=(Kind.CHECKPOINT, Kind.START)):
        if record.kind is Kind.START:
            version = decode_as(Start, record.payload).program_version
            continue
        note = decode_as(CheckpointNote, record.payload)
        found.append(Checkpoint(record.sequence, record.at_ns, record.scope, note.covers, note.digest, None))
        versions[record.sequence] = version
    return found, versions


def _with_state(reader: JournalReader, found: Checkpoint) -> Checkpoint | None:
    """Return the checkpoint with its state, None where retention has dropped that."""
    whole = reader.checkpoint(found.sequence)
    return whole if whole is not None and whole.text is not None else None


def holding(state: GuardState, policy: Policy) -> Iterator[Held]:
    """Yield, for everything and then market by market, what stops or slows closures and who may lift it."""
    yield from _switches(GLOBAL_SCOPE, state.global_halts, state.global_breaker)
    for name in policy.markets:
        market = state.markets[name]
        yield from _switches(name, market.halts, market.breaker)
        phase = market.phase.effective()
        if phase is not Phase.OPEN:
            yield Held(name, f"phase {phase}, which the exchange or the guard's own evidence ends")
        if market.rejections:
            yield Held(
                name, f"its latest observation is rejected for {codes(market.rejections)}; the next good one ends this"
            )


def _switches(scope: str, halts: Sequence[Halt], breaker: Breaker) -> Iterator[Held]:
    for halt in halts:
        yield Held(scope, f"halted by {halt.actor}: {halt.reason}; an operator must resume it")
    reasons = codes(breaker.findings)
    if breaker.state is BreakerState.OPEN and breaker.latched:
        yield Held(scope, f"latched for {reasons}; an operator must reset it")
    elif breaker.state is BreakerState.OPEN:
        yield Held(scope, f"tripped for {reasons}; it ends when good data last")
    elif breaker.state is BreakerState.HALF_OPEN:
        yield Held(scope, f"tripped for {reasons}, and lets closures through at a rising rate")


OF_PRICES = frozenset({"mark_price", "index_price"})
OF_FUNDING = frozenset({"funding_index", "funding_rate", "funding_premium"})
OF_THE_RATE = frozenset({"funding_rate", "funding_premium"})


class WatchedMarket:
    """Follows one market through the run. `corruptions` has what is over; `finish` ends what is not."""

    def __init__(self, market: MarketState, policy: MarketPolicy) -> None:
        self.history = FundingHistory()
        self.funding = policy.of(FundingParameters)
        self.corruptions: list[Corruption] = []
        self.gaps: list[Gap] = []
        self.doubts: list[Corruption] = []
        """What was doubted and is not proved to be wrong."""
        self._name = market.market
        self._open: Corruption | None = None
        self._received_ns = market.feed.received_ns
        self._in_trouble = bool(market.rejections)
        trusted = market.trusted
        subjects = {finding.subject for finding in market.rejections}
        self._last = Seen(
            trusted.mark_price,
            subjects <= OF_FUNDING,
            trusted.funding_index,
            subjects <= OF_PRICES,
            market.feed.event_time_ns or trusted.funding_seen_ns,
            None,
        )
        if trusted.funding_index is not None:
            point = Published(trusted.funding_seen_ns, trusted.funding_index, trusted.funding_premium, True)
            self.history.add(point, policy.of(FundingParameters))

    def observe(
        self, sequence: int, observed: Observation, findings: tuple[Finding, ...], before: Trusted, policy: MarketPolicy
    ) -> None:
        """Take an observation and what was found of it; `before`: what was trusted until then."""
        self._note_gap(observed.at_ns, policy)
        self.funding = policy.of(FundingParameters)
        doubts = [f for f in findings if f.severity >= Severity.DENY and not f.shadow]
        subjects = {finding.subject for finding in doubts}
        mark, index = readable(observed.mark_price), readable(observed.funding_index)
        last = self._last
        self._last = last._replace(
            mark=last.mark if mark is None else mark,
            mark_trusted=last.mark_trusted if observed.mark_price is None else subjects <= OF_FUNDING,
            funding_index=last.funding_index if index is None else index,
            index_trusted=last.index_trusted if observed.funding_index is None else subjects <= OF_PRICES,
            event_ns=last.event_ns if index is None else observed.event_time_ns,
        )
        if index is not None:
            premium = None if subjects & OF_THE_RATE else readable(observed.funding_premium)
            point = Published(observed.event_time_ns, index, premium, subjects <= OF_PRICES)
            self.history.add(point, policy.of(FundingParameters))
        if doubts:
            self._doubt(sequence, observed, doubts, before)

    def hear(self, market: MarketState, happened: list[Fact]) -> None:
        """Take what came of an input: a breaker that opens over doubted values proves them wrong.

        So does a mark price that comes back without the references ever having followed it.
        """
        if self._open is not None and not market.rejections:
            self._open.proved |= (market.reverted_ns or 0) > self._open.last_at_ns
            self._open.ended_ns = self._received_ns
            self._keep(self._open)
            self._open = None
        self._in_trouble &= bool(market.rejections)
        for fact in happened:
            match fact:
                case facts.BreakerChanged(scope=scope, after=BreakerState.OPEN) if scope == self._name and self._open:
                    self._open.proved = True
                case facts.ObservationReconsidered(market=name) if name == self._name:
                    self._last = self._last._replace(mark_trusted=True)

    def seen(self, market: MarketState, policy: MarketPolicy, positions: tuple[Position, ...], now_ns: int) -> Seen:
        """Return what there is to know now, for a closure of an account with these positions here."""
        price = market.references.view(now_ns, policy).price
        tainted = any(taint.of(market, position.cached_funding_index) for position in positions)
        return self._last._replace(reference_price=price, tainted=tainted)

    def finish(self, policy: MarketPolicy, end_ns: int) -> None:
        """Take the end of the window."""
        if self._received_ns is not None and end_ns - self._received_ns > policy.of(FeedParameters).recovering_after_ns:
            self.gaps.append(Gap(self._name, self._received_ns, None))
        if self._open is not None:
            self._keep(self._open)

    def _note_gap(self, at_ns: int, policy: MarketPolicy) -> None:
        if self._received_ns is not None and at_ns - self._received_ns > policy.of(FeedParameters).recovering_after_ns:
            self.gaps.append(Gap(self._name, self._received_ns, at_ns))
        self._received_ns = at_ns

    def _doubt(self, sequence: int, observed: Observation, doubts: list[Finding], before: Trusted) -> None:
        gravest = max(doubts, key=lambda finding: finding.severity)
        if self._open is None:
            known = _values(before, {finding.subject for finding in doubts})
            self._open = Corruption(
                self._name, sequence, observed, gravest, known, observed.at_ns, begun_before=self._in_trouble
            )
        else:
            self._open.observations += 1
            self._open.last_at_ns = observed.at_ns
        self._open.proved |= gravest.severity >= Severity.TRIP

    def _keep(self, found: Corruption) -> None:
        (self.corruptions if found.proved else self.doubts).append(found)


def _values(before: Trusted, subjects: set[str]) -> tuple[Value, ...]:
    """Return what was trusted of the values in doubt; of both where it is the order that is in doubt."""
    values: list[Value] = []
    both = not subjects & (OF_PRICES | OF_FUNDING)

    def add(name: str, value: Decimal | None, seen_ns: int) -> None:
        if value is not None:
            values.append(Value(name, value, seen_ns))

    if both or subjects & OF_PRICES:
        add("mark_price", before.mark_price, before.mark_seen_ns)
    if both or subjects & OF_FUNDING:
        add("funding_index", before.funding_index, before.funding_seen_ns)
    return tuple(values)


STRANGERS = frozenset({UNKNOWN_MARKET, UNKNOWN_SOURCE})
"""Observations that nobody takes for the exchange's own."""


class Witness:
    """Takes the records after a checkpoint in order, and fills the evidence."""

    def __init__(self, opening: Opening, path: Path, evidence: Evidence) -> None:
        self._path = path
        self._evidence = evidence
        self._window = evidence.window
        self._rerun: Rerun = rerun_from(opening.checkpoint, path)
        self._markets: dict[str, WatchedMarket] = {}
        self._asked: Ask | None = None
        """The latest question, until the record of its answer has come."""
        self._note_policy(self._rerun.state.now_ns)
        if opening.version:
            evidence.versions.append(opening.version)

    def take(self, record: Record) -> None:
        """Take the next record. Raise JournalUnusable for one that cannot be run again."""
        try:
            with localcontext(ARITHMETIC):
                self._take(record)
        except CodecError as error:
            raise JournalUnusable(self._path, f"record {record.sequence} cannot be read: {error}", REMEDY) from error
        except Exception as error:  # whatever a forged or foreign record does to the core, the record is named
            problem = f"record {record.sequence} cannot be run again ({type(error).__name__}: {error})"
            raise JournalUnusable(self._path, problem, REMEDY) from error

    def finish(self, ends_ns: int) -> None:
        """Note how things stand at the end: what still holds, what is still silent, which values taint."""
        self._settle(None)
        with localcontext(ARITHMETIC):
            self._rerun.run(Tick(max(ends_ns, self._rerun.state.now_ns)))
        policy, evidence, from_ns = self._rerun.policy, self._evidence, self._window.from_ns
        evidence.markets = tuple(policy.markets)
        for name, watched in self._markets.items():
            if name in policy.markets:
                watched.finish(policy.markets[name], ends_ns)
            evidence.corruptions += [found for found in watched.corruptions if found.last_at_ns >= from_ns]
            evidence.doubted += sum(found.observations for found in watched.doubts if found.last_at_ns >= from_ns)
            evidence.gaps += [gap for gap in watched.gaps if gap.until_ns is None or gap.until_ns >= from_ns]
            evidence.histories[name], evidence.funding[name] = watched.history, watched.funding
        evidence.corruptions.sort(key=lambda found: found.sequence)
        evidence.gaps.sort(key=lambda gap: (gap.from_ns, gap.market))
        evidence.held = list(holding(self._rerun.state, policy))
        evidence.tainted = [
            Tainted(name, values) for name in policy.markets for values in self._rerun.state.markets[name].discarded
        ]

    def _take(self, record: Record) -> None:
        self._evidence.records += record.at_ns in self._window
        if record.kind is Kind.INPUT:
            self._settle(None)
            self._run(record)
            return
        if record.kind is Kind.DECISION:
            self._settle(decode_as(facts.DecisionMade, record.payload).decision)
            return
        self._rerun.take(record)
        value = decode(record.payload)
        if isinstance(value, Start) and value.program_version not in self._evidence.versions:
            self._evidence.versions.append(value.program_version)
        if record.at_ns not in self._window:
            return
        if isinstance(value, DecisionsDropped):
            self._evidence.dropped += value.count
        told = _happening(record.at_ns, record.scope, value, shadow=self._rerun.policy.shadow)
        if told is not None:
            self._evidence.happenings.append(told)

    def _run(self, record: Record) -> None:
        """Run an input, and write down what it shows."""
        input_ = decode(record.payload)
        if isinstance(input_, Check) and record.at_ns in self._window:
            self._ask(input_)
            return
        if isinstance(input_, Observation):
            self._observe(record.sequence, input_)
            return
        happened = self._rerun.run(input_)
        if isinstance(input_, PolicyCommand):
            self._note_policy(input_.at_ns)
        if isinstance(input_, OrdersCheck):
            self._note_orders(input_, happened)
        if happened:
            self._hear(happened, [record.scope] if record.scope else list(self._markets))

    def _observe(self, sequence: int, observed: Observation) -> None:
        name, state, policy = observed.market, self._rerun.state, self._rerun.policy.at(observed.at_ns)
        watched = self._watched(name)
        before = None if watched is None else replace(state.markets[name].trusted)
        happened = self._rerun.run(observed)
        [judged] = [fact for fact in happened if isinstance(fact, facts.ObservationJudged)]
        stranger = any(finding.reason in STRANGERS for finding in judged.findings)
        if watched is not None and before is not None and not judged.redelivered and not stranger:
            watched.observe(sequence, observed, judged.findings, before, policy.markets[name])
        self._hear(happened, [name])

    def _ask(self, check: Check) -> None:
        seen = self._seen(check)
        happened = self._rerun.run(check)
        made = [fact.decision for fact in happened if isinstance(fact, facts.DecisionMade) and not fact.repeated]
        if made:
            self._asked = Ask(check, made[0], seen, recorded=False)
        self._hear(happened, [check.market])

    def _settle(self, recorded: Decision | None) -> None:
        """Keep the latest question, with the answer that was recorded; without one, with what the inputs lead to."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        if recorded is not None:
            self._evidence.different += recorded != asked.decision
            asked = asked._replace(decision=recorded, recorded=True)
        self._evidence.asks.append(asked)

    def _seen(self, check: Check) -> dict[str, Seen]:
        """Return what there is to know of every market that the closure and its account touch."""
        positions = check.account.positions if check.account is not None else ()
        seen = {}
        for name in dict.fromkeys((check.market, *(check.account.markets() if check.account is not None else ()))):
            watched = self._watched(name)
            if watched is not None:
                held = tuple(position for position in positions if position.market == name)
                market = self._rerun.state.markets[name]
                policy = self._rerun.policy.at(check.at_ns).markets[name]
                seen[name] = watched.seen(market, policy, held, check.at_ns)
        return seen

    def _watched(self, name: str) -> WatchedMarket | None:
        """Return who watches a market, from its first input on; None where the policy does not name it."""
        if name not in self._rerun.policy.markets:
            return None
        if name not in self._markets:
            self._markets[name] = WatchedMarket(self._rerun.state.markets[name], self._rerun.policy.markets[name])
        return self._markets[name]

    def _hear(self, happened: list[Fact], names: list[str]) -> None:
        for name in names:
            if name in self._markets:
                self._markets[name].hear(self._rerun.state.markets[name], happened)

    def _note_policy(self, at_ns: int) -> None:
        policies, policy = self._evidence.policies, self._rerun.policy
        if at_ns <= self._window.from_ns:
            policies.clear()
        if not policies or policies[-1].revision != policy.revision:
            policies.append(PolicyInForce(policy.revision, policy.shadow, at_ns))

    def _note_orders(self, asked: OrdersCheck, happened: list[Fact]) -> None:
        """Remember every order that may rest now: a new one that was denied does not."""
        judged = [fact for fact in happened if isinstance(fact, facts.OrderJudged)]
        for order, fact in zip(asked.orders, judged, strict=True):
            allowed = fact.verdict is Verdict.ALLOW
            if allowed or order.action is not OrderAction.NEW:
                self._evidence.orders[order.market, order.order_id] = OrderSeen(asked.at_ns, order, allowed)


def _happening(at_ns: int, scope: str, value: object, *, shadow: bool) -> Happening | None:
    """Return what a record says as one line; None for what no reader of a report asks for.

    `shadow`: whether the guard was in shadow then, so that no breaker stopped anything.
    """
    match value:
        case facts.BreakerChanged():
            named = "" if value.scope == GLOBAL_SCOPE else value.scope
            kind = "stop" if value.after is BreakerState.OPEN else "open"
            return Happening(value.at_ns, named, _without_values(value, shadow=shadow), kind)
        case facts.HaltChanged():
            kind = "" if value.stays else "stop" if value.halted else "open"
            return Happening(at_ns, value.scope, sentence(value), kind)
        case facts.PhaseChanged():
            return Happening(at_ns, value.market, sentence(value))
        case facts.MarketReopened():
            return Happening(at_ns, value.market, sentence(value, shadow=shadow), "open")
        case (
            facts.MaintenanceBegan()
            | facts.StateValidated()
            | facts.MaintenanceEnded()
            | facts.Rebaselined()
            | facts.ActProposed()
            | facts.PolicyChanged()
            | facts.CommandRefused()
            | facts.ClockChanged()
        ):
            return Happening(at_ns, scope_of(value), sentence(value), "act")
        case Start():
            return Happening(at_ns, "", f"circuit_guard {value.program_version} starts to write, on {value.host}")
        case CheckpointNote() if scope:
            return Happening(at_ns, "", f"checkpoint {scope} is kept")
        case DecisionsDropped():
            return Happening(at_ns, "", f"{value.count} answers were not recorded: the disk was too slow", "stop")
        case _:
            return None


def _without_values(changed: facts.BreakerChanged, *, shadow: bool) -> str:
    """Return the sentence with the meaning of the gravest finding only, so that markets alike share a line."""
    gravest = max(findings_of(changed), key=lambda finding: finding.severity, default=None)
    return headline(changed, shadow=shadow) + (f": {info_of(gravest).sentence}" if gravest else "")
