"""The examples of the client, run against a real guard that allows, one that denies, and none."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import BTC, INDEX, PRICE, Guard, running

ROOT = Path(__file__).parents[2]
SILENT = "127.0.0.1:1"
EXAMPLES = ("client_sync", "client_async", "guarded_service", "client_interceptor", "decorator")

each_example = pytest.mark.parametrize("name", EXAMPLES)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with running(tmp_path) as guard:
        guard.observe(times=3)
        yield guard


def run(name: str, address: str, *options: str, funding_index: str = INDEX) -> int:
    """Run an example and return its exit code."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = ["--address", address, "--deadline", "10", "--mark", PRICE, "--funding-index", funding_index]
    code: int = module.main([*values, *options])
    return code


@each_example
def test_example_when_the_guard_allows_then_it_closes(
    name: str, guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, guard.address) == 0

    said = capsys.readouterr().out
    assert "closed account-1" in said or f"ALLOW {BTC}" in said
    assert "not closed" not in said
    assert "DENY" not in said


@each_example
def test_example_when_the_guard_denies_then_it_closes_nothing_and_says_why(
    name: str, guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, guard.address, funding_index="0") == 1

    said = capsys.readouterr().out
    assert f"DENY {BTC}: the caller computed with a funding index that cannot be true" in said
    assert not any(line.startswith("closed") for line in said.splitlines())


@each_example
def test_example_when_there_is_no_guard_then_it_closes_nothing_and_says_why(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, SILENT) == 1

    said = capsys.readouterr().out
    assert f"DENY {BTC}: no guard answers at {SILENT}" in said
    assert not any(line.startswith("closed") for line in said.splitlines())


def test_client_sync_when_the_account_is_given_then_its_loss_is_shown(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    run("client_sync", guard.address)

    assert "  the loss of account-2 is EXPLAINED: a margin surplus of -" in capsys.readouterr().out


def test_guarded_service_when_a_request_cannot_be_judged_then_its_caller_is_told_which_field(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("guarded_service", guard.address, "--size", "0") == 1

    assert capsys.readouterr().out.startswith(
        "INVALID_ARGUMENT: the guard cannot be asked about this request: Closure.size was Decimal('0'), expected a size"
    )
