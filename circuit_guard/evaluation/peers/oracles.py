"""Rules that lending and perpetuals protocols hold against their price oracle."""

from __future__ import annotations

from collections import deque

from circuit_guard.core.inputs import Check, Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.judge import Told
from circuit_guard.evaluation.peers.base import MINUTE_NS, Peer, deviation, mark_of, median_of


class DriftGuardRails(Peer):
    """Drift: liquidations pause on an invalid oracle, and where mark and oracle are more than 10 % apart.

    Invalid is: older than 120 slots (about 60 s), a confidence interval of more than 25 % of the price, a price that is
    not positive, or one 50 % off its mean of five minutes. Read here: the oracle is the median of the references, its
    confidence interval half of their range, its mean weighted by time as on chain.
    """

    name = "drift_guard_rails"
    source = "https://docs.drift.trade/oracles (30 April 2022) and https://docs-v2.drift.trade/risk-and-safety/protocol-guard-rails"
    hears_references = True

    AGE_MAX_NS = 60 * SECOND_NS
    CONFIDENCE_MAX = 0.25
    MEAN_NS = 5 * MINUTE_NS
    MEAN_OFF_MAX = 0.50
    MARK_OFF_MAX = 0.10

    def __init__(self) -> None:
        super().__init__()
        self._means: dict[str, tuple[int, float]] = {}

    def tell(self, told: Told) -> bool:
        """Let the mean follow the oracle, then judge an observation."""
        believed = super().tell(told)
        if isinstance(told, Reference):
            self._follow(told.market)
        return believed

    def observe(self, observation: Observation) -> str:
        """Judge the oracle, and the published mark price against it."""
        mark = observation.mark_price
        return self._judge(observation.market, None if mark is None else float(mark))

    def holds(self, check: Check) -> str:
        """Judge the oracle, and the mark price that the engine computed with against it."""
        return self._judge(check.market, mark_of(check))

    def _follow(self, market: str) -> None:
        price = median_of(self._fresh(market))
        if price is None:
            return
        since_ns, mean = self._means.get(market, (self.now_ns, price))
        weight = min((self.now_ns - since_ns) / self.MEAN_NS, 1.0)
        self._means[market] = (self.now_ns, mean + (price - mean) * weight)

    def _fresh(self, market: str) -> list[float]:
        return self.references.prices(market, self.now_ns - self.AGE_MAX_NS)

    def _judge(self, market: str, mark: float | None) -> str:
        prices = self._fresh(market)
        oracle = median_of(prices)
        if oracle is None:
            return "oracle_stale"
        if oracle <= 0:
            return "oracle_not_positive"
        if (max(prices) - min(prices)) / 2 > self.CONFIDENCE_MAX * oracle:
            return "oracle_uncertain"
        if deviation(oracle, self._means[market][1]) >= self.MEAN_OFF_MAX:
            return "oracle_off_its_mean"
        return "mark_off_the_oracle" if mark is not None and deviation(mark, oracle) > self.MARK_OFF_MAX else ""


class OsmBreaker(Peer):
    """MakerDAO, Liquidations 2.0: no more auctions once the price falls below half of what it was an hour ago.

    ClipperMom's `tolerance`, 0.5, between the oracle's price in force and its next one, an hour apart; downwards only;
    governance lifts it. Read here: the price is the published mark price, compared at every observation instead of once
    an hour, with the one of an hour ago or the first one seen, and nobody lifts it within a run.
    """

    name = "osm_breaker"
    source = "https://forum.makerdao.com/t/yfi-a-liquidations-2-0-parameters/7502 and https://github.com/makerdao/clipper-mom"

    TOLERANCE = 0.5
    HOUR_NS = 60 * MINUTE_NS

    def __init__(self) -> None:
        super().__init__()
        self._prices: dict[str, deque[tuple[int, float]]] = {}
        self._stopped: set[str] = set()

    def observe(self, observation: Observation) -> str:
        """Compare the published mark price with those of the last hour."""
        if observation.mark_price is not None:
            market, price = observation.market, float(observation.mark_price)
            prices = self._prices.setdefault(market, deque())
            prices.append((self.now_ns, price))
            while len(prices) > 1 and prices[1][0] <= self.now_ns - self.HOUR_NS:
                prices.popleft()
            if price < prices[0][1] * self.TOLERANCE:
                self._stopped.add(market)
        return self._reason(observation.market)

    def holds(self, check: Check) -> str:
        """Deny in a market that has stopped."""
        return self._reason(check.market)

    def halted(self, market: str) -> bool:
        """Return whether the breaker was tripped."""
        return market in self._stopped

    def _reason(self, market: str) -> str:
        return "breaker_tripped" if market in self._stopped else ""
