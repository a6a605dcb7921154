"""A guard under mixed load for a long time, with restarts and faults: `python -m benchmarks.soak [minutes]`.

In the first two fifths of the time the guard is restarted again and again, once by kill -9. The rest is one long life,
in which memory, file descriptors and the event loop are watched. One table at the end; exits with 1 where something was
not as it has to be.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

import aiohttp
from grpc import aio

from benchmarks import family
from benchmarks.soak_load import GLOBAL, NOT_REFUSED, OPTIONS, UNANSWERED, Load, Model, write_policy
from circuit_guard.journal.reader import JournalReader, VerifyReport
from circuit_guard.journal.recovery import Rerun, recover
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc, status_pb2

ROOT = Path(__file__).parent.parent
RESTARTING_SHARE = 0.4
LIFE_S = 180.0
RESTARTS_MIN = 3
WARM_UP_S, WARM_UP_SHARE = 60.0, 0.25
"""Growth counts after so long, and after such a share of the last life: by then pages, templates and remembered
requests are there, and in a long soak blocks of the journal have been compressed, which takes some memory once. Of a
life shorter than the warm-up the second half counts."""
PARTS = 8
SAMPLE_S = 1.0
RSS_GROWTH_MAX_MB = 40.0
"""From the median of the first quarter after the warm-up to that of the last: room for the history of the page, and for
a block that is being compressed."""
DESCRIPTORS_GROWTH_MAX = 20
"""Clients come and go; what they leave behind would grow without end."""
LAG_P99_MAX_S = 0.5
WAITED_SHARE_MAX = 0.25
"""Where the guard's loop waited for a processor for a larger share of the time that it had something to do, the machine
is busy with something else: how late it was then says nothing of the guard, and is printed only."""
START_MAX_S = 120.0
EXPECTED_ERRORS = frozenset({"policy_refused", "not_serving"})
"""Events at level error that the load asks for: policies that are not valid, and markets that warm after a start."""
PROBLEMS_SHOWN = 20
SEED = 1


@dataclass
class Sample:
    """What the process has, at a time."""

    at_s: float
    rss_mb: float
    descriptors: int


@dataclass
class Guard:
    """`circuit-guard serve` in a process of its own, started again and again on one folder."""

    folder: Path
    model: Model
    load: Load
    process: asyncio.subprocess.Process | None = None
    started_s: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    log: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it listens: the same after each start."""
        return address_in(self.folder)

    async def start(self) -> None:
        """Start it, and return once it answers with all that was acknowledged."""
        began_s = monotonic()
        command = [sys.executable, "-m", "circuit_guard", "serve", "--policy", str(self.folder / "policy.toml")]
        self.process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment(self.folder), stderr=asyncio.subprocess.PIPE, limit=2**20
        )
        started = asyncio.Event()
        self.log = asyncio.create_task(self._listen(self.process, started))
        async with asyncio.timeout(START_MAX_S):
            await started.wait()
        self._survived(await self.status())
        self.samples, self.started_s = [], monotonic()
        self.starts_s.append(self.started_s - began_s)
        self.model.up_since, self.model.down = self.started_s, False

    async def end(self, number: signal.Signals) -> None:
        """End it, and return once it has ended. A SIGTERM has it end well."""
        assert self.process is not None  # noqa: S101
        self.model.down = True
        self.model.generation += 1
        self.process.send_signal(number)
        code = await self.process.wait()
        await self.log if self.log else None
        if code != (0 if number is signal.SIGTERM else -number):
            self.model.problem(f"it ended with {code} after {number.name}")

    async def status(self) -> status_pb2.GuardStatus:
        """Return what it says of itself."""
        async with aio.insecure_channel(self.address, OPTIONS) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            response = await stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=START_MAX_S, wait_for_ready=True)
        status: status_pb2.GuardStatus = response.status
        return status

    async def watch(self) -> None:
        """Note what the process has, again and again."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            if not self.model.down and self.process is not None:
                process = Path("/proc", str(self.process.pid))
                at_s = monotonic() - self.started_s
                self.samples.append(
                    Sample(at_s, family.rss_mb(self.process.pid), len(list((process / "fd").iterdir())))
                )

    def waited_share(self) -> float:
        """Return for how much of the time that its loop had something to do it waited for a processor."""
        assert self.process is not None  # noqa: S101
        ran, waited, _ = map(int, Path("/proc", str(self.process.pid), "schedstat").read_text().split())
        return waited / max(ran + waited, 1)

    async def lag_p99_s(self) -> float:
        """Return the bucket's bound below which 99 of 100 of its ticks were late."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.load.http}/metrics") as page:
            text = await page.text()
        found = re.findall(r'^circuit_guard_event_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)', text, re.M)
        buckets = [(float(bound), float(number)) for bound, number in found]
        return next(bound for bound, number in buckets if number >= 0.99 * buckets[-1][1])

    def _survived(self, status: status_pb2.GuardStatus) -> None:
        """Hold what it says after a start against what was acknowledged, and take what was unsure from it."""
        halts = {market.market: market.halt.reason for market in status.markets if market.HasField("halt")}
        halts |= {GLOBAL: status.global_halt.reason} if status.HasField("global_halt") else {}
        latched = {market.market for market in status.markets if market.breaker.latched}
        self.compare(halts, latched)
        self.model.halts, self.model.latched = halts, latched
        self.model.unsure.clear()
        self.model.doubted.clear()

    def compare(self, halts: dict[str, str], latched: set[str]) -> None:
        """Note every acknowledged halt and latch that is not there."""
        for scope, reason in self.model.halts.items():
            if scope not in self.model.unsure and halts.get(scope) != reason:
                self.model.problem(f"the halt of {scope} ({reason}) was lost in a restart")
        for market in self.model.latched - self.model.unsure - latched:
            self.model.problem(f"the latch of {market} was lost in a restart")
        for scope in halts.keys() - self.model.halts.keys() - self.model.unsure:
            self.model.problem(f"the halt of {scope} came back after it was lifted")

    async def _listen(self, process: asyncio.subprocess.Process, started: asyncio.Event) -> None:
        """Read its log to the end, so that it never waits for it, and note what is wrong in it."""
        assert process.stderr is not None  # noqa: S101
        async for line in process.stderr:
            if b'"started"' in line:
                self.load.http = json.loads(line)["http"]
                started.set()
            elif b'"error"' in line or b'"critical"' in line or not line.startswith(b"{"):
                self._hear(line.decode(errors="replace"))

    def _hear(self, line: str) -> None:
        said = json.loads(line) if line.startswith("{") else {"level": "critical", "event": line.strip()}
        if said.get("level") in ("error", "critical"):
            self.told[said["event"][:80]] += 1
            if said["event"] not in EXPECTED_ERRORS:
                self.model.problem(f"it logged: {line[:300].strip()}")


def address_in(folder: Path) -> str:
    """Return where a guard in the folder listens."""
    return f"unix:{folder / 'guard.sock'}"


def environment(folder: Path) -> dict[str, str]:
    """Return the environment with the settings of the guard."""
    return {
        **os.environ,
        "CIRCUIT_GUARD_GRPC__LISTEN": address_in(folder),
        "CIRCUIT_GUARD_GRPC__DRAIN_GRACE_S": "2",
        "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
        "CIRCUIT_GUARD_JOURNAL__DIRECTORY": str(folder / "state"),
    }


class LastLife(NamedTuple):
    """How late the event loop was in the last life, and for how much of its work it waited for a processor."""

    lag_p99_s: float
    waited_share: float


async def soak(folder: Path, minutes: float) -> tuple[Guard, LastLife]:
    """Run a guard and everybody who uses it; return it, stopped, and how it was."""
    write_policy(folder / "policy.toml", "5")
    model = Model()
    load = Load(address_in(folder), folder / "policy.toml", model, SEED)
    guard = Guard(folder, model, load)
    await guard.start()
    everybody = [asyncio.create_task(one()) for one in [*load.everybody(), guard.watch]]
    schedule = asyncio.create_task(_restarts(guard, minutes))
    ended, _ = await asyncio.wait([schedule, *everybody], return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        if task is not schedule or task.exception() is not None:
            model.problem(f"a client ended: {task.exception()!r}")
    last = LastLife(await guard.lag_p99_s(), guard.waited_share())
    await load.operating.acquire()  # no command is on its way when it ends
    for task in [schedule, *everybody]:
        task.cancel()
    await asyncio.gather(schedule, *everybody, return_exceptions=True)
    await guard.end(signal.SIGTERM)
    return guard, last


async def _restarts(guard: Guard, minutes: float) -> None:
    """Restart it a few times in the first part, once in the middle by kill -9, then let it live to the end."""
    restarting_s = minutes * 60 * RESTARTING_SHARE
    restarts = max(RESTARTS_MIN, round(restarting_s / LIFE_S))
    for number in range(restarts):
        await asyncio.sleep(restarting_s / restarts)
        if number == restarts // 2:
            await guard.end(signal.SIGKILL)
        else:
            async with guard.load.operating:
                await guard.end(signal.SIGTERM)
        await guard.start()
    await asyncio.sleep(minutes * 60 * (1 - RESTARTING_SHARE))


def left_behind(guard: Guard) -> tuple[VerifyReport, Rerun | None]:
    """Prove the journal, and recover from it once more."""
    with JournalReader(guard.folder / "state") as reader:
        report = reader.verify()
    if not report.ok:
        guard.model.problem(f"the journal: {report.problem}")
    rerun = recover(guard.folder / "state")
    if rerun is None:
        guard.model.problem("the journal holds no state")
        return report, None
    markets = rerun.state.markets
    halts = {name: market.halt.reason for name, market in markets.items() if market.halt is not None}
    halts |= {GLOBAL: rerun.state.global_halt.reason} if rerun.state.global_halt is not None else {}
    guard.compare(halts, {name for name, market in markets.items() if market.breaker.latched})
    return report, rerun


@dataclass
class Growth:
    """What the last life had, after the warm-up."""

    rss_mb: list[float]
    rss_mb_per_min: float
    rss_grown_mb: float
    descriptors: list[int]
    descriptors_grown: float

    @classmethod
    def of(cls, samples: list[Sample]) -> Growth:
        """Return how much more there was at the end than at the beginning."""
        from_s = max(WARM_UP_S, WARM_UP_SHARE * samples[-1].at_s)
        counted = [sample for sample in samples if sample.at_s >= from_s] or samples[len(samples) // 2 :]
        quarter = max(len(counted) // 4, 1)
        rss, descriptors = [sample.rss_mb for sample in counted], [sample.descriptors for sample in counted]
        slope = linear_regression([sample.at_s / 60 for sample in counted], rss).slope if len(counted) > 1 else 0.0
        return cls(
            rss,
            slope,
            median(rss[-quarter:]) - median(rss[:quarter]),
            descriptors,
            median(descriptors[-quarter:]) - median(descriptors[:quarter]),
        )


def parts(samples: list[Sample]) -> list[float]:
    """Return the median of the memory in each part of the time."""
    length = -(-len(samples) // PARTS)
    return [median(it.rss_mb for it in samples[start : start + length]) for start in range(0, len(samples), length)]


def verdict(guard: Guard, last: LastLife, growth: Growth) -> list[str]:
    """Return everything that was not as it has to be."""
    problems = list(guard.model.problems)
    if growth.rss_grown_mb > RSS_GROWTH_MAX_MB:
        problems.append(f"memory grew by {growth.rss_grown_mb:.0f} MB, expected at most {RSS_GROWTH_MAX_MB:.0f}")
    if growth.descriptors_grown > DESCRIPTORS_GROWTH_MAX:
        problems.append(f"file descriptors grew by {growth.descriptors_grown:.0f}")
    if last.waited_share < WAITED_SHARE_MAX:
        if last.lag_p99_s > LAG_P99_MAX_S:
            problems.append(f"the event loop's lag was {last.lag_p99_s} s at p99, expected at most {LAG_P99_MAX_S}")
        if guard.model.done[UNANSWERED]:
            problems.append(f"{guard.model.done[UNANSWERED]} calls {UNANSWERED}")
    if guard.model.done[NOT_REFUSED]:
        problems.append(f"{guard.model.done[NOT_REFUSED]} {NOT_REFUSED}")
    return problems


def report(guard: Guard, minutes: float, last: LastLife) -> bool:
    """Print the table, and return whether everything was as it has to be."""
    proof, rerun = left_behind(guard)
    growth, done = Growth.of(guard.samples), guard.model.done
    calls = {name: number for name, number in done.items() if name not in ("ALLOW", "DENY") and "fault" not in name}
    life_s = guard.samples[-1].at_s if guard.samples else 0.0
    rows = {
        "ran for": f"{minutes:g} min, {len(guard.starts_s)} starts (longest {max(guard.starts_s):.1f} s), "
        f"last life {life_s / 60:.1f} min",
        "answered": ", ".join(f"{name} {number:,}" for name, number in sorted(calls.items())),
        "decisions": f"ALLOW {done['ALLOW']:,}, DENY {done['DENY']:,}",
        "faults laid in": ", ".join(f"{name[8:]} {done[name]}" for name in sorted(done) if name.startswith("faults")),
        "refused": ", ".join(f"{name} {number:,}" for name, number in guard.model.refused.most_common()) or "nothing",
        "errors logged": ", ".join(f"{name} {number}" for name, number in guard.told.most_common()) or "none",
        "memory": f"{growth.rss_mb[0]:.0f} MB after the warm-up, {growth.rss_mb[-1]:.0f} MB at the end, "
        f"{growth.rss_grown_mb:+.1f} MB by quarters, slope {growth.rss_mb_per_min:+.2f} MB/min",
        "memory, last life": f"{' '.join(f'{part:.0f}' for part in parts(guard.samples))} MB, each an eighth of it",
        "file descriptors": f"{min(growth.descriptors)} to {max(growth.descriptors)}, "
        f"{growth.descriptors_grown:+.0f} by quarters",
        "event loop lag p99": f"at most {last.lag_p99_s * 1e3:g} ms",
        "waited for a CPU": f"{last.waited_share:.0%} of the time that the loop had something to do"
        + (": the machine was busy, being late counts for nothing" if last.waited_share >= WAITED_SHARE_MAX else ""),
        "journal": f"{'proved' if proof.ok else 'BROKEN'}, {proof.records:,} records, {proof.checkpoints} checkpoints, "
        f"{rerun.inputs if rerun else 0:,} inputs to run again",
        "held at the end": f"{len(guard.model.halts)} halts, {len(guard.model.latched)} latches, all there",
    }
    problems = verdict(guard, last, growth)
    if any("lost" in problem for problem in problems):
        rows["held at the end"] = "SOME WERE LOST"
    rows["problems"] = f"{len(problems)}" if problems else "none"
    for name, value in rows.items():
        print(f"{name:<20} {value}")
    for problem in problems[:PROBLEMS_SHOWN]:
        print(f"  {problem}")
    return not problems


def main() -> int:
    """Soak, print, and return the exit code."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with TemporaryDirectory() as name:
        guard, last = asyncio.run(soak(Path(name), minutes))
        return 0 if report(guard, minutes, last) else 1


if __name__ == "__main__":
    sys.exit(main())
