"""A judge of closures in an evaluation; the guard as one: its core, nothing else; and what no guard can see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import CheckRefused, DecisionMade, Fact, ObservationJudged
from circuit_guard.core.guard import GuardState, decide, new_state, step
from circuit_guard.core.inputs import Account, Check, Observation, PhaseCommand, Position, Reference, Restarted, Tick
from circuit_guard.core.margin import World, surplus
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.references import HullParameters
from circuit_guard.core.rules.divergence import DivergenceParameters, mark_interval
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.types import BreakerState, Verdict
from circuit_guard.evaluation.feed import Values
from circuit_guard.recording.score import NO_SIGN_OF_A_FAULT, enforced_reasons

Told = Observation | Reference | PhaseCommand | Tick | Restarted
GUARD_DOWN = "guard_down"


class Answer(NamedTuple):
    """The answer to one check."""

    allowed: bool
    doubts: bool = False
    """Whether it says that something is wrong with the data of the check's market."""
    reasons: tuple[str, ...] = ()


class Judge(Protocol):
    """Decides whether a forced closure may go ahead, from what is published and what is asked alone."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    @property
    def hears_references(self) -> bool:
        """Whether it is told references at all; they are most of what is published."""
        ...

    def tell(self, told: Told) -> bool:
        """Take what was published, or that time has passed. Return False for an observation it does not believe."""
        ...

    def ask(self, check: Check) -> Answer:
        """Answer one check."""
        ...

    def halted(self, market: str) -> bool:
        """Return whether the market is held by something that outlasts the value that caused it: a trip, a pause."""
        ...


class GuardJudge:
    """circuit_guard's core under one policy, from a cold start. It is away while `down_ns`, and then nothing passes."""

    hears_references = True

    def __init__(self, name: str, policy: Policy, start_ns: int, down_ns: Sequence[tuple[int, int]] = ()) -> None:
        self.name = name
        self.policy = policy
        self.state = new_state(policy, start_ns)
        self._down_ns = down_ns

    def tell(self, told: Told) -> bool:
        """Feed the core; what it was not there to hear it does not know."""
        if self._down_ns and self._is_down(told.at_ns):
            return True
        return not _disbelieved(step(self.state, told, self.policy))

    def ask(self, check: Check) -> Answer:
        """Ask the core; without a guard the engine's client denies."""
        if self._down_ns and self._is_down(check.at_ns):
            return Answer(allowed=False, reasons=(GUARD_DOWN,))
        for fact in decide(self.state, check, self.policy):
            if isinstance(fact, CheckRefused):
                return Answer(allowed=False, reasons=("refused",))
            if isinstance(fact, DecisionMade):
                if fact.decision.verdict is Verdict.ALLOW:
                    return Answer(allowed=True)
                reasons = enforced_reasons(fact.decision.findings)
                return Answer(allowed=False, doubts=not NO_SIGN_OF_A_FAULT.issuperset(reasons), reasons=reasons)
        raise AssertionError(f"no decision for {check.request_id}")

    def halted(self, market: str) -> bool:
        """Return whether the breaker of the market or GLOBAL is not CLOSED, as `replay` counts it."""
        closed, state = BreakerState.CLOSED, self.state
        return state.markets[market].breaker.state is not closed or state.global_breaker.state is not closed

    def _is_down(self, at_ns: int) -> bool:
        return any(from_ns <= at_ns < until_ns for from_ns, until_ns in self._down_ns)


def _disbelieved(facts: Iterable[Fact]) -> bool:
    return any(isinstance(fact, ObservationJudged) and not fact.accepted for fact in facts)


def hidden_max(
    state: GuardState,
    account: Account,
    policy: Policy,
    at_ns: int,
    truth: Values | None,
    *,
    carried: bool = True,
) -> Decimal | None:
    """Return the envelope's limit for an account now, in quote currency; None where the guard knows no envelope.

    It is how far the surplus at values that the guard takes for possible can be below that at the true mark price, or
    at any that the references agree on (without `truth`, at those alone): an account that truly has at least that much
    cannot look under water inside the envelopes. `policy explain` states the same limit; this one adds the moves of
    this minute, and how far the true price itself is from the references. A check that does not carry the account
    (`carried` false) is only held against the wider limits of the rule divergence.
    """
    by_market: dict[str, list[Position]] = {}
    for position in account.positions:
        by_market.setdefault(position.market, []).append(position)
    limit = Decimal(0)
    for market, positions in by_market.items():
        market_policy = policy.markets.get(market)
        known = None if market_policy is None else _known(state, market, market_policy, at_ns, carried=carried)
        if known is None:
            return None
        agreed, possible, funding = known
        if truth is not None:
            mark = truth.mark(market, at_ns)
            agreed = Interval(min(agreed.low, mark), max(agreed.high, mark))
        limit += surplus(positions, World(agreed, funding)).high - surplus(positions, World(possible, funding)).low
    return limit


def _known(
    state: GuardState, market: str, policy: MarketPolicy, at_ns: int, *, carried: bool
) -> tuple[Interval, Interval, Interval] | None:
    """Return the marks that the references agree on, those that the guard takes for possible, and funding indices."""
    view = view_of(state.markets[market], policy, at_ns)
    rule, base = policy.of(ExplainedLossParameters), policy.of(DivergenceParameters).base
    hull_widths = policy.of(HullParameters).hull_widths
    tolerance = (rule.mark_share, rule.hull_widths) if carried else (base, hull_widths)
    anchors, marks, funding = view.references.anchors, view.references.limits(*tolerance), view.funding_envelope(policy)
    if anchors is None or marks is None or funding is None:
        return None
    between, limits = view.references.range, mark_interval(view, policy)
    if between is not None and limits is not None:
        low, high = max(between.low, limits.low), min(between.high, limits.high)
        marks = marks.including(low).including(high) if low <= high else marks
    return anchors, marks, funding
