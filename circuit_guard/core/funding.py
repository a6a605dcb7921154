"""The path of a funding index: what it has been, and what can have accrued since, by every published account.

Three accounts of the same accrual run beside each other, each integrated over the published stream:

- `reach`, slack * rate cap * price * dt / period: the furthest that any index can have moved,
- `low` to `high`, premium * dt / period: what the published premium predicts. Between two premiums the true one lies
  between them, so the prediction is an interval (a Darboux sum),
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
from circuit_guard.core.types import SECOND_NS

ZERO = Decimal(0)

HORIZONS_NS = (60 * SECOND_NS, 600 * SECOND_NS, 3600 * SECOND_NS)
"""How long ago the anchors lie, at least; at most twice as long."""
EVERY_NS = 600 * SECOND_NS
"""How far apart the anchors of the last hour lie."""
OPENING = 10
"""A gap this many times longer than the first in which a premium predicts leaves all that funding can reach open."""


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
    """Accrual time since that premium. Until the next one it predicts alone, then both do."""
    basis: Decimal | None = None
    """Mark price less index price as known last, within the cap."""


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


@dataclass(slots=True)
class FundingPath:
    """The path of one market's funding index up to the last observation that said where the feed stands."""

    point: PathPoint = ORIGIN
    last: Anchor | None = None
    """The index trusted last."""
    anchors: tuple[tuple[Anchor, Anchor], ...] = ()
    """For each horizon the anchor, and the one that takes its place next."""
    hour: tuple[Anchor, ...] = ()
    """Anchors of the last hour, the oldest first and a little older than that."""
    rejected: Anchor | None = None
    """The index that jumped last, while none was trusted since: what goes on from there is rejected, too."""

    def trust(self, index: Decimal) -> None:
        """Note that the index of the last observation is trusted."""
        here = Anchor(self.point, index)
        self.last, self.rejected = here, None
        if not self.hour or self.point.accrual_ns - self.hour[-1].point.accrual_ns >= EVERY_NS:
            self.hour = (*self.hour, here)
        while len(self.hour) > 1 and self.point.accrual_ns - self.hour[1].point.accrual_ns >= HORIZONS_NS[-1]:
            self.hour = self.hour[1:]
        if not self.anchors:
            self.anchors = ((here, here),) * len(HORIZONS_NS)
            return
        newest_ns = self.point.accrual_ns
        self.anchors = tuple(
            (newer, here) if newest_ns - newer.point.accrual_ns >= horizon_ns else (older, newer)
            for horizon_ns, (older, newer) in zip(HORIZONS_NS, self.anchors, strict=True)
        )

    def reject(self, index: Decimal) -> None:
        """Note that the index of the last observation jumped."""
        self.rejected = Anchor(self.point, index)

    def begin(self, index: Decimal) -> None:
        """Begin anew at an index that is true by an operator's word, or at first sight."""
        self.point, self.anchors, self.hour = ORIGIN, (), ()
        self.trust(index)


def moved(
    point: PathPoint, accrual: Accrual, policy: FundingParameters, doubted: tuple[Decimal, ...] = ()
) -> PathPoint:
    """Return the point after an accrual. `doubted`: premiums that may be the true ones while the observation is not."""
    elapsed_ns, price, premium, basis, unknown = accrual
    cap = policy.rate_max * price
    reach = policy.slack * cap * elapsed_ns / policy.period_ns
    known = point.premium if premium is None else max(-cap, min(cap, premium))
    explains = point.basis if basis is None else max(-cap, min(cap, basis))
    low, high, held_ns = point.low, point.high, 0
    ends = [one for one in (point.premium, known) if one is not None]
    if not ends:
        low, high = low - reach, high + reach
    elif premium is None and not doubted:
        held_ns = point.held_ns + elapsed_ns
        low, high = (edge + ends[0] * elapsed_ns / policy.period_ns for edge in (low, high))
    else:
        ends += doubted
        # What the premium before predicted alone since then, it now predicts together with this one.
        held, span_ns = ends[0] * point.held_ns, point.held_ns + elapsed_ns
        low += (min(ends) * span_ns - held) / policy.period_ns
        high += (max(ends) * span_ns - held) / policy.period_ns
    between = [one for one in (point.basis, explains) if one is not None]
    opened = reach * unknown
    unexplained = opened if between else reach
    between = between or [ZERO]
    return PathPoint(
        point.accrual_ns + elapsed_ns,
        point.reach + reach,
        low - opened,
        high + opened,
        point.explained_low + min(between) * elapsed_ns / policy.period_ns - unexplained,
        point.explained_high + max(between) * elapsed_ns / policy.period_ns + unexplained,
        known,
        held_ns,
        explains,
    )
