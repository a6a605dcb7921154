"""Caps: on a funding rate, on the growth of an index, on the volume of closures."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from circuit_guard.core.inputs import Check, Observation
from circuit_guard.evaluation.peers.base import DAY_NS, MINUTE_NS, Peer, mark_of


class FundingCap(Peer):
    """The exchange's own clamp: a funding rate may not exceed the market's cap; the index itself nobody looks at.

    Paradex: 2 % per 8 h for BTC, ETH and SOL, 0.5 % for TradFi, 5 % for the others; a recording states its own. Read
    here: closures are denied while the published rate is beyond the cap.
    """

    name = "funding_cap"
    source = "https://github.com/tradeparadex/paradex-docs, risk-system/funding-mechanism"

    def __init__(self, caps: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self._caps = caps or {}
        self._over: set[str] = set()

    def observe(self, observation: Observation) -> str:
        """Compare the published rate with its cap."""
        rate, cap = observation.funding_rate, self._caps.get(observation.market)
        if rate is not None and cap is not None and abs(float(rate)) > cap:
            self._over.add(observation.market)
        else:
            self._over.discard(observation.market)
        return self._reason(observation.market)

    def holds(self, check: Check) -> str:
        """Deny while the latest rate is over its cap."""
        return self._reason(check.market)

    def _reason(self, market: str) -> str:
        return "rate_over_the_cap" if market in self._over else ""


class GrowthCap(Peer):
    """Aave's CAPO: a cumulative ratio may grow by 9.68 % a year from a snapshot at least 7 days old, and is cut there.

    The figures are wstETH's. Upper side only; a ratio that falls is not looked at. Read here: the ratio is the funding
    index, its growth counts in shares of the index price, the snapshot is the first observation, taken to be 7 days old
    already; what is cut there is denied here.
    """

    name = "growth_cap"
    source = "https://vote.onaave.com/proposal/?proposalId=51 and https://github.com/bgd-labs/aave-capo"

    GROWTH_PER_YEAR = 0.0968
    SNAPSHOT_AGE_NS = 7 * DAY_NS
    YEAR_NS = 365 * DAY_NS

    def __init__(self) -> None:
        super().__init__()
        self._snapshots: dict[str, tuple[int, float, float]] = {}

    def observe(self, observation: Observation) -> str:
        """Take the snapshot, or compare the published funding index with the cap."""
        index, price = observation.funding_index, observation.index_price or observation.mark_price
        if index is None:
            return ""
        if observation.market not in self._snapshots and price is not None:
            taken_ns = observation.at_ns - self.SNAPSHOT_AGE_NS
            self._snapshots[observation.market] = (taken_ns, float(index), abs(float(price)))
        return self._judge(observation.market, float(index))

    def holds(self, check: Check) -> str:
        """Compare the funding index that the engine computed with."""
        index = check.basis.funding_index
        return "" if index is None else self._judge(check.market, float(index))

    def _judge(self, market: str, index: float) -> str:
        if market not in self._snapshots:
            return ""
        taken_ns, snapshot, price = self._snapshots[market]
        cap = snapshot + price * self.GROWTH_PER_YEAR * (self.now_ns - taken_ns) / self.YEAR_NS
        return "index_over_the_cap" if index > cap else ""


class ClosureVolumeCap(Peer):
    """MakerDAO's `ilk.hole`: at most 5 million of one collateral may be in liquidation at a time; the rest waits.

    YFI-A's figures; an auction lasts up to 140 minutes (`tail`). Read here: a market's closures of the last 140
    minutes, at the mark price that each was computed with, may come to 5 million in quote currency; beyond it they are
    denied.
    """

    name = "closure_volume_cap"
    source = "https://forum.makerdao.com/t/yfi-a-liquidations-2-0-parameters/7502"

    HOLE = 5_000_000.0
    AUCTION_NS = 140 * MINUTE_NS

    def __init__(self) -> None:
        super().__init__()
        self._auctions: defaultdict[str, deque[tuple[int, float]]] = defaultdict(deque)
        self._volume: defaultdict[str, float] = defaultdict(float)
        self._full: set[str] = set()

    def holds(self, check: Check) -> str:
        """Deny a closure for which there is no room, and count every other one."""
        auctions = self._auctions[check.market]
        while auctions and auctions[0][0] <= check.at_ns - self.AUCTION_NS:
            self._volume[check.market] -= auctions.popleft()[1]
            self._full.discard(check.market)
        notional = abs(float(check.size)) * abs(mark_of(check) or 0.0)
        if self._volume[check.market] + notional > self.HOLE:
            self._full.add(check.market)
            return "liquidation_limit_hit"
        auctions.append((check.at_ns, notional))
        self._volume[check.market] += notional
        return ""

    def halted(self, market: str) -> bool:
        """Return whether the limit was hit, and nothing has run off since."""
        return market in self._full
