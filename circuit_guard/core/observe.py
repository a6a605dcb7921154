"""What an observation does to a market: judged first, and only then, if it passed, trusted."""

from __future__ import annotations

from circuit_guard.core import taint
from circuit_guard.core.evidence import extended
from circuit_guard.core.facts import Fact, MarketWarm, ObservationJudged, ObservationReconsidered, ShadowWould
from circuit_guard.core.gates import UNKNOWN_MARKET
from circuit_guard.core.inputs import Observation
from circuit_guard.core.market import FeedParameters, Judged, MarketState, Published, Unchanged, published
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.progress import advance, recover, view_of
from circuit_guard.core.references import HullParameters
from circuit_guard.core.rulebook import JUDGED_AGAIN, evaluate_all, still_denied
from circuit_guard.core.rules.basis import BasisParameters
from circuit_guard.core.rules.divergence import MARK_DIVERGENCE, mark_interval
from circuit_guard.core.rules.funding_continuity import JUMPS
from circuit_guard.core.rules.ordering import EVENT_TIME_BACK, OUT_OF_ORDER
from circuit_guard.core.rules.slow_walk import SlowWalkParameters
from circuit_guard.core.rules.staleness import FUTURE_STAMP, StalenessParameters
from circuit_guard.core.rules.validity import UNKNOWN_SOURCE
from circuit_guard.core.state import GuardState
from circuit_guard.core.tripping import trip
from circuit_guard.core.types import Finding, Severity
from circuit_guard.core.view import MarketView

MISTIMED = frozenset({EVENT_TIME_BACK, FUTURE_STAMP})
"""One with one of these says where it stands, but not when: believing that would condemn the next one."""

_LIFTED_BY_REFERENCES = frozenset(code for rule in JUDGED_AGAIN for code in rule.reasons)


def observe(state: GuardState, observation: Observation, policy: Policy) -> list[Fact]:
    """Judge an observation; trust it if no enforced finding is DENY or worse. A redelivery gets the answer it had."""
    market_policy = policy.markets.get(observation.market)
    stranger = _stranger(observation, market_policy)
    if market_policy is None or stranger is not None:
        return [_judged(observation, (stranger,) if stranger else (), accepted=False)]
    market, now_ns = state.markets[observation.market], observation.at_ns
    known = market.feed.recent.get((observation.epoch, observation.feed_sequence))
    if known is not None and known.observation.content() == observation.content():
        return [_judged(observation, known.findings, accepted=known.accepted, redelivered=True)]
    facts = advance(state, market, market_policy, now_ns)
    if -1 < market.feed.epoch < observation.epoch:
        facts += recover(
            market, now_ns, f"epoch {observation.epoch} after {market.feed.epoch}: the publisher restarted"
        )
    view = view_of(market, market_policy, now_ns)
    view.observation, view.published = observation, published(observation)
    findings = tuple(evaluate_all(view, market_policy))
    rejecting = tuple(f for f in findings if f.severity >= Severity.DENY and not f.shadow)
    _follow(market, observation, market_policy, {finding.reason for finding in rejecting})
    market.feed.remember(Judged(observation, not rejecting, findings))
    unanswered = _unanswered(market.rejections, observation)
    market.standing = {f.reason: market.standing.get(f.reason, now_ns) for f in (*findings, *unanswered)}
    _note_reverted_mark(view, market_policy, findings)
    _note_change(view, market_policy)
    facts.append(_judged(observation, findings, accepted=not rejecting))
    if rejecting:
        _reject(market, observation, rejecting, unanswered)
    else:
        facts += _accept(state, view, observation, market_policy, unanswered)
    facts += _shadow(observation, findings)
    return facts + trip(state, market, rejecting, policy, now_ns)


def _stranger(observation: Observation, policy: MarketPolicy | None) -> Finding | None:
    if policy is None:
        limit = "a market that the policy names"
        return Finding(UNKNOWN_MARKET, Severity.DENY, "market", observation.market, limit)
    if observation.source != policy.observation_source:
        limit = policy.observation_source
        return Finding(UNKNOWN_SOURCE, Severity.DENY, "source", observation.source, limit)
    return None


def _judged(
    observation: Observation, findings: tuple[Finding, ...], *, accepted: bool, redelivered: bool = False
) -> ObservationJudged:
    at_ns, market, source = observation.at_ns, observation.market, observation.source
    return ObservationJudged(at_ns, market, source, accepted, redelivered, findings)


def _follow(market: MarketState, observation: Observation, policy: MarketPolicy, rejected_for: set[str]) -> None:
    feed = market.feed
    if OUT_OF_ORDER & rejected_for:
        return
    feed.epoch, feed.feed_sequence, feed.received_ns = observation.epoch, observation.feed_sequence, observation.at_ns
    if not MISTIMED & rejected_for:
        feed.accrued_ns = feed.accrual_ns(observation.event_time_ns, policy, observation.at_ns)
        latest_ns = observation.at_ns + policy.of(FeedParameters).future_skew_ns
        feed.event_time_ns = min(observation.event_time_ns, latest_ns)


def _unanswered(rejections: tuple[Finding, ...], observation: Observation) -> tuple[Finding, ...]:
    """Return the rejections whose value this observation does not give: mark and funding may be published apart."""
    return tuple(f for f in rejections if f.subject in Published._fields and getattr(observation, f.subject) is None)


def _reject(
    market: MarketState, observation: Observation, rejecting: tuple[Finding, ...], unanswered: tuple[Finding, ...]
) -> None:
    may_be_lifted = all(finding.reason in _LIFTED_BY_REFERENCES for finding in rejecting)
    market.reconsidered = observation if may_be_lifted else None
    market.rejections = rejecting + unanswered
    market.healthy = market.agreeing = None
    market.consistent_observations = 0
    if any(finding.reason in JUMPS for finding in rejecting):
        if market.was_warm:
            taint.discard(market, observation.funding_index)
        else:
            market.trusted.funding_index = None


def _accept(
    state: GuardState,
    view: MarketView,
    observation: Observation,
    policy: MarketPolicy,
    unanswered: tuple[Finding, ...] = (),
) -> list[Fact]:
    view.state.rejections = unanswered
    view.state.reconsidered = view.state.reconsidered if unanswered else None
    _trust(view, observation, policy)
    return [] if unanswered else _weigh(state, view, policy)


def reconsider(state: GuardState, market: MarketState, policy: MarketPolicy, now_ns: int) -> list[Fact]:
    """Look again at an observation that only diverged: in a crash the references arrive a moment after the mark."""
    observation = market.reconsidered
    if observation is None:
        return []
    view = view_of(market, policy, now_ns)
    view.observation, view.published = observation, published(observation)
    if still_denied(view, policy):
        return []
    market.diverged_mark = None
    market.standing = {}
    return [
        ObservationReconsidered(now_ns, market.market, observation.source),
        *_accept(state, view, observation, policy),
    ]


def _trust(view: MarketView, observation: Observation, policy: MarketPolicy) -> None:
    """Make the observation's values the trusted ones; what it did not give stays as it was, and ages."""
    market, trusted, values = view.state, view.state.trusted, view.published
    seen_ns = min(observation.at_ns, observation.event_time_ns)
    if (mark := values.mark_price) is not None:
        trusted.mark_price, trusted.mark_seen_ns = mark, seen_ns
        market.marks.append((observation.at_ns, mark))
        while market.marks[0][0] < observation.at_ns - policy.of(BasisParameters).window_ns:
            market.marks.popleft()
    if (index := values.funding_index) is not None:
        trusted.funding_step = index - (index if trusted.funding_index is None else trusted.funding_index)
        trusted.funding_step_accrual_ns = market.feed.accrued_ns
        trusted.funding_index, trusted.funding_seen_ns = index, seen_ns
        market.feed.accrued_ns = 0
        taint.regain(market, index)
        trusted.funding_premium = values.funding_premium
        trusted.funding_rate = values.funding_rate
    if (price := values.index_price) is not None:
        trusted.index_price = price
    if len(market.given) < len(values):
        market.given.update(name for name, value in zip(Published._fields, values, strict=True) if value is not None)


def _weigh(state: GuardState, view: MarketView, policy: MarketPolicy) -> list[Fact]:
    """Count an accepted observation as evidence: of health; of agreement with the references; of being warm."""
    market, now_ns = view.state, view.now_ns
    market.healthy = extended(market.healthy, now_ns)
    mark, limits = (
        view.published.mark_price,
        view.references.limits(policy.of(PhaseParameters).agreement_share, policy.of(HullParameters).hull_widths),
    )
    if mark is None:
        return advance(state, market, policy, now_ns)
    if not view.references.quorum or limits is None or mark not in limits:
        market.agreeing = None
        return advance(state, market, policy, now_ns)
    market.agreeing = extended(market.agreeing, now_ns)
    market.consistent_observations += market.trusted.funding_index is not None
    unconfirmed = policy.first_sight is FirstSight.OPERATOR and not market.was_warm
    if market.warm or unconfirmed or market.consistent_observations < policy.warm_observations:
        return advance(state, market, policy, now_ns)
    market.warm = market.was_warm = True
    return [MarketWarm(now_ns, market.market), *advance(state, market, policy, now_ns)]


def _note_change(view: MarketView, policy: MarketPolicy) -> None:
    """Remember the published mark price, trusted or not, and since when the references have been away from it."""
    mark, price, known = view.published.mark_price, view.references.price, view.state.unchanged
    if mark is not None and policy.of(SlowWalkParameters).trip_after_ns:
        marks = view.state.published_marks
        marks.append((view.now_ns, mark))
        while marks[0][0] < view.now_ns - policy.of(SlowWalkParameters).lag_ns:
            marks.popleft()
    if mark is None or price is None:
        return
    if known is None or known.mark_price != mark:
        view.state.unchanged = Unchanged(mark, price, None)
    elif (
        abs(price - known.reference_price)
        <= abs(known.reference_price) * policy.of(StalenessParameters).frozen_move_share
    ):
        view.state.unchanged = known._replace(away_since_ns=None)
    elif known.away_since_ns is None:
        view.state.unchanged = known._replace(away_since_ns=view.now_ns)


def _note_reverted_mark(view: MarketView, policy: MarketPolicy, findings: tuple[Finding, ...]) -> None:
    """Remember a diverging mark; when it ends and the references never went there, note that it was wrong."""
    market = view.state
    mark = view.published.mark_price
    if any(finding.reason == MARK_DIVERGENCE for finding in findings):
        market.diverged_mark = mark
    elif market.diverged_mark is not None and mark is not None:
        limit = mark_interval(view, policy)
        if limit is not None and market.diverged_mark not in limit:
            market.reverted_ns = view.now_ns
        market.diverged_mark = None


def _shadow(observation: Observation, findings: tuple[Finding, ...]) -> list[Fact]:
    would = tuple(finding for finding in findings if finding.shadow and finding.severity >= Severity.DENY)
    return [ShadowWould(observation.at_ns, observation.market, would)] if would else []
