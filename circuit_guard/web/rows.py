"""What one line of the overview says of a market, in words that need no colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter

from circuit_guard.core.phase import BANDED_PHASES
from circuit_guard.core.status import GuardStatus, MarketStatus
from circuit_guard.core.types import SECOND_NS
from circuit_guard.web import explain, words
from circuit_guard.web.slices import mapped


class Tone(StrEnum):
    """How bad something is. Pages show it as a word and a sign as well as a colour."""

    BAD = "bad"
    CARE = "care"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a rule's limit is left, as a share of 1."""

    rule: str
    left: float

    @property
    def tone(self) -> Tone:
        """Return how bad it is to have so little left."""
        return Tone.BAD if self.left < 0.1 else Tone.CARE if self.left < 0.25 else Tone.GOOD


@dataclass(frozen=True, slots=True)
class Row:
    """One market. `room` is that of the rule nearest to its limit."""

    market: str
    tone: Tone
    closures: str
    phase: str
    breaker: str
    reasons: tuple[str, ...]
    why: tuple[str, ...]
    endings: tuple[explain.Ending, ...]
    since: str
    lasting: str
    overdue: bool
    mark: str
    reference: str
    mark_age: str
    room: Room | None


def row_of(market: MarketStatus, at_ns: int, *, in_maintenance: bool) -> Row:
    """Return the line of a market; `at_ns` is when its status was taken."""
    tone, closures = closures_of(market)
    found = explain.explain_market(market, in_maintenance=in_maintenance)
    since_ns = market.phase_since_ns if found.since_ns is None and market.phase in BANDED_PHASES else found.since_ns
    return Row(
        market=market.market,
        tone=tone,
        closures=closures,
        phase=str(market.phase),
        breaker=words.breaker(market.breaker),
        reasons=tuple(explain.reasons_of(market)),
        why=found.why,
        endings=found.endings,
        since="" if since_ns is None else words.instant(since_ns),
        lasting="" if since_ns is None else words.lasting(at_ns - since_ns),
        overdue=market.overdue,
        mark=words.rounded(market.mark_price, market.mark_price),
        reference=words.rounded(market.reference_price, market.mark_price),
        mark_age="" if market.mark_age_ns is None else f"{market.mark_age_ns / SECOND_NS:.1f} s",
        room=min(rooms_of(market), key=lambda room: room.left, default=None),
    )


def closures_of(market: MarketStatus) -> tuple[Tone, str]:
    """Return what happens to closures in a market."""
    if market.denying:
        return Tone.BAD, "DENIED"
    if market.phase in BANDED_PHASES:
        return Tone.CARE, "in the band"
    if market.ramp_share is not None:
        return Tone.CARE, f"ramp, at {float(market.ramp_share):.0%}"
    return Tone.GOOD, "allowed"


def rooms_of(market: MarketStatus) -> list[Room]:
    """Return what is left of every rule's limit."""
    return [Room(rule, float(left)) for rule, left in sorted(market.headroom.items())]


async def ranked(markets: Sequence[MarketStatus]) -> list[MarketStatus]:
    """Return the markets, those that are hardest to bring back first, then those nearest to a limit."""
    ranks = await mapped(_rank, markets)
    return [market for _, market in sorted(zip(ranks, markets, strict=True), key=itemgetter(0))]


def summary(status: GuardStatus) -> str:
    """Return in one sentence what on-call asks first."""
    count = len(status.markets)
    denying = sum(bool(market.denying) for market in status.markets)
    if denying:
        return f"{denying} of {words.markets(count)} {'denies' if denying == 1 else 'deny'} closures"
    return f"Closures go through in {f'all {count} markets' if count > 1 else 'the only market'}"


def _rank(market: MarketStatus) -> tuple[int, int, float, str]:
    tone_rank = {Tone.BAD: 0, Tone.CARE: 1, Tone.GOOD: 2}[closures_of(market)[0]]
    nearest = min((float(left) for left in market.headroom.values()), default=1.0)
    return tone_rank, -explain.hardness(market), nearest if tone_rank else 1.0, market.market
