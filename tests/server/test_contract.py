"""The contract as files: linted, and the committed stubs are what the protos say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import pytest

from circuit_guard.core.inputs import OrderAction, Side
from circuit_guard.core.types import BreakerState, CheckKind, Explanation, Lift, Outcome, Phase, Severity, Verdict
from circuit_guard.server.convert import enums
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_protos_when_linted_then_they_are_clean() -> None:
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf is not None, "buf was not found beside python, expected the dev dependency buf-bin"

    run = subprocess.run([buf, "lint", "protos"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_protos_when_formatted_then_nothing_changes() -> None:
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf is not None

    run = subprocess.run([buf, "format", "--diff", "protos"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (0, "")


def test_stubs_when_generated_anew_then_they_are_the_committed_ones() -> None:
    command = [sys.executable, "scripts/generate_stubs.py", "--check"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")


def test_stubs_when_one_is_changed_by_hand_then_the_check_names_it(tmp_path: Path) -> None:
    for folder in ("protos", "circuit_guard/v1", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with (tmp_path / "circuit_guard/v1/types_pb2.pyi").open("a") as stub:
        stub.write("# by hand\n")
    command = [sys.executable, "scripts/generate_stubs.py", "--check"]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert run.stderr.startswith("types_pb2.pyi: not as protos/ would have them; run: python scripts/generate_stubs.py")


@pytest.mark.parametrize(
    ("core", "table", "wire"),
    [
        (Verdict, enums.VERDICTS, types_pb2.Verdict),
        (Severity, enums.SEVERITIES, types_pb2.Severity),
        (Lift, enums.LIFTS, types_pb2.LiftedBy),
        (Phase, enums.PHASES, types_pb2.Phase),
        (Outcome, enums.OUTCOMES, types_pb2.Outcome),
        (BreakerState, enums.BREAKER_STATES, types_pb2.BreakerState),
        (CheckKind, enums.KINDS, liquidation_pb2.CheckKind),
        (Explanation, enums.EXPLANATIONS, liquidation_pb2.Explanation),
        (Side, enums.SIDES, order_pb2.OrderSide),
        (OrderAction, enums.ACTIONS, order_pb2.OrderAction),
    ],
)
def test_enumerations_when_compared_then_core_and_contract_have_the_same_members(
    core: type[StrEnum], table: dict[StrEnum, int], wire: object
) -> None:
    names = {number: name for name, number in wire.items()}  # type: ignore[attr-defined]

    assert table.keys() == set(core)
    assert sorted(table.values()) == sorted(number for number in names if number != 0)
    assert all(names[number].endswith(f"_{member.name}") for member, number in table.items())
