"""A rebaseline moves everything that belongs together, and nothing from before it bounds anything."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal, localcontext

import pytest

from circuit_guard.core import guard, scale
from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import Input, Observation, RebaselineCommand, Reference
from circuit_guard.core.market import MarketState
from circuit_guard.core.progress import start_afresh
from circuit_guard.core.types import ARITHMETIC
from tests.core import world
from tests.core.scenario_commands import Scenario
from tests.core.scenario_language import answers
from tests.core.test_exchange_prices import told, trips

OLD = ("0.01", "0.001", "0.0005")
REDENOMINATIONS = pytest.mark.parametrize(
    ("factor", "price", "index", "rate", "wrong"),
    [
        ("1000", *OLD, "100"),
        ("0.1", "4310.5", "-212.75", "-0.0002", "10"),
        ("0.00025", "1880", "36.4", "0.00031", "0.0025"),
        ("48000", "0.00000713", "0.00000044", "0.0011", "480000"),
    ],
)


def redenominated(factor: str, price: str, index: str, rate: str, rebaseline: str) -> str:
    """Return a maintenance in which everything is published on another scale afterwards."""
    return f"""
        feed price={price} funding={index} rate={rate}
        10:00:00 steady until=10:01:00
        begin why="redenomination"
        10:01:30 feed times={factor}
        {rebaseline}
        references
        validate
        end why=redenominated
        10:01:31 steady until=10:05:00
        check long
    """


@REDENOMINATIONS
def test_factor_when_everything_is_published_on_the_new_scale_then_closures_come_back_without_a_latch(
    factor: str, price: str, index: str, rate: str, wrong: str
) -> None:
    rebaseline = f'rebaseline BTC-USD-PERP factor={factor} why="redenominated"'

    lines = told(redenominated(factor, price, index, rate, rebaseline))

    assert trips(lines) == ["maintenance ended by alice: redenominated; in POST_ONLY: BTC-USD-PERP; latched: none"]
    assert lines[-1] == "ALLOW"


@REDENOMINATIONS
def test_factor_when_there_is_no_rebaseline_then_the_dump_is_not_clean_and_the_market_latches(
    factor: str, price: str, index: str, rate: str, wrong: str
) -> None:
    lines = told(redenominated(factor, price, index, rate, ""))

    assert any("latched for state_not_clean" in line for line in lines)
    assert lines[-1] != "ALLOW"


@REDENOMINATIONS
def test_values_when_all_are_given_then_closures_come_back_without_a_latch(
    factor: str, price: str, index: str, rate: str, wrong: str
) -> None:
    new_price, new_index = (f"{Decimal(one) * Decimal(factor):f}" for one in (price, index))
    rebaseline = f'rebaseline BTC-USD-PERP={new_index}/{new_price}/{new_price} why="redenominated"'
    lines = told(redenominated(factor, price, index, rate, f"feed funding={new_index}\n{rebaseline}"))

    assert [line for line in trips(lines) if "OPEN" in line] == []
    assert lines[-1] == "ALLOW"


@REDENOMINATIONS
def test_factor_when_the_old_scale_comes_back_then_it_latches(
    factor: str, price: str, index: str, rate: str, wrong: str
) -> None:
    rebaseline = f'rebaseline BTC-USD-PERP factor={factor} why="redenominated"'
    again = f"""
        feed price={price} funding={index}
        10:05:01 observe mark=none index=none premium=none
        10:05:02 check long
    """

    lines = told(redenominated(factor, price, index, rate, rebaseline) + again)

    assert any("latched for funding_jump" in line for line in lines)
    assert "ALLOW" not in lines[lines.index("ALLOW") + 1 :]


@REDENOMINATIONS
def test_factor_when_it_is_another_than_what_is_published_then_it_is_seen(
    factor: str, price: str, index: str, rate: str, wrong: str
) -> None:
    rebaseline = f'rebaseline BTC-USD-PERP factor={wrong} why="redenominated"'
    unvalidated = redenominated(factor, price, index, rate, rebaseline).replace("end why", "end unvalidated why")
    outside = unvalidated.replace("begin why", "phase POST_ONLY why").replace("end unvalidated", "phase OPEN")

    for lines in (told(unvalidated), told(outside.replace("validate\n", "\n"))):
        assert any("latched for funding_jump" in line or "state_not_clean" in line for line in lines)
        assert lines[-1] != "ALLOW"


POLICIES = ["shadow=no", "funding.accrual=stepwise", "references.without=own_price", "slow_walk.trip_after=90s"]
LIVED = """
    10:00:00 steady until=10:12:00 every=5s
    10:12:00 steady until=10:12:40 to=92300
    observe funding=140000
    reset BTC-USD-PERP
    rebaseline BTC-USD-PERP=20512.1 checkpoint=3 as_of=10:12:00
    10:12:41 feed funding=20512.1
    steady until=10:13:20
    observe funding=140000
"""
"""A market with a path of an hour, a rollback, and accepted, rejected and discarded values."""


class Witnessed(Scenario):
    """A scenario that keeps what the core was given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs: list[Input] = []

    def take(self, input_: Input) -> list[Fact]:
        self.inputs.append(input_)
        return super().take(input_)


def on_another_scale(input_: Input, factor: Decimal) -> Input:
    """Return an input with everything in quote currency per 1 base unit multiplied."""
    match input_:
        case Observation():
            names = ("mark_price", "index_price", "funding_index", "funding_premium")
            given = {name: getattr(input_, name) for name in names}
            return replace(input_, **{name: one and one * factor for name, one in given.items()})
        case Reference():
            return replace(input_, price=input_.price * factor)
        case RebaselineCommand(baselines=baselines):
            moved = tuple(replace(one, funding_index=one.funding_index * factor) for one in baselines)
            return replace(input_, baselines=moved)
        case _:
            return input_


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("factor", [Decimal(1000), Decimal("0.00001")])
def test_rescale_when_a_market_is_multiplied_then_it_is_what_it_would_be_had_it_always_been_on_that_scale(
    policy: str, factor: Decimal
) -> None:
    scenario = Witnessed()
    for line in [f"policy {policy}", *filter(None, map(str.strip, LIVED.splitlines()))]:
        list(answers(scenario, line))
    assert scenario.state is not None
    other = guard.new_state(scenario.rules, world.at("10:00:00"))
    for input_ in scenario.inputs:
        guard.step(other, on_another_scale(input_, factor), scenario.rules)
    market, expected = scenario.state.markets["BTC-USD-PERP"], other.markets["BTC-USD-PERP"]
    assert market.discarded, "otherwise less is compared"

    with localcontext(ARITHMETIC):
        scale.rescale(market, factor)
    expected.funding.rejected = None  # an operator's word ends it
    for one in (market, expected):
        scale.forget_windows(one, at_ns=1)
        start_afresh(one, 1, "rescaled")

    for name in (one.name for one in fields(MarketState) if one.name not in ("outlook", "breaker")):
        assert getattr(market, name) == getattr(expected, name), name


def test_factor_when_a_market_converts_for_others_then_they_wait_for_its_new_price() -> None:
    lines = told("""
        policy markets=USDC-USD-PERP,BTC-USD-PERP
        policy BTC-USD-PERP references.facts=binance/quoted_in=USDC-USD-PERP,bybit/quoted_in=USDC-USD-PERP
        feed USDC-USD-PERP price=1
        10:00:00 steady until=10:01:00
        check long BTC-USD-PERP
        rebaseline USDC-USD-PERP factor=100
        reference BTC-USD-PERP binance 92600
        reference BTC-USD-PERP bybit 92600
        reference BTC-USD-PERP okx 92600
    """)

    assert sum("reference_unconverted" in line for line in lines) == 2


def test_factor_when_a_dump_was_validated_before_it_then_that_says_nothing_any_more() -> None:
    lines = told("""
        10:00:00 steady until=10:01:00
        begin why=redenomination
        validate
        rebaseline BTC-USD-PERP factor=1000
        end why=done
    """)

    assert "maintenance ended by alice: done; in POST_ONLY: none; latched: BTC-USD-PERP" in lines


def test_factor_when_the_caller_still_computes_on_the_old_scale_then_the_check_is_denied() -> None:
    lines = told("""
        10:00:00 steady until=10:01:00
        rebaseline BTC-USD-PERP factor=0.5
        feed times=0.5
        10:01:01 steady until=10:02:00
        check long mark=92600
        check long
    """)

    assert "basis_mark" in "".join(lines)
    assert lines[-1] == "ALLOW"
