"""What was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.load.beside import Pair
from benchmarks.load.generator import Load, Round
from benchmarks.load.table import Measured

UNARY_SHARE, BATCH_SHARE, MARKETS_SHARE = 0.85, 0.4, 0.95
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
        _share("unary", measured.pairs[1], UNARY_SHARE),
        _share("batch of 1,000", measured.pairs[1000], BATCH_SHARE),
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
    throughput, cpu = pair.throughput(), pair.cpu()
    found = f"{_range(throughput)} of the throughput, {_range(cpu)} by CPU time"
    return Target(f"{what} at least {least:g} of the floor", found, pair.share() >= least)


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
