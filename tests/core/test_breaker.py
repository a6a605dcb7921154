"""The breaker as a table: from each state, what each event does."""

from __future__ import annotations

import pytest

from circuit_guard.core import breaker as breakers
from circuit_guard.core.breaker import Breaker, BreakerParameters
from circuit_guard.core.evidence import Run
from circuit_guard.core.facts import BreakerChanged
from circuit_guard.core.rules.divergence import MARK_DIVERGENCE
from circuit_guard.core.types import SECOND_NS, BreakerState, Finding, Severity
from tests.core.world import market_policy

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = market_policy().of(BreakerParameters)
NOW_NS = 10**18


def finding(severity: Severity) -> Finding:
    return Finding(MARK_DIVERGENCE, severity, "mark_price", "1", "2")


def breaker(state: BreakerState, *, latched: bool = False, for_s: int = 0) -> Breaker:
    findings = () if state is CLOSED else (finding(Severity.TRIP),)
    return Breaker("BTC-USD-PERP", state, latched, NOW_NS - for_s * SECOND_NS, 7, findings)


@pytest.mark.parametrize(
    ("before", "latched", "severity", "after", "latched_after"),
    [
        (CLOSED, False, Severity.TRIP, OPEN, False),
        (CLOSED, False, Severity.LATCH, OPEN, True),
        (HALF_OPEN, False, Severity.TRIP, OPEN, False),
        (HALF_OPEN, False, Severity.LATCH, OPEN, True),
        (OPEN, False, Severity.TRIP, None, False),
        (OPEN, False, Severity.LATCH, OPEN, True),
        (OPEN, True, Severity.TRIP, None, True),
        (OPEN, True, Severity.LATCH, None, True),
    ],
)
def test_trip_when_in_a_state_then_it_opens_or_changes_nothing(
    before: BreakerState, latched: bool, severity: Severity, after: BreakerState | None, latched_after: bool
) -> None:
    machine = breaker(before, latched=latched, for_s=5)
    changed = breakers.trip(machine, (finding(severity),), NOW_NS)
    if after is None:
        assert changed is None
        assert machine == breaker(before, latched=latched, for_s=5)
        return
    assert changed == BreakerChanged(NOW_NS, machine.scope, before, after, latched_after, 8, (finding(severity),))
    assert (machine.state, machine.latched, machine.generation) == (after, latched_after, 8)


def test_trip_when_an_open_breaker_latches_then_it_has_been_open_since_it_tripped() -> None:
    machine = breaker(OPEN, for_s=5)
    breakers.trip(machine, (finding(Severity.LATCH),), NOW_NS)
    assert machine.since_ns == NOW_NS - 5 * SECOND_NS


@pytest.mark.parametrize(
    ("before", "latched", "in_state_s", "healthy_s", "after"),
    [
        (OPEN, False, 60, 30, HALF_OPEN),
        (OPEN, False, 59, 30, None),
        (OPEN, False, 60, 29, None),
        (OPEN, False, 3600, None, None),
        (OPEN, True, 3600, 3600, None),
        (HALF_OPEN, False, 300, 30, CLOSED),
        (HALF_OPEN, False, 299, 120, None),
        (HALF_OPEN, False, 300, 29, None),
        (HALF_OPEN, False, 3600, None, None),
        (CLOSED, False, 3600, 3600, None),
    ],
)
def test_advance_when_time_passes_and_data_is_healthy_then_it_closes_step_by_step(
    before: BreakerState, latched: bool, in_state_s: int, healthy_s: int | None, after: BreakerState | None
) -> None:
    machine = breaker(before, latched=latched, for_s=in_state_s)
    healthy = None if healthy_s is None else Run(NOW_NS - healthy_s * SECOND_NS, NOW_NS)
    changed = breakers.advance(machine, POLICY, healthy, NOW_NS)
    assert (changed and changed.after) == after
    assert machine.state is (after or before)


def test_advance_when_asked_late_then_it_takes_effect_when_it_was_due() -> None:
    machine = breaker(OPEN, for_s=100)
    changed = breakers.advance(machine, POLICY, Run(NOW_NS - 100 * SECOND_NS, NOW_NS), NOW_NS)
    assert changed is not None
    assert changed.at_ns == machine.since_ns == NOW_NS - 40 * SECOND_NS


def test_advance_when_nothing_was_observed_since_then_silence_is_no_evidence() -> None:
    machine = breaker(OPEN, for_s=3600)
    assert breakers.advance(machine, POLICY, Run(NOW_NS - 3600 * SECOND_NS, NOW_NS - 3580 * SECOND_NS), NOW_NS) is None


@pytest.mark.parametrize(("before", "latched"), [(OPEN, False), (OPEN, True), (HALF_OPEN, False)])
def test_reset_when_not_closed_then_it_closes_and_says_who(before: BreakerState, latched: bool) -> None:
    machine = breaker(before, latched=latched)
    changed = breakers.reset(machine, NOW_NS, "alice", "mended")
    assert changed == BreakerChanged(NOW_NS, machine.scope, before, CLOSED, False, 8, (), "alice", "mended")
    assert (machine.state, machine.latched, machine.findings) == (CLOSED, False, ())


def test_reset_when_closed_then_nothing_changes() -> None:
    machine = breaker(CLOSED)
    assert breakers.reset(machine, NOW_NS, "alice", "mended") is None
    assert machine == breaker(CLOSED)
