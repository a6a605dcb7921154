"""One table of everything, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load.beside import Pair
from benchmarks.load.core import CoreCosts
from benchmarks.load.generator import Load
from benchmarks.load.growth import Aged, Grown, Sized
from benchmarks.load.halting import Halted

HEAD = ("", "per second", "CPU us each", "p50 ms", "p99 ms", "p99.9 ms", "busy: server, generator", "RSS MB")
PERCENTILES = {50.0: 1, 99.0: 100, 99.9: 1000}
"""How many answers each takes at least: of fewer it would say nothing."""


@dataclass(frozen=True)
class Row:
    """One line; what was not measured is empty."""

    what: str
    per_s: str = ""
    cpu_us: str = ""
    p50: str = ""
    p99: str = ""
    p999: str = ""
    busy: str = ""
    rss_mb: str = ""

    def cells(self) -> list[str]:
        """Return the cells, from left to right."""
        return [self.what, self.per_s, self.cpu_us, self.p50, self.p99, self.p999, self.busy, self.rss_mb]


@dataclass(frozen=True)
class Measured:
    """Everything that one run has found out."""

    core: CoreCosts
    pairs: dict[str, Pair]
    redis: Load | None
    grown: list[Grown]
    ingested: tuple[Load, Load]
    aged: Aged
    halted: list[Halted]


def table(measured: Measured) -> str:
    """Return the table."""
    rows = [
        *(row_of(load) for pair in measured.pairs.values() for load in (pair.guard, pair.floor)),
        *([row_of(measured.redis)] if measured.redis else []),
        *_core(measured.core),
        *(row for grown in measured.grown for size in (grown.few, grown.many) for row in _sized(size)),
        *_aged(measured.aged),
        *map(row_of, measured.ingested),
        *_halted(measured.halted),
    ]
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    rule = _line(["-" * width for width in (widths[0], *(width - 1 for width in widths[1:]))], widths, ":")
    return "\n".join([lines[0], rule, *lines[1:]])


def row_of(load: Load, rss_mb: float | None = None) -> Row:
    """Return what was measured of one load; its throughput is the median, and in brackets the range, of the rounds."""
    every = sorted(one.per_s for one in load.rounds)
    spread = f" ({every[0]:,.0f} .. {every[-1]:,.0f})" if len(every) > 1 else ""
    server = load.middle(lambda one: one.server_cpu_s / one.seconds)
    p50, p99, p999 = _latencies(load)
    own = load.middle(lambda one: one.own_cpu_s / one.seconds)
    return Row(
        load.name + (f" ({load.shed} shed)" if load.shed else ""),
        f"{median(every):,.0f}{spread}",
        f"{load.middle(lambda one: one.cpu_us):.1f}",
        p50,
        p99,
        p999,
        busy=f"{server:.0%}, {own:.0%}",
        rss_mb="" if rss_mb is None else f"{rss_mb:.0f}",
    )


def _sized(size: Sized) -> list[Row]:
    return [row_of(size.fed, size.rss_mb), row_of(size.alone)]


def _latencies(load: Load) -> Iterator[str]:
    for percentile in PERCENTILES:
        took_ms = percentile_ms(load, percentile)
        yield "" if took_ms is None else f"{took_ms:.2f}"


def percentile_ms(load: Load, percentile: float) -> float | None:
    """Return how long answers took at half load, at one of the percentiles; None where too few would say so."""
    recorded = load.latencies
    if recorded is None or recorded.get_total_count() < PERCENTILES[percentile]:
        return None
    took_us: int = recorded.get_value_at_percentile(percentile)
    return took_us / 1000


def _core(core: CoreCosts) -> list[Row]:
    costs = {
        "core, a check": core.again,
        "core, the first check after new data": core.after_data,
        "core, a check, the most markets in turn": core.many_markets,
        "core, a check, all rules in shadow": core.shadowed,
        **{f"core, a check with its account, {count} positions": cost for count, cost in core.accounts.items()},
    }
    return [Row(name, cpu_us=f"{cost:.1f}") for name, cost in costs.items()]


def _aged(aged: Aged) -> list[Row]:
    decided = aged.decided
    rows = [
        Row(f"guard, after {decisions:,} decisions", rss_mb=f"{rss_mb:.0f}")
        for decisions, rss_mb in aged.rss_mb.items()
        if decisions
    ]
    speed = Row(
        f"guard, {max(aged.rss_mb):,} decisions, batches of 1,000", f"{decided.per_s:,.0f}", f"{decided.cpu_us:.1f}"
    )
    return [speed, *rows, row_of(aged.after)]


def _halted(halted: Sequence[Halted]) -> list[Row]:
    def row(what: str, values: list[float]) -> Row:
        ordered = sorted(values)
        p99 = f"{ordered[len(ordered) * 99 // 100]:.2f}" if len(ordered) >= PERCENTILES[99.0] else ""
        return Row(what, p50=f"{median(ordered):.2f}", p99=p99)

    times = f"{len(halted)} times"
    return [
        row(f"corrupt observation to its rejection, {times}", [one.answered_ms for one in halted]),
        row(f"corrupt observation to the first denial, {times}", [one.denied_ms for one in halted]),
    ]


def _line(cells: Sequence[str], widths: Sequence[int], end: str = "") -> str:
    first, *others = cells
    padded = [
        first.ljust(widths[0]),
        *((cell + end).rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"
