"""From the document to what the core enforces: a market over its class over the defaults, human units to core units."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from decimal import Decimal
from typing import TypeVar

from circuit_guard.config.policy_document import ClassTable, GlobalBreakerTable, MarketTable, PolicyDocument
from circuit_guard.config.policy_schema import (
    BandTable,
    BasisTable,
    BreakerTable,
    BurstTable,
    DivergenceTable,
    ExplainedLossTable,
    FundingTable,
    ReferencesTable,
    ReopeningTable,
    SlowWalkTable,
    StalenessTable,
)
from circuit_guard.config.toml import Table
from circuit_guard.core import policy as core
from circuit_guard.core.types import ARITHMETIC, SECOND_NS

_BPS = Decimal("0.0001")
_REVISION_DIGITS = 12

T = TypeVar("T", bound=Table)


def merged(base: T, over: Table) -> T:
    """Return `base` with what was written in `over`, table by table. A list replaces a list."""
    written: dict[str, object] = {}
    for name in over.model_fields_set & type(base).model_fields.keys():
        value = getattr(over, name)
        written[name] = merged(getattr(base, name), value) if isinstance(value, Table) else value
    return base.model_copy(update=written)


def class_of(document: PolicyDocument, market: MarketTable) -> str:
    """Return the name of the market's class."""
    return market.market_class or document.guard.default_class


def resolved(document: PolicyDocument) -> core.Policy:
    """Return the policy that a valid document means; equal meaning has an equal revision, whatever the wording."""
    markets: dict[str, core.MarketPolicy] = {}
    alike: dict[str, core.MarketPolicy] = {}  # equal values are shared: checks in many markets touch less memory
    for name, market in document.markets.items():
        class_name = class_of(document, market)
        own = _market(class_name, merged(document.classes[class_name], market))
        markets[name] = alike.setdefault(repr(own), own)
    policy = core.Policy(
        revision="",
        shadow=document.guard.shadow,
        global_breaker=_global_breaker(document.global_breaker),
        remembered_requests_max=document.guard.remembered_requests_max,
        markets=markets,
        two_actors=frozenset(document.guard.two_actors),
        two_actors_within_ns=_ns(document.guard.two_actors_within_s),
    )
    return replace(policy, revision=_revision(policy))


def _revision(policy: core.Policy) -> str:
    canonical = json.dumps(asdict(policy), sort_keys=True, separators=(",", ":"), default=_canonical)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_REVISION_DIGITS]


def _canonical(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value.normalize(ARITHMETIC), "f")
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _ns(seconds: Decimal) -> int:
    return int(ARITHMETIC.multiply(seconds, Decimal(SECOND_NS)))


def _share(bps: Decimal) -> Decimal:
    return ARITHMETIC.multiply(bps, _BPS)


def _market(class_name: str, table: ClassTable) -> core.MarketPolicy:
    return core.MarketPolicy(
        market_class=class_name,
        required=table.required,
        observation_source=table.observation_source,
        allow_negative_price=table.allow_negative_price,
        warm_observations=table.warm_observations,
        funding=_funding(table.funding),
        divergence=_divergence(table.divergence),
        references=_references(table.references),
        staleness=_staleness(table.staleness),
        band=_band(table.band),
        basis=_basis(table.basis),
        breaker=_breaker(table.breaker),
        shadow_rules=frozenset(table.shadow_rules),
        reopening=_reopening(table.reopening),
        first_sight=table.first_sight,
        explained_loss=_explained_loss(table.explained_loss),
        burst=_burst(table.burst),
        slow_walk=_slow_walk(table.slow_walk),
    )


def _funding(table: FundingTable) -> core.FundingPolicy:
    return core.FundingPolicy(
        period_ns=_ns(table.period_s),
        rate_max=table.rate_max,
        gap_mode=table.gap_mode,
        gap_ns=_ns(table.gap_s),
        slack=table.slack,
        predicted_step_share=table.predicted_step_share,
        bound_share=table.bound_share,
        premium_share=table.premium_share,
        trip_after_ns=_ns(table.trip_after_s),
    )


def _divergence(table: DivergenceTable) -> core.DivergencePolicy:
    return core.DivergencePolicy(
        base=table.base,
        hull_widths=table.hull_widths,
        window_ns=_ns(table.window_s),
        trip_after_ns=_ns(table.trip_after_s),
        trip_at_once_base=table.trip_at_once_base,
        trip_at_once_hull_widths=table.trip_at_once_hull_widths,
        index_base=table.index_base,
        execution_base=table.execution_base,
        settle_ns=_ns(table.settle_s),
    )


def _references(table: ReferencesTable) -> core.ReferencePolicy:
    return core.ReferencePolicy(
        sources=frozenset(table.sources),
        sources_max=table.sources_max,
        age_max_ns=_ns(table.age_max_s),
        quorum=table.quorum,
        outlier_share=table.outlier_share,
    )


def _staleness(table: StalenessTable) -> core.StalenessPolicy:
    return core.StalenessPolicy(
        deny_after_ns=_ns(table.deny_after_s),
        recovering_after_ns=_ns(table.recovering_after_s),
        future_skew_ns=_ns(table.future_skew_s),
        frozen_after_ns=_ns(table.frozen_after_s),
        frozen_move_share=table.frozen_move_share,
        frozen_trip_after_ns=_ns(table.frozen_trip_after_s),
    )


def _band(table: BandTable) -> core.BandPolicy:
    return core.BandPolicy(
        share=_share(table.width_bps),
        center_age_max_ns=_ns(table.center_age_max_s),
        post_only_closures=table.post_only_closures,
        recovering_closures=table.recovering_closures,
        agreement_share=_share(table.agreement_bps),
        agreement_ns=_ns(table.agreement_s),
        post_only_min_ns=_ns(table.post_only_min_s),
    )


def _basis(table: BasisTable) -> core.BasisPolicy:
    return core.BasisPolicy(
        required=table.required,
        mark_share=table.mark_share,
        window_ns=_ns(table.window_s),
        trip_after_ns=_ns(table.trip_after_s),
        trip_count_min=table.trip_count_min,
    )


def _breaker(table: BreakerTable) -> core.BreakerPolicy:
    return core.BreakerPolicy(
        cooldown_ns=_ns(table.cooldown_s),
        healthy_ns=_ns(table.healthy_s),
        half_open_ns=_ns(table.half_open_s),
    )


def _reopening(table: ReopeningTable) -> core.ReopeningPolicy:
    return core.ReopeningPolicy(
        start_share=table.ramp_start_share,
        closures_per_s=table.closures_per_s,
        notional_per_s=table.notional_per_s,
        deadline_ns=_ns(table.deadline_s),
    )


def _explained_loss(table: ExplainedLossTable) -> core.ExplainedLossPolicy:
    return core.ExplainedLossPolicy(
        deny=table.deny,
        mark_share=table.mark_share,
        hull_widths=table.hull_widths,
        trip_accounts=table.trip_accounts,
        window_ns=_ns(table.window_s),
        trusted_age_max_ns=_ns(table.trusted_age_max_s),
        halted=table.halted,
    )


def _burst(table: BurstTable) -> core.BurstPolicy:
    return core.BurstPolicy(
        accounts=table.accounts,
        window_ns=_ns(table.window_s),
        move_share=table.move_share,
    )


def _slow_walk(table: SlowWalkTable) -> core.SlowWalkPolicy:
    return core.SlowWalkPolicy(
        lag_ns=_ns(table.lag_s),
        trip_after_ns=_ns(table.trip_after_s),
    )


def _global_breaker(table: GlobalBreakerTable) -> core.GlobalPolicy:
    return core.GlobalPolicy(
        latched_markets_min=table.latched_markets_min,
        latched_share_min=table.latched_share_min,
        window_ns=_ns(table.window_s),
        shadow=table.shadow,
    )
