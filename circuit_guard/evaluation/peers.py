"""Judges by the rules of others, and by our own of 0.2.0, each with its published numbers and their source.

Each is told what the guard is told and asked what the guard is asked. None was tuned to the recordings. Where a rule
leaves something open, the docstring says how it was read, and the reading that holds less is taken. The exchange whose
rule it is does not restart when the guard does: a peer never forgets.

Their thresholds are percents, so they compute in floats; NaN fails every comparison that would find something.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import ClassVar

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.inputs import Check, Observation, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.judge import Answer, Told

MINUTE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


class References:
    """The latest price of each source, by market."""

    def __init__(self) -> None:
        self._quotes: defaultdict[str, dict[str, tuple[int, float]]] = defaultdict(dict)

    def take(self, reference: Reference) -> None:
        """Take a price."""
        self._quotes[reference.market][reference.source] = (reference.event_time_ns, float(reference.price))

    def prices(self, market: str, since_ns: int) -> list[float]:
        """Return the prices whose own time stamp is not before `since_ns`."""
        return [price for event_time_ns, price in self._quotes[market].values() if event_time_ns >= since_ns]


class Peer:
    """A judge by somebody else's rules; by itself one that allows everything."""

    name: ClassVar[str]
    source: ClassVar[str]
    """Where the rule and its numbers are published."""
    hears_references: ClassVar[bool] = False

    def __init__(self) -> None:
        self.now_ns = 0
        self.references = References()
        self.paused: set[str] = set()
        """The markets that the rule has paused."""

    def tell(self, told: Told) -> bool:
        """Take what was published, or that time has passed. Return False for an observation that breaks the rule."""
        self.now_ns = told.at_ns
        if isinstance(told, Observation):
            return not self.observe(told)
        if isinstance(told, Reference):
            self.references.take(told)
        return True

    def ask(self, check: Check) -> Answer:
        """Deny where the rule holds the closure."""
        self.now_ns = check.at_ns
        reason = self.holds(check)
        return Answer(allowed=False, doubts=True, reasons=(reason,)) if reason else Answer(allowed=True)

    def halted(self, market: str) -> bool:
        """Return whether the rule has paused the market."""
        return market in self.paused

    def observe(self, observation: Observation) -> str:
        """Take an observation, and return what the rule finds wrong with it; empty for nothing."""
        mark = observation.mark_price
        return self.judge(observation.market, None if mark is None else float(mark))

    def holds(self, check: Check) -> str:
        """Return why the rule holds a closure; empty where it does not."""
        return self.judge(check.market, mark_of(check))

    def judge(self, market: str, mark: float | None) -> str:
        """Return what is wrong in a market where this mark price was published or used; empty for nothing."""
        del market, mark
        return ""


class Nothing(Peer):
    """No protection at all: what the exchange of 19 January 2026 had before its liquidation engine."""

    name = "nothing"
    source = "no rule"


def is_major(market: str) -> bool:
    """Return whether rules that know two classes of markets put it into the first: BTC and ETH."""
    return market.startswith(("BTC-", "ETH-"))


def mark_of(check: Check) -> float | None:
    """Return the mark price that the engine computed with; None if it did not say."""
    return None if check.basis.mark_price is None else float(check.basis.mark_price)


def deviation(price: float, index: float) -> float:
    """Return how far a price is from an index, as a share of the index."""
    return abs(price - index) / abs(index) if index else float("inf")


def median_of(prices: list[float]) -> float | None:
    """Return the median, None without prices."""
    return median(prices) if prices else None


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

    def judge(self, market: str, mark: float | None) -> str:
        """Hold a mark price against the median."""
        prices = self.references.prices(market, self.now_ns - self.AGE_MAX_NS)
        index = median_of(prices)
        if mark is None or index is None or len(prices) < self.SOURCES_MIN:
            return ""
        limit = self.MAJOR_MAX if is_major(market) else self.OTHER_MAX
        return "mark_off_the_median" if deviation(mark, index) >= limit else ""


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
        self._near_since_ns: dict[str, int] = {}
        """Since when the mark price of a market that is out has been near the median again."""

    def observe(self, observation: Observation) -> str:
        """Throw the mark price out, or follow it on its way back."""
        if observation.mark_price is None:
            return ""
        market = observation.market
        off, sources = self._off(market, float(observation.mark_price))
        if sources > 2 and off >= self.OFF_MAX:
            self.paused.add(market)
            self._near_since_ns.pop(market, None)
        elif off > self.NEAR:
            self._near_since_ns.pop(market, None)
        elif (
            market in self.paused and self.now_ns - self._near_since_ns.setdefault(market, self.now_ns) >= self.NEAR_NS
        ):
            self.paused.discard(market)
            del self._near_since_ns[market]
        return super().observe(observation)

    def judge(self, market: str, mark: float | None) -> str:
        """Deny in a market that is out, and what was computed with a mark price too far off."""
        if market in self.paused:
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
        rate, cap = observation.funding_rate, self._caps.get(observation.market)
        if rate is not None and cap is not None and abs(float(rate)) > cap:
            self._over.add(observation.market)
        else:
            self._over.discard(observation.market)
        return super().observe(observation)

    def judge(self, market: str, mark: float | None) -> str:
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

    def holds(self, check: Check) -> str:
        """Deny a closure for which there is no room, and count every other one."""
        auctions = self._auctions[check.market]
        while auctions and auctions[0][0] <= check.at_ns - self.AUCTION_NS:
            self._volume[check.market] -= auctions.popleft()[1]
            self.paused.discard(check.market)
        notional = abs(float(check.size)) * abs(mark_of(check) or 0.0)
        if self._volume[check.market] + notional > self.HOLE:
            self.paused.add(check.market)
            return "liquidation_limit_hit"
        auctions.append((check.at_ns, notional))
        self._volume[check.market] += notional
        return ""


class ReleasedDivergence(Peer):
    """circuit_guard 0.2.0: the mark price within fixed limits round what the median has been in the last 30 s.

    1 % of the price and twice the range of that median, from three sources not older than 10 s; with fewer, near every
    one of them. 20 % and three ranges off, or off for 30 s, trips until 60 s have passed and the mark has been inside
    for 30 s. Read here: its rule `divergence` alone, without the ramp after a trip.
    """

    name = "divergence_0_2"
    source = "circuit_guard 0.2.0 (commit 03426b3), core/rules/divergence.py and core/references.py"
    hears_references = True

    BASE, WIDTHS = 0.01, 2
    FAR_BASE, FAR_WIDTHS = 0.20, 3
    AGE_MAX_NS = 10 * SECOND_NS
    QUORUM = 3
    WINDOW_NS = 30 * SECOND_NS
    TRIPS_AFTER_NS = 30 * SECOND_NS
    SETTLE_NS = 15 * SECOND_NS
    COOLDOWN_NS = 60 * SECOND_NS
    HEALTHY_NS = 30 * SECOND_NS

    def __init__(self) -> None:
        super().__init__()
        self._medians: defaultdict[str, deque[tuple[int, float]]] = defaultdict(deque)
        self._out_since_ns: dict[str, int] = {}
        self._in_since_ns: dict[str, int] = {}
        self._tripped_ns: dict[str, int] = {}

    def tell(self, told: Told) -> bool:
        """Keep the medians of the window, and judge an observation."""
        believed = super().tell(told)
        if isinstance(told, Reference):
            fresh = self.references.prices(told.market, self.now_ns - self.AGE_MAX_NS)
            if len(fresh) >= self.QUORUM:
                self._medians[told.market].append((self.now_ns, median(fresh)))
        return believed

    def observe(self, observation: Observation) -> str:
        """Deny a mark price outside, trip where it is far off or stays so, and let a trip end."""
        if observation.mark_price is None:
            return ""
        market, mark = observation.market, float(observation.mark_price)
        if self._inside(market, mark, self.BASE, self.WIDTHS):
            if self._out_since_ns.pop(market, None) is not None:
                self._in_since_ns[market] = self.now_ns
            self._reopen(market)
            return ""
        since_ns = self._out_since_ns.setdefault(market, self.now_ns)
        far = not self._inside(market, mark, self.FAR_BASE, self.FAR_WIDTHS)
        if self._quorum(market) and (far or self.now_ns - since_ns >= self.TRIPS_AFTER_NS):
            self.paused.add(market)
            self._tripped_ns[market] = self.now_ns
        return "mark_divergence"

    def judge(self, market: str, mark: float | None) -> str:
        """Deny after a trip, while the published mark price is out and shortly after, and a mark price that is out."""
        if market in self.paused:
            return "breaker_open"
        if market in self._out_since_ns:
            return "mark_divergence"
        if self.now_ns - self._in_since_ns.get(market, -self.SETTLE_NS) < self.SETTLE_NS:
            return "mark_reverted"
        return "" if mark is None or self._inside(market, mark, self.BASE, self.WIDTHS) else "mark_divergence"

    def _reopen(self, market: str) -> None:
        healthy = self.now_ns - self._in_since_ns.get(market, 0) >= self.HEALTHY_NS
        if market in self.paused and healthy and self.now_ns - self._tripped_ns[market] >= self.COOLDOWN_NS:
            self.paused.discard(market)

    def _quorum(self, market: str) -> bool:
        return len(self.references.prices(market, self.now_ns - self.AGE_MAX_NS)) >= self.QUORUM

    def _inside(self, market: str, mark: float, base: float, widths: float) -> bool:
        """Return whether a mark price is within the limits; it is where there are none."""
        fresh = self.references.prices(market, self.now_ns - self.AGE_MAX_NS)
        if not fresh:
            return True
        medians = self._medians[market]
        while len(medians) > 1 and medians[1][0] <= self.now_ns - self.WINDOW_NS:
            medians.popleft()
        known = [price for _, price in medians]
        low, high = max(fresh), min(fresh)
        width = max(known) - min(known) if known else 0.0
        if len(fresh) >= self.QUORUM:
            seen = [*known, median(fresh)]
            low, high = min(seen), max(seen)
            width = high - low
        return low - abs(low) * base - width * widths <= mark <= high + abs(high) * base + width * widths


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

    def _follow(self, market: str) -> None:
        price = median_of(self._fresh(market))
        if price is None:
            return
        since_ns, mean = self._means.get(market, (self.now_ns, price))
        weight = min((self.now_ns - since_ns) / self.MEAN_NS, 1.0)
        self._means[market] = (self.now_ns, mean + (price - mean) * weight)

    def _fresh(self, market: str) -> list[float]:
        return self.references.prices(market, self.now_ns - self.AGE_MAX_NS)

    def judge(self, market: str, mark: float | None) -> str:
        """Judge the oracle, and a mark price against it."""
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

    def observe(self, observation: Observation) -> str:
        """Compare the published mark price with those of the last hour."""
        if observation.mark_price is not None:
            market, price = observation.market, float(observation.mark_price)
            prices = self._prices.setdefault(market, deque())
            prices.append((self.now_ns, price))
            while len(prices) > 1 and prices[1][0] <= self.now_ns - self.HOUR_NS:
                prices.popleft()
            if price < prices[0][1] * self.TOLERANCE:
                self.paused.add(market)
        return super().observe(observation)

    def judge(self, market: str, mark: float | None) -> str:
        return "breaker_tripped" if market in self.paused else ""


PEERS: tuple[type[Peer], ...] = (
    Nothing,
    FundingCap,
    ReleasedDivergence,
    FixedThresholds,
    IndexExclusion,
    LuldBand,
    DriftGuardRails,
    OsmBreaker,
    ClosureVolumeCap,
    GrowthCap,
)


def peers(policy: Policy) -> list[Peer]:
    """Return one judge of each kind. Of the policy they take the exchange's own caps on funding rates, nothing else."""
    caps = {
        market: float(market_policy.of(FundingParameters).rate_max) for market, market_policy in policy.markets.items()
    }
    return [FundingCap(caps) if peer is FundingCap else peer() for peer in PEERS]
