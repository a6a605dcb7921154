"""What is enforced, resolved for each market: plain immutable values that the rules read.

`policy_file` builds these from TOML and is the place where they are validated; defaults live there too.
Shares are fractions of a price (0.01 is 1 %), durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from circuit_guard.core.types import SECOND_NS


class GapMode(StrEnum):
    """Whether a funding index moves over a gap in the feed: `accrue` it may, `freeze` it may not."""

    ACCRUE = "accrue"
    FREEZE = "freeze"


class RestrictedClosures(StrEnum):
    """What happens to closures in POST_ONLY and RECOVERING: allowed inside the band, or denied."""

    BANDED = "banded"
    DENIED = "denied"


class FirstSight(StrEnum):
    """How a market never seen before is taken up: `confirm` by its own consistent observations, or by an `operator`."""

    CONFIRM = "confirm"
    OPERATOR = "operator"


class Halted(StrEnum):
    """What an OPEN breaker lets through: nothing, or closures that trusted values justify."""

    DENY_ALL = "deny_all"
    ALLOW_EXPLAINED = "allow_explained"


class TwoActorAct(StrEnum):
    """The acts that a policy may want two people for."""

    RESUME = "resume"
    RESET = "reset"
    REBASELINE = "rebaseline"


@dataclass(frozen=True, slots=True)
class FundingPolicy:
    """Bounds of the funding index and rate. `rate_max` is per `period_ns`."""

    period_ns: int
    rate_max: Decimal
    gap_mode: GapMode
    gap_ns: int
    slack: Decimal
    """The bound is slack * rate_max * index price * dt / period (DESIGN 3)."""
    predicted_step_share: Decimal
    bound_share: Decimal
    """The step may miss the premium's prediction by this share of it, plus that share of the bound."""
    premium_share: Decimal
    """Premium and rate * index price may differ by this share of the larger."""
    trip_after_ns: int


@dataclass(frozen=True, slots=True)
class DivergencePolicy:
    """How far a price may be from the hull of the reference price."""

    base: Decimal
    hull_widths: Decimal
    window_ns: int
    trip_after_ns: int
    trip_at_once_base: Decimal
    trip_at_once_hull_widths: Decimal
    index_base: Decimal
    execution_base: Decimal
    settle_ns: int
    """How long closures stay denied after a diverging mark came back without the references having moved."""


@dataclass(frozen=True, slots=True)
class ReferencePolicy:
    """Which references count, and how many are a quorum. An empty `sources` admits any source."""

    sources: frozenset[str]
    sources_max: int
    age_max_ns: int
    quorum: int
    outlier_share: Decimal


@dataclass(frozen=True, slots=True)
class StalenessPolicy:
    """How old trusted values may be, and how far in the future a stamp may lie."""

    deny_after_ns: int
    recovering_after_ns: int
    future_skew_ns: int
    frozen_after_ns: int
    """How long a mark price may stay the same to the last digit after ..."""
    frozen_move_share: Decimal
    """... the reference price has moved away by more than this share."""
    frozen_trip_after_ns: int


@dataclass(frozen=True, slots=True)
class BandPolicy:
    """The band round the reference price in restricted phases, and how those phases are left."""

    share: Decimal
    center_age_max_ns: int
    post_only_closures: RestrictedClosures
    recovering_closures: RestrictedClosures
    agreement_share: Decimal
    agreement_ns: int
    post_only_min_ns: int = 0
    """How long POST_ONLY lasts at least after a maintenance."""


@dataclass(frozen=True, slots=True)
class BasisPolicy:
    """What is asked of the values a caller computed with."""

    required: bool
    mark_share: Decimal
    window_ns: int
    trip_after_ns: int
    trip_count_min: int


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a tripped breaker re-opens: after a cooldown, on healthy data, through HALF_OPEN.

    `half_open_ns` is how long HALF_OPEN lasts, and how long the ramp rises after any hold.
    """

    cooldown_ns: int
    healthy_ns: int
    half_open_ns: int


@dataclass(frozen=True, slots=True)
class ReopeningPolicy:
    """How closures flow once nothing holds them any more: at a rate that rises over `breaker.half_open_ns`.

    It begins with `start_share` of `closures_per_s` and of `notional_per_s` (quote currency), each for the market.
    `deadline_ns`: a market held for longer is reported as overdue.
    """

    start_share: Decimal = Decimal(1)
    closures_per_s: Decimal = Decimal("1e9")
    notional_per_s: Decimal = Decimal("1e18")
    deadline_ns: int = 1800 * SECOND_NS


@dataclass(frozen=True, slots=True)
class ExplainedLossPolicy:
    """How an account's loss is held against trusted values, and what follows.

    A mark price within `mark_share` of the hull of the reference price, plus so many of its own widths, is believed.
    """

    deny: bool = False
    mark_share: Decimal = Decimal("0.002")
    hull_widths: Decimal = Decimal(2)
    trip_accounts: int = 3
    window_ns: int = 10 * SECOND_NS
    trusted_age_max_ns: int = 3600 * SECOND_NS
    halted: Halted = Halted.DENY_ALL


@dataclass(frozen=True, slots=True)
class BurstPolicy:
    """How many accounts within the window are a burst, and which move of the reference price explains any number.

    `accounts` 0: no number is a burst.
    """

    accounts: int = 0
    window_ns: int = 10 * SECOND_NS
    move_share: Decimal = Decimal("0.003")


@dataclass(frozen=True, slots=True)
class SlowWalkPolicy:
    """How soon the references have to have been where the mark was, and how long not; `trip_after_ns` 0: no matter."""

    lag_ns: int = 20 * SECOND_NS
    trip_after_ns: int = 0


@dataclass(frozen=True, slots=True)
class MarketPolicy:
    """Everything that is enforced on one market."""

    market_class: str
    required: bool
    observation_source: str
    allow_negative_price: bool
    warm_observations: int
    funding: FundingPolicy
    divergence: DivergencePolicy
    references: ReferencePolicy
    staleness: StalenessPolicy
    band: BandPolicy
    basis: BasisPolicy
    breaker: BreakerPolicy
    shadow_rules: frozenset[str]
    reopening: ReopeningPolicy = ReopeningPolicy()
    """Its defaults limit nothing: they are what policies recorded before there was a limit are read with."""
    first_sight: FirstSight = FirstSight.CONFIRM
    explained_loss: ExplainedLossPolicy = ExplainedLossPolicy()
    burst: BurstPolicy = BurstPolicy()
    slow_walk: SlowWalkPolicy = SlowWalkPolicy()
    """The defaults of these three look at nothing, as before there were such rules."""


@dataclass(frozen=True, slots=True)
class GlobalPolicy:
    """When the GLOBAL breaker latches: this many markets and this share of all latched within the window."""

    latched_markets_min: int
    latched_share_min: Decimal
    window_ns: int
    shadow: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """One immutable revision of everything that is enforced."""

    revision: str
    shadow: bool
    """Global shadow: everything is judged and recorded; only operator halts are enforced."""
    global_breaker: GlobalPolicy
    remembered_requests_max: int
    markets: Mapping[str, MarketPolicy]
    two_actors: frozenset[TwoActorAct] = frozenset()
    """The acts for which a second actor has to ask for the same ..."""
    two_actors_within_ns: int = 600 * SECOND_NS
    """... within this time."""
