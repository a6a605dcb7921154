"""The example clients against a real guard: they pass on what it trusts, and close what it allows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.running import BTC, INDEX, PRICE, Guard, running

ROOT = Path(__file__).parent.parent
SILENT = "127.0.0.1:1"


def example(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with running(tmp_path) as guard:
        yield guard


def publish(address: str, *options: str) -> int:
    code: int = example("publisher_client").main(["--address", address, "--interval", "0", *options])
    return code


def liquidate(address: str, *options: str, mark: str = PRICE, funding_index: str = INDEX) -> int:
    values = ["--mark", mark, "--funding-index", funding_index]
    code: int = example("liquidator_client").main(["--address", address, *values, *options])
    return code


def test_publisher_when_its_values_are_sound_then_all_are_passed_on(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(guard.address, "--seconds", "4") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines == [*[f"PASSED ON  {BTC} mark {PRICE}, funding index {INDEX}"] * 4, "4 passed on, 0 held back"]


def test_publisher_when_an_index_is_reset_then_it_is_held_back_with_the_reason(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(guard.address, "--seconds", "3")
    capsys.readouterr()

    assert publish(guard.address, "--seconds", "1", "--funding-index", "0") == 1

    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("HELD BACK  PUBLISH_STATUS_REJECTED: the funding index moved further than funding can")
    assert last == "0 passed on, 1 held back"


def test_publisher_when_a_value_is_malformed_then_it_is_held_back_with_the_field(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(guard.address, "--seconds", "1", "--funding-index", "zero") == 1

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith('HELD BACK  PUBLISH_STATUS_REFUSED: observations[0].funding_index was "zero", expected ')


def test_publisher_when_no_guard_answers_then_nothing_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(SILENT, "--seconds", "1") == 1

    assert capsys.readouterr().out.splitlines() == [
        "references not published: UNAVAILABLE",
        "HELD BACK  no answer from the guard: UNAVAILABLE",
        "0 passed on, 1 held back",
    ]


def test_liquidator_when_the_guard_allows_then_the_position_is_closed(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard.observe(times=3)

    assert liquidate(guard.address) == 0

    assert capsys.readouterr().out.splitlines() == [f"ALLOW {BTC}", f"closed account-1: -0.5 {BTC}"]


def test_liquidator_when_the_guard_denies_for_good_then_it_asks_once_and_tells_whom_to_call(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard.latch()

    assert liquidate(guard.address) == 1

    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"DENY {BTC}: the funding index moved further than funding can move it")
    assert last == f"not closed account-1: tell whoever is on call, `circuit-guard status {BTC}` says why"


def test_liquidator_when_asking_again_can_help_then_it_asks_again(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard.observe(times=3)

    assert liquidate(guard.address, "--tries", "2", mark="92500") == 1

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["DENY", "DENY", "not"]


def test_liquidator_when_no_guard_answers_then_it_fails_closed(capsys: pytest.CaptureFixture[str]) -> None:
    assert liquidate(SILENT, "--tries", "1") == 1

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"DENY {BTC}: no guard answers at {SILENT} (")


def test_liquidator_when_its_question_is_malformed_then_it_does_not_ask_again(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert liquidate(guard.address, "--size", "0") == 1

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("the question is malformed: Closure.size was Decimal('0'), expected a size other than zero")
