"""How far venues part: as recorded, or as real ones do.

Recorded days may derive their venues from one price; then they agree far better than real ones. `parted` parts them as
`python -m benchmarks.dispersion` measured it in five real recordings of 2018 and 2023 (docs/evaluation.md): by a steady
basis, slowly to and fro, and by prices that are polled late. The mark price stays as it is, a mean of the venues with
weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from enum import StrEnum
from math import exp
from random import Random

from circuit_guard.core.inputs import Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation.draws import seconds_ns, short
from circuit_guard.evaluation.feed import Feed

VENUES_MIN = 3
"""With fewer, no mean of the venues can stay at the mark price while each of them parts from it."""
_STEP_NS = SECOND_NS


class Dispersion(StrEnum):
    """How far the venues of an evaluation part."""

    RECORDED = "recorded"
    REAL = "real"


def dispersed(feed: Feed, seed: int) -> Feed:
    """Return a feed whose venues part as real ones do; the feed itself where it has fewer than three of them."""
    if len(feed.sources) < VENUES_MIN:
        return feed
    with localcontext(ARITHMETIC):
        change = parted(feed, Random(f"dispersion {seed}"))  # noqa: S311 - repeatable, not secret
        entries = tuple(change(entry) if isinstance(entry, Reference) else entry for entry in feed.entries)
    return replace(feed, entries=entries)


def parted(feed: Feed, random: Random) -> Callable[[Reference], Reference]:
    """Return the change that parts the references of a feed; it must be given all of them, in time order."""
    split = _Split.drawn(random)
    polled_ns = seconds_ns(random, 1, 28)
    paths = {market: _paths(feed, split, random) for market in feed.markets}
    polled: dict[tuple[str, str], tuple[int, Decimal]] = {}

    def change(entry: Reference) -> Reference:
        key = entry.market, entry.source
        last_ns, last = polled.get(key, (entry.at_ns - random.randint(0, polled_ns), entry.price))
        if key not in polled or entry.at_ns - last_ns >= polled_ns:
            place = (entry.at_ns - feed.start_ns) // _STEP_NS
            last_ns = last_ns if key not in polled else entry.at_ns
            last = short(entry.price * paths[entry.market][entry.source][place])
            polled[key] = last_ns, last
        return replace(entry, price=last)

    return change


@dataclass(frozen=True, slots=True)
class _Split:
    """How far venues part: standard deviations as shares of the price, and how long a split lasts (to 1/e)."""

    size: float
    lasting_ns: int
    basis: float

    @staticmethod
    def drawn(random: Random) -> _Split:
        """Draw one of those that were measured."""
        size, lasting_ns = seconds_ns(random, 0.0015, 0.007) / SECOND_NS, seconds_ns(random, 500, 3_600)
        return _Split(size, lasting_ns, seconds_ns(random, 0.0002, 0.009) / SECOND_NS)


def _paths(feed: Feed, split: _Split, random: Random) -> dict[str, list[Decimal]]:
    """Return each venue's factor, second by second: a steady basis and an Ornstein-Uhlenbeck process.

    Their weighted mean is 1 all along.
    """
    sources = feed.sources
    weights = [random.expovariate(1) for _ in sources]
    bases = [random.gauss(0, split.basis) for _ in sources]
    apart = [random.gauss(0, split.size) for _ in sources]
    kept = exp(-_STEP_NS / split.lasting_ns)
    fresh = split.size * (1 - kept**2) ** 0.5
    paths: dict[str, list[Decimal]] = {source: [] for source in sources}
    for _ in range((feed.end_ns - feed.start_ns) // _STEP_NS + 1):
        apart = [value * kept + random.gauss(0, fresh) for value in apart]
        offsets = [own + value for own, value in zip(bases, apart, strict=True)]
        centre = sum(weight * offset for weight, offset in zip(weights, offsets, strict=True)) / sum(weights)
        for source, offset in zip(sources, offsets, strict=True):
            paths[source].append(Decimal(f"{exp(offset - centre):.7f}"))
    return paths
