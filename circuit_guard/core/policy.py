"""What is enforced, resolved for each market: plain immutable values that the rules read.

Parameters are declared beside what they steer, each group in its module; a market's policy has one value of each group.
`config.policy` builds these from TOML, and is where they are validated. Shares are fractions of a price (0.01 is 1 %),
durations are nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from circuit_guard.core.parameters import Parameters, choice, count, flag, name, parameters_of, seconds, share
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
class Change:
    """What is enforced on a market from a known time on, because the exchange said it would change then."""

    from_ns: int
    groups: Mapping[type[Parameters], Parameters] = field(repr=False)
    """One value of each group of parameters, as in `MarketPolicy`."""

    def differences(self, before: Mapping[type[Parameters], Parameters]) -> Iterator[tuple[str, Any, Any]]:
        """Yield each parameter that changes: its key in the policy file, and what is written before and after."""
        for group, given in self.groups.items():
            for one in parameters_of(group):
                old, new = getattr(before[group], one.name), getattr(given, one.name)
                if old != new:
                    yield f"{group.TABLE}.{one.key}", one.to_written(old), one.to_written(new)


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
    changes: tuple[Change, ...] = ()
    """What changes when, the first first. Each says all that holds from then on."""
    stages: Any = field(default=None, init=False, repr=False, compare=False)
    """The policy before and after each change: worked out once by `at`. No part of the policy."""
    plan: Any = field(default=None, init=False, repr=False, compare=False)
    """Which rules run, and how: worked out once by `rulebook.evaluate_all`. No part of the policy."""

    def of(self, group: type[P]) -> P:
        """Return the market's parameters of one group."""
        return self.groups[group]  # type: ignore[return-value]

    def at(self, now_ns: int) -> MarketPolicy:
        """Return what is enforced at a time: the same policy each time until the next change."""
        if not self.changes:
            return self
        if self.stages is None:
            stages = [self, *(replace(self, groups=change.groups) for change in self.changes)]
            for one in stages:
                object.__setattr__(one, "stages", stages)  # it follows from the policy alone
        stage: MarketPolicy = self.stages[sum(1 for change in self.changes if change.from_ns <= now_ns)]
        return stage

    def plain(self) -> dict[str, Any]:
        """Return every value by its name in the core, those of a table as a dict: what journal and revision are of."""
        values: dict[str, Any] = {one: getattr(self, one) for one in MARKET_FIELDS}
        for group, given in self.groups.items():
            table = values.setdefault(group.TABLE, {})
            table.update((one.name, getattr(given, one.name)) for one in fields(group))
        if self.changes:
            values["changes"] = [self._plain_change(change) for change in self.changes]
        return values

    def _plain_change(self, change: Change) -> dict[str, Any]:
        """Return a change by the groups that are then others than at first."""
        values: dict[str, Any] = {"from_ns": change.from_ns}
        for group, given in change.groups.items():
            if given != self.groups[group]:
                table = values.setdefault(group.TABLE, {})
                table.update((one.name, getattr(given, one.name)) for one in fields(group))
        return values


NOT_PLAIN = ("groups", "changes", "stages", "plan")
MARKET_FIELDS = tuple(one.name for one in fields(MarketPolicy) if one.name not in NOT_PLAIN)
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
    stages: Any = field(default=None, init=False, repr=False, compare=False)
    """When something changes, and the policies in between: worked out once by `at`. No part of the policy."""

    def at(self, now_ns: int) -> Policy:
        """Return what is enforced at a time; its revision stays, for it says what changes when."""
        if self.stages is None:
            times = sorted({change.from_ns for market in self.markets.values() for change in market.changes})
            object.__setattr__(self, "stages", (times, {}))
        times, known = self.stages
        if not times:
            return self
        place = bisect_right(times, now_ns)
        if place not in known:
            markets = {name: market.at(now_ns) for name, market in self.markets.items()}
            known[place] = replace(self, markets=markets)
            object.__setattr__(known[place], "stages", self.stages)
        policy: Policy = known[place]
        return policy
