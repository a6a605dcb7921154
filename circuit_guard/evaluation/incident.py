"""Generating the bundled incident: a seeded simulation of an exchange, three reference venues and some accounts.

Labels are computed, not decreed: a closure is wrongful where the account's margin holds at the true values, and what it
would cost the account is worked out from both (`incident_truth`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from random import Random

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.inputs import Account, Basis, Check, Observation, PhaseCommand, Position, Reference, Side
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, Phase
from circuit_guard.evaluation import incident_story as story
from circuit_guard.evaluation.incident_truth import Values, margin_surplus, true_loss, true_mark
from circuit_guard.recording.entries import Entry, Fault, Header, Label, LabelledCheck
from circuit_guard.recording.writer import write_recording

SEED = 20260119
SOURCE = "exchange"
DESCRIPTION = (
    "made up by circuit_guard's own generator after the incident of 19 January 2026: funding indices reset to zero by a"
    " restart, gold skewed in a thin post-only book, indices restored; maintenance shortened to three minutes"
)
_START_NS = int(story.START.timestamp()) * SECOND_NS
_MILLISECOND_NS = SECOND_NS // 1000
_INDEX_EXPONENT = Decimal("1e-12")
_WALK_PPM = 90
_VENUE_PPM = 60
_BASIS_PPM = 60


@dataclass(slots=True)
class Market:
    """The true and the published state of one market at the current step."""

    script: story.MarketScript
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
        for script in story.MARKETS:
            start = (script.price, script.price, script.funding_index, script.price, script.funding_index)
            self.markets[script.market] = Market(script, *start)
        for second in range(0, story.END_S, story.STEP_S):
            for market in self.markets.values():
                self._move(market, second)
                self._refer(market, second)
            if not story.MAINTENANCE_S <= second < story.RESTART_S:
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
        if script.market in story.RESET_MARKETS and second == story.RESTART_S:
            market.funding_index = Decimal(0)
        if second == story.RESTORE_S:
            market.funding_index = market.true_funding_index

    def _refer(self, market: Market, second: int) -> None:
        market.venue_prices.clear()
        for venue, latency_ms in story.VENUES:
            at_ns = moment_ns(second) + (latency_ms + self.random.randint(-120, 120)) * _MILLISECOND_NS
            price = moved(market.index_price, self.random.randint(-_VENUE_PPM, _VENUE_PPM), market.script.decimals)
            market.venue_prices.append(price)
            self.entries.append(Reference(at_ns, market.script.market, venue, moment_ns(second), price))

    def _publish(self, second: int) -> None:
        epoch = 1 if second < story.MAINTENANCE_S else 2
        for market in self.markets.values():
            market.sequence = 1 if second == story.RESTART_S else market.sequence + 1
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
        for crowd in story.CROWDS:
            if crowd.opened_s == second:
                self.traders += [self._trader(crowd, number) for number in range(1, crowd.count + 1)]

    def _trader(self, crowd: story.Crowd, number: int) -> Trader:
        """Open one position at the published mark price and funding index of now."""
        market = self.markets[crowd.market]
        notional = Decimal(self.random.randint(2_000, 90_000))
        size = (notional / market.mark).quantize(Decimal("1e-4"))
        collateral = (notional * self.random.randint(*crowd.margin_ppm) / story.PPM).quantize(Decimal("1e-2"))
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
    phases = ((story.MAINTENANCE_S, Phase.MAINTENANCE), (story.RESTART_S, Phase.POST_ONLY), (story.OPEN_S, Phase.OPEN))
    for second, phase in phases:
        yield PhaseCommand(moment_ns(second) - SECOND_NS // 2, phase)
    faults = (
        ("funding_reset", story.RESET_MARKETS, story.RESTART_S, story.RESTORE_S),
        ("thin_book_skew", (story.SKEWED_MARKET,), story.SKEW_S, story.SKEW_UNTIL_S),
        ("funding_restore", story.RESET_MARKETS, story.RESTORE_S, story.OPEN_S),
    )
    for kind, markets, second, until_second in faults:
        yield Fault(moment_ns(second) - _MILLISECOND_NS, kind, markets, moment_ns(until_second))


def moment_ns(second: int) -> int:
    """Return the time of a second of the story."""
    return _START_NS + second * SECOND_NS


def accrued(premium: Decimal) -> Decimal:
    """Return what a funding index grows by in one step."""
    return (premium * story.STEP_S / story.PERIOD_S).quantize(_INDEX_EXPONENT)


def moved(price: Decimal, ppm: int, decimals: int) -> Decimal:
    """Return the price moved by parts per million, on its tick."""
    return (price * (story.PPM + ppm) / story.PPM).quantize(Decimal(1).scaleb(-decimals))


def drift_ppm(drift: tuple[tuple[int, int], ...], second: int) -> int:
    """Return the drift at a second, linear between its points."""
    for (from_s, from_ppm), (to_s, to_ppm) in pairwise(drift):
        if from_s <= second <= to_s:
            return from_ppm + (to_ppm - from_ppm) * (second - from_s) // (to_s - from_s)
    return drift[-1][1]


def skew_ppm(market: str, second: int) -> int:
    """Return how far the thin book has pushed the market's mark price: in three steps, then held, then gone."""
    if market != story.SKEWED_MARKET or not story.SKEW_S <= second < story.SKEW_UNTIL_S:
        return 0
    steps = (second - story.SKEW_S) // story.STEP_S + 1
    return story.SKEW_PPM * min(steps, 3) // 3


def incident(seed: int = SEED) -> tuple[Header, list[Entry]]:
    """Return the incident's header and entries; equal seeds give equal recordings."""
    markets = {script.market: script.max_funding_rate for script in story.MARKETS}
    header = Header(DESCRIPTION, story.PERIOD_S, GapMode.ACCRUE, markets)
    with localcontext(ARITHMETIC):
        return header, Simulation(Random(seed)).run()  # noqa: S311 - repeatable, not secret


def write_incident(path: Path, seed: int = SEED) -> int:
    """Write the incident recording, and return how many entries it has."""
    header, entries = incident(seed)
    return write_recording(path, header, entries)
