"""A guard whose own clock is off names that clock, denies, and follows the machine's clock where publishers agree."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.core.facts import ClockChanged, Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.inputs import HaltCommand, Reference
from circuit_guard.core.types import SECOND_NS, Verdict
from tests.driver import BTC, ETH, PRICE, REFERENCE_SOURCES, Driver, policy_of

Shift = dict[str, float]


class Machine(Driver):
    """A guard on a machine with a wrong clock, and publishers that each have a clock of their own."""

    def __init__(self) -> None:
        super().__init__(policy_of(BTC, ETH))
        self.truth_ns = self.clock.wall
        self.said: list[ClockChanged] = []

    def second(self, off: Shift | float = 0.0) -> list[Fact]:
        """Let all publish for a second, `off` from the true time: a number for all, or each by name."""
        self.clock.advance(1)
        self.truth_ns += SECOND_NS
        happened = self.engine.tick()
        for market in (BTC, ETH):
            for source in REFERENCE_SOURCES:
                stamp_ns = self.truth_ns + int(_of(off, source) * SECOND_NS)
                happened += self.engine.step(Reference(self.engine.now_ns(), market, source, stamp_ns, PRICE))
            stamp_ns = self.truth_ns + int(_of(off, "exchange") * SECOND_NS)
            happened += self.observe(market, event_time_ns=stamp_ns)
        self.said += [fact for fact in happened if isinstance(fact, ClockChanged)]
        return happened

    def seconds(self, count: int, off: Shift | float = 0.0) -> None:
        for _ in range(count):
            self.second(off)

    def set_wall(self, by_s: float) -> None:
        self.clock.wall += int(by_s * SECOND_NS)

    def reasons(self, market: str = BTC) -> set[str]:
        decision = self.decide(market)
        return {str(finding.reason) for finding in decision.findings} if decision.verdict is Verdict.DENY else set()


def _of(off: Shift | float, source: str) -> float:
    return off.get(source, 0.0) if isinstance(off, dict) else off


def wrong_by(behind_s: float) -> Machine:
    """Return a guard that started with its clock so far behind the truth; ahead where it is negative."""
    machine = Machine()
    machine.truth_ns += int(behind_s * SECOND_NS)
    return machine


@pytest.mark.parametrize("behind_s", [40, 3.5, 7_200, -40, -600])
def test_publishers_when_all_differ_alike_then_the_guard_names_its_own_clock_and_blames_none_of_them(
    behind_s: float,
) -> None:
    machine = wrong_by(behind_s)
    machine.seconds(4)

    happened = machine.second()

    judged = [fact for fact in happened if isinstance(fact, ObservationJudged | ReferenceJudged)]
    assert {str(found.reason) for fact in judged for found in fact.findings} == {"guard_clock_off"}
    assert not any(fact.accepted for fact in judged)
    [found] = [one for one in machine.decide().findings if one.reason == "guard_clock_off"]
    assert found.observed.endswith("behind" if behind_s > 0 else "ahead")
    assert not {"future_stamp"} & machine.reasons()
    [why] = machine.engine.ready()
    assert "own clock" in why
    assert "Set the clock of the guard's machine right" in why
    assert machine.engine.status().clock == why


def test_clock_when_corrected_forward_then_the_guard_follows_and_allows_on_new_evidence() -> None:
    machine = wrong_by(40)
    machine.seconds(5)
    assert "guard_clock_off" in machine.reasons()

    machine.set_wall(40)
    machine.second()

    assert machine.engine.now_ns() == machine.truth_ns
    assert machine.engine.clock_offset_ns() == 0
    assert machine.engine.state.clock.off_ns is None
    assert machine.reasons(), "nothing is allowed before new evidence"
    machine.seconds(40)
    assert machine.reasons() == set()
    assert machine.said[-1].corrected_ns == 40 * SECOND_NS
    assert "corrected by +40.0 s" in machine.engine.status().clock


def test_clock_when_corrected_before_anybody_publishes_then_the_first_stamps_confirm_it() -> None:
    machine = wrong_by(40)
    machine.set_wall(40)

    machine.engine.tick()
    assert machine.engine.now_ns() != machine.truth_ns, "the wall clock alone is no reason to follow it"
    assert "was set by +40.0 s" in machine.engine.status().clock
    machine.second()
    machine.second()

    assert machine.engine.now_ns() == machine.truth_ns
    machine.seconds(40)
    assert machine.reasons() == set()


def test_clock_when_corrected_backward_then_it_stands_still_denying_until_the_truth_has_come_to_it() -> None:
    machine = wrong_by(-40)
    machine.seconds(5)
    machine.set_wall(-40)
    machine.second()
    stood_ns = machine.engine.now_ns()

    for _ in range(38):
        machine.second()
        assert machine.engine.now_ns() == stood_ns
        assert "guard_clock_off" in machine.reasons()
        assert "stands still" in machine.engine.status().clock
    machine.seconds(3)

    assert machine.engine.now_ns() == machine.truth_ns
    assert machine.engine.state.clock.off_ns is None
    assert machine.reasons(), "nothing is allowed before new evidence"
    machine.seconds(40)
    assert machine.reasons() == set()


def test_clock_when_it_stands_still_and_publishers_fall_silent_then_it_still_denies() -> None:
    machine = wrong_by(-40)
    machine.seconds(5)
    machine.set_wall(-40)
    machine.second()

    machine.second({"exchange": 0, **dict.fromkeys(REFERENCE_SOURCES, -3_600)})
    machine.clock.advance(20)

    assert "guard_clock_off" in machine.reasons()


@pytest.mark.parametrize(
    "off",
    [
        {"exchange": 40.0},
        {"binance": 40.0},
        {"exchange": 40.0, "binance": 40.0, "coinbase": 40.0},
        {"exchange": 40.0, "binance": 70.0, "coinbase": 100.0, "kraken": 130.0},
        {"exchange": -40.0, "binance": -40.0, "coinbase": -40.0},
    ],
)
def test_publishers_when_they_do_not_all_differ_alike_then_the_offset_stays_theirs(off: Shift) -> None:
    machine = Machine()
    machine.seconds(40)

    machine.seconds(10, off)

    assert machine.said == []
    assert machine.engine.ready() == []
    assert not {"guard_clock_off"} & machine.reasons()


def test_wall_clock_when_set_wrongly_while_publishers_are_on_time_then_nothing_changes() -> None:
    machine = Machine()
    machine.seconds(40)
    machine.set_wall(3_600)

    machine.seconds(20)

    assert machine.reasons() == set()
    assert machine.engine.now_ns() == machine.truth_ns
    assert "was set by +3600.0 s" in machine.engine.status().clock


def test_publishers_when_only_the_wall_clock_says_otherwise_then_the_clock_is_not_set_to_either() -> None:
    machine = wrong_by(40)
    machine.set_wall(600)

    machine.seconds(20)

    assert "guard_clock_off" in machine.reasons()
    assert machine.engine.clock_offset_ns() == 600 * SECOND_NS


def test_backlog_when_all_work_it_off_within_seconds_then_no_clock_is_blamed() -> None:
    machine = Machine()
    machine.seconds(40)
    for late_s in (40, 30, 20, 10, 0):
        machine.second(-float(late_s))
    machine.second()

    assert machine.said == []


def test_publishers_when_right_again_without_a_correction_then_the_denial_ends() -> None:
    machine = Machine()
    machine.seconds(40)
    machine.seconds(10, 40.0)
    assert "guard_clock_off" in machine.reasons()

    machine.seconds(60)

    assert machine.reasons() == set()
    assert [fact.off_ns for fact in machine.said] == [40 * SECOND_NS, 0]


def test_halt_when_the_clock_jumps_forward_then_it_lasts_as_long_as_was_asked_for() -> None:
    machine = wrong_by(40)
    machine.seconds(4)
    now_ns = machine.engine.now_ns()
    for markets in ((), (BTC,)):
        machine.engine.step(HaltCommand(now_ns, markets, "ann", "look", now_ns + 30 * SECOND_NS))
    machine.set_wall(40)
    machine.seconds(20)
    assert "operator_halt" in machine.reasons()

    machine.seconds(60)

    assert machine.reasons() == set()


def test_latch_when_the_clock_is_corrected_then_it_stays() -> None:
    machine = wrong_by(40)
    machine.seconds(40, -40.0)
    machine.observe(BTC, funding_index=Decimal(0))
    assert machine.engine.state.markets[BTC].breaker.latched
    machine.seconds(5)
    machine.set_wall(40)

    machine.seconds(40)

    assert machine.engine.state.clock.off_ns is None
    assert machine.engine.state.markets[BTC].breaker.latched
    assert "breaker_open" in machine.reasons()


def test_a_remembered_allow_when_the_clock_is_off_then_it_does_not_answer() -> None:
    machine = Machine()
    machine.seconds(40)
    assert machine.decide(request_id="again").verdict is Verdict.ALLOW

    machine.seconds(5, 40.0)

    assert machine.decide(request_id="again").verdict is Verdict.DENY
