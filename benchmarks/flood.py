"""A guard flooded with checks at a multiple of what it can decide: `python -m benchmarks.flood [seconds] [multiple]`.

Market data goes on at its rate, an operator halts in the middle, and the table says how late each of them was. Exits
with 1 where market data lagged, or a halt took, 1 s or more, or where memory grew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from urllib.request import urlopen

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from benchmarks import family
from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    liquidation_pb2,
    liquidation_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    types_pb2,
)

ROOT = Path(__file__).parent.parent
MARKETS = [f"MARKET-{number:02d}" for number in range(20)]
SOURCES = ("binance", "okx", "bybit")
PRICE, INDEX = "92610.0", "20511.9"
PUBLISH_EVERY_S = 0.25
ASK_EVERY_S = 0.02
LIMIT_S = 1.0
RSS_GROWTH_MAX_MB = 64
"""Room for the request_ids that are remembered, and the journal's blocks, before nothing grows any more."""


@dataclass
class Guard:
    """A guard in a process of its own."""

    pid: int
    grpc: str
    http: str

    def rss_mb(self) -> float:
        """Return how much memory it has, with the process that makes blocks."""
        return family.rss_mb(self.pid)

    def refused(self) -> dict[str, int]:
        """Return what it has refused, by reason."""
        with urlopen(f"http://{self.http}/metrics") as page:  # its own address
            text = page.read().decode()
        found = re.findall(r'^circuit_guard_rpcs_refused_total\{reason="(\w+)"\} ([0-9.e+]+)', text, re.MULTILINE)
        return {reason: int(float(value)) for reason, value in found if float(value)}


@dataclass
class Seen:
    """What was measured while it was flooded."""

    lags_s: list[float] = field(default_factory=list)
    publish_errors: Counter[str] = field(default_factory=Counter)
    halt_s: float = 0.0
    allowed_after_halt: int = 0
    rss_mb: list[float] = field(default_factory=list)
    flood: Counter[str] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def guarding(folder: Path) -> AsyncIterator[Guard]:
    """Run a guard with a journal, and its log in a file, for as long as the context lasts."""
    markets = "\n".join(f"[markets.{market}]" for market in MARKETS)
    (folder / "policy.toml").write_text(f"[classes.default]\n{markets}\n")
    environ = {
        **os.environ,
        "CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0",
        "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
        "CIRCUIT_GUARD_JOURNAL__DIRECTORY": str(folder / "state"),
    }
    command = [sys.executable, "-m", "circuit_guard", "serve", "--policy", str(folder / "policy.toml")]
    log = folder / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ, stderr=stderr)
    while not (found := [line for line in log.read_text().splitlines() if '"started"' in line]):
        if process.returncode is not None:
            raise SystemExit(log.read_text())
        await asyncio.sleep(0.05)
    started = json.loads(found[0])
    try:
        yield Guard(process.pid, started["grpc"], started["http"])
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def flooding(guard: Guard, *options: str) -> Counter[str]:
    """Run a flooder, and return what became of its checks."""
    command = [sys.executable, "-m", "benchmarks.flood_client", guard.grpc, *options, "--markets", *MARKETS]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return Counter(json.loads(printed))


SEQUENCE = count(1)


async def publish(channel: aio.Channel, until: float, seen: Seen) -> None:
    """Publish every market at its rate, and note how late each answer was, from when it was due."""
    stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
    due = perf_counter()
    while due < until:
        now = Timestamp()
        now.GetCurrentTime()
        try:
            await stub.PublishReferences(references(now), timeout=5)
            await stub.PublishObservations(observations(now, next(SEQUENCE)), timeout=5)
        except aio.AioRpcError as error:
            seen.publish_errors[error.code().name] += 1
        seen.lags_s.append(perf_counter() - due)
        due = max(due + PUBLISH_EVERY_S, perf_counter())
        await asyncio.sleep(max(due - perf_counter(), 0))


def references(now: Timestamp) -> market_data_pb2.PublishReferencesRequest:
    """Return three references a market."""
    items = [
        market_data_pb2.Reference(market=market, source=source, event_time=now, price=PRICE)
        for market in MARKETS
        for source in SOURCES
    ]
    return market_data_pb2.PublishReferencesRequest(references=items)


def observations(now: Timestamp, sequence: int) -> market_data_pb2.PublishObservationsRequest:
    """Return one observation a market."""
    values = {"mark_price": PRICE, "index_price": PRICE, "funding_index": INDEX}
    items = [
        market_data_pb2.Observation(
            market=market, source="exchange", epoch=1, feed_sequence=sequence, event_time=now, **values
        )
        for market in MARKETS
    ]
    return market_data_pb2.PublishObservationsRequest(observations=items)


async def halt(channel: aio.Channel, after_s: float, until: float, seen: Seen) -> None:
    """Halt everything after a while; note how long the answer took, and what was allowed after it."""
    await asyncio.sleep(after_s)
    stub = admin_pb2_grpc.AdminServiceStub(channel)
    started = perf_counter()
    await stub.Halt(admin_pb2.HaltRequest(scopes=["GLOBAL"], actor="alice", reason="flooded"), timeout=10)
    seen.halt_s = perf_counter() - started
    liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
    number = 0
    while perf_counter() < until:
        number += 1
        check = liquidation_pb2.LiquidationCheck(
            request_id=f"probe-{number}", account_id="a", market=MARKETS[0], size="1"
        )
        with contextlib.suppress(aio.AioRpcError):
            request = liquidation_pb2.CheckLiquidationRequest(check=check)
            decision = (await liquidations.CheckLiquidation(request, timeout=1)).decision
            seen.allowed_after_halt += decision.verdict == types_pb2.VERDICT_ALLOW
        await asyncio.sleep(ASK_EVERY_S)


async def remember(guard: Guard, until: float, seen: Seen) -> None:
    """Note how much memory the guard has, again and again."""
    while perf_counter() < until:
        seen.rss_mb.append(guard.rss_mb())
        await asyncio.sleep(0.5)


@dataclass
class Capacity:
    """What a guard decides in a second when it is asked no more than that, and how late market data is then."""

    batched: float
    single: float
    lags_s: list[float]


async def capacity(guard: Guard, channel: aio.Channel, seconds: float) -> Capacity:
    """Have a few callers ask one request after another, batches first, then single checks."""
    seen, found = Seen(), list[float]()
    for batch in ("50", "1"):
        asked = ("--callers", "4", "--connections", "4", "--seconds", str(seconds), "--batch", batch)
        answered, _ = await asyncio.gather(flooding(guard, *asked), publish(channel, perf_counter() + seconds, seen))
        found.append(answered["OK"] / answered["seconds"])
    batched, single = found
    return Capacity(batched, single, seen.lags_s)


async def measure(seconds: float, multiple: float) -> tuple[Capacity, Seen, dict[str, int]]:
    """Return what a guard can do, what was seen when it was asked for more, and what it refused.

    Half of the flood are batches of 50, half single checks, each by what the guard can do of them.
    """
    with TemporaryDirectory() as name:
        async with guarding(Path(name)) as guard, aio.insecure_channel(guard.grpc) as channel:
            await publish(channel, perf_counter() + 2, Seen())
            able = await capacity(guard, channel, min(5.0, seconds / 2))
            seen = Seen()
            until = perf_counter() + seconds
            batched, single = able.batched * multiple / 2, able.single * multiple / 2
            *_, first, second = await asyncio.gather(
                publish(channel, until, seen),
                halt(channel, seconds / 2, until, seen),
                remember(guard, until, seen),
                flooding(guard, "--per-s", str(batched), "--seconds", str(seconds)),
                flooding(guard, "--per-s", str(single), "--seconds", str(seconds), "--batch", "1"),
            )
            seen.flood = first + second
            del seen.flood["seconds"]
            return able, seen, guard.refused()


def late(lags_s: list[float]) -> str:
    """Return how late answers were as one cell."""
    ordered = sorted(lags_s)
    shares = ", ".join(f"p{share} {ordered[len(ordered) * share // 100] * 1e3:.0f} ms" for share in (50, 99))
    return f"{shares}, max {ordered[-1] * 1e3:.0f} ms ({len(ordered)} times)"


def report(able: Capacity, multiple: float, seen: Seen, refused: dict[str, int]) -> bool:
    """Print the table, and return whether everything was as it has to be."""
    quarter = len(seen.rss_mb) // 4
    before, after = max(seen.rss_mb[: quarter + 1]), max(seen.rss_mb[-quarter - 1 :])
    half = multiple / 2
    rows = {
        "decided without a flood": f"{able.batched:,.0f} checks a second in batches of 50, {able.single:,.0f} single",
        "asked for": f"{able.batched * half:,.0f} in batches and {able.single * half:,.0f} single: {multiple:g} times",
        "what became of them": ", ".join(f"{name} {count:,}" for name, count in seen.flood.most_common()),
        "requests refused": ", ".join(f"{reason} {count:,}" for reason, count in refused.items()) or "none",
        "market data, before": late(able.lags_s),
        "market data, flooded": f"{late(seen.lags_s)}; errors: {dict(seen.publish_errors) or 'none'}",
        "a halt in the middle": f"{seen.halt_s * 1e3:.0f} ms; allowed after it: {seen.allowed_after_halt}",
        "memory": f"{before:.0f} MB in the first quarter, {after:.0f} MB in the last",
    }
    for name, value in rows.items():
        print(f"{name:<24} {value}")
    late_s, slow_s = max(seen.lags_s), LIMIT_S
    good = late_s < slow_s and not seen.publish_errors and seen.halt_s < slow_s and not seen.allowed_after_halt
    return good and after - before < RSS_GROWTH_MAX_MB


if __name__ == "__main__":
    given_s = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    times = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    able_then, seen_then, refused_then = asyncio.run(measure(given_s, times))
    sys.exit(0 if report(able_then, times, seen_then, refused_then) else 1)
