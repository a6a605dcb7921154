"""What is enforced, resolved for each market: plain immutable values that the rules read.

Parameters are declared beside what they steer, each group in its module; a market's policy has one value of each group.
`config.policy` builds these from TOML, and is where they are validated. Shares are fractions of a price (0.01 is 1 %),
durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from circuit_guard.core.parameters import Parameters, choice, count, flag, name, seconds, share
from circuit_guard.core.types import SECOND_NS

P = TypeVar("P", bound=Parameters)


class FirstSight(StrEnum):
    """How a market never seen before is taken up: `confirm` by its own consistent observations, or by an `operator`."""

    CONFIRM = "confirm"
    OPERATOR = "operator"


class TwoActorAct(StrEnum):
    """The acts that a policy may want two people for."""

    RESUME = "resume"
    RESET = "reset"
    REBASELINE = "rebaseline"


@dataclass(frozen=True, slots=True)
class MarketPolicy:
    """Everything that is enforced on one market."""

    market_class: str
    groups: Mapping[type[Parameters], Parameters] = field(repr=False)
    """One value of each group of parameters. A rule whose group is not among them does not run."""
    required: bool = flag(True, "The guard reports NOT_SERVING until the market is warm.")
    observation_source: str = name("exchange", "The one source whose observations are the market's state.")
    allow_negative_price: bool = flag(False, "Zero and negative prices are possible (WTI was at -37.63).")
    warm_observations: int = count(
        3, "Consistent observations in a row before closures are judged (DESIGN 5).", most=10_000
    )
    first_sight: FirstSight = choice(
        FirstSight.CONFIRM,
        "How the guard comes to trust a new market. confirm: it trusts those observations, so a funding index "
        "that is wrong from the first one on becomes the truth. operator: closures are denied until somebody "
        "rebaselines the market.",
    )
    shadow_rules: frozenset[str] = frozenset()
    plan: Any = field(default=None, init=False, repr=False, compare=False)
    """Which rules run, and how: worked out once by `rulebook.evaluate_all`. No part of the policy."""

    def of(self, group: type[P]) -> P:
        """Return the market's parameters of one group."""
        return self.groups[group]  # type: ignore[return-value]

    def plain(self) -> dict[str, Any]:
        """Return every value by its name in the core, those of a table as a dict: what journal and revision are of."""
        values: dict[str, Any] = {one: getattr(self, one) for one in MARKET_FIELDS}
        for group, given in self.groups.items():
            table = values.setdefault(group.TABLE, {})
            table.update((one.name, getattr(given, one.name)) for one in fields(group))
        return values


MARKET_FIELDS = tuple(one.name for one in fields(MarketPolicy) if one.name not in ("groups", "plan"))
"""What a market's policy has besides its groups of parameters."""


@dataclass(frozen=True, slots=True)
class GlobalBreakerParameters(Parameters):
    """When the GLOBAL breaker latches. Markets latching together are no market event: the exchange's data are wrong."""

    TABLE: ClassVar[str] = "global_breaker"

    latched_markets_min: int = count(3, "It latches when at least this many markets ... (DESIGN 4)", most=10_000)
    latched_share_min: Decimal = share("0.2", "... and at least this fraction of all markets ... (DESIGN 4)")
    window_ns: int = seconds(60, "... have latched within this many seconds (DESIGN 4).", most=86_400)
    shadow: bool = flag(False, "Evaluate and record only: the GLOBAL breaker stays CLOSED.")


REMEMBERED_ALLOW_MAX_NS = 60 * SECOND_NS
"""How long an ALLOW answers the same request_id, where the policy does not say."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One immutable revision of everything that is enforced."""

    revision: str
    shadow: bool
    """Global shadow: everything is judged and recorded; only operator halts are enforced."""
    global_breaker: GlobalBreakerParameters
    remembered_requests_max: int
    markets: Mapping[str, MarketPolicy]
    two_actors: frozenset[TwoActorAct] = frozenset()
    """The acts for which a second actor has to ask for the same ..."""
    two_actors_within_ns: int = 600 * SECOND_NS
    """... within this time."""
    remembered_allow_max_ns: int | None = REMEMBERED_ALLOW_MAX_NS
    """An ALLOW older than this answers no more: the same check is judged again. None: as in version 0.2, whose policies
    are recorded without it, every remembered ALLOW answers, whatever its age and even while its market is latched."""
    conversions: Any = field(default=None, init=False, repr=False, compare=False)
    """Which markets each market's reference price converts for: worked out once by `feed`. No part of the policy."""
