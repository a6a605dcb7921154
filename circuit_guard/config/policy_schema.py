"""The groups of keys of a market class: units, bounds and defaults.

Units are in the names: `_s` seconds, `_bps` basis points; `_share`, `base` and `rate_max` are fractions (0.01 is 1 %).
Every default is a starting value; where it comes from is said beside it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from circuit_guard.config.toml import Name, Number, Table, Whole
from circuit_guard.core.policy import GapMode, Halted, RestrictedClosures

Share = Annotated[Decimal, Number(over=Decimal(0), most=Decimal(1))]
Widths = Annotated[Decimal, Number(least=Decimal(0), most=Decimal(100))]
Seconds = Annotated[Decimal, Number(over=Decimal(0), most=Decimal(3600), places=9)]
SecondsOrZero = Annotated[Decimal, Number(least=Decimal(0), most=Decimal(3600), places=9)]
LongSeconds = Annotated[Decimal, Number(over=Decimal(0), most=Decimal(86_400), places=9)]
BasisPoints = Annotated[Decimal, Number(over=Decimal(0), most=Decimal(10_000))]
Text = Annotated[str, Name()]
Closures = Annotated[RestrictedClosures, Field(strict=False)]


class FundingTable(Table):
    """Bounds of the funding index and of the funding rate."""

    period_s: Annotated[Decimal, Number(least=Decimal(60), most=Decimal(604_800), places=9)] = Decimal(28_800)
    """Seconds that rate_max, the published rate and the premium refer to. 8 h is what most exchanges use."""
    rate_max: Share = Decimal("0.05")
    """The exchange's cap on the funding rate, a fraction per period_s. Take it from the market's specification."""
    gap_mode: Annotated[GapMode, Field(strict=False)] = GapMode.ACCRUE
    """accrue: the index may move over a gap in the feed, within the bound. freeze: it must not move at all."""
    gap_s: LongSeconds = Decimal(30)
    """Seconds without an observation that make a gap: with freeze nothing accrues over it, and in neither mode does the
    last premium predict the step over it. Published funding formulas say 30."""
    slack: Annotated[Decimal, Number(least=Decimal(1), most=Decimal(10))] = Decimal("1.5")
    """The bound on a step is slack * rate_max * index price * dt / period_s (DESIGN 3)."""
    predicted_step_share: Annotated[Decimal, Number(least=Decimal(0), most=Decimal(10))] = Decimal("0.5")
    """How much of the step that the last premium predicts a step may miss, a fraction of that step (DESIGN 3)."""
    bound_share: Share = Decimal("0.02")
    """And how much of the bound, a fraction of it (DESIGN 3)."""
    premium_share: Share = Decimal("0.05")
    """How far premium and rate * index price may differ, a fraction of the larger: their instants differ."""
    trip_after_s: Seconds = Decimal(30)
    """Seconds that a denying finding of these rules lasts before it trips (DESIGN 4)."""


class DivergenceTable(Table):
    """How far a price may be from the hull of the reference price: the interval it has been in within the window."""

    base: Share = Decimal("0.01")
    """Tolerance round the hull for the mark price, a fraction of the price. 1 % held in five recorded crashes."""
    hull_widths: Widths = Decimal(2)
    """Plus so many widths of the hull itself: it is wide in a crash and narrow in calm (DESIGN 4)."""
    window_s: Seconds = Decimal(30)
    """Seconds of history in the hull. References lag the mark price by seconds in a crash (DESIGN 4)."""
    trip_after_s: Seconds = Decimal(30)
    """Seconds that a divergence denies before it trips (DESIGN 4)."""
    trip_at_once_base: Share = Decimal("0.20")
    """Beyond this tolerance, a fraction, it trips at once (DESIGN 4)."""
    trip_at_once_hull_widths: Widths = Decimal(3)
    """Plus so many widths of the hull (DESIGN 4)."""
    index_base: Share = Decimal("0.25")
    """Tolerance for the index price, a fraction: it is a spot price, references may be derivatives."""
    execution_base: Share = Decimal("0.10")
    """Tolerance for a closure's execution price, a fraction: books slip, marks do not."""
    settle_s: SecondsOrZero = Decimal(15)
    """Seconds of denial after a wrong mark went away: closures computed with it are still on their way."""


class ReferencesTable(Table):
    """Which references count, and how many fresh ones are a quorum."""

    sources: Annotated[tuple[Text, ...], Field(strict=False, max_length=1000)] = ()
    """The names that may publish references for the market. Empty admits any; name them in production."""
    sources_max: Annotated[int, Whole(1, 1000)] = 16
    """How many different sources a market may have; further ones are refused."""
    age_max_s: Seconds = Decimal(10)
    """Seconds after which a reference no longer counts. Venues publish at least once a second."""
    quorum: Annotated[int, Whole(1, 1000)] = 3
    """Fresh references needed for a median. Two that agree are none (DESIGN 4)."""
    outlier_share: Share = Decimal("0.20")
    """How far a reference may be from the median of the others before it is reported, a fraction."""


class StalenessTable(Table):
    """How old trusted values may be, and how far in the future a stamp may lie."""

    deny_after_s: Seconds = Decimal(15)
    """Seconds without a trusted value after which closures are denied (DESIGN 4)."""
    recovering_after_s: LongSeconds = Decimal(30)
    """Seconds without an observation after which the market is RECOVERING (DESIGN 4)."""
    future_skew_s: Annotated[Decimal, Number(least=Decimal(0), most=Decimal(60), places=9)] = Decimal(2)
    """Seconds that a stamp may lie in the future: the difference between two synchronised clocks, and no more."""
    frozen_after_s: LongSeconds = Decimal(15)
    """Seconds that the mark price may stay the same to the last digit after ..."""
    frozen_move_share: Share = Decimal("0.0025")
    """... the reference price has moved by more than this fraction. A book that stands still does not move it."""
    frozen_trip_after_s: Seconds = Decimal(30)
    """Seconds that a frozen mark price denies before it trips."""


class BandTable(Table):
    """The band round the reference price in POST_ONLY and RECOVERING, and how these phases end."""

    width_bps: BasisPoints = Decimal(5)
    """Half width of the band, basis points of the reference price. 5 is the band of published post-only rules."""
    center_age_max_s: SecondsOrZero = Decimal(60)
    """Seconds that the last reference price with a quorum stays the centre without one; then closures are denied."""
    post_only_closures: Closures = RestrictedClosures.BANDED
    """Closures in POST_ONLY: banded (inside the band) or denied."""
    recovering_closures: Closures = RestrictedClosures.BANDED
    """Closures in RECOVERING: banded (inside the band) or denied."""
    agreement_bps: BasisPoints = Decimal(50)
    """RECOVERING ends, and POST_ONLY after a maintenance, when the mark price is so near the references (DESIGN 5)."""
    agreement_s: Seconds = Decimal(30)
    """For so many seconds without a break (DESIGN 5)."""
    post_only_min_s: SecondsOrZero = Decimal(120)
    """Seconds that POST_ONLY lasts at least after a maintenance, for the book to fill; until then closures outside the
    band wait. The maintenance sequence that Paradex publishes has about 2 min of it. 0: agreement alone ends it."""


class BasisTable(Table):
    """What is asked of the mark price and funding index that a caller computed with."""

    required: bool = True
    """Whether a check must carry them. Without them a caller's corrupt values are invisible (DESIGN 3)."""
    mark_share: Annotated[Decimal, Number(least=Decimal(0), most=Decimal(1))] = Decimal("0.01")
    """How far a caller's mark price may be outside what was published within window_s, a fraction."""
    window_s: Seconds = Decimal(30)
    """Seconds of published marks that a caller may have computed with: its own delay."""
    trip_after_s: SecondsOrZero = Decimal(30)
    """Seconds that callers are wrong before it trips."""
    trip_count_min: Annotated[int, Whole(1, 10_000)] = 3
    """And how many checks have to be wrong."""


class BreakerTable(Table):
    """How a tripped (not latched) breaker closes again: on time and healthy data, never on traffic."""

    cooldown_s: LongSeconds = Decimal(60)
    """Seconds in OPEN (denying) at least."""
    healthy_s: LongSeconds = Decimal(30)
    """Seconds of healthy data needed before HALF_OPEN, and before CLOSED."""
    half_open_s: LongSeconds = Decimal(300)
    """Seconds in HALF_OPEN at least, and of the ramp on which closures flow again (reopening), after a trip as after a
    halt, a maintenance and a reset. Longer: genuine closures wait longer. Shorter: the book gets them all at once."""


class ReopeningTable(Table):
    """How fast closures flow once nothing holds them any more: what was held comes all at once.

    The rates are for one market and rise in a straight line over breaker.half_open_s. Take what the market's book can
    absorb: too low and genuine closures wait while their losses grow, too high and they move a thin book.
    """

    ramp_start_share: Share = Decimal("0.10")
    """The share of both rates that the ramp begins with, a fraction; 1: no rise. It ends with all of them."""
    closures_per_s: Annotated[Decimal, Number(over=Decimal(0), most=Decimal(1_000_000))] = Decimal(50)
    """Closures a second at the end of the ramp; further ones are denied, to ask again. A guess: measure your engine."""
    notional_per_s: Annotated[Decimal, Number(over=Decimal(0), most=Decimal(10**15))] = Decimal(5_000_000)
    """Notional a second at the end of the ramp, quote currency. A guess: take it from the depth of the book. A single
    closure may be larger: it goes through, and those after it wait the longer."""
    deadline_s: LongSeconds = Decimal(1800)
    """Seconds after which a market that is still held is reported as overdue. It calls a person and opens nothing."""


class ExplainedLossTable(Table):
    """What follows from the account that a check carries: is it under water at trusted values too? (DESIGN 3).

    Without an account in the check nothing of this table applies to it.
    """

    deny: bool = True
    """Deny the closure of an account that is healthy at every value that can honestly be. false: where your margin
    formula is not that of DESIGN 3, or genuine closures are denied; a wrong sum of the engine then passes."""
    mark_share: Share = Decimal("0.002")
    """A mark price so near the hull of the reference price, a fraction, is believed (DESIGN 4). Wider: a larger wrong
    mark passes. Narrower: the price of a mark that honestly leads is not believed, and a genuine closure may wait."""
    hull_widths: Widths = Decimal(2)
    """Plus so many widths of the hull itself, as a crash widens it (DESIGN 4). Costs the same on both sides."""
    trip_accounts: Annotated[int, Whole(1, 10_000)] = 3
    """Healthy accounts whose closure was asked for, each counted once, that trip the market (DESIGN 4). Fewer: one odd
    account holds everybody. More: meanwhile closures pass that come without their account."""
    window_s: Seconds = Decimal(10)
    """Seconds within which they are counted (DESIGN 4). Shorter: a slow run of them never trips."""
    trusted_age_max_s: LongSeconds = Decimal(3600)
    """Seconds after which the funding index trusted last says nothing of an account. Longer: explained closures pass
    for longer in a halt, on an interval that grows with time. Shorter: they are held, and make bad debt."""
    halted: Annotated[Halted, Field(strict=False)] = Halted.DENY_ALL
    """deny_all: in an OPEN (denying) breaker nothing passes, and what is under water makes bad debt. allow_explained:
    closures that trusted values justify go through at the ramp's rate, also where only stale or wrong data or the band
    of RECOVERING denies; it rests on your margin formula being that of DESIGN 3 and on accounts given as they are."""


class BurstTable(Table):
    """Liquidations in numbers that no move of the reference price explains. Volume alone never trips."""

    accounts: Annotated[int, Whole(0, 10_000)] = 100
    """So many different accounts are a burst; 0: no number is. A guess, take it from your own quiet days. Fewer: a busy
    quiet day trips. More: so many wrong closures pass that nothing else sees."""
    window_s: Seconds = Decimal(10)
    """Seconds within which they are counted. Longer: ordinary closures add up to a burst."""
    move_share: Share = Decimal("0.003")
    """A move of the reference price within divergence.window_s, a fraction, that explains any number of closures.
    Smaller: less is a burst. Larger: a genuine cascade after a small move trips."""


class SlowWalkTable(Table):
    """A mark price that the references never confirm, by steps each of which passes."""

    lag_s: Seconds = Decimal(20)
    """Seconds after which the references must have been where the mark price was, within divergence.base: they follow a
    leader. Shorter: an honest lead counts as unconfirmed. Longer: it is noticed later."""
    trip_after_s: SecondsOrZero = Decimal(90)
    """Seconds without a break that it stays unconfirmed before it trips; 0: it is not looked at. Shorter: references
    that lag in a crash trip it. Longer: closures at a wrong mark pass for so long, while a crash admits it."""
