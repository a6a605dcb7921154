"""How long recovery takes with a day of journal: `python -m benchmarks.recovery_time [--hours 24]`.

A process writes the journal of 111 markets at 1 Hz (one observation and three references each, a check a second) and
is killed right before a checkpoint is due: the most that a restart has to run again. Recovered is then the whole
journal, and for comparison a copy of it whose older blocks are pruned. Exits 1 where recovering took longer than the
limit, or led to another state. Writing a day takes an hour or more.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.recorded_day import MARKETS, Written, digest, plain_rows, record
from benchmarks.simulated_feed import START_NS
from circuit_guard.config.settings import JournalSettings
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.recovery import Rerun, recover, rerun_from

LIMIT_S = 10.0
NOTHING_KEPT = JournalOptions(inputs_kept_ns=0, audit_kept_ns=0, bytes_max=0)


@dataclass(frozen=True, slots=True)
class Took:
    """How long the parts of one recovery took, in seconds."""

    opened: float
    """The file opened, and its latest records proved."""
    read: float
    """The last checkpoint found, proved and decoded."""
    rerun: float
    """The records after it read, proved and run again."""

    @property
    def together(self) -> float:
        """The whole."""
        return self.opened + self.read + self.rerun

    def __str__(self) -> str:
        return f"{self.opened:6.2f} {self.read:6.2f} {self.rerun:6.2f} {self.together:6.2f}"


def write(directory: Path, seconds: int, interval_s: int) -> Written:
    """Have another process write the journal, and kill it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=record, args=(directory, seconds, interval_s, theirs))
    process.start()
    theirs.close()
    written: Written = ours.recv()
    process.kill()
    process.join()
    return written


def recovered(directory: Path) -> tuple[Took, Checkpoint, Rerun]:
    """Recover as a restart does; return how long it took, from which checkpoint, and to what it led."""
    started = monotonic()
    with Journal(directory, START_NS, JournalOptions()) as journal:
        opened = monotonic()
        with journal.reader() as reader:
            checkpoint = reader.last_checkpoint()
        assert checkpoint is not None  # noqa: S101  # many were written
        rerun_from(checkpoint, directory)
        read = monotonic()
        rerun = recover(directory)  # which reads the checkpoint once more
        assert rerun is not None  # noqa: S101
        done = monotonic()
    return Took(opened - started, read - opened, done - read - (read - opened)), checkpoint, rerun


def describe(directory: Path) -> str:
    """Return what is in a journal's directory."""
    connection = connect(f"file:{directory / JOURNAL_NAME}?mode=ro", uri=True)
    try:
        [(blocks,)] = connection.execute("SELECT count(*) FROM block").fetchall()
        [(states,)] = connection.execute("SELECT count(*) FROM checkpoint").fetchall()
    finally:
        connection.close()
    megabytes = sum(path.stat().st_size for path in directory.iterdir()) / 1e6
    rows = ", ".join(f"{count} of {chain}" for chain, count in plain_rows(directory).items())
    return f"{megabytes:.0f} MB: {blocks} blocks, plain rows {rows}; {states} checkpoints with their state"


def measure(whole: Path, recent: Path, written: Written, times: int) -> int:
    """Recover from both, in turns, so many times; print, and return the exit code."""
    took: dict[str, list[Took]] = {"whole": [], "recent": []}
    print("seconds           open   read  rerun    all")
    for _ in range(times):
        for name, directory in (("whole", whole), ("recent", recent)):
            one, checkpoint, rerun = recovered(directory)
            took[name].append(one)
            print(f"{name:14} {one}   {rerun.inputs / one.rerun:.0f} inputs/s", flush=True)
            if digest(rerun.state) != written.state_digest:
                print("the state is not the one that the killed process had")
                return 1
    print(
        f"the last checkpoint covers everything up to record {checkpoint.covers}; {rerun.inputs} inputs came after it"
    )
    print(f"its state has {len(checkpoint.text or '') / 1e6:.1f} MB of text, {len(rerun.state.remembered)} remembered")
    print("the state is the one that the killed process had, each time")
    ratio = min(one.together for one in took["whole"]) / min(one.together for one in took["recent"])
    slowest = max(one.together for one in took["whole"])
    print(f"with the older blocks {ratio:.2f} times as long as without (fastest of {times})")
    print(f"slowest {slowest:.2f} s (limit {LIMIT_S:.0f} s)")
    return 0 if slowest <= LIMIT_S else 1


def main(arguments: Sequence[str]) -> int:
    """Write, measure and print; return the exit code."""
    parser = ArgumentParser(prog="python -m benchmarks.recovery_time")
    parser.add_argument("--hours", type=float, default=24.0, help="of journal; a day takes an hour or more to write")
    usual_s = JournalSettings().checkpoint_interval_s
    parser.add_argument("--interval", type=int, default=usual_s, help="seconds from one checkpoint to the next")
    parser.add_argument("--times", type=int, default=5, help="recoveries from each journal")
    given = parser.parse_args(arguments)
    interval_s = given.interval
    seconds = max(round(given.hours * 3600 / interval_s), 2) * interval_s
    with TemporaryDirectory() as name:
        whole, recent = Path(name, "whole"), Path(name, "recent")
        started = monotonic()
        written = write(whole, seconds, interval_s)
        took_s = monotonic() - started
        print(f"{written.inputs} inputs of {MARKETS} markets in {seconds / 3600:g} h, written in {took_s:.0f} s")
        judged = f"of the last {written.judged_s / 60:g} min, which were judged, {written.rejected} rejected"
        print(f"{judged}; {written.checks} checks, {written.allowed} allowed")
        shutil.copytree(whole, recent)
        prune(recent, START_NS, START_NS + seconds * SECOND_NS, NOTHING_KEPT)
        print(f"whole   {describe(whole)}\nrecent  {describe(recent)}, older blocks pruned")
        print(f"killed {interval_s} s after the last checkpoint, right before the next")
        return measure(whole, recent, written, given.times)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
