"""What `policy explain` says is what the rules do: each limit is held against them from both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from circuit_guard.config.policy import parse_policy
from circuit_guard.core.coverage import Passing, delays, passing
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.facts import DecisionMade, ObservationJudged
from circuit_guard.core.guard import decide, new_state, step
from circuit_guard.core.inputs import Account, Basis, Check, Position
from circuit_guard.core.policy import Policy
from circuit_guard.core.rules.divergence import MARK_DIVERGENCE, MOVES, mark_limits
from circuit_guard.core.rules.funding_continuity import (
    FUNDING_JUMP,
    FUNDING_STEP_UNPREDICTED,
    SPANS_S,
    funding_drift,
    funding_limits,
)
from circuit_guard.core.rules.reference_quorum import wrong_references
from circuit_guard.core.rules.unexplained_loss import account_limit
from circuit_guard.core.types import SECOND_NS, BreakerState, Severity, Verdict
from tests.core.world import BTC, MIDNIGHT_NS, Feed

TEXT = f"""
[global_breaker]
latched_markets_min = 1
latched_share_min = 1
[classes.default]
[markets.{BTC}]
"""
PRICE = Decimal(100)
TRUE_INDEX = Decimal(1000)
INSIDE, OUTSIDE = Decimal("0.999"), Decimal("1.001")
ZERO = Decimal(0)


def policy_of(changes: str = "") -> Policy:
    return parse_policy(TEXT + changes, "policy.toml")


@dataclass
class World:
    """A guard that knows one market, warm, whose price is 100 everywhere."""

    policy: Policy
    given: dict[str, Any] = field(default_factory=dict)
    """What each of its first observations gives."""

    def __post_init__(self) -> None:
        self.now_ns = MIDNIGHT_NS
        self.state = new_state(self.policy, self.now_ns)
        self.feed = Feed(BTC, PRICE, TRUE_INDEX, rate=ZERO)
        self.feed.references = [PRICE] * 3
        for _ in range(40):
            self.observe(1, **self.given)

    def observe(self, after_s: int, reference: Decimal | None = None, **given: Any) -> list[tuple[str, Severity]]:
        """Publish what the venues say and then an observation; return what was found."""
        self.now_ns += after_s * SECOND_NS
        for quote in self.feed.quotes(self.now_ns, [reference] * 3 if reference else ()):
            step(self.state, quote, self.policy)
        facts = step(self.state, self.feed.observation(self.now_ns, **given), self.policy)
        return [(f.reason, f.severity) for fact in facts if isinstance(fact, ObservationJudged) for f in fact.findings]

    def pass_time(self, seconds: int) -> None:
        """Let time pass in which only the venues publish."""
        self.now_ns += seconds * SECOND_NS
        for quote in self.feed.quotes(self.now_ns):
            step(self.state, quote, self.policy)

    def check(self, mark: Decimal, account: Account) -> Verdict:
        """Ask for a closure that was computed with this mark price."""
        basis = Basis(mark, TRUE_INDEX)
        asked = Check(self.now_ns, f"{mark}", "a", BTC, Decimal(-1), basis=basis, account=account)
        [made] = [fact for fact in decide(self.state, asked, self.policy) if isinstance(fact, DecisionMade)]
        return made.decision.verdict

    @property
    def opened(self) -> bool:
        return self.state.markets[BTC].breaker.state is BreakerState.OPEN

    @property
    def latched(self) -> bool:
        return self.state.markets[BTC].breaker.latched


def found(findings: list[tuple[str, Severity]], reason: str) -> bool:
    return any(name == reason for name, _ in findings)


@pytest.mark.parametrize("number", range(len(SPANS_S)))
@pytest.mark.parametrize("sign", [1, -1])
def test_funding_step_when_within_its_limit_then_it_passes_and_beyond_it_latches(number: int, sign: int) -> None:
    policy = policy_of()
    limit = funding_limits(policy.markets[BTC])[number]
    for share, jumps in ((limit.step * INSIDE, False), (limit.step * OUTSIDE, True)):
        world = World(policy)
        world.observe(1, funding_rate=None, funding_premium=None)
        index = TRUE_INDEX + sign * share * PRICE
        findings = world.observe(SPANS_S[number], funding_index=index, funding_rate=None, funding_premium=None)
        assert found(findings, FUNDING_JUMP) is jumps
        assert world.latched is jumps


def test_funding_step_when_a_premium_of_zero_predicts_it_then_its_own_limit_denies() -> None:
    policy = policy_of()
    for limit in funding_limits(policy.markets[BTC]):
        if limit.unpredicted is None:
            assert limit.elapsed_ns > 30 * SECOND_NS
            continue
        for share, denied in ((limit.unpredicted * INSIDE, False), (limit.unpredicted * OUTSIDE, True)):
            world = World(policy)
            index = TRUE_INDEX + share * PRICE
            world.observe(limit.elapsed_ns // SECOND_NS)  # at this cadence, no observation is missing
            findings = world.observe(limit.elapsed_ns // SECOND_NS, funding_index=index)
            assert found(findings, FUNDING_STEP_UNPREDICTED) is denied


def test_funding_error_is_the_step_and_what_the_truth_can_have_moved() -> None:
    [limit, *_] = funding_limits(policy_of("funding = { rate_max = '0.02', slack = 2 }\n").markets[BTC])
    step_share = Decimal(2) * Decimal("0.02") * 7 / 28_800
    assert limit.step == pytest.approx(step_share + Decimal("1e-9"))
    assert limit.error - limit.step == pytest.approx(Decimal("0.02") * 5 / 28_800)


@pytest.mark.parametrize("premium", [None, "zero", "cap"])
def test_funding_drift_when_each_step_is_just_inside_then_all_of_them_pass(premium: str | None) -> None:
    """In an hour the index and the truth part by as much as said, each step passing, and by no more."""
    policy = policy_of("funding = { basis_share_per_h = '1' }\n")  # the premium is true, mark and index price are not
    rule, drift = policy.markets[BTC].of(FundingParameters), funding_drift(policy.markets[BTC])
    accrued = rule.rate_max / 2_880 * PRICE
    rate = {None: None, "zero": ZERO, "cap": rule.rate_max}[premium]
    said = {None: drift.unpublished, "zero": drift.premium_zero, "cap": drift.premium_at_cap}[premium]
    assert said is not None
    # Without a premium the truth goes the other way at the cap; with one it goes where the premium says.
    truth = {None: -accrued, "zero": ZERO, "cap": accrued}[premium]
    beyond = Decimal("1.02")  # the anchor lies 40 s before the hour, where the index was seen first
    for share, passes in ((INSIDE, True), (beyond, False)):
        given = {"funding_rate": rate, "funding_premium": None if rate is None else rate * PRICE}
        world, index = World(policy, {} if rate else given), TRUE_INDEX
        denied = False
        for _ in range(360):
            index += truth + said * share / 360 * PRICE
            denied |= any(s >= Severity.DENY for _, s in world.observe(10, funding_index=index, **given))
        assert denied is not passes


@pytest.mark.parametrize("number", range(len(MOVES)))
def test_mark_price_when_within_its_limits_then_it_passes_and_beyond_them_it_is_denied_and_trips(number: int) -> None:
    policy = policy_of()
    limit = mark_limits(policy.markets[BTC])[number]
    low = PRICE * (1 - limit.moved)
    for share, diverges, trips in (
        (limit.diverges * INSIDE, False, False),
        (limit.diverges * OUTSIDE, True, False),
        (limit.trips_at_once * INSIDE, True, False),
        (limit.trips_at_once * OUTSIDE, True, True),
    ):
        world = World(policy)
        for price in (low, low, PRICE):
            world.observe(3, reference=price, mark_price=price)
        findings = world.observe(3, reference=PRICE, mark_price=PRICE * (1 + share))
        assert found(findings, MARK_DIVERGENCE) is diverges
        assert world.opened is trips


def test_account_when_its_surplus_is_over_the_limit_then_no_mark_price_closes_it() -> None:
    policy = policy_of()
    limit = account_limit(policy.markets[BTC])
    assert limit is not None
    accrued = Decimal("0.05") * 15 / 28_800 * PRICE
    for share, answers in ((OUTSIDE, {Verdict.DENY}), (INSIDE, {Verdict.ALLOW, Verdict.DENY})):
        world = World(policy)
        world.pass_time(15)
        # The truth has moved in the account's favour, as far as it can, since it was trusted.
        long = Position(BTC, Decimal(1), PRICE, TRUE_INDEX, maintenance_margin_fraction=ZERO)
        account = Account(limit * share * PRICE - accrued, (long,))
        marks = [PRICE * (1 - Decimal(n) / 2000) for n in range(20)]
        assert {world.check(mark, account) for mark in marks} == answers


NEVER = None


@dataclass(frozen=True)
class Kind:
    """One row of the table of delays, and an observation of each second that is wrong in that way."""

    what: str
    wrong: Callable[[int], dict[str, Any]]
    starts_s: int = 0
    """The first second, at which nothing is wrong yet where it is below zero."""


def slow_walk(second: int) -> dict[str, Any]:
    """Let the venues rise by 2 % in 30 s all the time, and from second 0 on the mark price be 3 % ahead of them."""
    reference = PRICE + Decimal(2 * (second + 40)) / 30
    mark = reference * (1 if second < 0 else Decimal("1.03"))
    return {"reference": reference, "mark_price": mark, "index_price": reference}


KINDS = [
    Kind("a funding index that jumps", lambda _: {"funding_index": ZERO}),
    Kind("a value that is no number, or an impossible price", lambda _: {"mark_price": ZERO}),
    Kind("two writers, or a feed that goes back", lambda _: {"epoch": 0}),
    Kind(
        "a funding index that its premium does not predict",
        lambda second: {"funding_index": TRUE_INDEX + Decimal("0.00010001") * (second + 1)},
    ),
    Kind("a funding rate over 5 %", lambda _: {"funding_rate": Decimal("0.051")}),
    Kind("a mark price more than 1 %", lambda second: {"mark_price": Decimal("101.1") + Decimal(second) / 10_000}),
    Kind("a mark price more than 20 %", lambda _: {"mark_price": Decimal("120.1")}),
    Kind("a mark price that stands still", lambda _: {"reference": Decimal("100.3")}),
    Kind("a mark price that the reference price never comes within 1 %", slow_walk, -40),
    Kind("an index price more than 25 % and 3 widths", lambda _: {"index_price": Decimal("74.9")}),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.what)
def test_delay_when_its_kind_lasts_then_it_is_denied_and_trips_as_soon_as_said(kind: Kind) -> None:
    policy = policy_of()
    [delay] = [row for _, row in delays(policy.markets[BTC]) if row.what.startswith(kind.what)]
    world, denied_s, opened_s = World(policy), NEVER, NEVER
    for second in range(kind.starts_s, 130):
        findings = world.observe(1, **kind.wrong(second))
        if denied_s is NEVER and any(severity >= Severity.DENY for _, severity in findings):
            denied_s = second
        if opened_s is NEVER and world.opened:
            opened_s = second
            break
    assert denied_s == (delay.denied_ns or 0) // SECOND_NS
    assert opened_s == (delay.trips_ns or 0) // SECOND_NS
    assert world.latched is delay.latches


def test_delays_when_rules_are_off_then_they_never_come() -> None:
    text = "explained_loss.deny = false\nburst.accounts = 0\nslow_walk.trip_after_s = 0\n"
    off = {rule for rule, row in delays(policy_of(text).markets[BTC]) if row.denied_ns is None and row.trips_ns is None}
    assert off == {"unexplained_loss", "unexplained_burst", "slow_walk"}


def limits_of(changes: str) -> dict[str, Passing]:
    return {limit.what: limit for limit in passing(policy_of(changes).markets[BTC])}


def test_unseen_when_no_account_is_tested_then_checks_with_one_are_no_better() -> None:
    for text in ("explained_loss.deny = false\n", 'shadow_rules = ["unexplained_loss"]\n'):
        found = limits_of(text)
        assert all(limit.with_account == limit.without_account for limit in found.values())
        assert found["mark_price"].with_account == Decimal("0.01")
        assert found["engine_sums"].with_account is None


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ('shadow_rules = ["funding_continuity"]', "published_funding_index"),
        ('shadow_rules = ["basis"]', "callers_funding_index"),
        ("basis.required = false", "callers_funding_index"),
        ('shadow_rules = ["divergence"]', "mark_price"),
        ('shadow_rules = ["divergence"]', "execution_price"),
        ('shadow_rules = ["band", "divergence"]', "execution_price_in_post_only"),
    ],
)
def test_unseen_when_its_rule_enforces_nothing_then_any_size_passes(changes: str, what: str) -> None:
    assert limits_of(changes + "\n")[what].without_account is None
    assert limits_of("")[what].without_account is not None


def test_unseen_when_a_caller_computes_with_another_index_then_the_test_of_its_account_bounds_that() -> None:
    found = limits_of("basis.required = false\n")["callers_funding_index"]
    assert found.with_account == account_limit(policy_of().markets[BTC])


def test_unseen_when_closures_are_denied_in_a_phase_then_nothing_passes() -> None:
    found = limits_of('band.post_only_closures = "denied"\n')
    assert found["execution_price_in_post_only"].without_account == 0
    assert found["execution_price_in_recovering"].without_account == Decimal("0.0005")


def test_unseen_when_explained_closures_pass_then_recovering_has_no_band_for_them() -> None:
    found = limits_of('explained_loss.halted = "allow_explained"\n')["execution_price_in_recovering"]
    assert (found.without_account, found.with_account) == (Decimal("0.0005"), Decimal("0.10"))
    denied = 'explained_loss.halted = "allow_explained"\nband.recovering_closures = "denied"\n'
    assert limits_of(denied)["execution_price_in_recovering"].with_account == 0


@pytest.mark.parametrize(("quorum", "wrong"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_references_when_so_many_are_wrong_alike_then_the_median_is_theirs_and_not_with_one_less(
    quorum: int, wrong: int
) -> None:
    policy = policy_of(f"references.quorum = {quorum}\n")
    assert wrong_references(policy.markets[BTC]) == wrong
    for corrupt, moved in ((wrong, True), (wrong - 1, False)):
        world = World(policy)
        world.now_ns += 20 * SECOND_NS
        prices = [PRICE * 1000] * corrupt + [PRICE] * (quorum - corrupt)
        for quote in world.feed.quotes(world.now_ns, prices):
            step(world.state, quote, policy)
        view = world.state.markets[BTC].references.view(world.now_ns, policy.markets[BTC])
        assert view.price is not None
        assert (view.price > 2 * PRICE) is moved
