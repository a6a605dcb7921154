"""Memory and disk are bounded by bytes: whatever callers send, and whatever a journal holds."""

from __future__ import annotations

import asyncio
import lzma
import re
import resource
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from grpc import aio

from circuit_guard.config.security import LimitSettings, Role
from circuit_guard.core.inputs import Account, Basis, Check, Position
from circuit_guard.journal import block
from circuit_guard.journal.checkpoint import unpack_text
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import MIB, JournalOptions
from circuit_guard.journal.packing import BLOCK_BYTES_MAX, build_block
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Chain, input_entry
from circuit_guard.journal.writer import BATCH_BYTES_MAX, EntryQueue
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.rate_limits import DAY_S, Rates
from circuit_guard.v1 import liquidation_pb2
from tests.attacks.memory_limits import limited, shipped_bytes
from tests.attacks.process import AttackedGuard, attacked
from tests.crash.client import INDEX, PRICE, Client
from tests.crash.conditions import BTC
from tests.driver import START_NS

LONGEST = "\N{CJK UNIFIED IDEOGRAPH-20000}" * 120
"""With eight digits a name of 128 characters: 488 bytes in a request, 1,448 in a record."""
DIGITS = "123456789" * 4
DEFAULTS = {"journal": {"checkpoint_interval_s": "60"}, "engine": {"tick_interval_ms": "1000"}}
"""Where the settings of attacked guards are not the documented defaults."""
NAME = "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 120
"""As long in a record as a name gets: six characters for each of its own."""


def long_check(number: int, positions: int) -> Check:
    held = tuple(
        Position(f"{NAME}{place}", Decimal(1), Decimal(PRICE), Decimal(INDEX), Decimal("0.01"))
        for place in range(positions)
    )
    account = Account(Decimal(1), held)
    return Check(START_NS + number, f"{number}", "account", BTC, Decimal(-1), basis=Basis(), account=account)


# What callers send


def test_queue_when_long_records_wait_for_the_disk_then_it_is_full_by_bytes() -> None:
    queue = EntryQueue(JournalOptions(queue_bytes_max=10 * MIB), 0)
    taken = 0
    while queue.has_room:
        queue.append([input_entry(long_check(taken, 1000))])
        taken += 1
    assert 10 <= taken <= 20
    batch = queue.take()
    assert batch is not None
    assert len(batch) <= BATCH_BYTES_MAX // 700_000 + 1, "they are text at the same time"


@pytest.mark.parametrize(
    ("setting", "most", "role", "again_s"),
    [
        ("bytes_per_s", 65_536, Role.LIQUIDATOR, 1),
        ("bytes_per_s", 65_536, Role.PUBLISHER, 1),
        ("journal_bytes_per_day", 1_000_000, Role.LIQUIDATOR, DAY_S),
    ],
)
def test_identity_when_its_bytes_are_used_up_then_the_refusal_names_the_limit_and_when_to_ask_again(
    setting: str, most: int, role: Role, again_s: float
) -> None:
    now_s = [0.0]
    rates = Rates(LimitSettings(**{setting: most}), lambda: now_s[0])
    rates.charge("engine-1", role, 1, 2 * most)
    with pytest.raises(RefusalError, match=f"engine-1 sent more than {most} bytes .*limits.{setting}") as refused:
        rates.charge("engine-1", role, 1, 1)
    assert refused.value.retry_after_s == pytest.approx(again_s)
    rates.charge("engine-2", role, 1, 1)
    rates.charge("engine-1", Role.OPERATOR, 1, 10**9)
    now_s[0] += again_s + 1
    rates.charge("engine-1", role, 1, 1)


def test_identity_when_its_day_is_used_up_while_the_journal_has_room_then_it_is_not_refused() -> None:
    """A night of asking again about a halted market must not hold the closures of the morning."""
    full = [False]
    rates = Rates(LimitSettings(journal_bytes_per_day=1_000_000), lambda: 0.0, lambda: full[0])
    for _ in range(20):
        rates.charge("engine-1", Role.LIQUIDATOR, 1, 500_000)
    full[0] = True
    with pytest.raises(RefusalError, match=r"limits\.journal_bytes_per_day"):
        rates.charge("engine-1", Role.LIQUIDATOR, 1, 1)


# What a journal holds


@pytest.mark.system
def test_block_when_the_rows_are_long_then_it_is_short(tmp_path: Path) -> None:
    with Journal(tmp_path, START_NS, JournalOptions(rows_bytes_max=10**12)) as journal:
        for number in range(60):
            journal.append([input_entry(long_check(number, 600))])
    made = build_block(tmp_path / JOURNAL_NAME, Chain.RECORDER, 8192)
    assert 1 < made.head.records < 60
    assert sum(len(record.payload) for record in block.unpack(made.body)) < BLOCK_BYTES_MAX + MIB


def inflating() -> bytes:
    """Return a few kilobytes that inflate to a gigabyte."""
    packer = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=block._COMPRESSION)
    return b"".join([*(packer.compress(bytes(16 * MIB)) for _ in range(64)), packer.flush()])


def crafted(**header: object) -> bytes:
    plain = {"version": 2, "count": 1, "texts": 0, "head": [[0, 1], [0, 1], [0, 0]], "tables": [], "columns": []}
    return block._compressed(plain | header, block.Planes(), "")


def many_records() -> bytes:
    return crafted(count=10**12)


def long_tables() -> bytes:
    """Return a block with a table whose one text of a megabyte stands for each of a thousand records."""
    return crafted(count=1000, tables=[["INPUT", "", ["x" * MIB]]], columns=[[]])


def wide_numbers() -> bytes:
    return crafted(head=[[2, 1, 10**12, 1], [0, 1], [0, 0]], count=3)


def many_places() -> bytes:
    return crafted(tables=[["INPUT", "", ["", ""]]], columns=[[[10**9, [0, 1]]]])


@pytest.mark.parametrize(
    "made", [pytest.param(inflating, marks=pytest.mark.system), many_records, long_tables, wide_numbers, many_places]
)
def test_journal_when_a_block_is_made_to_fill_the_memory_then_verify_names_it(
    tmp_path: Path, made: Callable[[], bytes]
) -> None:
    with Journal(tmp_path, START_NS, JournalOptions()) as journal:
        journal.append([input_entry(long_check(number, 1)) for number in range(3)])
    built = build_block(tmp_path / JOURNAL_NAME, Chain.RECORDER, 8192)
    head, body = built.head, made()
    row = (head.chain.value, head.last_sequence, head.first_sequence, head.last_at_ns, head.records)
    with closing(sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)) as connection:
        values = (*row, head.previous_hash, head.last_hash, sha256(body).digest(), body)
        connection.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with JournalReader(tmp_path) as reader:
        report = reader.verify()
    assert not report.ok
    assert "cannot be read: it has more" in (report.problem or "")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024, "kilobytes"


@pytest.mark.system
def test_journal_when_a_checkpoint_inflates_without_end_then_verify_names_it(tmp_path: Path) -> None:
    packer = zlib.compressobj()
    body = b"".join([*(packer.compress(bytes(16 * MIB)) for _ in range(64)), packer.flush()])
    with pytest.raises(ValueError, match="inflates to more than"):
        unpack_text(body, "")


# A real guard


def question(number: int, positions: int) -> liquidation_pb2.LiquidationCheck:
    who = f"{LONGEST}{number:08}"
    check = liquidation_pb2.LiquidationCheck(
        request_id=who,
        account_id=who,
        market=BTC,
        size="-1",
        basis=liquidation_pb2.Basis(mark_price=PRICE, funding_index=INDEX),
        account=liquidation_pb2.Account(collateral="1"),
    )
    for place in range(positions):
        check.account.positions.add(
            market=f"{LONGEST}{place:08}",
            size=f"1.{DIGITS}",
            entry_price=f"9.{DIGITS}",
            cached_funding_index=f"2.{DIGITS}",
            maintenance_margin_fraction=f"0.{DIGITS}",
        )
    return check


@pytest.mark.system
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("checks", "positions"), [(3_000, 100), (100, 1_000), pytest.param(10_000, 100, marks=pytest.mark.slow)]
)
async def test_guard_when_asked_about_long_accounts_then_it_and_its_next_start_stay_below_half_the_shipped_limit(
    tmp_path: Path, checks: int, positions: int
) -> None:
    """With the default settings, under the shipped limit: whoever exceeds it is killed."""
    per_request, most = 4_000_000 // question(0, positions).ByteSize(), shipped_bytes()
    with limited(most) as prefix:
        async with attacked(tmp_path, prefix, **DEFAULTS) as (guard, client):
            for first in range(0, checks, per_request):
                await ask(client, range(first, min(first + per_request, checks)), positions)
            assert 0 < peak_bytes(guard) < most // 2
            assert (await client.status()).markets
        async with attacked(tmp_path, prefix, **DEFAULTS) as (guard, client):  # after `kill -9`
            assert 0 < peak_bytes(guard) < most // 2
            assert (await client.status()).not_ready_reasons == []
            run_again = [int(count) for count in re.findall(r'"inputs_run_again": (\d+)', guard.log)]
            assert run_again == [0, pytest.approx(1_250, abs=1_250)], "a checkpoint came before a minute had passed"


async def ask(client: Client, numbers: range, positions: int) -> None:
    request = liquidation_pb2.CheckLiquidationsRequest(checks=[question(number, positions) for number in numbers])
    while True:
        try:
            response = await client.liquidation.CheckLiquidations(request, timeout=60)
            break
        except aio.AioRpcError as error:  # a slow disk: nothing is answered until it has written
            if "has not written a record for" not in (error.details() or ""):
                raise
            await asyncio.sleep(0.5)
    assert all(result.HasField("decision") for result in response.results)


def peak_bytes(guard: AttackedGuard) -> int:
    """Return the most memory that the guard and what it has started have had."""
    return _peak_bytes(guard.process.pid) + sum(map(_peak_bytes, guard.children()))


def _peak_bytes(process: int) -> int:
    """Return the most memory that a process has had; nothing where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
