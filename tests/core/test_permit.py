"""Permits: what a permit allows, all rules together allow with no finding, and the guard is then in the same state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core import policy as p
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.own_clock import OwnClock
from circuit_guard.core.permit import Asked, admit, check_of, decision_of
from circuit_guard.core.progress import view_of
from circuit_guard.core.rule import Judges, no_closure
from circuit_guard.core.rulebook import RULES
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.settlement import Steps
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, AllowedCheck, BreakerState, CheckKind, Phase
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


@settings(QUIET, max_examples=150)
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


def test_permit_when_an_account_looks_healthy_then_it_ends_when_that_one_is_to_be_looked_at_again(
    opened: Guard,
) -> None:
    feed, confirm_ns = opened.feeds[BTC], ExplainedLossParameters().confirm_after_ns
    held = (i.Position(BTC, Decimal(2), feed.mark, feed.funding, Decimal("0.01")),)
    healthy = replace(question(asked_of(opened, 1, near()), opened.now_ns), account=i.Account(Decimal(90000), held))
    guard.decide(opened.state, healthy, opened.policy)

    before, due_ns = allowed(opened, 2), opened.now_ns + confirm_ns
    while opened.now_ns < due_ns:
        opened.now_ns += SECOND_NS
        opened.play("honest", BTC, Decimal(0))
    due, judged = allowed(opened, 3), question(asked_of(opened, 3, near()), opened.now_ns)
    guard.decide(opened.state, judged, opened.policy)

    assert before is not None
    assert due is None, "all rules look at the account again with this check"
    assert allowed(opened, 4) is not None


def test_permit_when_some_callers_compute_with_unpublished_values_then_all_others_keep_it(opened: Guard) -> None:
    wrong = (*near()[:3], "0.03", "0", "0", True)

    for number in range(0, 40, 2):
        assert allowed(opened, number, wrong) is None
        guard.decide(opened.state, question(asked_of(opened, number, wrong), opened.now_ns), opened.policy)
        assert allowed(opened, number + 1) is not None
        opened.now_ns += SECOND_NS // 10


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


HOUR_NS = 3600 * SECOND_NS
near_hours_ns = st.builds(
    lambda hour, beside_s, beside_ns: hour * HOUR_NS + beside_s * SECOND_NS + beside_ns,
    st.integers(0, 20),
    st.sampled_from((-70, -60, -30, 0, 1, 30, 60, 70)),
    st.sampled_from((-1, 0, 0, 1)),
)


@settings(QUIET, max_examples=200)
@given(
    stands=near_hours_ns, wide_ns=st.sampled_from((0, 60 * SECOND_NS, HOUR_NS)), moved=near_hours_ns, now=near_hours_ns
)
def test_permit_when_funding_is_settled_at_instants_then_its_interval_is_the_envelope_until_it_ends(
    stands: int, wide_ns: int, moved: int, now: int
) -> None:
    played = Guard()
    given = {"funding.accrual": "stepwise", "funding.period": "3600s", "funding.settle_tolerance": "60s"}
    policy = world.changed(played.policy.markets[BTC], given)
    market, start_ns, margin_ns = played.state.markets[BTC], world.MIDNIGHT_NS, 30 * SECOND_NS
    now_ns = start_ns + now
    market.funding.steps = Steps(
        start_ns + stands,
        start_ns + stands + wide_ns,
        Decimal("-0.5"),
        Decimal("0.7"),
        before=Decimal("20511.0"),
        moved_ns=start_ns + moved,
    )
    with localcontext(ARITHMETIC):
        interval, until_ns = view_of(market, policy, now_ns).funding_always(policy, margin_ns)
        assert until_ns > now_ns
        for at_ns in (now_ns, (now_ns + until_ns) // 2, until_ns - 1):
            assert view_of(market, policy, at_ns).funding_envelope(policy, margin_ns) == interval


@pytest.mark.parametrize("passed_s", [0, 0.001, 1, 29, 31, 100, 4000])
@pytest.mark.parametrize("gap_mode", ["accrue", "freeze"])
def test_permit_when_funding_accrues_then_its_interval_is_inside_the_envelope_at_any_time(
    opened: Guard, passed_s: float, gap_mode: str
) -> None:
    policy = world.changed(opened.policy.markets[BTC], {"funding.gap_mode": gap_mode})
    market, margin_ns = opened.state.markets[BTC], 30 * SECOND_NS
    with localcontext(ARITHMETIC):
        interval, _ = view_of(market, policy, opened.now_ns).funding_always(policy, margin_ns)
        later = view_of(market, policy, opened.now_ns + int(passed_s * SECOND_NS)).funding_envelope(policy, margin_ns)

    assert interval is not None
    assert later is not None
    assert interval.low in later
    assert interval.high in later


def test_permit_when_the_phase_is_post_only_then_it_is_no_wider_than_the_band(opened: Guard) -> None:
    opened.step(i.PhaseCommand(opened.now_ns, Phase.POST_ONLY, (BTC,)))
    near_band, beyond = (BTC, CheckKind.TRIGGER, 1, "0", "0.0004", "0", True), "0.0006"

    inside = allowed(opened, 1, near_band)

    assert inside is not None
    assert inside.phase is Phase.POST_ONLY
    assert allowed(opened, 2, (BTC, CheckKind.TRIGGER, 1, "0", beyond, "0", True)) is None


def test_permit_when_a_change_of_the_policy_is_due_then_it_ends_at_that_second(opened: Guard) -> None:
    due_ns = opened.now_ns + 2 * SECOND_NS
    changed = p.Change(due_ns, world.changed(opened.policy.markets[BTC], {"basis.mark_share": "0.000001"}).groups)
    own = {name: replace(part, changes=(changed,)) for name, part in opened.policy.markets.items()}
    opened.policy = replace(opened.policy, markets=own)
    off = (BTC, CheckKind.TRIGGER, 1, "0.0001", "0", "0", True)

    before = allowed(opened, 1, off)
    opened.now_ns = due_ns

    assert before is not None
    assert allowed(opened, 2, off) is None
    assert allowed(opened, 3) is not None
