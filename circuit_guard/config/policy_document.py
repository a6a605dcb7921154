"""The policy as people write it: the whole document. The groups of a class are in `policy_schema`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from circuit_guard.config.policy_schema import (
    BandTable,
    BasisTable,
    BreakerTable,
    BurstTable,
    DivergenceTable,
    ExplainedLossTable,
    FundingTable,
    LongSeconds,
    ReferencesTable,
    ReopeningTable,
    Share,
    SlowWalkTable,
    StalenessTable,
    Text,
)
from circuit_guard.config.toml import Name, Number, Table, Whole, expected
from circuit_guard.core.policy import FirstSight, TwoActorAct
from circuit_guard.core.rules import RULES

GLOBAL_RULE = "correlated_trips"
MARKET_RULES = tuple(sorted(RULES))
"""The rules that can be in shadow, per market. Gates (phase, halt, breaker) are no rules: they cannot."""


def _known_rule(name: object) -> str:
    """Return the name of a rule that can be in shadow, or raise the pydantic error that says which can."""
    if name == GLOBAL_RULE:
        raise expected("a rule of a market; correlated_trips is GLOBAL, put it in shadow with global_breaker.shadow")
    if not isinstance(name, str) or name not in MARKET_RULES:
        raise expected(f"a rule: {', '.join(MARKET_RULES)}")
    return name


MARKET_NAME = Name()
CLASS_NAME = Name(
    "a name of 1 to 32 lower-case letters, digits and _ that starts with a letter", "[a-z][a-z0-9_]{0,31}"
)
RuleName = Annotated[str, PlainValidator(_known_rule), WithJsonSchema({"enum": list(MARKET_RULES)})]
Act = Annotated[TwoActorAct, Field(strict=False)]


class ClassTable(Table):
    """A class of markets. Whatever is not given has the default of its key."""

    required: bool = True
    """Whether the guard reports itself NOT_SERVING until the market is warm."""
    observation_source: Text = "exchange"
    """The one source whose observations are the market's state."""
    allow_negative_price: bool = False
    """Whether zero and negative prices are possible (WTI was at -37.63)."""
    warm_observations: Annotated[int, Whole(1, 10_000)] = 3
    """Consistent observations in a row before closures are judged (DESIGN 5)."""
    first_sight: Annotated[FirstSight, Field(strict=False)] = FirstSight.CONFIRM
    """How a market never seen before is taken up. confirm: by those observations; a funding index that is wrong from
    the first one on is then the truth. operator: by a rebaseline; until somebody does it, its closures are denied."""
    shadow_rules: Annotated[tuple[RuleName, ...], Field(strict=False, max_length=100)] = ()
    """Rules that are evaluated, counted and shown, and enforce nothing."""
    funding: FundingTable = FundingTable()
    divergence: DivergenceTable = DivergenceTable()
    references: ReferencesTable = ReferencesTable()
    staleness: StalenessTable = StalenessTable()
    band: BandTable = BandTable()
    basis: BasisTable = BasisTable()
    breaker: BreakerTable = BreakerTable()
    reopening: ReopeningTable = ReopeningTable()
    explained_loss: ExplainedLossTable = ExplainedLossTable()
    burst: BurstTable = BurstTable()
    slow_walk: SlowWalkTable = SlowWalkTable()


class MarketTable(ClassTable):
    """A market: its class, and whatever is different from it. A list replaces the class's list."""

    market_class: Annotated[Text | None, Field(alias="class")] = None
    """The class; without one guard.default_class."""


class GuardTable(Table):
    """What holds for the guard as a whole."""

    shadow: bool = False
    """Judge and record everything, enforce nothing but operator halts."""
    default_class: Text = "default"
    """The class of markets that name none, and of those that a recording brings along."""
    remembered_requests_max: Annotated[int, Whole(1, 1_000_000)] = 10_000
    """How many answered request_ids are remembered, so that asking again gets the same answer."""
    two_actors: Annotated[tuple[Act, ...], Field(strict=False, max_length=len(TwoActorAct))] = ()
    """The acts that take effect only when a second actor asks for the same: resume, reset, rebaseline. No single
    mistake then opens anything; a market held without need waits for the second. Identities of the settings
    tell actors apart; without any, names as given do."""
    two_actors_within_s: Annotated[Decimal, Number(least=Decimal(1), most=Decimal(86_400), places=9)] = Decimal(600)
    """Seconds within which the second has to ask; after that both begin again. Long enough to wake somebody."""


class GlobalBreakerTable(Table):
    """When the GLOBAL breaker latches: markets latching together are no market event, but the exchange's data."""

    latched_markets_min: Annotated[int, Whole(1, 10_000)] = 3
    """At least so many markets (DESIGN 4)."""
    latched_share_min: Share = Decimal("0.2")
    """And at least this share of all markets, a fraction (DESIGN 4)."""
    window_s: LongSeconds = Decimal(60)
    """Latched within so many seconds (DESIGN 4)."""
    shadow: bool = False
    """Evaluate and record only: the GLOBAL breaker stays CLOSED."""


class PolicyDocument(Table):
    """The policy of circuit_guard: what is enforced. Decimals are strings ("0.02") or integers, never floats."""

    guard: GuardTable = GuardTable()
    global_breaker: GlobalBreakerTable = GlobalBreakerTable()
    classes: dict[str, ClassTable] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"pattern": f"^{CLASS_NAME.pattern}$"}}
    )
    """Classes of markets by name. The default class has to be among them."""
    markets: dict[str, MarketTable] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"pattern": f"^{MARKET_NAME.pattern}$"}}
    )
    """The markets that are guarded. A closure in any other is denied."""
