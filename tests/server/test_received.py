"""What a client makes of the guard's messages is what the guard had in mind, but for what the contract leaves out."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core import reasons
from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import (
    ActProposed,
    Fact,
    ObservationJudged,
    ReferenceJudged,
    StateValidated,
)
from circuit_guard.core.halts import Halt
from circuit_guard.core.reasons import REASONS
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    BreakerState,
    CheckKind,
    Decision,
    ExplainedLoss,
    Explanation,
    Finding,
    Lift,
    MarketOutcome,
    Outcome,
    Phase,
    Severity,
    Verdict,
)
from circuit_guard.errors import WireError
from circuit_guard.server.convert import events, received, status
from circuit_guard.v1 import event_pb2, types_pb2

TEXT = st.sampled_from(["", "alice", "BTC-USD-PERP", "a reason; with: signs"])
NUMBERS = st.integers(0, 2**31 - 1)
DECIMALS = st.integers(-(10**9), 10**9).map(lambda units: Decimal(units) / 1000)
SHARES = st.integers(0, 1000).map(lambda permille: Decimal(permille) / 1000)

OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": NUMBERS,
    "str": TEXT,
    "bool": st.booleans(),
    "Decimal": DECIMALS,
    "dict[str, Decimal]": st.dictionaries(st.sampled_from(["divergence", "staleness"]), SHARES),
    **{one.__name__: st.sampled_from(one) for one in (BreakerState, CheckKind, Explanation, Outcome, Phase, Severity)},
    "Verdict": st.sampled_from(Verdict),
}
OF_FIELD = {"reason of Finding": st.sampled_from(sorted(REASONS)), "ramp_share of MarketStatus": SHARES | st.none()}


def strategy(annotation: str) -> st.SearchStrategy[Any]:
    """Return values for an annotation as the source has it."""
    if annotation.endswith(" | None"):
        return strategy(annotation.removesuffix(" | None")) | st.none()
    if annotation.startswith("tuple["):
        item = strategy(annotation.removeprefix("tuple[").removesuffix(", ...]"))
        return st.lists(item, max_size=2).map(tuple)
    return OF_TYPE[annotation]


def made(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a dataclass; what the contract has no field for has its default."""
    given = {}
    for field in fields(kind):
        name = f"{field.name} of {kind.__name__}"
        if field.default is MISSING or field.name not in ("identity", "hull", "band", "own_price"):
            given[field.name] = OF_FIELD[name] if name in OF_FIELD else strategy(str(field.type))
    return st.builds(kind, **given)


for _kind in (
    Finding,
    ExplainedLoss,
    Decision,
    MarketOutcome,
    Interval,
    Halt,
    StateValidated,
    Maintenance,
    BreakerStatus,
    MarketStatus,
    ActProposed,
):
    OF_TYPE[_kind.__name__] = made(_kind)
FACTS: st.SearchStrategy[Fact] = st.one_of([made(kind) for kind in get_args(Fact)])


def as_received(fact: Fact) -> Fact:
    """Return the fact without what the contract leaves out."""
    match fact:
        case ObservationJudged():
            return replace(fact, accepted=False, redelivered=False)
        case ReferenceJudged():
            return replace(fact, accepted=False)
        case StateValidated():
            not_clean = [one for one in fact.outcomes if one.outcome is not Outcome.OK]
            clean = [MarketOutcome("", Outcome.OK)] * (len(fact.outcomes) - len(not_clean))
            return replace(fact, outcomes=(*clean, *not_clean))
        case _:
            return fact


@given(FACTS)
def test_every_fact_comes_back_from_its_event(fact: Fact) -> None:
    message = events.event(fact)
    back = received.event(message)

    assert back == as_received(fact)
    again = events.event(back)
    again.at.CopyFrom(message.at)
    assert again == message


def as_shown(whole: GuardStatus) -> GuardStatus:
    """Return the status as the contract carries it: scopes named by place, counts for outcomes, no proposal's time."""
    running = whole.maintenance
    if running is not None and running.validated is not None:
        bad = sum(one.outcome is not Outcome.OK for one in running.validated.outcomes)
        clean = len(running.validated.outcomes) - bad
        outcomes = (MarketOutcome("", Outcome.OK),) * clean + (MarketOutcome("", Outcome.MISSING),) * bad
        running = replace(running, validated=replace(running.validated, actor="", outcomes=outcomes))
    return replace(
        whole,
        global_breaker=replace(whole.global_breaker, scope=GLOBAL_SCOPE),
        not_ready=tuple(one.market for one in whole.markets if one.required and not one.warm and not one.closed),
        markets=tuple(replace(one, breaker=replace(one.breaker, scope=one.market)) for one in whole.markets),
        maintenance=running,
        proposals=tuple(replace(one, at_ns=0) for one in whole.proposals),
    )


@given(made(GuardStatus))
def test_the_status_comes_back_from_its_message(whole: GuardStatus) -> None:
    message = status.guard(whole, [])
    back = received.guard(message)

    assert back == as_shown(whole)
    assert status.guard(back, []) == message


def test_a_reason_of_a_newer_guard_is_shown_with_its_values_and_left_to_an_operator() -> None:
    found = received.finding(
        types_pb2.Finding(
            reason="moon_phase", severity=types_pb2.SEVERITY_DENY, subject="moon", observed="full", limit="new"
        )
    )

    assert reasons.sentence(found) == "this version does not know the reason: moon was full, expected new"
    assert reasons.lift(found) is Lift.OPERATOR


def test_an_event_of_a_newer_guard_is_named_as_one() -> None:
    with pytest.raises(WireError, match=r"event\.kind"):
        received.event(event_pb2.Event())
