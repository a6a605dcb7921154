"""What holds after any sequence of inputs, however wrong: hypothesis plays exchange, venues, operators and callers."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from decimal import ROUND_UP, Context, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from circuit_guard.core import facts as f
from circuit_guard.core import guard, inputs, invariants
from circuit_guard.core import inputs as i
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import TwoActorAct
from circuit_guard.core.state import GuardState
from circuit_guard.core.status import guard_status
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState, CheckKind, Phase, Severity, Verdict
from tests.core import hostile, world

ODD_CONTEXT = Context(prec=3, rounding=ROUND_UP, Emax=9, Emin=-9, traps=[])
"""Somebody else in the process may have set anything."""

scopes = st.lists(st.sampled_from((*hostile.MARKETS, GLOBAL_SCOPE)), max_size=2, unique=True).map(tuple)
ACTS = ("halt", "halt", "resume", "resume", "resume", "reset", "reset", "phase")


class AnySequence(RuleBasedStateMachine):
    """Holds every state and step against `core.invariants`, which lists what always holds.

    Feeds the same inputs to a guard and to a copy of it that was pickled before each, under another context.
    """

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.state, self.feeds = pickle.loads(hostile.WARM)  # noqa: S301
        self.now_ns = self.state.now_ns
        self.before = self.state
        self.asked = 0
        self.asked_last: i.Check | None = None

    @rule(passed_s=hostile.seconds)
    def honest(self, passed_s: float) -> None:
        self.pass_time(passed_s)
        hostile.publish(self.state, self.policy, self.feeds, self.now_ns)

    @rule(market=hostile.markets, given=hostile.tampering, passed_s=hostile.seconds)
    def observation(self, market: str, given: dict[str, Any], passed_s: float) -> None:
        self.pass_time(passed_s)
        tampered = dict(given)
        if "event_offset_s" in tampered:
            tampered["event_time_ns"] = self.now_ns + tampered.pop("event_offset_s") * SECOND_NS
        feed = self.feeds[market]
        epoch, sequence = feed.epoch, feed.sequence
        published = feed.observation(self.now_ns, **tampered)
        feed.epoch, feed.sequence = epoch, max(sequence, published.feed_sequence % 1000)
        self.step(published)

    @rule(market=hostile.markets, passed_s=hostile.seconds)
    def redelivery(self, market: str, passed_s: float) -> None:
        self.pass_time(passed_s)
        published = self.feeds[market].published
        if published is not None:
            self.step(replace(published, at_ns=self.now_ns))

    @rule(market=hostile.any_market, source=st.sampled_from(world.VENUES), price=hostile.numbers, late=st.booleans())
    def reference(self, market: str, source: str, price: Decimal, late: bool) -> None:
        event_ns = self.now_ns - (60 * SECOND_NS if late else 0)
        self.step(i.Reference(self.now_ns, market, source, event_ns, price))

    @rule(
        market=hostile.any_market, basis=hostile.bases, price=hostile.maybe, size=hostile.numbers, again=st.booleans()
    )
    def check(self, market: str, basis: i.Basis, price: Decimal | None, size: Decimal, again: bool) -> None:
        self.asked += not again
        account = i.Account(size, (i.Position(world.ETH, size, size, size, size), i.Position("X", *(size,) * 4)))
        self.decide(i.Check(self.now_ns, str(self.asked), "a", market, size, CheckKind.TRIGGER, price, basis, account))

    @rule(passed_s=hostile.seconds)
    def honest_again(self, passed_s: float) -> None:
        self.honest(passed_s)

    @rule(market=hostile.markets, kind=hostile.kinds)
    def honest_check(self, market: str, kind: CheckKind) -> None:
        self.asked += 1
        feed = self.feeds[market]
        basis = i.Basis(feed.mark, feed.funding)
        check = i.Check(self.now_ns, str(self.asked), "a", market, Decimal(-1), kind, basis=basis)
        self.decide(check)
        self.decide(check)
        self.asked_last = check

    @rule(passed_s=hostile.seconds)
    def asked_again_later(self, passed_s: float) -> None:
        self.pass_time(passed_s)
        if self.asked_last is not None:
            self.decide(replace(self.asked_last, at_ns=self.now_ns))

    @rule(
        act=st.sampled_from(ACTS),
        scopes=scopes,
        phase=st.sampled_from(list(Phase)),
        flag=st.booleans(),
        actor=st.sampled_from(("alice", "bob", "carol")),
        lasts_s=st.sampled_from((5, 10, 20)),
    )
    def operator(self, act: str, scopes: tuple[str, ...], phase: Phase, flag: bool, actor: str, lasts_s: int) -> None:
        markets = tuple(scope for scope in scopes if scope != GLOBAL_SCOPE)
        match act:
            case "halt":
                expires_ns = self.now_ns + lasts_s * SECOND_NS if flag else None
                self.step(i.HaltCommand(self.now_ns, markets, actor, "a test", expires_ns))
            case "resume":
                self.step(i.ResumeCommand(self.now_ns, markets, actor, "a test"))
            case "reset":
                self.step(i.ResetCommand(self.now_ns, scopes, actor, "a test"))
            case _:
                self.step(i.PhaseCommand(self.now_ns, phase, markets, "exchange", rollback=flag))

    @rule(act=st.sampled_from(("begin", "validate", "validate", "end", "end")), wrong=hostile.maybe, flag=st.booleans())
    def maintenance(self, act: str, wrong: Decimal | None, flag: bool) -> None:
        match act:
            case "begin":
                self.step(inputs.BeginMaintenance(self.now_ns, "alice", "a test", "before"))
            case "validate":
                values = {name: feed.funding for name, feed in self.feeds.items()} | (
                    {world.ETH: wrong} if flag else {}
                )
                rows = [
                    inputs.StateRow(name, self.now_ns, feed.mark, feed.index, values[name])
                    for name, feed in self.feeds.items()
                ]
                self.step(inputs.ValidateState(self.now_ns, tuple(rows)))
            case _:
                self.step(inputs.EndMaintenance(self.now_ns, "alice", "a test", unvalidated=flag))

    @rule(market=hostile.any_market, value=hostile.numbers, back_s=hostile.seconds, rolled_back=st.booleans())
    def rebaseline(self, market: str, value: Decimal, back_s: float, rolled_back: bool) -> None:
        baseline = inputs.Baseline(market, value, self.now_ns - int(back_s * SECOND_NS))
        checkpoint = 7 if rolled_back else None
        self.step(inputs.RebaselineCommand(self.now_ns, (baseline,), "alice", "a test", checkpoint))

    @rule(market=hostile.any_market, value=hostile.numbers, price=hostile.numbers, factor=hostile.numbers)
    def change_scale(self, market: str, value: Decimal, price: Decimal, factor: Decimal) -> None:
        baseline = inputs.Baseline(market, value, self.now_ns, price, None, value)
        self.step(inputs.RebaselineCommand(self.now_ns, (baseline,), "alice", "a test"))
        for times in (factor, Decimal(1000)):
            act = inputs.RebaselineCommand(self.now_ns, (), "alice", "a test", factor=times, rescaled=(market,))
            self.step(act)

    @rule()
    def restart(self) -> None:
        self.step(i.Restarted(self.now_ns))

    @rule(passed_s=hostile.seconds)
    def tick(self, passed_s: float) -> None:
        self.pass_time(passed_s)
        self.step(i.Tick(self.now_ns))

    @rule(shadow_rules=st.sampled_from(("", "staleness", "divergence,basis")), quorum=st.sampled_from(("2", "3")))
    def change_policy(self, shadow_rules: str, quorum: str) -> None:
        given = {"shadow_rules": shadow_rules, "references.quorum": quorum, "reopening.closures_per_s": quorum}
        changed = {name: world.changed(part, given) for name, part in self.policy.markets.items()}
        two = frozenset({TwoActorAct.RESUME}) if quorum == "2" else frozenset()
        self.policy = replace(self.policy, markets=changed, two_actors=two)
        self.step(i.PolicyCommand(self.now_ns, "r2"))

    @rule(asked=st.lists(hostile.orders, min_size=1, max_size=3))
    def orders(self, asked: list[i.Order]) -> None:
        check = i.OrdersCheck(self.now_ns, tuple(asked))
        facts = self.same(lambda state: guard.decide_orders(state, check, self.policy))
        self.holds(check, facts)
        judged = [fact for fact in facts if isinstance(fact, f.OrderJudged)]
        assert [fact.market for fact in judged] == [order.market for order in asked]
        for fact in judged:
            assert (fact.verdict is Verdict.DENY) == bool(fact.findings)

    def pass_time(self, passed_s: float) -> None:
        self.now_ns += int(passed_s * SECOND_NS)

    def same(self, compute: Any) -> list[Fact]:
        """Compute on the state, and on a pickled copy in an odd context: facts and state come out equal."""
        status = guard_status(self.state, self.policy, self.now_ns)
        before = pickle.dumps(self.state)
        assert repr(guard_status(self.state, self.policy, self.now_ns)) == repr(status)
        assert pickle.dumps(self.state) == before, "asking for the status changed the state"
        copy: GuardState = pickle.loads(before)  # noqa: S301
        with localcontext(ODD_CONTEXT):
            copied: list[Fact] = compute(copy)
        facts: list[Fact] = compute(self.state)
        assert repr(copied) == repr(facts)
        assert plain(copy) == plain(self.state)
        self.before = pickle.loads(before)  # noqa: S301
        self.changed_as_told(facts)
        return facts

    def step(self, input_: i.Input) -> None:
        facts = self.same(lambda state: guard.step(state, input_, self.policy))
        before = self.before
        assert all(fact.at_ns <= self.now_ns for fact in facts if not isinstance(fact, f.DecisionMade))
        for market, was in before.markets.items():
            if repr(was.trusted) != repr(self.state.markets[market].trusted):
                assert trusts(facts, market), "values became trusted and no fact says so"
        self.holds(input_, facts)

    def decide(self, check: i.Check) -> None:
        facts = self.same(lambda state: guard.decide(state, check, self.policy))
        self.holds(check, facts)
        answers = [fact for fact in facts if isinstance(fact, f.DecisionMade | f.CheckRefused)]
        (answer,) = answers
        if isinstance(answer, f.CheckRefused):
            assert [fact for fact in facts if not isinstance(fact, f.HaltChanged | f.MarketReopened)] == answers
            return
        decision = answer.decision
        denying = [finding for finding in decision.findings if finding.severity >= Severity.DENY]
        assert (decision.verdict is Verdict.DENY) == any(not finding.shadow for finding in denying)
        assert (decision.shadow_verdict is Verdict.DENY) == bool(denying)
        if decision.verdict is Verdict.ALLOW and not answer.repeated:
            market = self.state.markets[check.market]
            assert not market.rejections
            # Judged before the check itself trips: a check that trips is denied.
            assert BreakerState.OPEN not in (market.breaker.state, self.state.global_breaker.state)

    def holds(self, input_: i.Input | i.Check | i.OrdersCheck, facts: Sequence[Fact]) -> None:
        assert invariants.broken_in(self.state) == []
        assert invariants.broken_by(input_, self.before, facts, self.policy) == []

    def changed_as_told(self, facts: Sequence[Fact]) -> None:
        """Every breaker is where the facts leave it, one generation a fact: no change without a fact."""
        told = [fact for fact in facts if isinstance(fact, f.BreakerChanged)]
        for was, now in breakers(self.before, self.state):
            own = [fact for fact in told if fact.scope == was.scope]
            chain = [was.state, *(fact.after for fact in own)]
            assert [fact.before for fact in own] == chain[:-1]
            assert (now.state, now.generation) == (chain[-1], was.generation + len(own))
            assert now.latched == (own[-1].latched if own else was.latched)
            assert not now.latched or now.state is BreakerState.OPEN


def plain(value: Any) -> Any:
    """Return a state as plain values, in which a NaN equals itself and a set has an order."""
    if is_dataclass(value):
        return [plain(getattr(value, part.name)) for part in fields(value) if part.compare]
    if isinstance(value, Mapping):
        return [(key, plain(part)) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return [plain(part) for part in value]
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def breakers(before: GuardState, after: GuardState) -> list[tuple[Any, Any]]:
    pairs = [(market.breaker, after.markets[name].breaker) for name, market in before.markets.items()]
    return [*pairs, (before.global_breaker, after.global_breaker)]


def trusts(facts: Sequence[Fact], market: str) -> bool:
    return any(
        isinstance(fact, f.ObservationReconsidered | f.Rebaselined)
        or (isinstance(fact, f.ObservationJudged) and fact.accepted and not fact.redelivered)
        for fact in facts
        if getattr(fact, "market", None) == market
    )


TestAnySequence = pytest.mark.system(AnySequence.TestCase)
TestAnySequence.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
