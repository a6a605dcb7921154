"""Fixed distances from an index: what most exchanges publish."""

from __future__ import annotations

from dataclasses import dataclass

from circuit_guard.core.inputs import Check, Observation
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
