"""A delisting: the mark price becomes an average, then all is settled at it; and faults inside that still show."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core.average import KEPT_EVERY_NS, begun
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.codec import decode_as, encode
from tests.core.scenario_commands import Scenario
from tests.core.scenario_language import answers
from tests.core.test_exchange_prices import told, trips

DELISTINGS = pytest.mark.parametrize(
    ("kind", "price", "last", "rate", "minutes"),
    [
        pytest.param("growing", "0.5", "0.35", "0.0001", 30, marks=pytest.mark.system),
        ("growing", "118.2", "171.35", "-0.0004", 12),
        pytest.param("growing", "0.03117", "0.00892", "0.0009", 21, marks=pytest.mark.system),
        ("rolling", "2.31", "1.497", "0", 9),
        pytest.param("rolling", "6405", "7290.5", "0.00021", 14, marks=pytest.mark.system),
    ],
)
AVERAGE_S = 420


def delisting(kind: str, price: str, last: str, rate: str, minutes: int, *, announced: bool = True) -> str:
    """Return a market whose mark price is an average from 10:08 on, while its price moves, up to the settlement."""
    average = "growing" if kind == "growing" else f"{AVERAGE_S}s"
    half = f"10:{10 + minutes // 2}:00"
    policy = f"policy references.average={kind} references.average_ns={AVERAGE_S}s"
    return f"""
        {f"{policy} from=10:08:00" if announced else ""}
        feed price={price} funding={Decimal(price) / 7:.9f} rate={rate}
        10:00:00 steady until=10:08:00 every=2s
        feed average={average}
        10:08:00 steady until=10:10:00 every=2s
        10:10:00 steady until={half} every=2s to={last}
        {half} steady until=10:{8 + minutes:02}:00 every=2s
    """


def settled(size: str, collateral: str, **more: str) -> str:
    side = "long" if not size.startswith("-") else "short"
    said = " ".join(f"{name}={value}" for name, value in more.items())
    return f"""
        check {side} kind=SETTLEMENT size=7 account=BTC-USD-PERP:0:{size} entry=1 collateral={collateral} {said}
    """


@DELISTINGS
def test_delisting_when_it_goes_on_as_announced_then_nothing_trips_and_every_account_is_settled(
    kind: str, price: str, last: str, rate: str, minutes: int
) -> None:
    story = delisting(kind, price, last, rate, minutes)

    lines = told(story + settled("7", "90000") + settled("-7", "900000") + settled("7", "0.01"))

    assert trips(lines) == []
    assert not any("rejected" in line for line in lines)
    assert lines[-3:] == ["ALLOW"] * 3


@DELISTINGS
def test_delisting_when_the_policy_does_not_know_of_it_then_it_trips(
    kind: str, price: str, last: str, rate: str, minutes: int
) -> None:
    assert trips(told(delisting(kind, price, last, rate, minutes, announced=False)))


@DELISTINGS
def test_delisting_when_a_settlement_is_not_at_the_average_then_it_is_denied(
    kind: str, price: str, last: str, rate: str, minutes: int
) -> None:
    halfway = delisting(kind, price, last, rate, minutes).rpartition("steady until")[0].rpartition("\n")[0]

    lines = told(halfway + settled("7", "90000", price=last) + settled("7", "90000", mark=last))

    assert trips(lines) == []
    assert "ALLOW" not in lines
    assert sum("execution_divergence" in line for line in lines) == 1
    assert sum("basis_mark" in line for line in lines) == 1


@DELISTINGS
def test_delisting_when_the_index_is_reset_inside_of_it_then_it_latches(
    kind: str, price: str, last: str, rate: str, minutes: int
) -> None:
    lines = told(delisting(kind, price, last, rate, minutes) + "observe funding=0\n" + settled("7", "90000"))

    assert any("latched for funding_jump" in line for line in trips(lines))
    assert "ALLOW" not in lines


@DELISTINGS
def test_delisting_when_the_mark_price_is_no_average_then_it_trips(
    kind: str, price: str, last: str, rate: str, minutes: int
) -> None:
    story = delisting(kind, price, last, rate, minutes).splitlines()

    assert trips(told("\n".join(line for line in story if "feed average" not in line)))


def test_delisting_when_the_guard_restarts_from_its_checkpoint_inside_of_it_then_the_average_goes_on() -> None:
    before, _, after = delisting("growing", "2.31", "1.497", "0.0001", 20).rpartition("10:20:00 steady")
    scenario = Scenario()
    for line in filter(None, map(str.strip, before.splitlines())):
        list(answers(scenario, line))
    assert scenario.state is not None
    scenario.state = decode_as(GuardState, encode(scenario.state))

    lines = [one for line in ("restart", f"10:20:00 steady{after}", "check long") for one in answers(scenario, line)]

    assert trips(lines) == []
    assert not any("rejected" in line for line in lines)
    assert lines[-1] == "ALLOW"


def test_settlement_when_there_is_no_average_then_it_is_judged_at_the_references() -> None:
    lines = told("""
        10:00:00 steady until=10:01:00
        check long kind=SETTLEMENT price=92600 account=BTC-USD-PERP:20511.9:1:1 collateral=50000
        check long kind=SETTLEMENT price=92000 account=BTC-USD-PERP:20511.9:1:1 collateral=50000
        check long kind=SETTLEMENT price=89000 account=BTC-USD-PERP:20511.9:1:1 collateral=50000
        check long kind=AUTO_DELEVERAGE price=89000 account=BTC-USD-PERP:20511.9:1:1 collateral=50000
        check long kind=SETTLEMENT funding=1 account=BTC-USD-PERP:20511.9:1:1 collateral=50000
    """)
    verdicts = [line for line in lines if line in ("ALLOW", "DENY")]

    assert verdicts == ["ALLOW", "ALLOW", "DENY", "ALLOW", "DENY"]
    assert trips(lines) == []


samples = st.lists(st.tuples(st.integers(0, 40), st.integers(-1_000, 100_000)), min_size=1, max_size=60)


@given(samples, st.integers(0, 2_000))
def test_average_when_prices_are_followed_then_it_is_their_mean_over_time(
    given_samples: list[tuple[int, int]], start: int
) -> None:
    now_s, first = 0, given_samples[0][1]
    in_force: list[int] = []
    summed = begun(Decimal(first), 0)
    price = first
    for wait_s, following in given_samples:
        in_force += [price] * wait_s
        now_s, price = now_s + wait_s, following
        summed.follow(Decimal(price), now_s * SECOND_NS)
    grid_s = KEPT_EVERY_NS // SECOND_NS
    start_s = min(start, now_s)
    exact = sum(in_force[start_s:]) / max(now_s - start_s, 1) if start_s < now_s else price
    near = (max(in_force, default=price) - min(in_force, default=price)) * (grid_s + 40) / max(now_s - start_s, 1)

    assert summed.since(0) == (Decimal(sum(in_force)) / now_s if now_s else price)
    assert abs(float(summed.since(start_s * SECOND_NS)) - exact) <= near + 1e-9


def test_average_when_it_grows_for_a_day_then_little_is_kept() -> None:
    growing, rolling = begun(Decimal(5), 0), begun(Decimal(5), 0)
    for second in range(1, 20_000):
        for one in (growing, rolling):
            one.follow(Decimal(second % 7), second * SECOND_NS)
        growing.begin(600 * SECOND_NS)
        rolling.forget((second - 300) * SECOND_NS)

    assert len(growing.kept) == 2
    assert len(rolling.kept) <= 32
    assert growing.since(600 * SECOND_NS) == pytest.approx(Decimal(3), abs=Decimal("0.01"))
