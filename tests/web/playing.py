"""The bundled incident, played to a real guard over gRPC: the same as `circuit-guard demo`, without its screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path

import grpc
from rich.console import Console

from circuit_guard.cli.demo import Narrator, Player, Score, StoryClock
from circuit_guard.cli.output import bundled
from circuit_guard.config.settings import (
    EngineSettings,
    GrpcSettings,
    HttpSettings,
    LogSettings,
    PolicySettings,
    Settings,
)
from circuit_guard.engine.clock import SystemClock
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, parse_time_ns
from circuit_guard.runtime.app import App, build

TICK_INTERVAL_MS = 25


class Incident:
    """A guard whose clock is the story's, and the part of the story that has not been played yet."""

    def __init__(self, app: App, player: Player, entries: Sequence[Entry]) -> None:
        self.app = app
        self.url = f"http://{app.http_address}"
        self._player = player
        self._left = list(entries)

    async def play_until(self, time: str) -> None:
        """Play all up to an instant of 19 January 2026, given as its time of day in UTC."""
        until_ns = parse_time_ns(f"2026-01-19T{time}Z")
        assert until_ns is not None
        due = list(takewhile(lambda entry: entry.at_ns <= until_ns, self._left))
        self._left = self._left[len(due) :]
        await self._player.play(due)


@asynccontextmanager
async def incident(speed: float, policy: Path | None = None) -> AsyncIterator[Incident]:
    """Run a guard on free ports whose time is `speed` times faster than the machine's, and stands before the story."""
    entries = list(read_recording(bundled("incident.jsonl.gz")).entries())
    clock = StoryClock(SystemClock(), entries[0].at_ns, speed)
    settings = Settings(
        grpc=GrpcSettings(listen="127.0.0.1:0"),
        http=HttpSettings(listen="127.0.0.1:0"),
        policy=PolicySettings(path=policy or bundled("policy.toml"), watch=False),
        log=LogSettings(level="error"),
        engine=EngineSettings(tick_interval_ms=TICK_INTERVAL_MS),
    )
    async with build(settings, clock).running() as app, grpc.aio.insecure_channel(app.grpc_address) as channel:
        narrator = Narrator(Console(quiet=True), lambda _: None)
        clock.begin()
        yield Incident(app, Player(clock, channel, narrator, Score()), entries)
