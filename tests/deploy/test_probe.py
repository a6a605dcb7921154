"""`probe`, as supervisors ask: by exit code, with one line for people."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import POLICY, Guard, run, running

READY_AT_ONCE = POLICY.replace("[classes.default]", "[classes.default]\nrequired = false")


@pytest.fixture(autouse=True)
def _no_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIRCUIT_GUARD_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Return a running guard that waits for market data."""
    with running(tmp_path_factory.mktemp("cold")) as guard:
        yield guard


def test_probe_when_market_data_are_missing_then_the_guard_is_not_ready(cold: Guard) -> None:
    result = cold.run("probe")

    assert result.exit_code == 1
    assert result.stderr == (
        f"circuit-guard: the guard at {cold.address} is not ready: circuit-guard status says why\n"
    )


def test_probe_when_asked_whether_it_lives_then_market_data_do_not_matter(cold: Guard) -> None:
    result = cold.run("probe", "--live")

    assert (result.exit_code, result.stdout) == (0, f"the guard at {cold.address} is live\n")


def test_probe_when_the_guard_is_ready_then_it_says_so(tmp_path: Path) -> None:
    with running(tmp_path, READY_AT_ONCE) as guard:
        while guard.run("probe").exit_code != 0:
            asyncio.run(asyncio.sleep(0.01))

        assert guard.run("probe").stdout == f"the guard at {guard.address} is ready\n"


def test_probe_when_nobody_listens_then_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    result = run("probe", "--live", "--address", address)

    assert result.exit_code == 3
    assert result.stderr.startswith(f"circuit-guard: no guard answers at {address}")


def test_probe_when_the_process_is_stuck_then_it_gives_up_after_its_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stuck:
        address = f"127.0.0.1:{stuck.getsockname()[1]}"
        result = run("probe", "--live", "--address", address, "--timeout", "0.2")

    assert result.exit_code == 3
    assert "did not answer within 0.2 s" in result.stderr
