"""`watch`: one line an event in a pipe, a live table on a terminal, and Ctrl-C as the way out."""

from __future__ import annotations

import json
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running import BTC, INDEX, PRICE, Guard, run

WATCH = (sys.executable, "-m", "circuit_guard", "watch")
CHECK = ("check", "--market", BTC, "--size", "-1", "--mark", PRICE, "--funding-index", INDEX)
HALT = ("halt", BTC, "--actor", "alice", "--reason", "drill")
ROOT = Path(__file__).parent.parent.parent


class Watch:
    """A watch in a process of its own, whose lines are read beside it."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen([*WATCH, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def first_line(self, guard: Guard) -> str:
        """Return the first line of the watch: a halt is repeated until one is seen."""
        for _ in range(100):
            guard.run(*HALT)
            with suppress(queue.Empty):
                return self.lines.get(timeout=0.2)
        pytest.fail("the watch shows nothing")

    def line_with(self, text: str) -> str:
        """Return the next line that has the text."""
        while text not in (line := self.lines.get(timeout=20)):
            pass
        return line

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=20)
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_watch_when_piped_then_it_prints_one_line_an_event_and_ctrl_c_ends_it_with_0(guard: Guard) -> None:
    guard.observe(times=3)
    watch = Watch("--address", guard.address)

    assert watch.first_line(guard).endswith(f" {BTC}: closures halted by alice: drill\n")
    guard.run("resume", BTC, "--actor", "alice", "--reason", "over")
    guard.observe()
    guard.run(*CHECK, "--request-id", "allowed")
    guard.run("check", "--market", BTC, "--size", "-1", "--request-id", "denied")

    assert "denied]" in watch.line_with("[LIQUIDATION of "), "allowed ones are passed over"
    assert watch.interrupt() == 0


def test_watch_when_asked_for_json_then_every_line_is_an_event(guard: Guard) -> None:
    guard.observe(times=3)
    watch = Watch("--json", "--include-allowed", "--address", guard.address)

    assert json.loads(watch.first_line(guard))["halt_changed"]["halted"] is True
    guard.run("resume", BTC, "--actor", "alice", "--reason", "over")
    guard.observe()
    guard.run(*CHECK)

    assert json.loads(watch.line_with("VERDICT_"))["decision"]["verdict"] == "VERDICT_ALLOW"
    assert watch.interrupt() == 0


def test_watch_when_on_a_terminal_then_the_table_is_live(guard: Guard) -> None:
    guard.latch(BTC)
    controller, terminal = pty.openpty()
    command, env = (*WATCH, "--address", guard.address), {**os.environ, "COLUMNS": "160", "LINES": "30"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=ROOT, env=env) as process:
        os.close(terminal)
        shown = ""
        while "funding_jump" not in shown or "nothing has happened yet" not in shown:
            shown += os.read(controller, 65_536).decode()
        guard.run(*HALT)
        while "halted by alice" not in shown:
            shown += os.read(controller, 65_536).decode()
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)
    os.close(controller)

    assert code == 0


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_watch_when_no_guard_answers_then_it_says_so(options: tuple[str, ...]) -> None:
    result = run("watch", "--address", "127.0.0.1:1", *options)

    assert result.exit_code == 3
    assert result.stderr == "circuit-guard: no guard answers at 127.0.0.1:1: is `circuit-guard serve` running?\n"
