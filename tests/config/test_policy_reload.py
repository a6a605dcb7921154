"""The policy of a guard in a process of its own: changed by SIGHUP, or by nothing but the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.v1 import admin_pb2, admin_pb2_grpc, market_data_pb2, market_data_pb2_grpc, status_pb2, types_pb2

ROOT = Path(__file__).parents[2]
BTC, ETH, SOL, XRP = (f"{name}-USD-PERP" for name in ("BTC", "ETH", "SOL", "XRP"))
POLICY = f"[classes.default]\n[markets.{BTC}]\n[markets.{ETH}]\n[markets.{SOL}]\n"
WIDER = POLICY + f"[markets.{XRP}]\n"
BAD = POLICY + "typo = 1\n"


class Process:
    """A guard in a process of its own, and a client."""

    def __init__(self, folder: Path, **policy: str) -> None:
        self.path = folder / "policy.toml"
        ports = {"CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0", "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0"}
        own = {f"CIRCUIT_GUARD_POLICY__{key.upper()}": value for key, value in policy.items()}
        command = [sys.executable, "-m", "circuit_guard", "serve", "--policy", str(self.path)]
        environ = {**os.environ, **ports, **own}
        self.popen = subprocess.Popen(command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        started = self.read_until("started")
        self.http_address = started["http"]
        self.channel = grpc.insecure_channel(started["grpc"])
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)

    def read_until(self, event: str) -> dict[str, Any]:
        """Read the log up to the event and return that line."""
        assert self.popen.stderr is not None
        lines: list[dict[str, Any]] = []
        for line in self.popen.stderr:
            lines.append(json.loads(line))
            if lines[-1]["event"] == event:
                return lines[-1]
        pytest.fail(f"the process ended without {event}: {lines}")

    def hang_up(self) -> dict[str, Any]:
        """Send SIGHUP, and return who is said to have asked for the reload."""
        self.popen.send_signal(signal.SIGHUP)
        return self.read_until("policy_reload_requested")

    def status(self) -> status_pb2.GuardStatus:
        answer: admin_pb2.GetStatusResponse = self.admin.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
        return answer.status

    def successful(self) -> bool:
        """Return whether the last reload was successful, as scraped."""
        with urllib.request.urlopen(f"http://{self.http_address}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        [value] = [line.split()[1] for line in lines if line.startswith("circuit_guard_policy_last_reload_successful ")]
        return bool(float(value))

    def latch(self, market: str) -> None:
        """Publish an impossible price."""
        now = Timestamp()
        now.GetCurrentTime()
        observation = market_data_pb2.Observation(
            market=market, source="exchange", epoch=1, feed_sequence=1, event_time=now, mark_price="0"
        )
        request = market_data_pb2.PublishObservationsRequest(observations=[observation])
        market_data_pb2_grpc.MarketDataServiceStub(self.channel).PublishObservations(request, timeout=10)

    def end(self) -> int:
        """End the process and return its exit code."""
        self.channel.close()
        self.popen.send_signal(signal.SIGTERM)
        self.popen.communicate(timeout=30)
        return self.popen.returncode


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Return a guard that does not look at the file by itself."""
    (tmp_path / "policy.toml").write_text(POLICY)
    process = Process(tmp_path, watch="false")
    yield process
    assert process.end() == 0


def test_sighup_when_the_file_has_changed_then_it_is_in_force_and_nothing_is_healed_by_it(process: Process) -> None:
    process.latch(BTC)
    process.admin.Halt(admin_pb2.HaltRequest(scopes=[ETH], actor="ana", reason="look at it"), timeout=10)
    before = process.status()
    process.path.write_text(WIDER)

    asked = process.hang_up()
    changed = process.read_until("policy")

    after = process.status()
    assert (asked["actor"], asked["reason"]) == ("signal", "SIGHUP")
    assert after.policy_revision == changed["policy_revision"] != before.policy_revision
    assert changed["added"] == [XRP]
    btc, eth, _, xrp = after.markets
    assert xrp.market == XRP
    assert btc.breaker == before.markets[0].breaker
    assert (btc.breaker.state, btc.breaker.latched) == (types_pb2.BREAKER_STATE_OPEN, True)
    assert eth.halt == before.markets[1].halt
    assert eth.halt.actor == "ana"
    assert process.successful()


@pytest.mark.system
def test_sighup_when_the_file_is_bad_then_the_old_policy_stays_and_the_gauge_says_so(process: Process) -> None:
    before = process.status().policy_revision
    process.path.write_text(BAD)

    process.hang_up()
    refused = process.read_until("policy_refused")

    assert refused["violations"] == [f"markets.{SOL}.typo: was 1, expected no key of this name"]
    assert process.status().policy_revision == refused["in_force"] == before
    assert not process.successful()

    process.path.write_text(POLICY)
    process.hang_up()
    assert process.read_until("policy")["policy_revision"] == before
    assert process.successful()


@pytest.mark.system
def test_watch_when_a_config_map_is_updated_then_the_guard_takes_it_unasked(tmp_path: Path) -> None:
    for number, text in enumerate((POLICY, BAD, WIDER)):
        (tmp_path / f"..2026_{number}").mkdir()
        (tmp_path / f"..2026_{number}" / "policy.toml").write_text(text)
    (tmp_path / "..data").symlink_to("..2026_0")
    (tmp_path / "policy.toml").symlink_to("..data/policy.toml")
    process = Process(tmp_path, watch_interval_ms="10")
    before = process.status().policy_revision

    point_data_to(tmp_path, "..2026_1")
    assert process.read_until("policy_refused")["in_force"] == before
    assert not process.successful()

    point_data_to(tmp_path, "..2026_2")
    assert process.read_until("policy")["policy_revision"] == process.status().policy_revision != before
    assert process.successful()
    assert process.end() == 0


def point_data_to(mount: Path, target: str) -> None:
    """Do what the kubelet does to update a mounted ConfigMap."""
    (mount / "..data_tmp").symlink_to(target)
    (mount / "..data_tmp").rename(mount / "..data")
