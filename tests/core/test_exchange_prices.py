"""A market's own line of prices: each kind in three sets of numbers, with a fault inside that still shows."""

from __future__ import annotations

import pickle
from decimal import Decimal
from functools import lru_cache

import pytest

from tests.core.scenario_commands import Scenario
from tests.core.scenario_language import answers


def told(lines: str) -> list[str]:
    """Run the lines of a scenario and return everything that the core answered."""
    _, said = after(tuple(line.strip() for line in lines.splitlines() if line.strip()))
    return list(said)


@lru_cache(maxsize=256)
def after(lines: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """Return the scenario, pickled, and everything it has answered: many tests begin with the same lines."""
    if not lines:
        return pickle.dumps(Scenario()), ()
    before, said = after(lines[:-1])
    scenario: Scenario = pickle.loads(before)  # noqa: S301 - dumped here
    now = tuple(answers(scenario, lines[-1]))
    return pickle.dumps(scenario), said + now


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


CONVERTED = pytest.mark.parametrize(
    ("price", "before", "after", "wrong"),
    [
        ("92600", "1", "0.88", "95100"),
        ("3200", "1.0004", "0.61", "3120"),
        pytest.param("0.515", "0.02", "0.0231", "0.5311", marks=pytest.mark.system),
    ],
)


def depegged(price: str, before: str, after: str, *, facts: str) -> str:
    def quoted(rate: str) -> str:
        return str(round(Decimal(price) / Decimal(rate), 9))

    return f"""
        policy markets=ANY-USD-PERP,COIN-USD-PERP
        policy ANY-USD-PERP {facts}
        feed COIN-USD-PERP price={before} funding=0
        feed ANY-USD-PERP price={price} funding={price}
        feed ANY-USD-PERP references={price},{quoted(before)},{quoted(before)}
        10:00:00 steady COIN-USD-PERP ANY-USD-PERP until=10:02:00
        feed COIN-USD-PERP price={after}
        feed ANY-USD-PERP references={price},{quoted(after)},{quoted(after)}
        10:02:00 steady COIN-USD-PERP ANY-USD-PERP until=10:04:00
        check long ANY-USD-PERP
    """


BOTH = "references.facts=bybit/quoted_in=COIN-USD-PERP,okx/quoted_in=COIN-USD-PERP"


@CONVERTED
def test_references_when_their_quote_currency_loses_its_peg_then_they_are_converted(
    price: str, before: str, after: str, wrong: str
) -> None:
    lines = told(depegged(price, before, after, facts=BOTH))

    assert trips(lines) == []
    assert lines[-1] == "ALLOW"


@CONVERTED
def test_references_when_nothing_says_what_they_are_quoted_in_then_the_honest_mark_is_denied(
    price: str, before: str, after: str, wrong: str
) -> None:
    lines = told(depegged(price, before, after, facts="references.quorum=3"))

    assert lines[-1] != "ALLOW"
    assert any("mark_divergence" in line for line in lines)


@CONVERTED
def test_references_when_they_are_converted_then_a_wrong_mark_trips(
    price: str, before: str, after: str, wrong: str
) -> None:
    fault = f"feed ANY-USD-PERP mark={wrong}\n10:04:00 steady COIN-USD-PERP ANY-USD-PERP until=10:04:40"
    lines = told(f"{depegged(price, before, after, facts=BOTH)}\n{fault}")

    assert any("mark_divergence" in line for line in trips(lines))


MULTIPLES = pytest.mark.parametrize(
    ("contract", "multiplier", "wrong"),
    [("0.0045", "1000", "0.0046"), ("21.5", "0.001", "21"), ("310", "10000", "328")],
)


@MULTIPLES
def test_references_when_a_contract_is_a_multiple_then_prices_of_one_are_multiplied(
    contract: str, multiplier: str, wrong: str
) -> None:
    one = f"{Decimal(contract) / Decimal(multiplier):f}"
    facts = ",".join(f"{venue}/multiplier={multiplier}" for venue in ("binance", "bybit", "okx"))
    lines = """
        policy markets=MANY-USD-PERP{}
        feed price={} funding=1
        feed references={},{},{}
        10:00:00 steady until=10:02:00
        check long
    """
    scaled = lines.format(f" references.facts={facts}", contract, one, one, one)
    fault = f"feed mark={wrong}\n10:02:00 steady until=10:02:40"

    assert told(scaled)[-1] == "ALLOW"
    assert any("mark_divergence" in line for line in trips(told(f"{scaled}\n{fault}")))
    assert trips(told(lines.format("", contract, one, one, one)))


@pytest.mark.parametrize(
    ("price", "copied"), [("92600", "99000"), ("10", "8.5"), ("0.3", "0.312")], ids=["up", "down", "a little"]
)
def test_references_when_two_repeat_one_origin_then_together_they_are_one_voice(price: str, copied: str) -> None:
    lines = """
        policy markets=ANY-USD-PERP references.quorum=3{}
        feed price={} funding=1
        10:00:00 steady until=10:01:00
        feed references={},{},{},{},{}
        feed mark={}
        10:01:00 steady until=10:01:40
        check long
    """
    given = (price, price, price, copied, copied, copied, copied)
    alike = told(
        lines.format(
            ",references.facts".replace(",", " ") + "=okx/origin=x,hyperliquid/origin=x,kraken/origin=x", *given
        )
    )
    apart = told(lines.format("", *given))

    assert any("mark_divergence" in line for line in alike)
    assert alike[-1] != "ALLOW"
    assert apart[-1] == "ALLOW"


ORACLES = "binance/{0},bybit/{0},okx/{0}"


@pytest.mark.parametrize(
    ("price", "stands", "share"), [("200", "201.8", "0.01"), ("92600", "94000", "0.02"), ("0.6", "0.591", "0.02")]
)
def test_references_when_oracles_wait_for_a_change_then_a_mark_within_it_is_believed(
    price: str, stands: str, share: str
) -> None:
    lines = """
        policy markets=ANY-USD-PERP divergence.base=0.002 band.agreement_share=0.002 {}
        feed price={} funding=1
        feed references={},{},{}
        10:00:00 steady until=10:01:00
        feed mark={} index={}
        10:01:00 steady until=10:02:00
        check long
    """
    numbers = (price, price, price, price, stands, stands)
    facts = "references.facts=" + ORACLES.format(f"min_change={share}")

    assert told(lines.format(facts, *numbers))[-1] == "ALLOW"
    assert "DENY" in told(lines.format("", *numbers))
    far = str(Decimal(price) * (1 + 2 * Decimal(share)))
    assert trips(told(f"{lines.format(facts, *numbers)}\nfeed mark={far}\n10:02:00 steady until=10:02:40"))


@pytest.mark.parametrize(("heartbeat", "silent"), [("60s", "50"), ("300s", "240"), ("40s", "30")])
def test_references_when_oracles_have_a_heartbeat_then_they_count_until_it_is_over(heartbeat: str, silent: str) -> None:
    minutes, seconds = divmod(int(silent), 60)
    until = f"10:{1 + minutes:02}:{seconds:02}"
    lines = f"""
        10:00:00 steady until=10:01:00
        10:01:00 steady until={until} without=references
        check long
    """
    facts = f"policy references.facts={ORACLES.format(f'heartbeat={heartbeat}')}"
    over = f"{until} steady until=10:12:00 without=references\ncheck long"

    assert told(f"{facts}\n{lines}")[-1] == "ALLOW"
    assert "DENY" in told(lines)
    assert any("reference_missing" in line for line in told(f"{facts}\n{lines}\n{over}"))


OWN = pytest.mark.parametrize(
    ("price", "later", "jump", "share", "average"),
    [
        ("0.55", "0.4", "0.5", "0.05", "60s"),
        ("3.2", "5.1", "3.9", "0.08", "90s"),
        pytest.param("1800", "1100", "1250", "0.03", "20s", marks=pytest.mark.system),
    ],
)


def prelaunch(price: str, later: str, share: str, average: str) -> str:
    return f"""
        policy markets=PRE-USD-PERP references.without=own_price
        policy references.own_share={share} references.own_average={average}
        feed price={price} funding=0.5
        10:00:00 steady until=10:01:00 without=references
        10:01:00 steady until=10:16:00 to={later} without=references
        check long
    """


@OWN
def test_own_price_when_there_are_no_references_then_closures_pass_as_it_moves(
    price: str, later: str, jump: str, share: str, average: str
) -> None:
    lines = told(prelaunch(price, later, share, average))

    assert trips(lines) == []
    assert lines[-1] == "ALLOW"


@OWN
def test_own_price_when_the_policy_does_not_say_so_then_nothing_is_ever_warm(
    price: str, later: str, jump: str, share: str, average: str
) -> None:
    lines = told(prelaunch(price, later, share, average).replace("own_price", "denied", 1))

    assert any("warming" in line for line in lines)


@OWN
def test_own_price_when_the_mark_jumps_then_it_is_denied_at_once_and_trips(
    price: str, later: str, jump: str, share: str, average: str
) -> None:
    before = prelaunch(price, later, share, average)
    at_once = told(f"{before}\nfeed mark={jump}\n10:16:00 observe\ncheck long")
    lasting = told(f"{before}\nfeed mark={jump}\n10:16:00 steady until=10:16:40 without=references\ncheck long")

    assert "DENY" in at_once
    assert any("mark_divergence" in line for line in trips(lasting))


@OWN
def test_own_price_when_the_funding_index_is_reset_then_it_latches(
    price: str, later: str, jump: str, share: str, average: str
) -> None:
    lines = told(f"{prelaunch(price, later, share, average)}\n10:16:00 observe funding=0")

    assert any("funding_jump" in line for line in trips(lines))


@OWN
def test_own_price_when_an_operator_resets_then_the_price_that_is_published_is_the_one(
    price: str, later: str, jump: str, share: str, average: str
) -> None:
    moved = f"feed price={jump}\n10:16:00 steady until=10:17:00 without=references"
    tripped = f"{prelaunch(price, later, share, average)}\n{moved}"
    lines = told(f"{tripped}\nreset PRE-USD-PERP\n10:17:00 steady until=10:25:00 without=references\ncheck long")

    assert lines[-1] == "ALLOW"


OPENINGS = pytest.mark.parametrize(
    ("close", "opens", "wrong", "pause"),
    [
        ("250", "232.5", "245", ("10:10", "10:30")),
        ("18.2", "20.1", "18.4", ("10:05", "10:22")),
        pytest.param("5400", "4960", "5300", ("10:07", "10:50"), marks=pytest.mark.system),
    ],
)


def opening(close: str, opens: str, pause: tuple[str, str], *, hours: bool = True) -> str:
    ends, begins = pause
    calendar = f" hours.calendar=mon@09:00-{ends},mon@{begins}-12:00" if hours else ""
    return f"""
        policy markets=EQ-USD-PERP{calendar}
        feed price={close} funding={close}
        10:00:00 steady until={ends}:00
        feed mark={opens}
        {ends}:00 steady until={ends}:50
        check long
        {ends}:50 steady until={begins}:00 every=4s
        feed price={opens}
        feed references={close},{close},{opens}
        {begins}:00 steady until={begins}:04
        feed price={opens}
        {begins}:04 steady until={begins}:50
        check long
    """


@OPENINGS
def test_hours_when_all_venues_open_at_a_gap_then_nothing_has_tripped_and_closures_flow(
    close: str, opens: str, wrong: str, pause: tuple[str, str]
) -> None:
    lines = told(opening(close, opens, pause))

    assert trips(lines) == []
    assert any("market_closed" in line for line in lines)
    assert lines[-1] == "ALLOW"


@OPENINGS
def test_hours_when_none_are_given_then_a_mark_that_leaves_standing_references_trips(
    close: str, opens: str, wrong: str, pause: tuple[str, str]
) -> None:
    assert trips(told(opening(close, opens, pause, hours=False)))


@OPENINGS
def test_hours_when_a_mark_is_wrong_after_the_opening_then_it_trips(
    close: str, opens: str, wrong: str, pause: tuple[str, str]
) -> None:
    fault = f"feed mark={wrong}\n{pause[1]}:50 steady until={pause[1][:3]}{int(pause[1][3:]) + 1}:50"
    lines = told(f"{opening(close, opens, pause)}\n{fault}")

    assert any("mark_divergence" in line for line in trips(lines))
    assert trips(told(opening(close, opens, pause))) == []


@OPENINGS
def test_hours_when_the_funding_index_is_reset_while_closed_then_it_latches(
    close: str, opens: str, wrong: str, pause: tuple[str, str]
) -> None:
    before = opening(close, opens, pause).partition(f"feed mark={opens}")[0]
    lines = told(f"{before}\n{pause[0]}:00 observe funding=0")

    assert any("funding_jump" in line for line in trips(lines))


@OPENINGS
def test_hours_when_the_own_price_stands_in_while_closed_then_closures_pass_and_a_jump_trips(
    close: str, opens: str, wrong: str, pause: tuple[str, str]
) -> None:
    ends, begins = pause
    lines = f"""
        policy markets=EQ-USD-PERP hours.closed=own_price hours.calendar=mon@09:00-{ends},mon@{begins}-12:00
        feed price={close} funding={close}
        10:00:00 steady until={ends}:00
        {ends}:00 steady until={ends}:50 without=references
        check long
    """
    fault = f"{ends}:50 feed mark={opens}\n{ends}:50 steady until={ends[:3]}20:00 every=4s without=references"

    assert told(lines)[-1] == "ALLOW"
    assert any("market_closed" in line for line in told(lines.replace("hours.closed=own_price ", "")))
    assert any("mark_divergence" in line for line in trips(told(f"{lines}\n{fault}")))


@pytest.mark.parametrize(("gap", "answer"), [("0.1", "ALLOW"), ("0.9", "DENY")])
def test_hours_when_an_account_holds_a_closed_market_then_the_gap_at_its_opening_decides(gap: str, answer: str) -> None:
    lines = told(f"""
        policy markets=BTC-USD-PERP,EQ-USD-PERP
        policy EQ-USD-PERP hours.gap_share={gap} hours.calendar=mon@09:00-10:05
        feed EQ-USD-PERP price=250 funding=0
        10:00:00 steady until=10:05:00
        10:05:00 steady BTC-USD-PERP until=10:59:00 every=4s
        check long BTC-USD-PERP account=BTC-USD-PERP:20511,EQ-USD-PERP entry=92700 collateral=93378
    """)

    assert answer in lines
