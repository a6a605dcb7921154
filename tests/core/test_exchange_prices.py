"""A market's own line of prices: each kind in three sets of numbers, with a fault inside that still shows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.core.scenario_commands import Scenario
from tests.core.scenario_language import answers


def told(lines: str) -> list[str]:
    """Run the lines of a scenario and return everything that the core answered."""
    scenario = Scenario()
    return [one for line in lines.strip().splitlines() for one in answers(scenario, line.strip())]


def trips(lines: list[str]) -> list[str]:
    return [line for line in lines if "breaker OPEN" in line or "latched" in line]


NEAR_ZERO = pytest.mark.parametrize(
    ("tick", "scale", "prices", "wrong"),
    [
        ("0.01", "2", ("0.03", "0.01", "0", "-0.02"), "0.5"),
        ("0.5", "40", ("1", "0.5", "-0.5", "0"), "-17"),
        ("0.0002", "0.11", ("0.0003", "0", "0.0004", "-0.0006"), "0.04"),
    ],
)


def near_zero(tick: str, scale: str, prices: tuple[str, ...]) -> str:
    beside = [str(Decimal(price) + Decimal(tick)) for price in prices]
    first, *others = zip(prices, beside, strict=True)
    lines = [f"policy markets=HUB-USD-PERP allow_negative_price=yes price.tick={tick} price.scale={scale}"]
    lines += [f"feed price={first[0]} funding={scale}", "10:00:00 steady until=10:01:00"]
    for minute, (price, mark) in enumerate(others, 1):
        lines += [
            f"feed price={price} mark={mark} index={price}",
            f"10:0{minute}:00 steady until=10:0{minute + 1}:00",
            "check long",
        ]
    return "\n".join(lines)


@NEAR_ZERO
def test_near_zero_when_mark_and_references_are_a_tick_apart_then_closures_pass(
    tick: str, scale: str, prices: tuple[str, ...], wrong: str
) -> None:
    lines = told(near_zero(tick, scale, prices))

    assert trips(lines) == []
    assert lines.count("ALLOW") == len(prices) - 1


@NEAR_ZERO
def test_near_zero_when_no_tick_is_given_then_the_same_market_trips(
    tick: str, scale: str, prices: tuple[str, ...], wrong: str
) -> None:
    bare = near_zero(tick, scale, prices).replace(f" price.tick={tick} price.scale={scale}", "")

    assert trips(told(bare))


@NEAR_ZERO
def test_near_zero_when_the_mark_is_far_off_then_it_trips(
    tick: str, scale: str, prices: tuple[str, ...], wrong: str
) -> None:
    wicked = f"feed mark={wrong}\n10:04:00 steady until=10:04:40\ncheck long"
    lines = told(f"{near_zero(tick, scale, prices)}\n{wicked}")

    assert any("breaker OPEN (denying) for mark_divergence" in line for line in lines)
    assert "DENY" in lines


@NEAR_ZERO
def test_near_zero_when_the_funding_index_is_reset_then_it_latches(
    tick: str, scale: str, prices: tuple[str, ...], wrong: str
) -> None:
    lines = told(f"{near_zero(tick, scale, prices)}\n10:04:00 observe funding=0")

    assert any("latched" in line and "funding_jump" in line for line in lines)


def test_low_price_when_a_tick_is_a_percent_of_it_then_one_tick_beside_is_no_divergence() -> None:
    beside = """
        policy markets=MEME-USD-PERP{}
        feed price=0.0045 funding=0.001
        10:00:00 steady until=10:01:00
        feed mark=0.0046
        10:01:00 steady until=10:02:00
        check long
    """
    assert "ALLOW" in told(beside.format(" price.tick=0.0001"))
    assert "DENY" in told(beside.format(""))


def test_negative_price_when_the_policy_does_not_allow_it_then_zero_latches() -> None:
    lines = told("10:00:00 steady until=10:01:00\n10:01:00 observe mark=0")

    assert any("price_not_positive" in line for line in trips(lines))


@pytest.mark.parametrize(("share", "stands", "moved"), [("0.005", "200", "201"), ("0.02", "3", "2.95")])
def test_min_change_when_a_mark_stands_still_within_its_threshold_then_it_is_not_frozen(
    share: str, stands: str, moved: str
) -> None:
    lines = """
        policy markets=SLOW-USD-PERP{}
        feed price={} funding=1
        10:00:00 steady until=10:01:00
        feed price={} mark={} index={}
        10:01:00 steady until=10:02:00
        check long
    """
    still = told(lines.format(f" price.min_change={share}", stands, moved, stands, stands))
    frozen = told(lines.format("", stands, moved, stands, stands))

    assert "ALLOW" in still
    assert any("mark_frozen" in line for line in frozen)
