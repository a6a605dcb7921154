"""What can be wrong at a start or while running: each ends in a stated, denying condition, and there is a way out."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from itertools import count
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard.app import App, build
from circuit_guard.core.inputs import Basis, Check, HaltCommand, Observation, Reference
from circuit_guard.core.types import SECOND_NS, BreakerState, Phase, Verdict
from circuit_guard.engine import Engine
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import policy_entry
from circuit_guard.journal.schema import SCHEMA_VERSION
from circuit_guard.policy_file import parse_policy
from circuit_guard.settings import load_settings
from circuit_guard.v1 import types_pb2
from tests.crash.client import Client, observation, shown
from tests.crash.guard_process import MARKETS, GuardProcess, policy_text, write_settings
from tests.driver import START_NS, ManualClock

BTC, ETH, _ = MARKETS
PRICE, INDEX = Decimal(92_600), Decimal(20_511)
RESTORE = "keep the file for the inquiry, then start with a backup of it or with an empty state directory"
DAY_S = 86_400
REQUESTS = count()
STALE = ("data_stale", "reference_missing", "band_center_missing")


class Guard:
    """A guard inside this process, under a clock that is moved by hand, and short ways to feed it."""

    def __init__(self, app: App, clock: ManualClock) -> None:
        self.engine: Engine = app.engine
        self.address = app.grpc_address
        self.clock = clock

    def publish(self, market: str = BTC, index: Decimal = INDEX, seconds: int = 1) -> None:
        """Let a second's data arrive, for so many seconds."""
        for _ in range(seconds):
            self.clock.advance(1)
            now_ns = self.engine.now_ns()
            for venue in ("binance", "bybit", "okx"):
                self.engine.step(Reference(now_ns, market, venue, now_ns, PRICE))
            values = {"mark_price": PRICE, "index_price": PRICE, "funding_index": index}
            self.engine.step(Observation(now_ns, market, "exchange", 1, now_ns // SECOND_NS, now_ns, **values))

    def asked(self, market: str = BTC) -> tuple[Verdict, set[str]]:
        """Return the verdict on a closure computed with the honest values, and the reasons."""
        now_ns = self.engine.now_ns()
        check = Check(now_ns, f"request-{next(REQUESTS)}", "account", market, Decimal(-1), basis=Basis(PRICE, INDEX))
        decision = self.engine.decide(check)[-1].decision  # type: ignore[union-attr]
        return decision.verdict, {finding.reason for finding in decision.findings}

    async def halt(self, reason: str, market: str = BTC) -> None:
        """Halt a market, and return once that is durable."""
        await self.engine.settled(self.engine.step(HaltCommand(self.engine.now_ns(), (market,), "alice", reason)))

    def halted(self, market: str = BTC) -> str:
        """Return why a market is halted."""
        halt = self.engine.state.markets[market].halt
        return "" if halt is None else halt.reason


@asynccontextmanager
async def running(folder: Path, clock: ManualClock) -> AsyncIterator[Guard]:
    """Run a guard on the folder's state directory."""
    settings = load_settings(write_settings(folder), {})
    async with build(settings, clock).running() as app:
        yield Guard(app, clock)


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="left")
async def _left(tmp_path: Path, clock: ManualClock) -> Path:
    """Return a folder in which a guard ran, had all markets warm and BTC halted, and ended well."""
    async with running(tmp_path, clock) as guard:
        for market in MARKETS:
            guard.publish(market, seconds=3)
        assert guard.asked(ETH) == (Verdict.ALLOW, set())
        await guard.halt("drill-7")
    return tmp_path


async def assert_refusing(address: str, reason: str) -> None:
    """Hold that a guard is up, answers nothing, and says why."""
    async with aio.insecure_channel(address) as channel:
        client = Client(channel)
        status = await client.status()
        assert (status.ready, list(status.not_ready_reasons)) == (False, [reason])
        calls = [
            client.check(BTC, "request-1"),
            client.halt(BTC, "why not"),
            client.observe(observation(BTC, 1)),
            client.refer(MARKETS),
        ]
        for call in calls:
            with pytest.raises(aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert info_of(refused.value).reason == "ENGINE_FAILED"
        healths = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        while (await healths.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            continue
        healths.cancel()


def info_of(error: aio.AioRpcError) -> ErrorInfo:
    status, info = Status(), ErrorInfo()
    status.ParseFromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    status.details[0].Unpack(info)
    return info


async def refused_start(folder: Path, clock: ManualClock, reason: str) -> None:
    """Hold that a guard on this folder comes up, and refuses for this reason, again and again."""
    for _ in range(2):
        async with running(folder, clock) as guard:
            await assert_refusing(guard.address, reason)


# The file


def flip_in_halt(state: Path) -> str:
    """Flip a bit of the recorded halt."""
    content = (state / JOURNAL_NAME).read_bytes()
    place = content.index(b"drill-7")
    (state / JOURNAL_NAME).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with JournalReader(state) as reader:
        report = reader.verify()
    assert report.bad_sequence is not None
    return report.problem


def replace_by_text(state: Path) -> str:
    (state / JOURNAL_NAME).write_text("no database, but long enough for the header of one: " * 9)
    return f"{state / JOURNAL_NAME}: it is damaged or no journal (SQLite says: file is not a database); {RESTORE}"


def make_newer(state: Path) -> str:
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    problem = f"its schema is version {SCHEMA_VERSION + 1}, and this program knows {SCHEMA_VERSION}"
    return f"{state / JOURNAL_NAME}: {problem}; use the version of circuit-guard that wrote it, or a newer one"


@pytest.mark.parametrize("damage", [flip_in_halt, replace_by_text, make_newer])
async def test_start_when_the_file_cannot_be_used_then_it_is_up_refuses_and_goes_on_once_it_is_mended(
    left: Path, clock: ManualClock, damage: Callable[[Path], str]
) -> None:
    whole = (left / "state" / JOURNAL_NAME).read_bytes()
    told = damage(left / "state")

    await refused_start(left, clock, f"the journal cannot be used: {told}")

    (left / "state" / JOURNAL_NAME).write_bytes(whole)
    async with running(left, clock) as guard:
        assert guard.halted() == "drill-7"
        assert guard.asked(ETH)[0] is Verdict.DENY


@pytest.mark.parametrize("cut_share", [0.9, 0.5, 0.1])
async def test_start_when_the_log_of_the_database_is_cut_then_it_goes_on_from_the_last_whole_commit(
    left: Path, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory, cut_share: float
) -> None:
    crashed = tmp_path_factory.mktemp("crashed")
    reasons = [f"drill-{number}" for number in range(8, 28)]
    async with running(left, clock) as guard:
        for reason in reasons:
            await guard.halt(reason)
        shutil.copytree(left / "state", crashed / "state")
    wal = crashed / "state" / f"{JOURNAL_NAME}-wal"
    wal.write_bytes(wal.read_bytes()[: int(wal.stat().st_size * cut_share)])
    (crashed / "state" / f"{JOURNAL_NAME}-shm").unlink()

    async with running(crashed, clock) as guard:
        assert guard.halted() in ["drill-7", *reasons[:-1]]
        assert guard.asked(ETH)[0] is Verdict.DENY
        with JournalReader(crashed / "state") as reader:
            assert reader.verify().ok


# The clock


async def test_start_when_the_clock_is_an_hour_behind_the_journal_then_it_refuses_until_it_is_right(
    left: Path, clock: ManualClock
) -> None:
    clock.advance(-3600)
    reason = (
        "the clock is 3600.0 s behind the last record of the journal, expected at most 5 s: "
        "set it right and restart the guard"
    )

    await refused_start(left, clock, reason)

    clock.advance(3600)
    async with running(left, clock) as guard:
        assert guard.halted() == "drill-7"


async def test_start_when_the_clock_is_far_ahead_then_everything_is_denied_until_fresh_data_by_that_clock(
    left: Path, clock: ManualClock
) -> None:
    true_ns = clock.wall
    clock.advance(2 * DAY_S)
    async with running(left, clock) as guard:
        assert guard.halted() == "drill-7"
        assert guard.engine.state.markets[ETH].phase.effective() is Phase.RECOVERING
        assert guard.asked(ETH) == (Verdict.DENY, {"warming", *STALE})
        for number in range(1, 5):
            now_ns, event_ns = guard.engine.now_ns(), true_ns + number * SECOND_NS
            for venue in ("binance", "bybit", "okx"):
                guard.engine.step(Reference(now_ns, ETH, venue, event_ns, PRICE))
            guard.engine.step(
                Observation(now_ns, ETH, "exchange", 1, event_ns // SECOND_NS, event_ns, PRICE, PRICE, INDEX)
            )
            clock.advance(1)
            assert guard.asked(ETH)[0] is Verdict.DENY, "what is right by the true clock is two days old by this one"
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH)[0] is Verdict.ALLOW


# The disk


async def halts_until_refused(client: Client) -> tuple[list[str], aio.AioRpcError]:
    """Publish and halt until the guard refuses; return the reasons of the halts asked for, and the error."""
    asked: list[str] = []
    while True:
        asked.append(f"drill-{len(asked)}")
        try:
            await client.refer(MARKETS)
            await client.observe(*(observation(market, len(asked)) for market in MARKETS))
            await client.halt(BTC, asked[-1])
        except aio.AioRpcError as error:
            return asked, error


async def test_disk_when_full_while_running_then_nothing_is_answered_and_a_restart_has_all_that_was(
    tmp_path: Path,
) -> None:
    process = GuardProcess(tmp_path)
    try:
        async with aio.insecure_channel(process.address) as channel:
            client = Client(channel)
            await client.status()
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
            asked, error = await halts_until_refused(client)
        assert info_of(error).reason == "ENGINE_FAILED"
        assert len(asked) > 2
        path = tmp_path / "state" / JOURNAL_NAME
        reason = (
            f"the engine stopped on JournalFailed: {path}: it cannot be read or written (SQLite says: disk I/O error); "
            "mend the disk or its permissions; restart the guard"
        )
        await assert_refusing(process.address, reason)
    finally:
        told = process.remains()
    assert reason in told

    mended = GuardProcess(tmp_path)
    try:
        async with aio.insecure_channel(mended.address) as channel:
            client = Client(channel)
            halted = shown(await client.status())["halt", BTC]
            assert halted in asked[-2:], "the last one was not acknowledged, and may be there"
            decision = await client.check(ETH, "request-1")
            assert decision.verdict == types_pb2.VERDICT_DENY
    finally:
        mended.remains()
    assert mended.verify().ok


# The directory


async def test_second_process_when_the_directory_is_held_then_it_ends_and_names_the_holder(tmp_path: Path) -> None:
    first, other = GuardProcess(tmp_path), tmp_path / "other"
    other.mkdir()
    try:
        async with aio.insecure_channel(first.address) as channel:
            await Client(channel).status()
            (other / "state").symlink_to(tmp_path / "state")
            code, told = await asyncio.to_thread(GuardProcess(other).ended)
            assert code == 1
            held = f"circuit-guard: {other / 'state'}: another guard uses this state directory: "
            assert held + f'{{"pid": {first.pid}, "host": "' in told
            assert told.endswith("stop that process, or give each guard its own directory\n")
            assert "Traceback" not in told
            assert (await Client(channel).status()).ready, "the holder goes on"
    finally:
        first.remains()


# The exchange, while the guard is down


@pytest.mark.parametrize("down_s", [2, 600, 36_000])
async def test_funding_index_when_reset_while_the_guard_is_down_then_the_first_observation_latches(
    left: Path, clock: ManualClock, down_s: int
) -> None:
    clock.advance(down_s)
    async with running(left, clock) as guard:
        guard.publish(ETH, index=Decimal(0))
        breaker = guard.engine.state.markets[ETH].breaker
        assert (breaker.state, breaker.latched) == (BreakerState.OPEN, True)
        assert {finding.reason for finding in breaker.findings} == {"funding_jump"}
        guard.publish(ETH, seconds=60)
        assert guard.asked(ETH) == (Verdict.DENY, {"breaker_open"})


# The policy, while the guard is down


async def test_market_when_latched_removed_from_the_policy_and_back_then_it_is_latched_over_every_restart(
    left: Path, clock: ManualClock
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        guard.publish(ETH, index=Decimal(0))
        assert guard.engine.state.markets[ETH].breaker.latched
    policy = left / "policy.toml"
    policy.write_text(policy_text().replace(f"[markets.{ETH}]\n", "").replace("min = 3", "min = 2"))
    async with running(left, clock) as guard:
        assert ETH not in guard.engine.policy.markets
    policy.write_text(policy_text())
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH) == (Verdict.DENY, {"breaker_open"})


async def test_start_when_the_crash_came_between_a_policy_and_its_command_then_its_new_market_is_known(
    left: Path, clock: ManualClock
) -> None:
    text = policy_text() + "[markets.SUI-USD-PERP]\n"
    (left / "policy.toml").write_text(text)
    with Journal(left / "state", START_NS, JournalOptions()) as journal:
        journal.append([policy_entry(parse_policy(text, "policy.toml"), clock.wall)])

    async with running(left, clock) as guard:
        assert guard.engine.ready() == []
        guard.publish("SUI-USD-PERP", seconds=3)
        assert guard.asked("SUI-USD-PERP")[0] is Verdict.ALLOW
        assert guard.halted() == "drill-7"
