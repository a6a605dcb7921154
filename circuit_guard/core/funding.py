"""The path of a funding index: what it has been, and what can have accrued since, by every published account.

Three accounts of the same accrual run beside each other, each integrated over the published stream:

- `reach`, slack * rate cap * price * dt / period: the furthest that any index can have moved,
- `low` to `high`, premium * dt / period: what the published premium predicts. The true one lies between
  two that are published, and where one is missing between the last one and what the prices explain: an interval,
- `explained_low` to `explained_high`, (mark - index price) * dt / period within the cap: what the prices explain.

An index is held against where it was a step ago, and 1 min, 10 min and 1 h ago. What clocks may differ by is granted
once for each of these anchors, so many small steps that each pass do not add up (DESIGN 3). What prices explain is held
against anchors every 10 min of the last hour: a quiet hour saves nothing up for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.settlement import Steps
from circuit_guard.core.types import SECOND_NS

ZERO = Decimal(0)

HORIZONS_NS = (60 * SECOND_NS, 600 * SECOND_NS)
"""How long ago the nearer anchors lie, at least; at most twice as long."""
EVERY_NS, HOUR_NS = 600 * SECOND_NS, 3600 * SECOND_NS
"""How far apart the anchors of the last hour lie. The oldest is at most that much older than an hour."""
OPENING = 10
"""A gap this many times longer than the first in which a premium predicts leaves all that funding can reach open."""

SILENT_NS, SILENT_TIMES = 2 * SECOND_NS, 3
"""In an interval longer than this, and than so many of the one before, a premium can have come and gone unpublished."""


class PathPoint(NamedTuple):
    """What can have accrued up to one instant, counted from when the path began: quote currency per 1 base unit."""

    accrual_ns: int = 0
    reach: Decimal = ZERO
    low: Decimal = ZERO
    high: Decimal = ZERO
    explained_low: Decimal = ZERO
    explained_high: Decimal = ZERO
    premium: Decimal | None = None
    """The premium known last, within the cap; None: none was ever published."""
    held_ns: int = 0
    held_low: Decimal = ZERO
    held_high: Decimal = ZERO
    """Accrual time since that premium, and what was predicted up to then: the next one may have been in force since."""
    basis: Decimal | None = None
    """Mark price less index price as known last, within the cap."""
    period_ns: int = 0
    rate_max: Decimal = ZERO
    """The funding period that the premium refers to, and the cap in force; 0 is not known."""
    interval_ns: int = 0
    """How long after the observation before this one came."""
    unseen: Decimal = ZERO
    """The part of the reach that belongs to intervals in which a premium can have come and gone."""


ORIGIN = PathPoint()


class Anchor(NamedTuple):
    """A funding index that was trusted or rejected, and the point of the path at which it was."""

    point: PathPoint
    value: Decimal


class Accrual(NamedTuple):
    """What one observation says of the accrual since the one before."""

    elapsed_ns: int
    price: Decimal
    premium: Decimal | None
    basis: Decimal | None
    unknown: Decimal = ZERO
    """How much of the reach the premiums leave open, 0 to 1: nothing was published for so long."""
    doubtful: bool = True
    """Whether the funding index was rejected before it: a silence explains nothing then."""


@dataclass(slots=True)
class FundingPath:
    """The path of one market's funding index up to the last observation that said where the feed stands."""

    point: PathPoint = ORIGIN
    last: Anchor | None = None
    """The index trusted last."""
    nearer: tuple[tuple[Anchor, Anchor], ...] = ()
    """For each horizon the anchor, and the one that takes its place next."""
    hour: tuple[Anchor, ...] = ()
    """Anchors of the last hour, the oldest first and a little older than that."""
    rejected: Anchor | None = None
    """The index that jumped last, while none was trusted since: what goes on from there is rejected, too."""
    steps: Steps | None = None
    """Where an index stands that moves only when funding is settled; None for one that accrues all the time."""

    def trust(self, index: Decimal) -> None:
        """Note that the index of the last observation is trusted."""
        here = Anchor(self.point, index)
        self.last, self.rejected = here, None
        now_ns = self.point.accrual_ns
        if not self.hour or now_ns - self.hour[-1].point.accrual_ns >= EVERY_NS:
            self.hour = (*self.hour, here)
        while len(self.hour) > 1 and now_ns - self.hour[1].point.accrual_ns >= HOUR_NS:
            self.hour = self.hour[1:]
        self.nearer = tuple(
            (newer, here) if now_ns - newer.point.accrual_ns >= horizon_ns else (older, newer)
            for horizon_ns, (older, newer) in zip(HORIZONS_NS, self.nearer or ((here, here),) * 2, strict=True)
        )

    def anchors(self) -> list[Anchor]:
        """Return what an index is held against: the one trusted last, those of 1 min, 10 min and 1 h ago."""
        known = [self.last, *(older for older, _ in self.nearer), *self.hour[:1]]
        found: list[Anchor] = []
        for anchor in known:
            if anchor is not None and anchor not in found:
                found.append(anchor)
        return found

    def reject(self, index: Decimal) -> None:
        """Note that the index of the last observation jumped."""
        self.rejected = Anchor(self.point, index)

    def begin(self, index: Decimal) -> None:
        """Begin anew at an index that is true by an operator's word, or at first sight."""
        self.point, self.nearer, self.hour, self.steps = ORIGIN, (), (), None
        self.trust(index)


def moved(
    point: PathPoint, accrual: Accrual, policy: FundingParameters, doubted: tuple[Decimal, ...] = ()
) -> PathPoint:
    """Return the point after an accrual. `doubted`: premiums that may be the true ones while the observation is not."""
    elapsed_ns, price, premium, basis, unknown, doubtful = accrual
    cap = policy.rate_max * price
    reach = policy.slack * cap * elapsed_ns / policy.period_ns
    if point.period_ns and (point.period_ns, point.rate_max) != (policy.period_ns, policy.rate_max):
        # funding may have changed at any instant between the two observations
        reach = max(reach, policy.slack * point.rate_max * price * elapsed_ns / point.period_ns)
        before = None if point.premium is None else rescaled(point.premium, point.period_ns, policy.period_ns)
        point = point._replace(premium=before)
    known = point.premium if premium is None else max(-cap, min(cap, premium))
    explains = point.basis if basis is None else max(-cap, min(cap, basis))
    premiums = [one for one in (point.premium, known) if one is not None]
    bases = [one for one in (point.basis, explains) if one is not None]
    periods, opened = Decimal(elapsed_ns) / policy.period_ns, reach * unknown
    low, high = point.low - reach, point.high + reach
    if premiums:
        ends = [*premiums, *doubted, *(bases if premium is None else ())]
        low, high = point.low + min(ends) * periods - opened, point.high + max(ends) * periods + opened
        if premium is not None:
            since = Decimal(point.held_ns + elapsed_ns) / policy.period_ns
            low = min(low, point.held_low + min(premiums) * since)
            high = max(high, point.held_high + max(premiums) * since)
    held = (0, low, high) if premium is not None else (point.held_ns + elapsed_ns, point.held_low, point.held_high)
    unexplained = opened if bases else reach
    silent = elapsed_ns > max(SILENT_NS, SILENT_TIMES * point.interval_ns) and point.interval_ns > 0
    return PathPoint(
        point.accrual_ns + elapsed_ns,
        point.reach + reach,
        low,
        high,
        point.explained_low + min(bases, default=ZERO) * periods - unexplained,
        point.explained_high + max(bases, default=ZERO) * periods + unexplained,
        known,
        *held,
        explains,
        policy.period_ns,
        policy.rate_max,
        elapsed_ns,
        point.unseen + (reach if silent and not doubtful else ZERO),
    )


def rescaled(premium: Decimal, period_ns: int, to_ns: int) -> Decimal:
    """Return the premium per another funding period that moves the index as fast."""
    return premium if period_ns == to_ns else premium * to_ns / period_ns
