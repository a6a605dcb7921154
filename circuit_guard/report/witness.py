"""The window run again through the core, with a witness beside it who writes down what is needed of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import localcontext
from pathlib import Path

from circuit_guard.core.facts import DecisionMade, Fact, ObservationJudged, OrderJudged
from circuit_guard.core.gates import UNKNOWN_MARKET
from circuit_guard.core.inputs import Check, Observation, OrderAction, OrdersCheck, PolicyCommand, Tick
from circuit_guard.core.rules.validity import UNKNOWN_SOURCE
from circuit_guard.core.types import ARITHMETIC, Decision, Verdict
from circuit_guard.journal.codec import CodecError, decode, decode_as
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.record import DecisionsDropped, Kind, Record, Start
from circuit_guard.journal.recovery import REMEDY, Rerun, rerun_from
from circuit_guard.report.evidence import Ask, Evidence, OrderSeen, PolicyInForce, Seen, Tainted
from circuit_guard.report.holding import holding
from circuit_guard.report.opening import Opening
from circuit_guard.report.timeline import happening
from circuit_guard.report.watched import WatchedMarket

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
            self._settle(decode_as(DecisionMade, record.payload).decision)
            return
        self._rerun.take(record)
        value = decode(record.payload)
        if isinstance(value, Start) and value.program_version not in self._evidence.versions:
            self._evidence.versions.append(value.program_version)
        if record.at_ns not in self._window:
            return
        if isinstance(value, DecisionsDropped):
            self._evidence.dropped += value.count
        told = happening(record.at_ns, record.scope, value, shadow=self._rerun.policy.shadow)
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
        facts = self._rerun.run(input_)
        if isinstance(input_, PolicyCommand):
            self._note_policy(input_.at_ns)
        if isinstance(input_, OrdersCheck):
            self._note_orders(input_, facts)
        if facts:
            self._hear(facts, [record.scope] if record.scope else list(self._markets))

    def _observe(self, sequence: int, observed: Observation) -> None:
        name, state, policy = observed.market, self._rerun.state, self._rerun.policy
        watched = self._watched(name)
        before = None if watched is None else replace(state.markets[name].trusted)
        facts = self._rerun.run(observed)
        [judged] = [fact for fact in facts if isinstance(fact, ObservationJudged)]
        stranger = any(finding.reason in STRANGERS for finding in judged.findings)
        if watched is not None and before is not None and not judged.redelivered and not stranger:
            watched.observe(sequence, observed, judged.findings, before, policy.markets[name])
        self._hear(facts, [name])

    def _ask(self, check: Check) -> None:
        seen = self._seen(check)
        facts = self._rerun.run(check)
        made = [fact.decision for fact in facts if isinstance(fact, DecisionMade) and not fact.repeated]
        if made:
            self._asked = Ask(check, made[0], seen, recorded=False)
        self._hear(facts, [check.market])

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
        for name in dict.fromkeys((check.market, *(position.market for position in positions))):
            watched = self._watched(name)
            if watched is not None:
                held = tuple(position for position in positions if position.market == name)
                market, policy = self._rerun.state.markets[name], self._rerun.policy.markets[name]
                seen[name] = watched.seen(market, policy, held, check.at_ns)
        return seen

    def _watched(self, name: str) -> WatchedMarket | None:
        """Return who watches a market, from its first input on; None where the policy does not name it."""
        if name not in self._rerun.policy.markets:
            return None
        if name not in self._markets:
            self._markets[name] = WatchedMarket(self._rerun.state.markets[name], self._rerun.policy.markets[name])
        return self._markets[name]

    def _hear(self, facts: list[Fact], names: list[str]) -> None:
        for name in names:
            if name in self._markets:
                self._markets[name].hear(self._rerun.state.markets[name], facts)

    def _note_policy(self, at_ns: int) -> None:
        policies, policy = self._evidence.policies, self._rerun.policy
        if at_ns <= self._window.from_ns:
            policies.clear()
        if not policies or policies[-1].revision != policy.revision:
            policies.append(PolicyInForce(policy.revision, policy.shadow, at_ns))

    def _note_orders(self, asked: OrdersCheck, facts: list[Fact]) -> None:
        """Remember every order that may rest now: a new one that was denied does not."""
        judged = [fact for fact in facts if isinstance(fact, OrderJudged)]
        for order, fact in zip(asked.orders, judged, strict=True):
            allowed = fact.verdict is Verdict.ALLOW
            if allowed or order.action is not OrderAction.NEW:
                self._evidence.orders[order.market, order.order_id] = OrderSeen(asked.at_ns, order, allowed)
