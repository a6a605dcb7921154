"""`watch`: the markets and what happens to them, as it happens."""

from __future__ import annotations

import json as json_module
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from circuit_guard.cli import lines, options
from circuit_guard.cli.output import CommandError, as_json, screen
from circuit_guard.cli.rpc import Guard
from circuit_guard.cli.status import headline, markets_table, notes
from circuit_guard.server.convert import received
from circuit_guard.v1 import event_pb2, status_pb2

REFRESH_S = 1.0
EVENTS_SHOWN_MIN = 5
_FRAME_LINES = 6
"""Lines of the live screen that are neither markets nor events."""


def watch(
    include_allowed: Annotated[bool, typer.Option("--include-allowed", help="Show allowed decisions too.")] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Watch the guard until Ctrl-C.

    Shows a live table on a terminal. In a pipe, and with --json, prints one line per event.
    """
    console = screen()
    try:
        with Guard(address, timeout) as guard, guard.watching(include_allowed=include_allowed) as events:
            if console.is_terminal and not json:
                _watch_live(console, guard, events)
            else:
                _print_events(console, events, json)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _print_events(console: Console, events: Iterator[event_pb2.Event], json: bool) -> None:
    for event in events:
        if json:
            sys.stdout.write(json_module.dumps(as_json(event), ensure_ascii=False) + "\n")
        else:
            console.print(lines.of_event(event))
        sys.stdout.flush()


class _Reader(threading.Thread):
    """Reads events beside the live table, and keeps the last ones."""

    def __init__(self, events: Iterator[event_pb2.Event], kept_max: int) -> None:
        super().__init__(name="events", daemon=True)
        self.lines: deque[Text] = deque(maxlen=kept_max)
        self.ended = threading.Event()
        self.failure: CommandError | None = None
        self._events = events

    def run(self) -> None:
        """Read until the stream ends."""
        try:
            for event in self._events:
                self.lines.append(lines.of_event(event))
        except CommandError as failure:
            self.failure = failure
        finally:
            self.ended.set()


def _watch_live(console: Console, guard: Guard, events: Iterator[event_pb2.Event]) -> None:
    reader = _Reader(events, console.height)
    reader.start()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while not reader.ended.is_set():
            live.update(live_screen(console, guard.status(), list(reader.lines)), refresh=True)
            reader.ended.wait(REFRESH_S)
    if reader.failure is not None:
        raise reader.failure


def live_screen(console: Console, message: status_pb2.GuardStatus, events: list[Text]) -> RenderableType:
    """Return the table of the markets with as many of the last events below it as there is room for."""
    status = received.guard(message)
    top = notes(status, message.not_ready_reasons)
    room = max(console.height - len(top) - len(status.markets) - _FRAME_LINES, EVENTS_SHOWN_MIN)
    shown = [_cut(line) for line in events[-room:]] or [Text("nothing has happened yet", style="dim")]
    return Group(headline(status), *top, markets_table(console, status, reasons_max=1), *shown)


def _cut(line: Text) -> Text:
    """Return the line as one line of the screen, whatever its length."""
    cut = line.copy()
    cut.no_wrap, cut.overflow = True, "ellipsis"
    return cut
