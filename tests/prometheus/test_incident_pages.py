"""The incident against a real guard, with a real Prometheus and Alertmanager: who is paged, when, with what text."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from rich.console import Console

from circuit_guard.cli.demo import Narrator, Player, Score, StoryClock
from circuit_guard.cli.options import CHANNEL_OPTIONS
from circuit_guard.config.settings import load_settings
from circuit_guard.core.types import SECOND_NS
from circuit_guard.engine.clock import SystemClock
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Fault
from circuit_guard.runtime.app import build
from tests.cli.running import BTC
from tests.prometheus.described import ROOT
from tests.prometheus.monitoring import Monitoring, Page, monitoring

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

PAGED_WITHIN_S = 30.0
"""From the first corrupt observation, at the shipped intervals: a tick of 1 s, scrapes and rules every 5 s."""
BEFORE_S = 240
"""So much of the story runs before the fault: a minute of honest data, the maintenance, the restart."""
SPEED = 10.0
"""How much faster the story runs. The guard's ticks and everything that watches it keep the machine's time."""


class Witness(Narrator):
    """Notes when, on the machine's clock, the first fault began: right before the first corrupt observation."""

    fault_s: float | None = None

    def fault(self, fault: Fault) -> None:
        self.fault_s = self.fault_s or time.monotonic()
        super().fault(fault)


def the_story() -> list[Entry]:
    entries = list(read_recording(ROOT / "examples" / "incident.jsonl.gz").entries())
    [first, *_] = [entry for entry in entries if isinstance(entry, Fault)]
    return [entry for entry in entries if entry.at_ns >= first.at_ns - BEFORE_S * SECOND_NS]


async def play(folder: Path) -> tuple[Page | None, float, Monitoring, list[str]]:
    """Return the page for the latched market, when the fault began, the monitoring and the rules with errors."""
    entries = the_story()
    settings = load_settings(
        None,
        {
            "CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0",
            "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
            "CIRCUIT_GUARD_POLICY__PATH": str(ROOT / "config" / "policy.toml"),
            "CIRCUIT_GUARD_LOG__LEVEL": "error",
        },
    )
    clock = StoryClock(SystemClock(), entries[0].at_ns, SPEED)
    witness = Witness(Console(quiet=True), lambda _: None)
    async with build(settings, clock).running() as app:
        with monitoring(folder, app.http_address) as watched:
            async with grpc.aio.insecure_channel(app.grpc_address, CHANNEL_OPTIONS) as channel:
                clock.begin()
                playing = asyncio.create_task(Player(clock, channel, witness, Score()).play(entries))
                page = await asyncio.to_thread(watched.wait_for, "CircuitGuardMarketLatched", 90)
                playing.cancel()
                unhealthy = await asyncio.to_thread(watched.unhealthy_rules)
    assert witness.fault_s is not None
    return page, witness.fault_s, watched, unhealthy


def test_incident_when_the_first_corrupt_value_is_published_then_the_page_is_out_in_30_s(tmp_path: Path) -> None:
    page, fault_s, watched, unhealthy = asyncio.run(play(tmp_path))

    assert page is not None, "nobody was paged"
    assert 0 < page.at_s - fault_s < PAGED_WITHIN_S
    assert page.labels["severity"] == "critical"
    assert page.labels["market"] in (BTC, "BERA-USD-PERP")
    text = page.annotations["description"]
    assert "funding_jump since 2026-01-19 04:33:00" in text, "latched at another observation than the first corrupt one"
    assert "an operator must lift it" in text
    assert f"Next: circuit-guard status {page.labels['market']}" in text
    assert page.annotations["runbook_url"] == "docs/runbook.md#circuitguardmarketlatched"
    assert [early.name for early in watched.pages if early.at_s < fault_s] == []
    assert unhealthy == []


def test_guard_when_it_is_gone_then_that_is_paged(tmp_path: Path) -> None:
    with monitoring(tmp_path, "127.0.0.1:1") as watched:
        page = watched.wait_for("CircuitGuardAbsent", 60)

    assert page is not None, "nobody was paged"
    assert "circuit-guard status" in page.annotations["description"]
