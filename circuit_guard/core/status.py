"""What on-call asks first: what is halted, why, since when, and who may lift it. Pure, from state and policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext

from circuit_guard.core import gates, halts, own_clock, reopening
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import Interval, funding_bound
from circuit_guard.core.facts import ActProposed
from circuit_guard.core.formatting import instant
from circuit_guard.core.gates import MARKET_CLOSED
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import Basis, Check
from circuit_guard.core.market import FeedParameters, MarketState
from circuit_guard.core.policy import Change, MarketPolicy, Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rulebook import evaluate_all
from circuit_guard.core.rules import band
from circuit_guard.core.rules.basis import BASIS_MISSING
from circuit_guard.core.rules.divergence import mark_interval
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.state import GuardState, Maintenance
from circuit_guard.core.types import ARITHMETIC, BreakerState, Finding, Phase, Severity
from circuit_guard.core.view import MarketView

NOT_ASKED = frozenset({BASIS_MISSING})
"""What only a caller can do wrong, and here nobody has asked."""


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """A breaker as it stands; `findings` are what opened it."""

    scope: str
    state: BreakerState
    latched: bool
    since_ns: int
    generation: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """One market. `denying` is what a closure computed with the trusted values would be denied for now."""

    market: str
    market_class: str
    required: bool
    warm: bool
    phase: Phase
    commanded_phase: Phase
    phase_since_ns: int
    phase_note: str
    breaker: BreakerStatus
    halt: Halt | None
    denying: tuple[Finding, ...]
    mark_price: Decimal | None
    mark_age_ns: int | None
    index_price: Decimal | None
    funding_index: Decimal | None
    funding_age_ns: int | None
    funding_envelope: Interval | None
    reference_price: Decimal | None
    reference_count: int
    mark_limits: Interval | None
    headroom: dict[str, Decimal]
    """By rule, how much of its limit is left: 1 is untouched, 0 is at the limit or over it."""
    held_since_ns: int | None
    """Since when closures are held by a halt, a breaker or a phase; None while nothing holds them."""
    overdue: bool
    """Whether they are held for longer than the policy's deadline."""
    ramp_share: Decimal | None
    """The share of the full rate at which closures go through after a hold; None where nothing limits them."""
    discarded: int
    """How many intervals of funding indices taint the accounts that were settled with them."""
    hull: Interval | None = None
    """What the reference price has been within the window; None without a quorum."""
    band: Interval | None = None
    """The band that closures have to be in; None in the phases that have none, and without a centre."""
    other_halts: tuple[Halt, ...] = ()
    """The halts beside `halt`, which lasts longest; they too the longest first."""
    own_price: bool = False
    """Whether the market's own average stands in for references: it has none."""
    next_change: str = ""
    """What the policy changes next in this market, and when; empty where nothing comes."""

    @property
    def closed(self) -> bool:
        """Whether it is outside its trading hours and so denies closures: nothing is wrong with it."""
        return any(finding.reason == MARKET_CLOSED for finding in self.denying)

    @property
    def halts(self) -> tuple[Halt, ...]:
        """Every operator's halt of the market, the longest first."""
        return halts.all_of(self.halt, self.other_halts)


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """The whole guard. `not_ready` names the required markets that are still warming."""

    at_ns: int
    policy_revision: str
    shadow: bool
    global_breaker: BreakerStatus
    global_halt: Halt | None
    not_ready: tuple[str, ...]
    markets: tuple[MarketStatus, ...]
    maintenance: Maintenance | None
    proposals: tuple[ActProposed, ...]
    """Acts that wait for a second actor, oldest first."""
    other_global_halts: tuple[Halt, ...] = ()
    """The halts of everything beside `global_halt`, which lasts longest; they too the longest first."""
    clock: str = ""
    """What is to be known of the guard's own clock; empty where it is as it should be."""
    refused_files: tuple[str, ...] = ()
    """Policy and settings files that were refused, one sentence each: what was in force before stays."""

    @property
    def global_halts(self) -> tuple[Halt, ...]:
        """Every operator's halt of everything, the longest first."""
        return halts.all_of(self.global_halt, self.other_global_halts)


def guard_status(state: GuardState, policy: Policy, now_ns: int, refused_files: tuple[str, ...] = ()) -> GuardStatus:
    """Describe the guard at `now_ns` without changing anything."""
    with localcontext(ARITHMETIC):
        markets = tuple(
            market_status(state, state.markets[name], market_policy, now_ns)
            for name, market_policy in sorted(policy.markets.items())
        )
    return status_with(state, policy, markets, now_ns, refused_files)


def status_with(
    state: GuardState,
    policy: Policy,
    markets: tuple[MarketStatus, ...],
    now_ns: int,
    refused_files: tuple[str, ...] = (),
) -> GuardStatus:
    """Describe the guard at `now_ns` round markets that are described already, in the order of their names."""
    return GuardStatus(
        at_ns=now_ns,
        policy_revision=policy.revision,
        shadow=policy.shadow,
        global_breaker=_breaker_status(state.global_breaker),
        global_halt=state.global_halt,
        not_ready=tuple(
            market.market for market in markets if market.required and not market.warm and not market.closed
        ),
        markets=markets,
        maintenance=state.maintenance,
        proposals=tuple(proposal for proposal in state.proposals.values() if proposal.expires_ns > now_ns),
        other_global_halts=state.other_global_halts,
        clock=own_clock.said(state.clock, now_ns),
        refused_files=refused_files,
    )


def market_status(state: GuardState, market: MarketState, policy: MarketPolicy, now_ns: int) -> MarketStatus:
    """Describe one market at `now_ns`."""
    policy = policy.at(now_ns)
    view, trusted = view_of(market, policy, now_ns), market.trusted
    view.closure = Check(
        at_ns=now_ns,
        request_id="",
        account_id="",
        market=market.market,
        size=Decimal(-1),
        basis=Basis(trusted.mark_price, trusted.funding_index),
    )
    findings = [*gates.evaluate(view, policy, state), *evaluate_all(view, policy)]
    return MarketStatus(
        market=market.market,
        market_class=policy.market_class,
        required=policy.required,
        warm=market.warm,
        phase=view.phase,
        commanded_phase=market.phase.commanded,
        phase_since_ns=market.phase.since_ns,
        phase_note=market.phase.note,
        breaker=_breaker_status(market.breaker),
        halt=market.halt,
        denying=tuple(
            f for f in findings if f.severity >= Severity.DENY and not f.shadow and f.reason not in NOT_ASKED
        ),
        mark_price=trusted.mark_price,
        mark_age_ns=None if trusted.mark_price is None else now_ns - trusted.mark_seen_ns,
        index_price=trusted.index_price,
        funding_index=trusted.funding_index,
        funding_age_ns=None if trusted.funding_index is None else now_ns - trusted.funding_seen_ns,
        funding_envelope=view.funding_envelope(policy),
        reference_price=view.references.price,
        reference_count=view.references.count,
        mark_limits=mark_interval(view, policy),
        headroom=_headroom(view, policy),
        held_since_ns=market.held_since_ns,
        overdue=market.held_since_ns is not None
        and now_ns - market.held_since_ns > policy.of(ReopeningParameters).deadline_ns,
        ramp_share=None if market.ramp is None else reopening.ramp_share(market.ramp, policy, now_ns),
        discarded=len(market.discarded),
        hull=view.references.hull,
        band=band.interval(view, policy),
        other_halts=market.other_halts,
        own_price=view.references.own,
        next_change=next_change(policy, now_ns),
    )


def next_change(policy: MarketPolicy, now_ns: int) -> str:
    """Return what the policy changes next, and when; empty where nothing comes."""
    coming = (said for change, said in changes(policy) if change.from_ns > now_ns)
    return next(coming, "")


def changes(policy: MarketPolicy) -> Iterator[tuple[Change, str]]:
    """Yield each change with its sentence: `2026-12-01 08:00:00Z: funding.period_s 28800 to 3600`."""
    before = policy.at(0).groups
    for change in policy.changes:
        differing = change.differences(before)
        said = ", ".join(f"{key} {_written(old)} to {_written(new)}" for key, old, new in differing)
        yield change, f"{instant(change.from_ns)}: {said}"
        before = change.groups


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(value) or "any"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _headroom(view: MarketView, policy: MarketPolicy) -> dict[str, Decimal]:
    trusted, used = view.state.trusted, {}
    if trusted.mark_price is not None:
        age_ns = view.now_ns - min(trusted.mark_seen_ns, trusted.funding_seen_ns or trusted.mark_seen_ns)
        used["staleness"] = Decimal(age_ns) / policy.of(StalenessParameters).deny_after_ns
        limits, hull = mark_interval(view, policy), view.references.hull
        if limits is not None and hull is not None and limits.high > hull.high:
            used["divergence"] = hull.distance(trusted.mark_price) / (limits.high - hull.high)
    if trusted.funding_index is not None:
        price = view.funding_price(policy)
        accrual_ns = trusted.funding_step_accrual_ns + policy.of(FeedParameters).future_skew_ns
        bound = funding_bound(view.funding(policy), price, accrual_ns) if price else Decimal(0)
        used["funding_continuity"] = abs(trusted.funding_step) / bound if bound else Decimal(0)
    if trusted.funding_rate is not None:
        used["funding_rate"] = abs(trusted.funding_rate) / view.funding(policy).rate_max
    return {rule: min(max(1 - share, Decimal(0)), Decimal(1)) for rule, share in used.items()}


def _breaker_status(breaker: Breaker) -> BreakerStatus:
    return BreakerStatus(
        breaker.scope, breaker.state, breaker.latched, breaker.since_ns, breaker.generation, breaker.findings
    )
