"""slow_walk: a mark price that the references never confirm, by steps each of which passes.

In a crash the mark price leads, and what is allowed round the references is wide. A leader is followed: some seconds
later the references have been where it was. What they never reach is not a lead. The price of a while ago is held
against where the reference price has been since, without the room that its own speed gives; what stays unconfirmed
for long trips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.parameters import Parameters, Relation, seconds
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import EVIDENCE, Delay, Judges, Reason, Rule
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.types import Finding, Severity, short_seconds, show, show_percent, show_seconds
from circuit_guard.core.view import MarketView

MARK_UNCONFIRMED = "mark_unconfirmed"


@dataclass(frozen=True, slots=True)
class SlowWalkParameters(Parameters):
    """Detects a mark price that drifts in small steps, each allowed, to a level that the references never confirm."""

    TABLE: ClassVar[str] = "slow_walk"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("slow_walk.lag_s", "less than", "basis.window_s", "older mark prices are not kept"),
        Relation("slow_walk.lag_s", "at most", "divergence.window_s", "the hull must span all the time since then"),
    )

    lag_ns: int = seconds(
        20,
        "References follow an honest mark price that leads them. After this long they must have been where the "
        "mark price was, within divergence.base. Shorter: an honest lead counts as unconfirmed. Longer: a drift "
        "is noticed later.",
    )
    trip_after_ns: int = seconds(
        90,
        "A mark price that stays unconfirmed for this long without a break trips. 0: no test. Shorter: "
        "references that lag in a crash trip the market. Longer: closures at a wrong mark price pass for longer "
        "while a crash makes room for it.",
        least=0,
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Warn of a mark price that is not confirmed yet, and trip when that has lasted."""
    rule, references = policy.of(SlowWalkParameters), view.references
    confirmed = references.limits(policy.of(DivergenceParameters).base, Decimal(0)) if references.quorum else None
    if not rule.trip_after_ns or view.observation is None or confirmed is None:
        return
    then_ns = view.now_ns - rule.lag_ns
    mark = next((mark for at_ns, mark in view.state.published_marks if at_ns >= then_ns), None)
    if mark is None or mark in confirmed:
        return
    lasted = view.lasting(MARK_UNCONFIRMED, rule.trip_after_ns)
    trips = lasted is Severity.TRIP and not references.between(view.published.mark_price)
    severity = Severity.TRIP if trips else Severity.WARN
    observed = f"{show(mark)} {show_seconds(rule.lag_ns)} ago"
    yield Finding(MARK_UNCONFIRMED, severity, "mark_price", observed, f"{confirmed} since then")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.of(SlowWalkParameters)
    unconfirmed_ns = rule.lag_ns + rule.trip_after_ns if rule.trip_after_ns else None
    base = show_percent(policy.of(DivergenceParameters).base)
    yield Delay(f"a mark price that the reference price never comes within {base} of", unconfirmed_ns, unconfirmed_ns)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule, base = policy.of(SlowWalkParameters), show_percent(policy.of(DivergenceParameters).base)
    if not rule.trip_after_ns or RULE.name in policy.shadow_rules:
        yield "A wrong mark price may last: nothing checks whether the references ever reach where the mark price was."
        return
    lag, trip_after = short_seconds(rule.lag_ns), short_seconds(rule.trip_after_ns)
    at_most = short_seconds(rule.lag_ns + rule.trip_after_ns)
    yield (
        f"However the references move: a mark price trips once it has stayed unconfirmed for {trip_after} without "
        f"a break. It is unconfirmed if, {lag} later, the reference price has still not come within {base} of it. "
        f"So an error above {base} passes for {at_most} at most. A smaller one can pass for ever."
    )


RULE = Rule(
    name="slow_walk",
    rank=120,
    catches="A mark price that drifts in small steps, each allowed, to a level that the references never "
    "confirm. Trips.",
    judges=Judges.DATA,
    parameters=SlowWalkParameters,
    reasons={MARK_UNCONFIRMED: Reason("the references were never where the mark price was", EVIDENCE)},
    evaluate=evaluate,
    delays=_delays,
    notes=_notes,
)
