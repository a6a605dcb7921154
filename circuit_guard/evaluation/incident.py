"""The bundled incident: its script, its truth, and a seeded simulation of an exchange, three venues and some accounts.

Modelled on 19 January 2026 at a perpetuals exchange, with published magnitudes and made-up prices in between: a race
at a restart resets funding indices to zero, a thin post-only book pushes gold, the restored indices strike those who
traded in between. The real day took hours; here the maintenance takes three minutes, and all of it fits into fifteen.

Labels are computed, not decreed: a closure is wrongful where the account's margin holds at the true values, and its
loss follows from the true and the published values. Nobody who reads the recording knows the true ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.inputs import Account, Basis, Check, Observation, PhaseCommand, Position, Reference, Side
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, Phase
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, Fault, Header, Label, LabelledCheck

STEP_S = 5
"""The exchange publishes every 5 s."""
START = datetime(2026, 1, 19, 4, 27, tzinfo=UTC)
CRASH_S = 60
MAINTENANCE_S = 180
RESTART_S = 360
SKEW_S, SKEW_UNTIL_S = 420, 470
RESTORE_S = 480
OPEN_S = 600
RALLY_S = 690
END_S = 880

PPM = 1_000_000
PERIOD_S = 28_800
RESET_MARKETS = ("BTC-USD-PERP", "BERA-USD-PERP")
SKEWED_MARKET = "PAXG-USD-PERP"
SKEW_PPM = -55_000
"""How far the thin book pushes the mark price: 5.5 % down."""


@dataclass(frozen=True, slots=True)
class MarketScript:
    """A market at the start, and the drift of its price: (second, parts per million), linear in between."""

    market: str
    price: Decimal
    decimals: int
    funding_index: Decimal
    funding_rate: Decimal
    max_funding_rate: Decimal
    drift: tuple[tuple[int, int], ...] = ((0, 0), (END_S, 0))


MARKETS = (
    MarketScript(
        "BTC-USD-PERP",
        Decimal("92610"),
        1,
        Decimal("20511.934207715"),
        Decimal("0.00007172918481"),
        Decimal("0.02"),
        ((0, 0), (CRASH_S, 0), (CRASH_S + 70, -4_000), (END_S, -2_000)),
    ),
    MarketScript(
        "ETH-USD-PERP",
        Decimal("3212.4"),
        2,
        Decimal("704.220518346"),
        Decimal("0.00005830415127"),
        Decimal("0.02"),
        ((0, 0), (RALLY_S, 0), (RALLY_S + 100, 26_000), (END_S, 24_000)),
    ),
    MarketScript(
        "SOL-USD-PERP",
        Decimal("133.85"),
        3,
        Decimal("21.406771932"),
        Decimal("0.00010000000000"),
        Decimal("0.02"),
        ((0, 0), (CRASH_S, 0), (CRASH_S + 70, -38_000), (MAINTENANCE_S, -34_000), (END_S, -33_000)),
    ),
    MarketScript(
        "BERA-USD-PERP",
        Decimal("0.5150"),
        5,
        Decimal("-2.314983676759"),
        Decimal("-0.01070340466085"),
        Decimal("0.05"),
    ),
    MarketScript(
        SKEWED_MARKET,
        Decimal("4668.50"),
        2,
        Decimal("58.117340926"),
        Decimal("0.00003120577418"),
        Decimal("0.05"),
    ),
    MarketScript(
        "NEAR-USD-PERP",
        Decimal("1.7340"),
        5,
        Decimal("0.029920825505"),
        Decimal("0.00007100916923"),
        Decimal("0.05"),
        ((0, 0), (RALLY_S, 0), (RALLY_S + 120, -62_000), (END_S, -60_000)),
    ),
)

VENUES = (("binance", 350), ("okx", 800), ("bybit", 1300))
"""The reference venues, with their latency in milliseconds."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Accounts alike: `count` of them, each opening one position at `opened_s` with a margin within these bounds."""

    name: str
    market: str
    side: Side
    """What opened the position: BUY a long, SELL a short."""
    count: int
    margin_ppm: tuple[int, int]
    """Collateral as parts per million of the notional, the lowest and the highest."""
    maintenance_margin_fraction: Decimal
    opened_s: int = 0


ONE_PERCENT = Decimal("0.01")
CROWDS = (
    Crowd("sol-crash", "SOL-USD-PERP", Side.BUY, 9, (20_000, 40_000), ONE_PERCENT),
    Crowd("btc-short", "BTC-USD-PERP", Side.SELL, 18, (40_000, 200_000), ONE_PERCENT),
    Crowd("bera-long", "BERA-USD-PERP", Side.BUY, 10, (120_000, 400_000), Decimal("0.025")),
    Crowd("paxg-long", SKEWED_MARKET, Side.BUY, 12, (25_000, 55_000), ONE_PERCENT),
    Crowd("btc-long-at-zero", "BTC-USD-PERP", Side.BUY, 8, (60_000, 180_000), ONE_PERCENT, 400),
    Crowd("bera-short-at-zero", "BERA-USD-PERP", Side.SELL, 6, (120_000, 400_000), Decimal("0.025"), 400),
    Crowd("eth-rally", "ETH-USD-PERP", Side.SELL, 6, (20_000, 30_000), ONE_PERCENT, OPEN_S),
    Crowd("near-fall", "NEAR-USD-PERP", Side.BUY, 10, (25_000, 60_000), ONE_PERCENT, OPEN_S),
    Crowd("bystander", "BTC-USD-PERP", Side.BUY, 4, (300_000, 500_000), ONE_PERCENT),
)


class Values(NamedTuple):
    """What a position is valued with: the mark price, the funding index, and the index it was last settled at."""

    mark: Decimal
    funding_index: Decimal
    cached: Decimal


def margin_surplus(account: Account, values: Values) -> Decimal:
    """Return by how much an account with one position is over its maintenance margin, in quote currency (DESIGN 3)."""
    (position,) = account.positions
    return _equity(account, values) - abs(position.size) * values.mark * position.maintenance_margin_fraction


def true_loss(account: Account, truth: Values, used: Values) -> Decimal:
    """Return what closing an account's one position at the values used takes from it, in quote currency.

    That is what the position is truly worth, less what it was settled for; but never more than the account truly held:
    what is charged beyond that, its exchange is left with.
    """
    (position,) = account.positions
    return min(_worth(position.size, truth) - _worth(position.size, used), _equity(account, truth))


def true_mark(unskewed: Decimal, published: Decimal, venue_prices: Sequence[Decimal]) -> Decimal:
    """Return the true mark price: what the exchange publishes, or what the venues agree on while its book is skewed."""
    return published if published == unskewed else median(venue_prices)


def _equity(account: Account, values: Values) -> Decimal:
    (position,) = account.positions
    return account.collateral - position.size * position.entry_price + _worth(position.size, values)


def _worth(size: Decimal, values: Values) -> Decimal:
    return size * values.mark - size * (values.funding_index - values.cached)


SEED = 20260119
SOURCE = "exchange"
DESCRIPTION = (
    "made up by circuit_guard's own generator after the incident of 19 January 2026: funding indices reset to zero by a"
    " restart, gold skewed in a thin post-only book, indices restored; maintenance shortened to three minutes"
)
_START_NS = int(START.timestamp()) * SECOND_NS
_MILLISECOND_NS = SECOND_NS // 1000
_INDEX_EXPONENT = Decimal("1e-12")
_WALK_PPM = 90
_VENUE_PPM = 60
_BASIS_PPM = 60


@dataclass(slots=True)
class Market:
    """The true and the published state of one market at the current step."""

    script: MarketScript
    index_price: Decimal
    true_mark: Decimal
    true_funding_index: Decimal
    mark: Decimal
    """What the exchange publishes; the same as the true one unless something is wrong."""
    funding_index: Decimal
    premium: Decimal = Decimal(0)
    walk_ppm: int = 0
    sequence: int = 0
    venue_prices: list[Decimal] = field(default_factory=list)
    """What the reference venues say at this step."""


@dataclass(frozen=True, slots=True)
class Trader:
    """An account as its exchange sees it, and the funding index that its position was truly opened at."""

    account_id: str
    account: Account
    true_cached_funding_index: Decimal


@dataclass(slots=True)
class Simulation:
    """The exchange, its venues and its traders, stepped through the story."""

    random: Random
    markets: dict[str, Market] = field(default_factory=dict)
    traders: list[Trader] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def run(self) -> list[Entry]:
        """Play the whole story, and return it in time order."""
        self.entries += story_marks()
        for script in MARKETS:
            start = (script.price, script.price, script.funding_index, script.price, script.funding_index)
            self.markets[script.market] = Market(script, *start)
        for second in range(0, END_S, STEP_S):
            for market in self.markets.values():
                self._move(market, second)
                self._refer(market, second)
            if not MAINTENANCE_S <= second < RESTART_S:
                self._publish(second)
                self._open_positions(second)
                self._check_health(second)
        return sorted(self.entries, key=lambda entry: entry.at_ns)

    def _move(self, market: Market, second: int) -> None:
        """Move the true prices and the true funding index by one step, and derive what is published."""
        script = market.script
        if second:
            market.true_funding_index += accrued(market.premium)
            market.funding_index += accrued(market.premium)
        market.walk_ppm += self.random.randint(-_WALK_PPM, _WALK_PPM) - market.walk_ppm // 16
        ppm = drift_ppm(script.drift, second) + market.walk_ppm
        market.index_price = moved(script.price, ppm, script.decimals)
        market.premium = (script.funding_rate * market.index_price).quantize(_INDEX_EXPONENT)
        market.true_mark = moved(market.index_price, self.random.randint(-_BASIS_PPM, _BASIS_PPM), script.decimals)
        market.mark = moved(market.true_mark, skew_ppm(script.market, second), script.decimals)
        if script.market in RESET_MARKETS and second == RESTART_S:
            market.funding_index = Decimal(0)
        if second == RESTORE_S:
            market.funding_index = market.true_funding_index

    def _refer(self, market: Market, second: int) -> None:
        market.venue_prices.clear()
        for venue, latency_ms in VENUES:
            at_ns = moment_ns(second) + (latency_ms + self.random.randint(-120, 120)) * _MILLISECOND_NS
            price = moved(market.index_price, self.random.randint(-_VENUE_PPM, _VENUE_PPM), market.script.decimals)
            market.venue_prices.append(price)
            self.entries.append(Reference(at_ns, market.script.market, venue, moment_ns(second), price))

    def _publish(self, second: int) -> None:
        epoch = 1 if second < MAINTENANCE_S else 2
        for market in self.markets.values():
            market.sequence = 1 if second == RESTART_S else market.sequence + 1
            self.entries.append(
                Observation(
                    moment_ns(second) + self.random.randint(150, 400) * _MILLISECOND_NS,
                    market.script.market,
                    SOURCE,
                    epoch,
                    market.sequence,
                    moment_ns(second),
                    market.mark,
                    market.index_price,
                    market.funding_index,
                    market.script.funding_rate,
                    market.premium,
                )
            )

    def _open_positions(self, second: int) -> None:
        for crowd in CROWDS:
            if crowd.opened_s == second:
                self.traders += [self._trader(crowd, number) for number in range(1, crowd.count + 1)]

    def _trader(self, crowd: Crowd, number: int) -> Trader:
        """Open one position at the published mark price and funding index of now."""
        market = self.markets[crowd.market]
        notional = Decimal(self.random.randint(2_000, 90_000))
        size = (notional / market.mark).quantize(Decimal("1e-4"))
        collateral = (notional * self.random.randint(*crowd.margin_ppm) / PPM).quantize(Decimal("1e-2"))
        position = Position(
            crowd.market,
            size if crowd.side is Side.BUY else -size,
            market.mark,
            market.funding_index,
            crowd.maintenance_margin_fraction,
        )
        account_id = f"{crowd.name}-{number}"
        return Trader(account_id, Account(collateral, (position,)), market.true_funding_index)

    def _check_health(self, second: int) -> None:
        """Have the exchange's engine close every account that its published values put under water."""
        healthy = []
        for trader in self.traders:
            (position,) = trader.account.positions
            market = self.markets[position.market]
            published = Values(market.mark, market.funding_index, position.cached_funding_index)
            if margin_surplus(trader.account, published) >= 0:
                healthy.append(trader)
                continue
            mark = true_mark(market.true_mark, market.mark, market.venue_prices)
            truth = Values(mark, market.true_funding_index, trader.true_cached_funding_index)
            wrongful = margin_surplus(trader.account, truth) >= 0
            label = Label.WRONGFUL if wrongful else Label.GENUINE
            loss = true_loss(trader.account, truth, published) if wrongful else None
            self.entries.append(LabelledCheck(self._closure(trader, market, second), label, loss))
        self.traders = healthy

    def _closure(self, trader: Trader, market: Market, second: int) -> Check:
        (position,) = trader.account.positions
        return Check(
            moment_ns(second) + self.random.randint(2_000, 4_900) * _MILLISECOND_NS,
            f"{trader.account_id}-closure",
            trader.account_id,
            position.market,
            -position.size,
            execution_price=market.mark,
            basis=Basis(market.mark, market.funding_index),
            account=trader.account,
        )


def story_marks() -> Iterator[Entry]:
    """Yield the phases, and the faults as ground truth, each just before the step that shows it."""
    phases = ((MAINTENANCE_S, Phase.MAINTENANCE), (RESTART_S, Phase.POST_ONLY), (OPEN_S, Phase.OPEN))
    for second, phase in phases:
        yield PhaseCommand(moment_ns(second) - SECOND_NS // 2, phase)
    faults = (
        ("funding_reset", RESET_MARKETS, RESTART_S, RESTORE_S),
        ("thin_book_skew", (SKEWED_MARKET,), SKEW_S, SKEW_UNTIL_S),
        ("funding_restore", RESET_MARKETS, RESTORE_S, OPEN_S),
    )
    for kind, markets, second, until_second in faults:
        yield Fault(moment_ns(second) - _MILLISECOND_NS, kind, markets, moment_ns(until_second))


def moment_ns(second: int) -> int:
    """Return the time of a second of the story."""
    return _START_NS + second * SECOND_NS


def accrued(premium: Decimal) -> Decimal:
    """Return what a funding index grows by in one step."""
    return (premium * STEP_S / PERIOD_S).quantize(_INDEX_EXPONENT)


def moved(price: Decimal, ppm: int, decimals: int) -> Decimal:
    """Return the price moved by parts per million, on its tick."""
    return (price * (PPM + ppm) / PPM).quantize(Decimal(1).scaleb(-decimals))


def drift_ppm(drift: tuple[tuple[int, int], ...], second: int) -> int:
    """Return the drift at a second, linear between its points."""
    for (from_s, from_ppm), (to_s, to_ppm) in pairwise(drift):
        if from_s <= second <= to_s:
            return from_ppm + (to_ppm - from_ppm) * (second - from_s) // (to_s - from_s)
    return drift[-1][1]


def skew_ppm(market: str, second: int) -> int:
    """Return how far the thin book has pushed the market's mark price: in three steps, then held, then gone."""
    if market != SKEWED_MARKET or not SKEW_S <= second < SKEW_UNTIL_S:
        return 0
    steps = (second - SKEW_S) // STEP_S + 1
    return SKEW_PPM * min(steps, 3) // 3


def incident(seed: int = SEED) -> tuple[Header, list[Entry]]:
    """Return the incident's header and entries; equal seeds give equal recordings."""
    markets = {script.market: script.max_funding_rate for script in MARKETS}
    header = Header(DESCRIPTION, PERIOD_S, GapMode.ACCRUE, markets)
    with localcontext(ARITHMETIC):
        return header, Simulation(Random(seed)).run()  # noqa: S311 - repeatable, not secret


def write_incident(path: Path, seed: int = SEED) -> int:
    """Write the incident recording, and return how many entries it has."""
    header, entries = incident(seed)
    return write_recording(path, header, entries)
