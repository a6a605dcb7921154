"""`demo`: the bundled incident against a real guard on this machine, in half a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from circuit_guard.cli.bundled import bundled
from circuit_guard.cli.demo_clock import StoryClock
from circuit_guard.cli.demo_play import Player
from circuit_guard.cli.demo_score import Score
from circuit_guard.cli.demo_story import Narrator, time_of_day
from circuit_guard.cli.output import CommandError, ExitCode, screen
from circuit_guard.cli.rpc import CHANNEL_OPTIONS
from circuit_guard.config.settings import (
    EngineSettings,
    GrpcSettings,
    HttpSettings,
    LogSettings,
    PolicySettings,
    Settings,
)
from circuit_guard.engine.clock import SystemClock
from circuit_guard.recording.format import Entry
from circuit_guard.recording.reader import read_recording
from circuit_guard.runtime.app import App, build

SPEED = 30.0
SPEED_MAX = 10_000.0
TICK_INTERVAL_MS_MIN = 10


def demo(
    speed: Annotated[
        float, typer.Option(min=1.0, max=SPEED_MAX, help="How many times faster than real time it runs.")
    ] = SPEED,
) -> None:
    """Play the bundled incident to a real guard.

    A guard is started on free ports of this machine. Over gRPC an exchange publishes to it, and an engine asks for
    each closure. Exit code 0: no wrongful closure was allowed. 1: one was.
    """
    recording, policy = read_recording(bundled("incident.jsonl.gz")), bundled("policy.toml")
    entries = list(recording.entries())
    try:
        score = asyncio.run(_run(screen(), entries, policy, speed))
    except grpc.aio.AioRpcError as error:
        message = f"the guard gave no answer ({error.code().name}): {error.details()}"
        raise CommandError(message, ExitCode.NO_ANSWER) from error
    raise typer.Exit(ExitCode.OK if score.nothing_wrongful_allowed() else ExitCode.DENIED)


async def _run(console: Console, entries: Sequence[Entry], policy: Path, speed: float) -> Score:
    """Run a guard whose clock is the story's, and play the entries to it."""
    clock = StoryClock(SystemClock(), entries[0].at_ns, speed)
    async with build(_settings(policy, speed), clock).running() as app:
        console.print(f"A guard listens on {app.grpc_address}, its status page on http://{app.http_address}.")
        console.print(f"Its clock starts with the recording and runs {speed:g} times faster.\n")
        return await _play(console, entries, app, clock)


def _settings(policy: Path, speed: float) -> Settings:
    """Return settings for a guard on free ports that logs nothing but trouble."""
    tick_interval_ms = max(int(1000 / speed), TICK_INTERVAL_MS_MIN)
    return Settings(
        grpc=GrpcSettings(listen="127.0.0.1:0"),
        http=HttpSettings(listen="127.0.0.1:0"),
        policy=PolicySettings(path=policy),
        log=LogSettings(level="error"),
        engine=EngineSettings(tick_interval_ms=tick_interval_ms),
    )


async def _play(console: Console, entries: Sequence[Entry], app: App, clock: StoryClock) -> Score:
    score = Score()
    async with grpc.aio.insecure_channel(app.grpc_address, CHANNEL_OPTIONS) as channel:
        with _time_shown(console, entries[0].at_ns, entries[-1].at_ns) as show_time:
            narrator = Narrator(console, show_time)
            player, watching = Player(clock, channel, narrator, score), asyncio.Event()
            telling = asyncio.create_task(player.narrate(watching))
            await watching.wait()
            clock.begin()
            await player.play(entries)
            status = await player.status()
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        narrator.end(score, status)
    return score


@contextmanager
def _time_shown(console: Console, start_ns: int, end_ns: int) -> Iterator[Callable[[int], None]]:
    """Show the time of the story below it, where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(time_of_day(start_ns), total=end_ns - start_ns)
        yield lambda at_ns: progress.update(task, completed=at_ns - start_ns, description=time_of_day(at_ns))
