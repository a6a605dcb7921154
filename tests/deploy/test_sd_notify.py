"""What systemd is told, heard on a real socket: from the parts, and from a guard in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from circuit_guard.runtime.systemd import ServiceManager
from tests.deploy.notifications import Notifications

ROOT = Path(__file__).parent.parent.parent
PID = 4711
POLICY = """
[global_breaker]
latched_markets_min = 1
[classes.default]
required = {required}
[markets.BTC-USD-PERP]
"""
WAITING = "STATUS=not ready: market BTC-USD-PERP is required and still warming"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Notifications]:
    with Notifications(str(tmp_path / "notify")) as notifications:
        yield notifications


def told_by(systemd: Notifications, **environ: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": systemd.address} | environ, PID)


# The parts


def test_ready_and_stopping_when_told_then_they_are_heard(systemd: Notifications) -> None:
    service = told_by(systemd)

    service.ready()
    service.stopping()

    assert systemd.waiting() == ["READY=1", "STOPPING=1"]


def test_socket_when_it_is_abstract_then_it_is_found_by_its_name(tmp_path: Path) -> None:
    with Notifications(f"@circuit_guard-{tmp_path.name}-{os.getpid()}") as systemd:
        told_by(systemd).ready()

        assert systemd.waiting() == ["READY=1"]


async def test_status_when_the_reasons_change_then_it_is_told_anew_and_only_then(systemd: Notifications) -> None:
    reasons = ["market A is cold", "market B\nis cold"]
    service = told_by(systemd, WATCHDOG_USEC="30000")

    async with service.watching(lambda: reasons):
        first = [await systemd.heard() for _ in range(2)]
        unchanged = [await systemd.heard() for _ in range(2)]
        reasons.clear()
        changed = ""
        while not changed.startswith("STATUS"):
            changed = await systemd.heard()

    assert first == ["WATCHDOG=1", "STATUS=not ready: market A is cold; market B is cold"]
    assert unchanged == ["WATCHDOG=1", "WATCHDOG=1"]
    assert changed == "STATUS=serving"


async def test_status_when_a_file_is_refused_then_it_is_named_beside_the_readiness(systemd: Notifications) -> None:
    async with told_by(systemd).watching(list, lambda: ["policy.toml is refused (why). Policy p-1 stays."]):
        assert await systemd.heard() == "STATUS=serving; policy.toml is refused (why). Policy p-1 stays."


async def test_status_when_there_are_many_reasons_then_the_rest_is_counted(systemd: Notifications) -> None:
    async with told_by(systemd).watching(lambda: list("abcde")):
        assert await systemd.heard() == "STATUS=not ready: a; b; c; and 2 more"


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)
async def test_watchdog_when_it_is_off_or_of_another_process_then_nothing_is_sent_to_it(
    systemd: Notifications, environ: dict[str, str]
) -> None:
    async with told_by(systemd, **environ).watching(list):
        assert await systemd.heard() == "STATUS=serving"


async def test_watchdog_when_the_event_loop_is_stuck_then_it_hears_nothing(systemd: Notifications) -> None:
    async with told_by(systemd, WATCHDOG_USEC="30000", WATCHDOG_PID=str(PID)).watching(list):
        assert await systemd.heard() == "WATCHDOG=1"
        systemd.waiting()
        time.sleep(0.1)  # noqa: ASYNC251  # the stuck loop is what is tested

        assert systemd.waiting() == []
        assert await systemd.heard() == "WATCHDOG=1"


def test_manager_when_no_systemd_has_started_the_process_then_nobody_is_told() -> None:
    with capture_logs() as logs:
        ServiceManager({}, PID).ready()

    assert logs == []


def test_manager_when_nobody_listens_then_that_is_logged_once_and_ends_nothing(tmp_path: Path) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "none")}, PID)
    with capture_logs() as logs:
        service.ready()
        service.stopping()

    [line] = logs
    assert (line["event"], line["message"]) == ("service_manager_not_told", "READY=1")
    assert "No such file" in line["error"]


# The process


def start(folder: Path, systemd: Notifications, required: str) -> subprocess.Popen[bytes]:
    (folder / "policy.toml").write_text(POLICY.format(required=required))
    ports = {"CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0", "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0"}
    notify = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "300000"}
    command = [sys.executable, "-m", "circuit_guard", "serve", "--policy", str(folder / "policy.toml")]
    return subprocess.Popen(command, env={**os.environ, **ports, **notify}, cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.system
@pytest.mark.parametrize(("required", "status"), [("false", "STATUS=serving"), ("true", WAITING)])
def test_guard_when_systemd_starts_it_then_it_says_that_it_answers_lives_and_stops(
    tmp_path: Path, systemd: Notifications, required: str, status: str
) -> None:
    with start(tmp_path, systemd, required) as process:
        before = systemd.until("READY=1")
        lives = systemd.until("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        stopping = systemd.until("STOPPING=1")
        code = process.wait(timeout=20)

    assert code == 0
    assert status in before + lives + stopping
    assert {it for it in before + lives + stopping if not it.startswith("STATUS")} == {
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
    }


@pytest.mark.system
def test_guard_when_it_cannot_start_then_it_never_says_that_it_is_ready(tmp_path: Path, systemd: Notifications) -> None:
    with start(tmp_path, systemd, required="perhaps") as process:
        assert process.wait(timeout=20) == 2

    assert systemd.waiting() == []
