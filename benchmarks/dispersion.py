"""How far the venues of real recordings are apart, for how long, and how much they move together.

    python -m benchmarks.dispersion ../shared/data/recordings-real/*.jsonl.gz

Prices are read every 5 s, those that are at most 10 s old; the mark price is one more venue. For every pair of venues
the difference of their log prices is split into its median, a steady basis, and the rest. Printed over all pairs of a
file:

    basis       median and largest size of the steady basis
    split       size of the rest: the median, and what 10 % and 1 % of all times exceed
    tau         how long a split lasts: the time after which its autocorrelation is below 1/e; the median of the pairs
    over 1 %    share of the times with a split of more than 1 %, and how long such a stretch lasts (median, longest)
    correlation of the pairs' moves over a minute and over ten
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from math import e, log
from pathlib import Path
from statistics import correlation, median, quantiles
from typing import NamedTuple

from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.file import read_recording

STEP_NS = 5 * SECOND_NS
AGE_NS_MAX = 10 * SECOND_NS
MINUTE, TEN_MINUTES = 12, 120
LAGS = (1, 2, 3, 6, 12, 24, 36, 60, 90, 120, 180, 240, 360, 720)
WIDE = 0.01

Series = list[float | None]


class Split(NamedTuple):
    """A pair of venues. Sizes are differences of log prices, times are in steps of 5 s."""

    basis: float
    sizes: list[float]
    tau: int | None
    stretches: list[int]
    correlations: tuple[float | None, float | None]


def prices(path: Path) -> dict[tuple[str, str], Series]:
    """Return the log price of each market and venue every 5 s; None where its last one is older than 10 s."""
    latest: dict[tuple[str, str], tuple[int, float]] = {}
    grid: defaultdict[tuple[str, str], Series] = defaultdict(list)
    next_ns, steps = 0, 0
    for entry in read_recording(path).entries():
        while next_ns and entry.at_ns >= next_ns:
            for venue, (at_ns, value) in latest.items():
                own = grid[venue]
                own.extend([None] * (steps - len(own)))
                own.append(value if next_ns - at_ns <= AGE_NS_MAX else None)
            steps, next_ns = steps + 1, next_ns + STEP_NS
        next_ns = next_ns or entry.at_ns + STEP_NS
        if isinstance(entry, Reference):
            latest[entry.market, entry.source] = entry.at_ns, log(entry.price)
        elif isinstance(entry, Observation) and entry.mark_price:
            latest[entry.market, "mark"] = entry.at_ns, log(entry.mark_price)
    return grid


def splits(grid: dict[tuple[str, str], Series]) -> Iterator[Split]:
    """Yield every pair of venues of one market that are not copies of each other."""
    for first, second in combinations(sorted(grid), 2):
        if first[0] != second[0]:
            continue
        apart = [None if a is None or b is None else a - b for a, b in zip(grid[first], grid[second], strict=False)]
        known = [value for value in apart if value is not None]
        if not any(known):
            continue
        basis = median(known)
        rest = [None if value is None else value - basis for value in apart]
        moves = (_together(grid[first], grid[second], MINUTE), _together(grid[first], grid[second], TEN_MINUTES))
        wide = [
            len(list(same))
            for is_wide, same in groupby(value is not None and abs(value) > WIDE for value in rest)
            if is_wide
        ]
        yield Split(basis, [abs(value) for value in rest if value is not None], _tau(rest), wide, moves)


def _tau(rest: Series) -> int | None:
    """Return after how many steps the autocorrelation is below 1/e; None if it never is."""
    for lag in LAGS:
        both = [(a, b) for a, b in zip(rest, rest[lag:], strict=False) if a is not None and b is not None]
        if correlation(*zip(*both, strict=True)) < 1 / e:
            return lag
    return None


def _together(first: Series, second: Series, lag: int) -> float | None:
    """Return the correlation of two venues' moves over so many steps, each stretch counted once."""
    moves = [
        (b - a, d - c)
        for a, b, c, d in zip(first[::lag], first[lag::lag], second[::lag], second[lag::lag], strict=False)
        if a is not None and b is not None and c is not None and d is not None
    ]
    return correlation(*zip(*moves, strict=True)) if len(moves) > 2 else None


def _line(path: Path) -> str:
    found = list(splits(prices(path)))
    sizes = [size for split in found for size in split.sizes]
    shares = quantiles(sizes, n=100)
    bases = [abs(split.basis) for split in found]
    taus = [split.tau * 5 if split.tau else LAGS[-1] * 5 for split in found]
    stretches = [length * 5 for split in found for length in split.stretches]
    wide = f"{sum(size > WIDE for size in sizes) / len(sizes):.0%}"
    lasting = f"{median(stretches):g} s, {max(stretches)} s" if stretches else "none"
    return " | ".join(
        (
            path.name.removesuffix(".jsonl.gz"),
            str(len(found)),
            f"{median(bases):.2%}, {max(bases):.2%}",
            f"{shares[49]:.2%}, {shares[89]:.2%}, {shares[98]:.2%}",
            f"{median(taus):g} s",
            f"{wide}; {lasting}",
            f"{_middle(found, 0)}, {_middle(found, 1)}",
        )
    )


def _middle(found: Sequence[Split], place: int) -> str:
    known = [value for split in found if (value := split.correlations[place]) is not None]
    return f"{median(known):.2f}" if known else "none"


def main() -> None:
    """Print one line per file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    print("file | pairs | basis | split | tau | over 1 % | correlation")
    for path in parser.parse_args().recordings:
        print(_line(path), flush=True)


if __name__ == "__main__":
    main()
