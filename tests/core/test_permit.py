"""Permits: what a permit allows, all rules together allow with no finding, and the guard is then in the same state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.own_clock import OwnClock
from circuit_guard.core.permit import Asked, admit, check_of, decision_of
from circuit_guard.core.rule import Judges, no_closure
from circuit_guard.core.rulebook import RULES
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS, AllowedCheck, BreakerState, CheckKind, Phase
from circuit_guard.journal.codec import decode_as, encode
from tests.core import hostile, world
from tests.core.test_invariants import plain
from tests.core.test_outlook import QUIET, Guard, Played, passed_ns, steps

BTC, ETH = world.BTC, world.ETH
kinds = st.sampled_from(list(CheckKind))
offsets = st.sampled_from(("0", "0", "0", "0", "0.00001", "-0.0001", "0.004", "-0.009", "0.011", "-0.08", "0.2"))
closures = st.tuples(hostile.markets, kinds, st.integers(0, 12), offsets, offsets, offsets, st.booleans())
Closure = tuple[str, CheckKind, int, str, str, str, bool]


def asked_of(played: Guard, number: int, closure: Closure) -> Asked:
    """Return a check near what is published: each value is off by a share of it."""
    market, kind, account, mark_off, execution_off, funding_off, executes = closure
    feed = played.feeds[market]
    mark, funding = feed.mark * (1 + Decimal(mark_off)), feed.funding * (1 + Decimal(funding_off))
    execution = feed.mark * (1 + Decimal(execution_off)) if executes else None
    text = "" if execution is None else str(execution)
    named = f"p{number}", f"a{account}", market
    return Asked(*named, kind, "-1.5", text, str(mark), str(funding), execution, mark, funding)


def question(asked: Asked, now_ns: int) -> i.Check:
    size, basis = Decimal(asked.size), i.Basis(asked.mark, asked.funding)
    named = asked.request_id, asked.account_id, asked.market
    return i.Check(now_ns, *named, size, asked.kind, asked.execution, basis)


def alike(state: GuardState) -> object:
    """Return a state as plain values, with what permits allowed as if all rules had answered it."""
    known = copy.deepcopy(state)
    permitted = [(check_of(one).content(), decision_of(one)) for one in known.allowed.values()]
    both = sorted((*permitted, *known.remembered.values()), key=lambda one: int(one[1].decision_id.split("-")[1], 16))
    known.remembered.clear()
    known.allowed.clear()
    return plain(known), [repr(answer) for answer in both]


small = st.sampled_from([Decimal(text) for text in ("0", "0", "0.0003", "-0.0004", "0.002", "-0.003")])
calm = st.tuples(st.just("honest"), hostile.markets, small)
soon_ns = st.sampled_from((0, 1, SECOND_NS // 2, SECOND_NS, SECOND_NS, 2 * SECOND_NS))
moments = st.one_of(*(st.tuples(soon_ns, calm) for _ in range(4)), st.tuples(passed_ns, steps))


@settings(QUIET, max_examples=40)
@given(played=st.lists(st.tuples(moments, st.lists(closures, min_size=1, max_size=4)), min_size=3, max_size=25))
def test_permit_when_it_allows_then_all_rules_do_with_no_finding_and_leave_the_same_state(
    played: list[tuple[Played, list[Closure]]],
) -> None:
    permitting, judging = Guard(), Guard()
    number = 0
    for (step_ns, step), asked_for in played:
        for each in (permitting, judging):
            each.now_ns += step_ns
        assert [repr(fact) for fact in permitting.play(*step)] == [repr(fact) for fact in judging.play(*step)]
        for closure in asked_for:
            number += 1
            asked, now_ns = asked_of(permitting, number, closure), permitting.now_ns
            allowed = admit(permitting.state, permitting.policy, asked, now_ns)
            made = guard.decide(judging.state, question(asked, now_ns), judging.policy)
            if allowed is None:
                facts = guard.decide(permitting.state, question(asked, now_ns), permitting.policy)
                assert [repr(fact) for fact in facts] == [repr(fact) for fact in made]
            else:
                assert made == [DecisionMade(now_ns, decision_of(allowed))]
    assert alike(permitting.state) == alike(judging.state)


def near(market: str = BTC, number: int = 1, kind: CheckKind = CheckKind.LIQUIDATION) -> Closure:
    return market, kind, number, "0", "0", "0", True


def allowed(played: Guard, number: int = 1, closure: Closure | None = None) -> AllowedCheck | None:
    return admit(played.state, played.policy, asked_of(played, number, closure or near()), played.now_ns)


@pytest.fixture
def opened() -> Guard:
    """Return a guard whose markets are OPEN, with a second of honest data every second for a minute."""
    played = Guard()
    for _ in range(60):
        played.now_ns += SECOND_NS
        for market in (BTC, ETH):
            played.play("honest", market, Decimal(0))
    assert played.state.markets[BTC].phase.effective() is Phase.OPEN
    return played


def test_permit_when_the_market_is_calm_then_it_allows_and_says_what_was_asked(opened: Guard) -> None:
    found = allowed(opened)

    assert found is not None
    assert (found.request_id, found.account_id, found.market, found.phase) == ("p1", "a1", BTC, Phase.OPEN)
    assert decision_of(found).breaker is BreakerState.CLOSED


def test_permit_when_a_value_is_corrupt_then_it_does_not_allow(opened: Guard) -> None:
    asked = asked_of(opened, 1, near())

    assert admit(opened.state, opened.policy, asked._replace(funding=Decimal(0)), opened.now_ns) is None
    assert admit(opened.state, opened.policy, asked._replace(mark=asked.mark * 2), opened.now_ns) is None
    assert admit(opened.state, opened.policy, asked._replace(funding=None, funding_index=""), opened.now_ns) is None


def test_permit_when_the_next_observation_is_corrupt_then_it_allows_nothing(opened: Guard) -> None:
    assert allowed(opened, 1) is not None
    feed = opened.feeds[BTC]
    opened.step(feed.observation(opened.now_ns, funding_index=Decimal(0)))

    assert allowed(opened, 2) is None


def halt(played: Guard) -> None:
    played.step(i.HaltCommand(played.now_ns, (), "alice", "a test", None))


def halt_market(played: Guard) -> None:
    played.step(i.HaltCommand(played.now_ns, (BTC,), "alice", "a test", None))


def reset_other_market(played: Guard) -> None:
    """Latch both markets by what is published of them: GLOBAL latches with the second."""
    for market in (ETH, BTC):
        played.step(played.feeds[market].observation(played.now_ns, funding_index=Decimal(0)))


def latch_global(played: Guard) -> None:
    played.state.global_breaker.state = BreakerState.OPEN


def lose_clock(played: Guard) -> None:
    played.state.clock = OwnClock(off_ns=10 * SECOND_NS)


def restart(played: Guard) -> None:
    played.step(i.Restarted(played.now_ns))


def fall_silent(played: Guard) -> None:
    played.now_ns += 31 * SECOND_NS


def post_only_denied(played: Guard) -> None:
    given = {"band.post_only_closures": "denied"}
    own = {name: world.changed(part, given) for name, part in played.policy.markets.items()}
    played.policy = replace(played.policy, markets=own)
    played.step(i.PhaseCommand(played.now_ns, Phase.POST_ONLY, (BTC,)))


@pytest.mark.parametrize(
    "what", [halt, halt_market, reset_other_market, latch_global, lose_clock, restart, fall_silent, post_only_denied]
)
def test_permit_when_closures_are_held_then_it_allows_nothing(opened: Guard, what: Callable[[Guard], None]) -> None:
    assert allowed(opened, 1) is not None

    what(opened)

    assert allowed(opened, 2) is None


def test_permit_when_an_account_looks_healthy_then_nothing_is_permitted_until_that_is_settled(opened: Guard) -> None:
    feed = opened.feeds[BTC]
    held = (i.Position(BTC, Decimal(2), feed.mark, feed.funding, Decimal("0.01")),)
    check = replace(question(asked_of(opened, 1, near()), opened.now_ns), account=i.Account(Decimal(90000), held))

    guard.decide(opened.state, check, opened.policy)

    assert allowed(opened, 2) is None


def test_permit_when_as_many_accounts_are_asked_about_as_make_a_burst_then_the_rules_judge(opened: Guard) -> None:
    given = {"burst.accounts": "5"}
    own = {name: world.changed(part, given) for name, part in opened.policy.markets.items()}
    opened.policy = replace(opened.policy, markets=own)

    found = [allowed(opened, number, near(number=number)) for number in range(1, 7)]

    assert [one is not None for one in found] == [True, True, True, True, False, False]


def test_permit_when_asked_again_then_the_first_answer_counts(opened: Guard) -> None:
    first = allowed(opened, 1)
    assert first is not None
    again = question(asked_of(opened, 1, near()), opened.now_ns)

    assert allowed(opened, 1) is None
    assert guard.decide(opened.state, again, opened.policy) == [
        DecisionMade(opened.now_ns, decision_of(first), repeated=True)
    ]
    other = replace(again, size=Decimal(-2))
    [refused] = guard.decide(opened.state, other, opened.policy)
    assert refused.differing == "size"  # type: ignore[union-attr]


def test_permit_when_many_were_allowed_then_no_more_are_remembered_than_the_policy_says(opened: Guard) -> None:
    opened.policy = replace(opened.policy, remembered_requests_max=3)
    guard.decide(opened.state, question(asked_of(opened, 0, near()), opened.now_ns), opened.policy)

    for number in range(1, 6):
        assert allowed(opened, number) is not None

    assert list(opened.state.allowed) == ["p3", "p4", "p5"]
    assert not opened.state.remembered


def test_state_when_permits_allowed_then_a_checkpoint_has_it(opened: Guard) -> None:
    assert allowed(opened, 1) is not None

    found = decode_as(GuardState, encode(opened.state))

    assert found.allowed == opened.state.allowed


def test_rules_when_they_judge_closures_then_each_says_what_it_permits() -> None:
    silent = [
        rule.name
        for rule in RULES.values()
        if rule.judges in (Judges.CLOSURES, Judges.BOTH) and rule.permits is no_closure
    ]

    assert silent == []
