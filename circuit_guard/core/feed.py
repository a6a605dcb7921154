"""What an observation and a reference do to a market: judged first, and only then, if they passed, trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from circuit_guard.core import names, own_clock, taint
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.envelope import FundingAccrual, FundingParameters, Terms
from circuit_guard.core.evidence import doubted, extended, interrupted, relieved
from circuit_guard.core.facts import (
    Fact,
    MarketWarm,
    ObservationJudged,
    ObservationReconsidered,
    ReferenceJudged,
    ShadowWould,
)
from circuit_guard.core.funding import OPENING, Accrual, FundingPath, PathPoint, moved, rescaled
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.market import (
    FeedParameters,
    Judged,
    MarketState,
    Published,
    Unchanged,
    published,
    published_terms,
    readable,
)
from circuit_guard.core.own_clock import GUARD_CLOCK_OFF, Stamp
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.progress import advance, recover, view_of
from circuit_guard.core.references import HullParameters, ReferenceBook, ReferenceParameters, facts_of, median
from circuit_guard.core.rulebook import JUDGED_AGAIN, evaluate_all, still_denied
from circuit_guard.core.rules.basis import BasisParameters
from circuit_guard.core.rules.divergence import MARK_DIVERGENCE, DivergenceParameters, mark_interval
from circuit_guard.core.rules.funding_continuity import JUMPS
from circuit_guard.core.rules.ordering import (
    EVENT_TIME_BACK,
    OUT_OF_ORDER,
    SEQUENCE_LATE,
    delivered_long_ago,
    in_its_place,
)
from circuit_guard.core.rules.reference_quorum import REFERENCE_OUTLIER, REFERENCE_UNCONVERTED
from circuit_guard.core.rules.slow_walk import SlowWalkParameters
from circuit_guard.core.rules.staleness import DATA_STALE, FUTURE_STAMP, StalenessParameters
from circuit_guard.core.rules.validity import NOT_A_NUMBER, PRICE_NOT_POSITIVE, UNKNOWN_SOURCE
from circuit_guard.core.settlement import Due
from circuit_guard.core.state import GuardState
from circuit_guard.core.tripping import trip
from circuit_guard.core.types import SECOND_NS, Finding, Phase, Severity, show, show_seconds
from circuit_guard.core.view import MarketView

BASIS_NS = 5 * SECOND_NS
"""The time constant of the distance between mark and reference price: longer lags it, shorter takes noise for it."""
MISTIMED = frozenset({EVENT_TIME_BACK, FUTURE_STAMP, GUARD_CLOCK_OFF})
"""One with one of these says where it stands, but not when: believing that would condemn the next one."""

_LIFTED_BY_REFERENCES = frozenset(code for rule in JUDGED_AGAIN for code in rule.reasons)


def observe(state: GuardState, observation: Observation, policy: Policy) -> list[Fact]:
    """Judge an observation; trust it if no enforced finding is DENY or worse. A redelivery gets the answer it had."""
    market_policy = policy.markets.get(observation.market)
    stranger = _stranger(observation, market_policy, policy.markets)
    if market_policy is None or stranger is not None:
        return [_judged(observation, (stranger,) if stranger else (), accepted=False)]
    market, now_ns = state.markets[observation.market], observation.at_ns
    known = market.feed.recent.get((observation.epoch, observation.feed_sequence))
    if known is not None and known.observation.content() == observation.content():
        return [_judged(observation, known.findings, accepted=known.accepted, redelivered=True)]
    if (old := delivered_long_ago(observation, market.feed)) is not None:
        return [_judged(observation, (old,), accepted=True, redelivered=True)]
    facts = advance(state, market, market_policy, now_ns)
    if -1 < market.feed.epoch < observation.epoch:
        facts += recover(
            market, now_ns, f"epoch {observation.epoch} after {market.feed.epoch}: the publisher restarted"
        )
    _begin_accrual(market, market_policy)
    view = view_of(market, market_policy, now_ns)
    view.observation, view.published = observation, _judgeable(observation, market_policy)
    view.terms = _terms(market, observation, market_policy)
    accrual = accrual_of(view, market_policy)
    view.path = None if accrual is None else moved(market.funding.point, accrual, view.funding(market_policy))
    view.due = due_of(view, accrual, market_policy)
    findings = tuple(evaluate_all(view, market_policy))
    late = any(finding.reason == SEQUENCE_LATE for finding in findings)
    if late and in_its_place(observation, market.feed):
        findings = tuple(finding for finding in findings if finding.subject != "funding_index")
    facts += _note_stamp(state, observation, findings, market_policy)
    findings = own_clock.named(state.clock, findings)
    if view.calm(market_policy):
        findings = tuple(replace(f, severity=Severity.DENY) if f.severity is Severity.TRIP else f for f in findings)
    rejecting = tuple(f for f in findings if f.severity >= Severity.DENY and not f.shadow)
    if late and not rejecting:
        market.feed.remember(Judged(observation, True, findings))  # the later one that overtook it is trusted already
        return [*facts, _judged(observation, findings, accepted=True)]
    _follow(view, observation, accrual, market_policy, {finding.reason for finding in rejecting}, late=late)
    market.feed.remember(Judged(observation, not rejecting, findings))
    unanswered = _unanswered(market, observation, market_policy)
    _doubt(market, {finding.reason for finding in (*findings, *unanswered)}, now_ns)
    if view.shut(market_policy):
        market.doubts = {}  # what lasts while it is closed is no doubt of the opening
    _note_reverted_mark(view, market_policy, findings)
    _note_change(view, market_policy)
    facts.append(_judged(observation, findings, accepted=not rejecting))
    if rejecting:
        _reject(market, observation, rejecting, unanswered, market_policy)
    else:
        facts += _accept(state, view, observation, market_policy, unanswered)
    facts += _shadow(observation, findings)
    return facts + trip(state, market, rejecting, policy, now_ns)


def _judgeable(observation: Observation, policy: MarketPolicy) -> Published:
    """Return the values of an observation that are judged: no funding index where the policy says there is none."""
    values = published(observation)
    return values._replace(funding_index=None) if policy.of(FundingParameters).rates_only else values


def _begin_accrual(market: MarketState, policy: MarketPolicy) -> None:
    """Begin anew where the policy now says that the funding index moves in another way than before."""
    funding, index = policy.of(FundingParameters), market.trusted.funding_index
    if index is None:
        return
    if funding.rates_only:
        market.trusted.funding_index, market.funding = None, FundingPath()
    elif funding.accrual is FundingAccrual.CONTINUOUS and market.funding.steps is not None:
        market.funding.begin(index)


def due_of(view: MarketView, accrual: Accrual | None, policy: MarketPolicy) -> Due | None:
    """Return what may be settled in the funding index of a view's observation; None if it accrues all the time."""
    if policy.of(FundingParameters).accrual is not FundingAccrual.STEPWISE or view.observation is None:
        return None
    latest_ns = view.now_ns + policy.of(FeedParameters).future_skew_ns
    due = view.due_at(policy, min(view.observation.event_time_ns, latest_ns), view.published.funding_index)
    if due is None or accrual is None:
        return due
    cap = view.funding(policy).rate_max * accrual.price
    premium = None if accrual.premium is None else max(-cap, min(cap, accrual.premium))
    return replace(due, steps=due.steps.widened(premium, accrual.unknown), latest=premium)


def _terms(market: MarketState, observation: Observation, policy: MarketPolicy) -> Terms:
    """Return the funding period and cap in force with an observation: its own where the policy admits them."""
    given, known = published_terms(observation), market.terms
    if next(given.out_of_bounds(policy.of(FundingParameters)), None) is not None:
        return known
    return Terms(given.period_ns or known.period_ns, given.rate_max or known.rate_max)


def _stranger(observation: Observation, policy: MarketPolicy | None, known: Iterable[str]) -> Finding | None:
    if policy is None:
        return names.unknown(observation.market, known)
    if observation.source != policy.observation_source:
        limit = policy.observation_source
        return Finding(UNKNOWN_SOURCE, Severity.DENY, "source", observation.source, limit)
    return None


def _judged(
    observation: Observation, findings: tuple[Finding, ...], *, accepted: bool, redelivered: bool = False
) -> ObservationJudged:
    at_ns, market, source = observation.at_ns, observation.market, observation.source
    return ObservationJudged(at_ns, market, source, accepted, redelivered, findings)


def _doubt(market: MarketState, found: set[str], now_ns: int) -> None:
    """Note what is found in an observation: for how long, and by shares of time whether it lasts."""
    market.standing = {code: market.standing.get(code, now_ns) for code in sorted(found)}
    for code in sorted(found | market.doubts.keys()):
        before = market.doubts.get(code)
        after = doubted(before, now_ns) if code in found else before and relieved(before, now_ns)
        if after is None:
            market.doubts.pop(code, None)
        else:
            market.doubts[code] = after


def accrual_of(view: MarketView, policy: MarketPolicy) -> Accrual | None:
    """Return what the observation of a view says of the accrual since the one before; None without a known price."""
    feed, values = view.state.feed, view.published
    price = view.funding_price(policy)
    if price is None or view.observation is None:
        return None
    until_ns = view.observation.event_time_ns
    elapsed_ns = feed.accrual_ns(until_ns, policy, view.now_ns) - feed.accrued_ns
    premium = values.funding_premium
    if premium is None and values.funding_rate is not None:
        premium = values.funding_rate * (price if values.index_price is None else values.index_price)
    mark, index = values.mark_price, values.index_price
    basis = None if mark is None or index is None else mark - index
    gap_ns = policy.of(FundingParameters).gap_ns
    over_ns = 0 if feed.event_time_ns is None else until_ns - feed.event_time_ns - gap_ns
    unknown = min(Decimal(max(over_ns, 0)) / (gap_ns * OPENING), Decimal(1))
    doubtful = any(finding.subject == "funding_index" for finding in view.state.rejections)
    return Accrual(elapsed_ns, price, premium, basis, unknown, doubtful)


def _follow(
    view: MarketView,
    observation: Observation,
    accrual: Accrual | None,
    policy: MarketPolicy,
    rejected_for: set[str],
    *,
    late: bool,
) -> None:
    market, feed = view.state, view.state.feed
    if late or OUT_OF_ORDER & rejected_for:
        return  # the feed stands where the one before was, or the one that overtook this one
    feed.epoch, feed.feed_sequence, feed.received_ns = observation.epoch, observation.feed_sequence, observation.at_ns
    if not MISTIMED & rejected_for:
        _take_terms(view, policy)
        market.funding.point = _followed(view, accrual, policy, rejected=bool(rejected_for))
        feed.accrued_ns = feed.accrual_ns(observation.event_time_ns, policy, observation.at_ns)
        if view.due is not None and not (rejected_for and market.funding.steps is None):
            market.funding.steps = view.due.steps if rejected_for else view.due.followed()
        latest_ns = observation.at_ns + policy.of(FeedParameters).future_skew_ns
        feed.event_time_ns = min(observation.event_time_ns, latest_ns)


def _take_terms(view: MarketView, policy: MarketPolicy) -> None:
    """Take the funding terms of the observation; a premium known from before refers to the period before."""
    market, trusted = view.state, view.state.trusted
    before_ns = market.funding.point.period_ns
    if trusted.funding_premium is not None and before_ns:
        period_ns = view.funding(policy).period_ns
        trusted.funding_premium = rescaled(trusted.funding_premium, before_ns, period_ns)
    market.terms = view.terms or market.terms


def _followed(view: MarketView, accrual: Accrual | None, policy: MarketPolicy, *, rejected: bool) -> PathPoint:
    """Return where the path stands now. While observations are rejected, the last trusted premium may be true."""
    point = view.state.funding.point
    if accrual is None or view.path is None:
        return point
    if not rejected:
        return view.path
    known = view.state.trusted.funding_premium
    known = point.premium if known is None else known
    if known is None:  # no premium was ever published: nothing predicts
        return moved(point, accrual._replace(unknown=Decimal(1)), view.funding(policy))
    return moved(point, accrual, view.funding(policy), (known,))


AGEING = frozenset({"mark_price", "funding_index"})
"""Closures rest on these two: one that is not published any more is stale soon, so a rejection of it may stand."""


def _unanswered(market: MarketState, observation: Observation, policy: MarketPolicy) -> tuple[Finding, ...]:
    """Return the rejections whose value this observation does not give: mark and funding may be published apart.

    A rate, a premium or an index price that is not published any more holds closures only as long as data count.
    """
    rejected_ns = market.rejected_ns
    young = rejected_ns is None or observation.at_ns - rejected_ns <= policy.of(StalenessParameters).deny_after_ns
    return tuple(
        f
        for f in market.rejections
        if f.subject in Published._fields and getattr(observation, f.subject) is None and (young or f.subject in AGEING)
    )


def _reject(
    market: MarketState,
    observation: Observation,
    rejecting: tuple[Finding, ...],
    unanswered: tuple[Finding, ...],
    policy: MarketPolicy,
) -> None:
    may_be_lifted = all(finding.reason in _LIFTED_BY_REFERENCES for finding in rejecting)
    market.reconsidered = observation if may_be_lifted else None
    market.rejections, market.rejected_ns = rejecting + unanswered, observation.at_ns
    market.healthy = interrupted(market.healthy, observation.at_ns, policy.of(BreakerParameters).healthy_ns)
    market.agreeing = interrupted(market.agreeing, observation.at_ns, policy.of(PhaseParameters).agreement_ns)
    market.consistent_observations = 0
    if any(finding.reason in JUMPS for finding in rejecting):
        if market.was_warm:
            taint.discard(market, observation.funding_index)
            if observation.funding_index is not None:
                market.funding.reject(observation.funding_index)
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
    if policy.of(FundingParameters).rates_only:
        view.state.trusted.funding_seen_ns = min(observation.at_ns, observation.event_time_ns)
    if unanswered:
        return []
    return [*_weigh(view, policy), *advance(state, view.state, policy, view.now_ns)]


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
    market.doubts = {code: run for code, run in market.doubts.items() if code not in _LIFTED_BY_REFERENCES}
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
        _confirm(view, policy)
        market.references.follow_own(mark, observation.at_ns, policy)
        market.marks.append((observation.at_ns, mark))
        while market.marks[0][0] < observation.at_ns - policy.of(BasisParameters).window_ns:
            market.marks.popleft()
    if (index := values.funding_index) is not None:
        before, due = trusted.funding_index, view.due
        if before is None:
            market.funding.begin(index)
        trusted.funding_step = index - (index if trusted.funding_index is None else trusted.funding_index)
        trusted.funding_step_accrual_ns = market.feed.accrued_ns
        trusted.funding_index, trusted.funding_seen_ns = index, seen_ns
        market.feed.accrued_ns = 0
        market.funding.trust(index)
        if due is not None and before is not None:
            market.funding.steps = due.trusted(index, before, view.now_ns)
        taint.regain(market, index)
        trusted.funding_premium = values.funding_premium
        trusted.funding_rate = values.funding_rate
    if (price := values.index_price) is not None:
        trusted.index_price = price
    if len(market.given) < len(values):
        market.given.update(name for name, value in zip(Published._fields, values, strict=True) if value is not None)


def _confirm(view: MarketView, policy: MarketPolicy) -> None:
    """Note the prices that references stand by, and how far from them the mark price lies while trading is as usual."""
    trusted, references, now_ns = view.state.trusted, view.references, view.now_ns
    mark = view.published.mark_price
    if references.anchors is None or mark is None:
        return
    since_ns = now_ns - trusted.confirmed_ns
    trusted.confirmed_mark, trusted.confirmed_ns = mark, now_ns
    index = view.published.index_price
    trusted.confirmed_index = trusted.index_price if index is None else index
    if view.phase is Phase.OPEN and references.price and _near_others(view, policy):
        weight = min(Decimal(since_ns) / BASIS_NS, Decimal(1))
        trusted.basis += (mark / references.price - trusted.basis) * weight


def _near_others(view: MarketView, policy: MarketPolicy) -> bool:
    """Return whether the mark price as a multiple of the reference price says anything: not beside zero."""
    mark, price, scale = view.published.mark_price, view.references.price, policy.of(PriceParameters).scale
    if not view.references.quorum or view.references.own:
        return False
    if not policy.allow_negative_price or mark is None or price is None:
        return True
    return mark * price > 0 and min(abs(mark), abs(price)) >= scale > 0


def _weigh(view: MarketView, policy: MarketPolicy) -> list[Fact]:
    """Count an accepted observation as evidence: of health; of agreement with the references; of being warm."""
    market, now_ns, mark = view.state, view.now_ns, view.published.mark_price
    market.healthy = extended(market.healthy, now_ns)
    if mark is None:
        return []
    if not _agrees(view, mark, policy):
        market.agreeing = interrupted(market.agreeing, now_ns, policy.of(PhaseParameters).agreement_ns)
        return []
    market.agreeing = extended(market.agreeing, now_ns)
    has_index = market.trusted.funding_index is not None or policy.of(FundingParameters).rates_only
    market.consistent_observations += has_index
    unconfirmed = policy.first_sight is FirstSight.OPERATOR and not market.was_warm
    if market.warm or unconfirmed or market.consistent_observations < policy.warm_observations:
        return []
    market.warm = market.was_warm = True
    return [MarketWarm(now_ns, market.market)]


def _agrees(view: MarketView, mark: Decimal, policy: MarketPolicy) -> bool:
    """Return whether a mark price is next to the references: to three, or to two and to the last confirmed price."""
    share, references, trusted = policy.of(PhaseParameters).agreement_share, view.references, view.state.trusted
    limits = references.limits(share, policy.of(HullParameters).hull_widths)
    if limits is None:
        return False
    as_usual = (limits.low * trusted.basis, limits.high * trusted.basis)
    if mark not in limits.including(min(as_usual)).including(max(as_usual)):
        return False
    alone = policy.of(DivergenceParameters).unreferenced_share
    checkpoint = trusted.unreferenced(alone, view.now_ns, references.prices)
    return references.quorum or (references.agree(share) and checkpoint is not None and mark in checkpoint)


def _note_change(view: MarketView, policy: MarketPolicy) -> None:
    """Remember the published mark price, trusted or not, and since when the references have been away from it."""
    mark, price, known = view.published.mark_price, view.references.price, view.state.unchanged
    frozen = policy.of(StalenessParameters).frozen_move_share
    if mark is not None and policy.of(SlowWalkParameters).trip_after_ns:
        marks = view.state.published_marks
        marks.append((view.now_ns, mark))
        while marks[0][0] < view.now_ns - policy.of(SlowWalkParameters).lag_ns:
            marks.popleft()
    if view.references.own:  # an average of the mark price itself comes to where that stands
        view.state.unchanged = None
    if mark is None or price is None or view.references.own:
        return
    if known is None or known.mark_price != mark:
        view.state.unchanged = Unchanged(mark, price, None)
    elif abs(price - known.reference_price) <= policy.of(PriceParameters).reach(frozen, known.reference_price):
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


_UNTIMED = frozenset({UNKNOWN_SOURCE, NOT_A_NUMBER, PRICE_NOT_POSITIVE, EVENT_TIME_BACK})
"""What is denied for one of these says nothing of the guard's clock."""


def _note_stamp(
    state: GuardState, item: Observation | Reference, findings: tuple[Finding, ...], policy: MarketPolicy
) -> list[Fact]:
    """Hold a stamp against the guard's own clock. Of an oracle that publishes on a change it says nothing."""
    facts = facts_of(item.source, policy)
    if facts.heartbeat_ns or EVENT_TIME_BACK in {found.reason for found in findings}:
        return []
    mistimed = any(map(own_clock.is_mistimed, findings))
    stamp = Stamp(item.at_ns, item.event_time_ns - item.at_ns, mistimed)
    return own_clock.note(state.clock, facts.origin or item.source, stamp)


OTHERS_MIN = 2
"""Fewer others have no median to be an outlier of."""


def refer(state: GuardState, reference: Reference, policy: Policy) -> list[Fact]:
    """Judge a reference, and take it into the median if it passed."""
    market_policy = policy.markets.get(reference.market)
    if market_policy is None:
        unknown = names.unknown(reference.market, policy.markets)
        return [ReferenceJudged(reference.at_ns, reference.market, reference.source, False, (unknown,))]
    market = state.markets[reference.market]
    others = market.references.fresh_prices(reference.at_ns, market_policy, without=reference.source)
    finding = _judge_reference(reference, market.references, others, market_policy)
    accepted = finding is None or finding.severity < Severity.DENY
    findings: tuple[Finding, ...] = () if finding is None else (finding,)
    facts: list[Fact] = []
    if finding is None or finding.reason not in _UNTIMED:
        facts = _note_stamp(state, reference, findings, market_policy)
        findings = own_clock.named(state.clock, findings)
    facts.append(ReferenceJudged(reference.at_ns, reference.market, reference.source, accepted, findings))
    if accepted:
        market.references.record(reference, others, market_policy)
        facts += reconsider(state, market, market_policy, reference.at_ns)
        facts += _convert(state, market, policy, reference.at_ns)
    return facts


def _convert(state: GuardState, market: MarketState, policy: Policy, now_ns: int) -> list[Fact]:
    """Tell the markets whose references are quoted in what this one is the price of."""
    facts: list[Fact] = []
    for name in _conversions(policy).get(market.market, ()):
        other, rate = state.markets[name], market.references.rate(now_ns, policy.markets[market.market])
        if rate is not None:
            other.references.rates[market.market] = rate
            other.outlook = None
            facts += reconsider(state, other, policy.markets[name], now_ns)
    return facts


def _conversions(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return for each market that converts quote currencies the markets it does so for."""
    if policy.conversions is None:
        served: dict[str, tuple[str, ...]] = {}
        for name, market in policy.markets.items():
            for by in sorted({one.quoted_in for one in market.of(ReferenceParameters).facts if one.quoted_in}):
                served[by] = (*served.get(by, ()), name)
        object.__setattr__(policy, "conversions", served)  # it follows from the policy alone, which stays what it is
    return policy.conversions  # type: ignore[no-any-return]


def _judge_reference(
    reference: Reference, book: ReferenceBook, others: list[Decimal], policy: MarketPolicy
) -> Finding | None:
    """Return the first thing wrong with a reference. An outlier is only reported: the median does not follow it."""
    stranger = _strange_source(reference.source, len(others), policy)
    if stranger is not None:
        return stranger
    price = readable(reference.price)
    if price is None:
        return Finding(NOT_A_NUMBER, Severity.DENY, "price", str(reference.price)[:40], "a price")
    if price <= 0 and not policy.allow_negative_price:
        return Finding(PRICE_NOT_POSITIVE, Severity.DENY, "price", show(price), "> 0")
    untimely = _untimely(reference, book, policy)
    if untimely is not None:
        return untimely
    converted = book.converted(reference.source, price, reference.at_ns, policy)
    if converted is None:
        limit = f"a fresh reference price of {facts_of(reference.source, policy).quoted_in}, which converts it"
        return Finding(REFERENCE_UNCONVERTED, Severity.WARN, "price", show(price), limit)
    if len(others) < OTHERS_MIN:
        return None
    middle = median(list(others))
    reach = policy.of(PriceParameters).reach(policy.of(ReferenceParameters).outlier_share, middle)
    if abs(converted - middle) <= reach:
        return None
    return Finding(REFERENCE_OUTLIER, Severity.WARN, "price", show(converted), f"{show(middle)} +/- {show(reach)}")


def _strange_source(source: str, others_count: int, policy: MarketPolicy) -> Finding | None:
    named = policy.of(ReferenceParameters).sources
    if named and source not in named:
        limit = "one of " + ", ".join(sorted(named))
    elif others_count >= policy.of(ReferenceParameters).sources_max:
        limit = f"one of the {others_count} fresh sources that this market has, which is as many as it may"
    else:
        return None
    return Finding(UNKNOWN_SOURCE, Severity.DENY, "source", source, limit)


def _untimely(reference: Reference, book: ReferenceBook, policy: MarketPolicy) -> Finding | None:
    age_ns = reference.at_ns - reference.event_time_ns
    age_max_ns = policy.of(ReferenceParameters).age_max_ns + facts_of(reference.source, policy).heartbeat_ns
    skew_ns = policy.of(FeedParameters).future_skew_ns
    if age_ns > age_max_ns:
        limit = f"at most {show_seconds(age_max_ns)}"
        return Finding(DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", limit)
    if -age_ns > skew_ns:
        limit = f"at most {show_seconds(skew_ns)} ahead"
        return Finding(FUTURE_STAMP, Severity.DENY, "event_time", f"{show_seconds(-age_ns)} ahead", limit)
    if reference.event_time_ns < book.scaled_ns:
        observed = f"{show_seconds(book.scaled_ns - reference.event_time_ns)} before the market's scale changed"
        return Finding(DATA_STALE, Severity.DENY, "event_time", observed, "not before an operator's rebaseline")
    known = book.quotes.get(reference.source)
    back_ns = 0 if known is None else known.event_time_ns - reference.event_time_ns
    if back_ns > 0:
        observed = f"{show_seconds(back_ns)} before the last one"
        return Finding(EVENT_TIME_BACK, Severity.DENY, "event_time", observed, "not before the last one")
    return None
