"""How far a published funding index can be moved away from the true one while every observation passes.

The search knows the policy. It cuts some hours into pieces and lets the index run at a speed of its own in each; what
runs further in one hour without one denial is kept, and changed again. `-s` prints the best in money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

import pytest

from circuit_guard.core.coverage import taken_in_an_hour
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rules.funding_continuity import funding_drift, funding_limits
from tests.adversary.exchange import CLASSES, PERIOD_S, Books, Exchange, Held, shipped

pytestmark = pytest.mark.system

MARKET, PRICE, INDEX = "ALT-USD-PERP", 100.0, 20.0
HOUR_S, PIECE_S, PIECES = 3600, 600, 12
WARM_S = 60
ROUNDS = 1
SAYS = ("true premium", "premium and rate lie together", "nothing published")
REQUIRED = {"true premium": 0.0005, "premium and rate lie together": 0.001, "nothing published": 0.0094}
"""Shares of the price per hour that the default class has to see beyond."""

Plan = tuple[float, ...]
"""The speed of each piece, as a multiple of what is printed for an hour."""


def rules(market_class: str) -> MarketPolicy:
    return shipped({MARKET: market_class}).markets[MARKET]


def printed(market_class: str, says: str) -> float:
    """Return what `policy explain` prints for an hour, as a share of the price."""
    taken = {one.what: float(one.share or 0) for one in taken_in_an_hour(rules(market_class))}
    if says == "nothing published":  # the figure printed adds that the truth may go the other way
        cap = rules(market_class).of(FundingParameters).rate_max
        return taken["funding_unpublished"] - float(cap) * HOUR_S / PERIOD_S
    if says == "true premium":  # the figure printed is that of a premium at the cap; here it is zero
        return float(funding_drift(rules(market_class)).premium_zero)
    return taken["funding_premium_wrong"]


@dataclass
class Run:
    """How far the index got before it was seen, if it was: pairs of time and drift as a share of the price."""

    path: list[tuple[float, float]]
    seen: bool

    def worst_hour(self) -> float:
        """Return the furthest it went within an hour."""
        worst, first = 0.0, 0
        for at, drift in self.path:
            while self.path[first][0] < at - HOUR_S:
                first += 1
            worst = max(worst, drift - self.path[first][1])
        return worst


def run(
    market_class: str,
    says: str,
    speed: Callable[[float], float],
    *,
    step_s: float,
    length_s: float,
    price: float = PRICE,
) -> Run:
    """Publish every `step_s` an index that drifts at so much of the price per hour. Mark and index price are true."""
    exchange, index = Exchange(shipped({MARKET: market_class})), INDEX
    exchange.warm(MARKET, price, index, WARM_S, premium=None if says == "nothing published" else 0.0)
    started, referred = exchange.now - 1, 0.0
    cap = float(rules(market_class).of(FundingParameters).rate_max) * price
    path = [(0.0, 0.0)]
    exchange.now = started + step_s
    while exchange.now - started <= length_s:
        drift = speed(exchange.now - started) * price * step_s / HOUR_S
        index += drift
        premium = None
        if says != "nothing published":
            premium = 0.0 if says == "true premium" else max(-cap, min(cap, drift * PERIOD_S / step_s))
        if exchange.now - referred >= 9:
            exchange.venues(MARKET, price)
            referred = exchange.now
        rate = None if premium is None else premium / price
        if not exchange.publish(MARKET, price, index, premium=premium, rate=rate):
            return Run(path, True)
        path.append((exchange.now - started, (index - INDEX) / price))
        exchange.now += step_s
    return Run(path, False)


def tried(market_class: str, says: str, plan: Plan, step_s: float) -> float:
    """Return how far a plan gets in its worst hour, whether it is seen after that or not."""
    unit = printed(market_class, says)
    length_s = PIECES * PIECE_S
    found = run(
        market_class,
        says,
        lambda at: unit * plan[min(int((at - 0.001) // PIECE_S), PIECES - 1)],
        step_s=step_s,
        length_s=length_s,
    )
    return found.worst_hour()


SHAPES: tuple[Plan, ...] = (
    (0.99,) * PIECES,
    (0.0,) * 5 + (5.9,) + (0.99,) * 6,
    (0.0,) * 5 + (1.9,) + (0.99,) * 6,
    (0.0,) * 5 + (1.0,) * 7,
    (0.0,) * 10 + (5.0,) * 2,
)
"""Steadily; quietly, and all that has been saved at once, early and late in the hour."""


@cache
def worst(market_class: str, says: str, step_s: float = 10.0, rounds: int = ROUNDS) -> tuple[float, Plan]:
    """Climb from the best of the shapes: change a few pieces, and keep what gets further."""
    random = Random(f"{market_class} {says}")  # noqa: S311 - repeatable, not secret
    best = max((tried(market_class, says, plan, step_s), plan) for plan in SHAPES)
    for _ in range(rounds):
        plan = list(best[1])
        for piece in random.sample(range(PIECES), 2):
            plan[piece] = max(0.0, plan[piece] + random.choice((-0.5, -0.05, 0.03, 0.1, 0.5)))
        best = max(best, (tried(market_class, says, tuple(plan), step_s), tuple(plan)))
    print(f"{market_class}, {says}, every {step_s:g} s: {best[0]:.4%} of notional per hour unseen, {best[1]}")  # noqa: T201 - for -s
    return best


def steadily(market_class: str, says: str, step_s: float, length_s: float) -> float:
    """Return the highest steady speed, as a multiple of what is printed, that is not seen in so long."""
    low, high = 0.0, 4.0
    for _ in range(5):
        middle = (low + high) / 2
        speed = middle * printed(market_class, says)
        if run(market_class, says, lambda _, speed=speed: speed, step_s=step_s, length_s=length_s).seen:  # type: ignore[misc]
            high = middle
        else:
            low = middle
    return low


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("market_class", CLASSES)
def test_drift_when_it_is_steady_for_an_hour_then_it_is_at_most_what_is_printed(market_class: str, says: str) -> None:
    hourly = steadily(market_class, says, 10.0, HOUR_S) * printed(market_class, says)
    print(f"{market_class}, {says}, steadily: {hourly:.4%} of notional per hour unseen")  # noqa: T201 - for -s
    assert hourly <= printed(market_class, says) * 1.03  # the anchor is the minute before the hour


CADENCES = ((10.0, 1.1), (1.0, 1.5), (0.1, 10.0))
"""Seconds between two observations, and how many times too fast the index runs there."""


@pytest.mark.parametrize(("step_s", "times"), CADENCES, ids=["0.1 Hz", "1 Hz", "10 Hz"])
@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("market_class", CLASSES)
def test_drift_when_it_is_faster_than_printed_then_it_is_seen_before_it_got_that_far(
    market_class: str, says: str, step_s: float, times: float
) -> None:
    speed = times * printed(market_class, says)
    found = run(market_class, says, lambda _: speed, step_s=step_s, length_s=HOUR_S)
    assert found.seen
    assert found.worst_hour() <= printed(market_class, says) * 1.03


@pytest.mark.parametrize("says", SAYS)
def test_drift_when_it_is_steady_in_the_default_class_then_it_is_at_most_what_is_required(says: str) -> None:
    assert printed("default", says) <= REQUIRED[says]


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("market_class", ["default", "major"])
def test_drift_when_a_quiet_hour_comes_before_then_it_is_at_most_what_is_printed(market_class: str, says: str) -> None:
    assert worst(market_class, says)[0] <= printed(market_class, says) * 1.1  # two quiet minutes run too


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step_s", [1.0, 10.0])
@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("market_class", CLASSES)
def test_drift_when_it_is_searched_for_long_then_it_is_at_most_what_is_printed(
    market_class: str, says: str, step_s: float
) -> None:
    assert worst(market_class, says, step_s, 20)[0] <= printed(market_class, says) * 1.1


SLOWER_THAN_A_GAP = pytest.mark.xfail(
    strict=True,
    reason="funding.gap_s: the longer a gap the more it leaves open, up to all that funding can reach; published so "
    "seldom, an index drifts by 0.1 % of the price in an hour every 60 s, 0.4 % every 150 s, 0.93 % every 330 s",
)


@pytest.mark.parametrize(
    ("every_s", "hourly"),
    [
        (31, 0.0005),
        pytest.param(60, 0.001, marks=SLOWER_THAN_A_GAP),
        pytest.param(150, 0.0039, marks=SLOWER_THAN_A_GAP),
        pytest.param(330, 0.0093, marks=SLOWER_THAN_A_GAP),
    ],
)
def test_drift_when_a_true_premium_is_published_seldom_then_no_wrongful_closure_is_allowed(
    every_s: int, hourly: float
) -> None:
    exchange, index, wrongful = Exchange(shipped({MARKET: "default"})), INDEX, 0
    exchange.warm(MARKET, PRICE, index, premium=0.0)
    for _ in range(HOUR_S // every_s):
        exchange.now += every_s - 1
        index += hourly * PRICE * every_s / HOUR_S
        exchange.honest(MARKET, PRICE, index, premium=0.0)
        exchange.now += 1
        exchange.venues(MARKET, PRICE)
        # A long that is healthy at the true index by half of what the wrong one takes from it.
        loss = index - INDEX
        books = Books(PRICE * 0.005 + loss / 2, (Held(MARKET, 1, PRICE, INDEX),))
        if loss / PRICE > printed("default", SAYS[0]):
            wrongful += exchange.ask(MARKET, -1, PRICE, index, books).allowed
    assert wrongful == 0


@pytest.mark.parametrize("share", [0.8, 1.0], ids=["near the cap", "at the cap"])
@pytest.mark.parametrize("step_s", [10.0, 1.0, 0.1], ids=["0.1 Hz", "1 Hz", "10 Hz"])
@pytest.mark.parametrize("market_class", CLASSES)
def test_sign_when_it_is_wrong_at_the_cap_then_it_is_seen_within_a_minute(
    market_class: str, step_s: float, share: float
) -> None:
    exchange, index = Exchange(shipped({MARKET: market_class})), INDEX
    premium = share * float(rules(market_class).of(FundingParameters).rate_max) * PRICE
    for _ in range(60):
        exchange.honest(MARKET, PRICE, index, premium=premium)
        index += premium / PERIOD_S
        exchange.now += 1
    started = exchange.now
    index -= premium / PERIOD_S  # that of now, and no further
    exchange.now += step_s - 1
    while True:
        index -= premium * step_s / PERIOD_S
        exchange.venues(MARKET, PRICE)
        if not exchange.publish(MARKET, PRICE, index, premium=premium, rate=premium / PRICE):
            break
        exchange.now += step_s
        assert exchange.now - started <= 60
    step = funding_limits(rules(market_class))[1].step * 2  # both move for a minute, the truth and the lie
    assert abs(index - INDEX) / PRICE <= step
