"""What was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.load.beside import ONE, STREAM, Pair
from benchmarks.load.generator import Load, Round
from benchmarks.load.table import Measured, percentile_ms

UNARY_SHARE, STREAM_SHARE, BATCH_SHARE, MARKETS_SHARE = 0.85, 0.8, 0.7, 0.85
STREAM_OF_UNARY = 2.0
"""What a stream has to decide, of what the floor answers one by one."""
LATENCY = {99.0: 2.0, 99.9: 3.0}
"""How many times as long as the floor's an answer may take at half load, by percentile."""
CORE_US, RSS_MB = 20.0, 200.0
FLAT_SHARE = 1.05
"""What memory may be after all decisions, of what it was after half of them."""


@dataclass(frozen=True)
class Target:
    """One thing that was asked for."""

    what: str
    found: str
    reached: bool

    def __str__(self) -> str:
        """Return it as a line of a list."""
        return f"- {'reached' if self.reached else 'MISSED'}: {self.what}: {self.found}"


def targets(measured: Measured) -> list[Target]:
    """Return every target with what was found."""
    core, rss_mb, most = measured.core, measured.aged.rss_mb, measured.grown[-1].many
    decided = max(rss_mb)
    grew = rss_mb[decided] / rss_mb[decided // 2]
    after = [one.allowed_after for one in measured.halted]
    found = f"{rss_mb[decided]:.0f} MB at {most.markets:,} markets after {decided:,} decisions, {grew:.2f} of half way"
    return [
        _share("unary", measured.pairs[ONE], UNARY_SHARE),
        _share("stream", measured.pairs[STREAM], STREAM_SHARE),
        _stream_of_unary(measured.pairs),
        _share("batch of 1,000", measured.pairs["batch of 1,000"], BATCH_SHARE),
        *(_latency(what, measured.pairs[what], percentile) for what in (ONE, STREAM) for percentile in LATENCY),
        *_markets(measured),
        Target(f"core check at most {CORE_US:g} us", f"{core.again:.1f} us", core.again <= CORE_US),
        Target(
            f"core check at most {CORE_US:g} us, the first after new data too",
            f"{core.after_data:.1f} us",
            core.after_data <= CORE_US,
        ),
        Target(
            f"RSS under {RSS_MB:g} MB, and flat: at most {FLAT_SHARE:g} of half way",
            found,
            rss_mb[decided] < RSS_MB and grew <= FLAT_SHARE,
        ),
        Target(
            "a corrupt observation denies the very next check",
            f"{sum(after)} allowed of the checks sent after it was answered, {len(after)} times; sent before that and "
            f"allowed: at most {max(one.allowed_meanwhile for one in measured.halted)}",
            not any(after),
        ),
    ]


def _share(what: str, pair: Pair, least: float) -> Target:
    return Target(f"{what} at least {least:g} of the floor", _found(pair), pair.share() >= least)


def _found(pair: Pair) -> str:
    return f"{_range(pair.throughput())} of the throughput, {_range(pair.cpu())} by CPU time"


def _stream_of_unary(pairs: dict[str, Pair]) -> Target:
    mixed = Pair(pairs[STREAM].guard, pairs[ONE].floor)
    what = f"stream at least {STREAM_OF_UNARY:g} x the floor's unary"
    return Target(what, _found(mixed), mixed.share() >= STREAM_OF_UNARY)


def _latency(what: str, pair: Pair, percentile: float) -> Target:
    most, guard, floor = (
        LATENCY[percentile],
        percentile_ms(pair.guard, percentile),
        percentile_ms(pair.floor, percentile),
    )
    what = f"{what}: p{percentile:g} at half load at most {most:g} x the floor's"
    if guard is None or floor is None:
        return Target(what, "too few answers to say", False)
    return Target(what, f"{guard / floor:.1f} x, {guard:.2f} and {floor:.2f} ms", guard <= most * floor)


def _markets(measured: Measured) -> list[Target]:
    few, most = measured.grown[-1].few, measured.grown[-1].many
    what = f"{most.markets:,} markets at least {MARKETS_SHARE:g} of {few.markets}"
    return [
        _growth(f"{what}, while nothing is published", most.alone, few.alone),
        _growth(f"{what}, with the feed of all of them on the same core", most.fed, few.fed),
    ]


def _growth(what: str, most: Load, few: Load) -> Target:
    rounds: list[tuple[Round, Round]] = list(zip(most.rounds, few.rounds, strict=True))
    throughput = [one.per_s / other.per_s for one, other in rounds]
    cpu = [other.cpu_us / one.cpu_us for one, other in rounds]
    found = f"{_range(throughput)} of the throughput, {_range(cpu)} by CPU time"
    return Target(what, found, min(median(throughput), median(cpu)) >= MARKETS_SHARE)


def _range(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"
