"""Bands: fixed distances from an index, as most exchanges publish them, and Limit Up-Limit Down."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from circuit_guard.core.inputs import Check, Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.peers.base import MINUTE_NS, Peer, deviation, is_major, mark_of, median_of


class FixedThresholds(Peer):
    """A price 2 % (BTC, ETH) or 10 % (all others) off the median of at least three live sources is not used.

    CoinEx, index price protection, sources silent for a minute left out. Read here: a closure computed with such a mark
    price is denied, for as long as it is so.
    """

    name = "fixed_thresholds"
    source = "https://support.coinex.com/hc/en-us/articles/16067138565529-Index-Price-Protection-Mechanism"
    hears_references = True

    MAJOR_MAX = 0.02
    OTHER_MAX = 0.10
    AGE_MAX_NS = MINUTE_NS
    SOURCES_MIN = 3

    def observe(self, observation: Observation) -> str:
        """Judge the published mark price."""
        mark = observation.mark_price
        return "" if mark is None else self._judge(observation.market, float(mark))

    def holds(self, check: Check) -> str:
        """Judge the mark price that the engine computed with."""
        mark = mark_of(check)
        return "" if mark is None else self._judge(check.market, mark)

    def _judge(self, market: str, mark: float) -> str:
        prices = self.references.prices(market, self.now_ns - self.AGE_MAX_NS)
        index = median_of(prices)
        if index is None or len(prices) < self.SOURCES_MIN:
            return ""
        limit = self.MAJOR_MAX if is_major(market) else self.OTHER_MAX
        return "mark_off_the_median" if deviation(mark, index) >= limit else ""


@dataclass(slots=True)
class Excluded:
    """A market whose mark price was thrown out, and since when it has been near the median again."""

    near_since_ns: int | None = None


class IndexExclusion(Peer):
    """A price 10 % off the median of three or more sources is out until it was within 2 % of it for 15 minutes.

    BitMEX, index protection of 16 December 2020 and reintroduction of 14 August 2020. With two sources: 5 %, for as
    long as it is so. Sources silent for 15 minutes are left out. Read here: the mark price is the one that may be
    thrown out, and while it is, closures of its market are denied.
    """

    name = "index_exclusion"
    source = (
        "https://blog.bitmex.com/parameter-updates-to-maintain-a-fair-and-orderly-trading-environment/ and"
        " https://blog.bitmex.com/bitmex-index-protection-rules-update-index-constituent-reintroduction"
    )
    hears_references = True

    OFF_MAX = 0.10
    OFF_MAX_OF_TWO = 0.05
    NEAR = 0.02
    NEAR_NS = 15 * MINUTE_NS
    AGE_MAX_NS = 15 * MINUTE_NS

    def __init__(self) -> None:
        super().__init__()
        self._excluded: dict[str, Excluded] = {}

    def observe(self, observation: Observation) -> str:
        """Throw the mark price out, or follow it on its way back."""
        if observation.mark_price is None:
            return ""
        market, mark = observation.market, float(observation.mark_price)
        off, sources = self._off(market, mark)
        if sources > 2 and off >= self.OFF_MAX:
            self._excluded[market] = Excluded()
        elif excluded := self._excluded.get(market):
            self._follow(market, excluded, off)
        return self._judge(market, mark)

    def holds(self, check: Check) -> str:
        """Deny in a market that is out, and what was computed with a mark price too far off."""
        mark = mark_of(check)
        return self._judge(check.market, mark)

    def halted(self, market: str) -> bool:
        """Return whether its mark price is out."""
        return market in self._excluded

    def _follow(self, market: str, excluded: Excluded, off: float) -> None:
        if off > self.NEAR:
            excluded.near_since_ns = None
        elif excluded.near_since_ns is None:
            excluded.near_since_ns = self.now_ns
        elif self.now_ns - excluded.near_since_ns >= self.NEAR_NS:
            del self._excluded[market]

    def _judge(self, market: str, mark: float | None) -> str:
        if market in self._excluded:
            return "mark_excluded"
        off, sources = (0.0, 0) if mark is None else self._off(market, mark)
        limit = self.OFF_MAX if sources > 2 else self.OFF_MAX_OF_TWO
        return "mark_off_the_median" if sources > 1 and off >= limit else ""

    def _off(self, market: str, mark: float) -> tuple[float, int]:
        """Return how far a mark price is off the median, and of how many sources that is."""
        prices = self.references.prices(market, self.now_ns - self.AGE_MAX_NS)
        index = median_of(prices)
        return (0.0, 0) if index is None else (deviation(mark, index), len(prices))


@dataclass(slots=True)
class Band:
    """One market under the plan."""

    share: float
    reference: float
    since_ns: int
    trades: deque[tuple[int, float]] = field(default_factory=deque)
    total: float = 0.0
    limit_since_ns: int | None = None
    paused_until_ns: int | None = None

    def admits(self, price: float) -> bool:
        """Return whether a price is inside the band; at its edge it is not."""
        return abs(price - self.reference) < self.share * abs(self.reference)


class LuldBand(Peer):
    """The US equities' plan: a band round the mean of five minutes, a limit state of 15 s, a pause of five minutes.

    5 % for tier 1 (here BTC and ETH), 10 % for the others; 20 % for prices from 0.75 to 3, and below that the lesser of
    0.15 and 75 %. The mean takes effect when it is 1 % away from the reference in force and that is 30 s old. Nothing
    trades outside the band. Read here: published mark prices are the trades; a closure whose mark or execution price is
    outside is denied; after a pause the first print is the new reference, as after a reopening auction.
    """

    name = "luld_band"
    source = "https://www.luldplan.com/ and https://solomonexamprep.com/content-txt/49189/7/5-13-3-trading-pauses-on-a-security"

    WINDOW_NS = 5 * MINUTE_NS
    REFERENCE_AGE_MIN_NS = 30 * SECOND_NS
    REFERENCE_MOVE_MIN = 0.01
    LIMIT_STATE_NS = 15 * SECOND_NS
    PAUSE_NS = 5 * MINUTE_NS

    def __init__(self) -> None:
        super().__init__()
        self._bands: dict[str, Band] = {}

    def observe(self, observation: Observation) -> str:
        """Let the band follow, or begin a limit state, or a pause."""
        if observation.mark_price is None:
            return ""
        market, price = observation.market, float(observation.mark_price)
        band = self._bands.get(market)
        if band is None or (band.paused_until_ns is not None and self.now_ns >= band.paused_until_ns):
            share = share_of(market, price) if band is None else band.share
            band = self._bands[market] = Band(share, price, self.now_ns)
        if band.paused_until_ns is not None:
            return "trading_pause"
        if band.admits(price):
            self._follow(band, price)
            return ""
        band.limit_since_ns = self.now_ns if band.limit_since_ns is None else band.limit_since_ns
        if self.now_ns - band.limit_since_ns >= self.LIMIT_STATE_NS:
            band.paused_until_ns = self.now_ns + self.PAUSE_NS
        return "outside_the_band"

    def holds(self, check: Check) -> str:
        """Deny in a pause, and at a price outside the band."""
        band = self._bands.get(check.market)
        if band is None:
            return ""
        if self.halted(check.market):
            return "trading_pause"
        execution = None if check.execution_price is None else float(check.execution_price)
        outside = any(price is not None and not band.admits(price) for price in (mark_of(check), execution))
        return "outside_the_band" if outside else ""

    def halted(self, market: str) -> bool:
        """Return whether trading is paused."""
        band = self._bands.get(market)
        return band is not None and band.paused_until_ns is not None and self.now_ns < band.paused_until_ns

    def _follow(self, band: Band, price: float) -> None:
        band.limit_since_ns = None
        band.trades.append((self.now_ns, price))
        band.total += price
        while band.trades[0][0] <= self.now_ns - self.WINDOW_NS:
            band.total -= band.trades.popleft()[1]
        mean = band.total / len(band.trades)
        moved = abs(mean - band.reference) >= self.REFERENCE_MOVE_MIN * abs(band.reference)
        if moved and self.now_ns - band.since_ns >= self.REFERENCE_AGE_MIN_NS:
            band.reference, band.since_ns = mean, self.now_ns


def share_of(market: str, price: float) -> float:
    """Return the half width of a market's band, as a share of its reference."""
    if price > 3:
        return 0.05 if is_major(market) else 0.10
    if price >= 0.75:
        return 0.20
    return min(0.15 / price, 0.75) if price > 0 else 0.75
