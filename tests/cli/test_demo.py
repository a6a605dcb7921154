"""`demo`: the incident through the real guard, told in a few lines; and the clock that makes it short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from circuit_guard.cli.demo import Score, StoryClock
from circuit_guard.cli.output import CommandError, bundled
from circuit_guard.config.policy import read_policy_file
from circuit_guard.core.inputs import Check, Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.format import Fault, Label, LabelledCheck
from circuit_guard.recording.replay import replay_files
from tests.cli.running import run
from tests.driver import BTC, START_NS, ManualClock

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def told() -> Result:
    """Return the demo's end, played as fast as this machine can."""
    return run("demo", "--speed", "10000")


def test_demo_when_played_then_no_wrongful_closure_is_allowed(told: Result) -> None:
    assert told.stderr == ""
    assert told.exit_code == 0


def test_demo_when_played_then_its_score_is_the_replays(told: Result) -> None:
    replayed: dict[str, Any] = replay_files([bundled("incident.jsonl.gz")], read_policy_file(bundled("policy.toml")))
    wrongful, genuine = replayed["labelled"]["wrongful"], replayed["labelled"]["genuine"]
    asked = replayed["checks"] + replayed["retries"]

    rows = {" ".join(line.split()[:2]): line for line in told.stdout.splitlines() if line}
    assert f" {wrongful['deny']}/{sum(wrongful.values())} " in rows["wrongful denied"]
    assert f" {asked} checks in all" in rows["wrongful denied"]
    assert f" {genuine['allow'] + genuine['allow_on_retry']}/{sum(genuine.values())} " in rows["genuine allowed"]


@pytest.mark.parametrize(
    "line",
    [
        "04:29:59  exchange    goes into maintenance (MAINTENANCE)",
        "04:32:59  exchange    is back in post-only: it takes only resting orders, so books are thin (POST_ONLY)",
        "04:32:59  fault       a race at the restart has set funding indices to zero: BTC-USD-PERP, BERA-USD-PERP",
        "04:33:00  exchange    publishes again, from a new process (epoch 2)",
        "04:33:00  guard       BTC-USD-PERP: observation of exchange rejected: the funding index moved further than",
        "04:33:00  guard       BTC-USD-PERP: breaker OPEN (denying), latched",
        "04:33:00  guard       BERA-USD-PERP: breaker OPEN (denying), latched",
        "04:33:59  fault       a thin book pushes the mark price away from every other venue: PAXG-USD-PERP",
        "04:34:35  guard       PAXG-USD-PERP: breaker OPEN (denying)",
        "04:34:59  fault       the true funding indices are put back",
        "04:36:59  exchange    opens (OPEN)",
        "04:37:30  guard       RECOVERING to OPEN on evidence",
        "funding_reset    BTC-USD-PERP, BERA-USD-PERP  observation 1",
        "thin_book_skew   PAXG-USD-PERP                observation 1",
        "funding_restore  BTC-USD-PERP, BERA-USD-PERP  denied already",
    ],
)
def test_demo_when_played_then_the_story_has_this_line(told: Result, line: str) -> None:
    assert any(found.startswith(line) for found in told.stdout.splitlines()), told.stdout


def test_bundled_when_in_a_checkout_then_its_files_are_found_and_others_are_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert bundled("incident.jsonl.gz") == ROOT / "examples" / "incident.jsonl.gz"
    monkeypatch.setattr("circuit_guard.cli.output._PACKAGE", tmp_path / "circuit_guard")
    with pytest.raises(CommandError, match=r"policy\.toml is missing from this installation: expected it at "):
        bundled("policy.toml")
    (tmp_path / "circuit_guard" / "bundled").mkdir(parents=True)
    installed = tmp_path / "circuit_guard" / "bundled" / "policy.toml"
    installed.touch()
    assert bundled("policy.toml") == installed


# The clock


def test_clock_when_not_begun_then_it_stands_at_the_start_of_the_story() -> None:
    machine = ManualClock()
    clock = StoryClock(machine, START_NS, speed=30)
    clock.allow(START_NS + 60 * SECOND_NS)
    machine.advance(5)

    assert (clock.wall_ns(), clock.monotonic_ns()) == (START_NS, 0)


def test_clock_when_begun_then_it_runs_faster_than_the_machine() -> None:
    machine = ManualClock()
    clock = StoryClock(machine, START_NS, speed=30)
    clock.allow(START_NS + 600 * SECOND_NS)
    clock.begin()
    machine.advance(2)

    assert clock.monotonic_ns() == 60 * SECOND_NS
    assert clock.wall_ns() == START_NS + 60 * SECOND_NS
    assert clock.machine_s_until(START_NS + 90 * SECOND_NS) == 1.0
    assert clock.machine_s_until(START_NS + 30 * SECOND_NS) == 0


def test_clock_when_the_machine_is_slow_then_it_waits_for_the_story_and_then_catches_up() -> None:
    machine = ManualClock()
    clock = StoryClock(machine, START_NS, speed=30)
    clock.begin()
    clock.allow(START_NS + 10 * SECOND_NS)
    machine.advance(2)

    assert clock.monotonic_ns() == 10 * SECOND_NS
    clock.allow(START_NS + 5 * SECOND_NS)
    assert clock.monotonic_ns() == 10 * SECOND_NS, "never back"
    clock.allow(START_NS + 100 * SECOND_NS)
    assert clock.monotonic_ns() == 60 * SECOND_NS


# The score


def observed(second: int, market: str = BTC) -> Observation:
    return Observation(START_NS + second * SECOND_NS, market, "exchange", 1, second, START_NS)


def test_score_when_a_fault_is_noticed_then_observations_and_checks_before_it_are_counted() -> None:
    score = Score()
    score.add_observation(observed(0), rejected=True)
    score.add_fault(Fault(START_NS + SECOND_NS, "kind", (BTC,), START_NS + 9 * SECOND_NS), halted_before=False)
    score.add_question(BTC, START_NS + SECOND_NS)
    score.add_observation(observed(1, "other"), rejected=True)
    score.add_observation(observed(2), rejected=False)
    assert score.faults[0].noticed() == "not noticed"
    score.add_question(BTC, START_NS + 2 * SECOND_NS)
    score.add_observation(observed(3), rejected=True)
    score.add_question(BTC, START_NS + 3 * SECOND_NS)

    assert score.faults[0].noticed() == "observation 2"
    assert score.faults[0].checks_before == 2
    assert score.asked == 3


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [
        ([(Label.WRONGFUL, False), (Label.GENUINE, True)], True),
        ([(Label.WRONGFUL, False), (Label.GENUINE, False)], True),
        ([(Label.WRONGFUL, False), (Label.WRONGFUL, True)], False),
        ([(Label.GENUINE, True)], False),
    ],
)
def test_score_when_a_wrongful_closure_is_allowed_or_none_was_asked_then_the_demo_fails(
    outcomes: list[tuple[Label, bool]], passed: bool
) -> None:
    score = Score()
    for label, allowed in outcomes:
        asked = LabelledCheck(Check(START_NS, "r", "a", BTC, size=-1), label)  # type: ignore[arg-type]
        score.add_outcome(asked, allowed=allowed, retries=0)

    assert score.nothing_wrongful_allowed() is passed
