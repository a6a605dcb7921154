"""The whole evaluation: figures that depend on nothing but the plan."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from circuit_guard.config.policy import PolicyFile, parse_policy_file
from circuit_guard.errors import RecordingError
from circuit_guard.evaluation.dispersion import Dispersion
from circuit_guard.evaluation.jobs import AGAINST, GUARD, Plan, evaluate, seed_of
from circuit_guard.evaluation.outcome import Evaluation
from circuit_guard.evaluation.peers import PEERS
from circuit_guard.evaluation.table import render
from circuit_guard.recording.format import Fault
from tests.evaluation.evaluating import write_honest
from tests.evaluation.honest_feed import MARKETS, START_NS

KINDS = ("none", "reset", "mark_zero")
SHADOW = "[guard]\nshadow = true\n[classes.default]\n"


@pytest.fixture(name="recordings", scope="module")
def _recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return write_honest(folder, "one.jsonl"), write_honest(folder, "two.jsonl.gz", seed=2)


@pytest.fixture(name="evaluation", scope="module")
def _evaluation(recordings: tuple[Path, Path], policy_file: PolicyFile) -> Evaluation:
    shadow = parse_policy_file(SHADOW, "shadow.toml")
    return evaluate(Plan(recordings, KINDS, 1, policy_file, shadow))


def figures(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return the tallies by guard, without the examples, which come in the order of the recordings."""
    return {guard["guard"]: guard["faults"] for guard in evaluation.as_json()["guards"]}  # type: ignore[attr-defined]


def guard_of(evaluation: Evaluation, name: str) -> dict[str, Any]:
    return next(guard for guard in evaluation.as_json()["guards"] if guard["guard"] == name)  # type: ignore[attr-defined]


def shown(evaluation: Evaluation) -> str:
    screen = StringIO()
    Console(width=400, file=screen).print(render(evaluation))
    return screen.getvalue()


@pytest.mark.system
def test_evaluate_when_run_twice_then_the_json_is_the_same(
    evaluation: Evaluation, recordings: tuple[Path, Path], policy_file: PolicyFile
) -> None:
    again = evaluate(Plan(recordings, KINDS, 1, policy_file, parse_policy_file(SHADOW, "shadow.toml")))

    assert json.dumps(again.as_json()) == json.dumps(evaluation.as_json())


@pytest.mark.system
def test_evaluate_when_processes_or_order_differ_then_the_figures_do_not(
    evaluation: Evaluation, recordings: tuple[Path, Path], policy_file: PolicyFile
) -> None:
    shadow = parse_policy_file(SHADOW, "shadow.toml")
    parallel = evaluate(Plan(recordings, KINDS, 1, policy_file, shadow, jobs=2))
    reversed_ = evaluate(Plan(recordings[::-1], KINDS[::-1], 1, policy_file, shadow))

    assert parallel.as_json() == evaluation.as_json()
    assert figures(reversed_) == figures(evaluation)


def test_evaluate_when_done_then_every_guard_has_every_fault(evaluation: Evaluation) -> None:
    result = evaluation.as_json()

    assert result["recordings"] == ["one.jsonl", "two.jsonl.gz"]
    assert (result["faults"], result["seeds"]) == (list(KINDS), 1)
    assert list(figures(evaluation)) == [GUARD, AGAINST, *(peer.name for peer in PEERS)]
    for by_kind in figures(evaluation).values():
        assert [tally["runs"] for tally in by_kind.values()] == [2, 2, 2]
        assert by_kind["none"]["wrongful"]["asked"] == 0
    assert result["policies"][GUARD]["file"] == "policy.toml"  # type: ignore[index]


def test_evaluate_when_guards_are_compared_then_each_is_as_good_as_its_rules(evaluation: Evaluation) -> None:
    ours, nothing = guard_of(evaluation, GUARD)["total"], guard_of(evaluation, "nothing")["total"]
    thresholds = guard_of(evaluation, "fixed_thresholds")["faults"]

    assert nothing["wrongful"]["denied"] == nothing["genuine"]["denied"] == 0
    assert nothing["wrongful"]["allowed_outside_limit"] == nothing["wrongful"]["asked_outside_limit"] > 0
    assert ours["wrongful"]["allowed_outside_limit"] == 0
    assert 0 < thresholds["mark_zero"]["wrongful"]["denied"] < thresholds["mark_zero"]["wrongful"]["asked"], (
        "an account is closed in its largest position, which need not be where the mark is wrong"
    )
    assert thresholds["reset"]["wrongful"]["denied"] == 0, "a funding index is no price"


def test_evaluate_when_the_other_policy_enforces_nothing_then_the_difference_says_so(evaluation: Evaluation) -> None:
    difference: Any = evaluation.as_json()["difference"]

    assert difference["none"]["wrongful"]["asked"] == 0
    reset = difference["reset"]["wrongful"]
    assert reset["allowed_only_by_policy"] == 0
    assert 0 < reset["allowed_only_by_against"] <= reset["asked"]
    example = difference["reset"]["examples"][0]
    assert example["allowed_by"] == "against"
    assert example["recording"] in ("one.jsonl", "two.jsonl.gz")


def test_evaluate_when_there_is_no_other_policy_then_there_is_no_difference(
    recordings: tuple[Path, Path], policy_file: PolicyFile
) -> None:
    told: list[tuple[int, int]] = []
    plan = Plan(recordings[:1], ("none",), 2, policy_file)

    result = evaluate(plan, lambda done, count: told.append((done, count))).as_json()

    assert "difference" not in result
    assert told == [(1, 2), (2, 2)]


def test_evaluate_when_dispersion_is_real_then_the_same_closures_are_asked_for_and_the_output_says_so(
    recordings: tuple[Path, Path], policy_file: PolicyFile
) -> None:
    kinds = ("none", "slow_walk", "references_split")
    as_recorded, as_real = (
        evaluate(Plan(recordings[:1], kinds, 1, policy_file, dispersion=dispersion)) for dispersion in Dispersion
    )

    recorded, real = figures(as_recorded), figures(as_real)
    assert real["nothing"]["none"]["genuine"] == recorded["nothing"]["none"]["genuine"]
    assert real["nothing"]["slow_walk"]["wrongful"]["asked"] == recorded["nothing"]["slow_walk"]["wrongful"]["asked"]
    assert real[GUARD]["slow_walk"] != recorded[GUARD]["slow_walk"]
    assert real[GUARD]["references_split"] == recorded[GUARD]["references_split"], "it parts the venues itself"
    assert as_recorded.as_json()["dispersion"] == "recorded"
    assert (as_real.as_json()["dispersion"], as_real.as_json()["as_recorded"]) == ("real", [])
    assert "dispersion: real, on one.jsonl" in shown(as_real)


def test_evaluate_when_a_recording_has_two_venues_then_it_is_named_as_one_that_stays_as_recorded(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    path = write_honest(tmp_path, "two.jsonl", venues=2)

    evaluation = evaluate(Plan((path,), ("none",), 1, policy_file, dispersion=Dispersion.REAL))

    assert evaluation.as_json()["as_recorded"] == ["two.jsonl"]
    assert "real (as recorded where a window has fewer than three venues: two.jsonl)" in shown(evaluation)


@pytest.mark.parametrize("jobs", [1, 2])
def test_evaluate_when_a_recording_holds_a_fault_then_it_is_refused_by_name(
    tmp_path: Path, policy_file: PolicyFile, jobs: int
) -> None:
    fault = Fault(START_NS + 1, "reset", MARKETS[:1], START_NS + 2)
    path = write_honest(tmp_path, "faulty.jsonl", extra=[fault])

    with pytest.raises(RecordingError, match=r"faulty\.jsonl: holds a fault of its own"):
        evaluate(Plan((path,), ("none",), 1, policy_file, jobs=jobs))


def test_evaluate_when_a_later_recording_cannot_be_read_then_nothing_is_run(
    recordings: tuple[Path, Path], policy_file: PolicyFile
) -> None:
    told: list[tuple[int, int]] = []

    with pytest.raises(RecordingError, match=r"none\.jsonl: cannot be read"):
        evaluate(Plan((recordings[0], Path("none.jsonl")), ("none",), 1, policy_file), lambda *done: told.append(done))

    assert told == []


def test_seed_when_the_parts_are_the_same_then_it_is_the_same_on_every_machine() -> None:
    assert seed_of("one.jsonl", "reset", 0) == 8812931129921193480
    assert seed_of("one.jsonl", "reset", 1) != seed_of("one.jsonl", "reset", 0) != seed_of("two.jsonl", "reset", 0)


def test_table_when_shown_then_it_says_what_the_json_says(evaluation: Evaluation) -> None:
    text = shown(evaluation)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]

    ours = guard_of(evaluation, GUARD)["total"]
    row = next(row for row in rows if row[0] == GUARD)
    assert row[1:3] == [str(ours["runs"]), str(ours["wrongful"]["asked"])]
    assert "circuit_guard under policy.toml, by fault" in text
    assert "What --against would change" in text
    columns = 1 + len(evaluation.guards)
    assert sum(row[0] == "mark_zero" and len(row) == columns for row in rows) == 2, "side by side, twice"
