"""Limit Up-Limit Down: a band round the recent mean, a limit state, a pause."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from circuit_guard.core.inputs import Check, Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.peers.base import MINUTE_NS, Peer, is_major, mark_of


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
