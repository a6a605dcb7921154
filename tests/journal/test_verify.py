"""The proof: whatever somebody does to the file, `verify` names the first record that is not as it was written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from circuit_guard.journal.block import pack, unpack
from circuit_guard.journal.reader import JournalReader, VerifyReport
from circuit_guard.journal.record import GENESIS, Chain, Kind, chain_of, hash_after
from tests.core import world
from tests.journal.builders import keep, mixed, observation, state, tamper
from tests.journal.conftest import Opened
from tests.journal.test_journal import settled

COUNT = len(mixed(200))
LAST_INPUT = max(n for n, entry in enumerate(mixed(200), start=1) if entry.kind is Kind.INPUT)


@pytest.fixture(name="plain")
async def _plain(opened: Opened) -> Path:
    """Return a closed journal of plain rows, with a checkpoint."""
    with opened() as journal:
        await keep(journal, mixed(200))
        await journal.checkpoint(state(30), world.policy(), "named")
        await journal.checkpoint(state(31), world.policy())
    return opened.directory


@pytest.fixture(name="compact")
async def _compact(opened: Opened) -> Path:
    """Return a closed journal of mostly blocks."""
    with opened(block_records=50) as journal:
        await keep(journal, mixed(200))
        await settled(journal, opened.directory, blocks=4)
    return opened.directory


def verified(directory: Path) -> VerifyReport:
    with JournalReader(directory) as reader:
        return reader.verify()


def test_journal_when_untouched_then_all_of_it_is_proved(plain: Path) -> None:
    report = verified(plain)
    assert (report.ok, report.problem, report.bad_sequence) == (True, "", None)
    assert (report.records, report.checkpoints, report.first_sequence) == (COUNT + 2, 2, 1)
    assert report.last_sequence == COUNT + 2
    assert sorted(report.heads) == ["audit", "recorder"]
    assert all(len(head) == 64 for head in report.heads.values())


SWAP = (
    "UPDATE record SET payload = (SELECT payload FROM record AS other WHERE other.sequence = {1}) WHERE sequence = {0}"
)
RENUMBER = "UPDATE record SET sequence = {1} WHERE sequence = {0}"


@pytest.mark.parametrize(
    ("statements", "bad"),
    [
        (["UPDATE record SET payload = replace(payload, '92', '93') WHERE sequence = 50"], 50),
        (["UPDATE record SET at_ns = at_ns + 1 WHERE sequence = 50"], 50),
        (["UPDATE record SET scope = 'ETH-USD-PERP' WHERE sequence = 50"], 50),
        (["UPDATE record SET scope = '' WHERE sequence = 50"], 50),
        (["UPDATE record SET kind = 'TICK' WHERE sequence = 50"], 50),
        (["UPDATE record SET kind = 'FACT' WHERE sequence = 50"], 50),
        (["UPDATE record SET hash = zeroblob(32) WHERE sequence = 50"], 50),
        (["UPDATE record SET chain = 'audit' WHERE sequence = 50"], 50),
        (["DELETE FROM record WHERE sequence = 50"], 50),
        (["DELETE FROM record WHERE sequence BETWEEN 50 AND 90"], 50),
        (["DELETE FROM record WHERE sequence = 1"], 1),
        (["DELETE FROM record WHERE sequence >= 200"], 200),
        (["DELETE FROM record WHERE chain = 'recorder'"], 2),
        (["DELETE FROM record"], 1),
        ([SWAP.format(50, 51)], 50),
        ([RENUMBER.format(50, 9999), RENUMBER.format(51, 50), RENUMBER.format(9999, 51)], 50),
        ([RENUMBER.format(200, 5000)], 200),
        (["UPDATE chain SET last_sequence = 150, last_hash = (SELECT hash FROM record WHERE sequence = 150)"], 150),
        (["UPDATE chain SET last_hash = zeroblob(32) WHERE chain = 'recorder'"], LAST_INPUT),
        (["UPDATE chain SET pruned_sequence = 50, pruned_hash = (SELECT hash FROM record WHERE sequence = 50)"], 54),
        (["UPDATE chain SET last_sequence = -5 WHERE chain = 'recorder'"], 1),
        (["UPDATE checkpoint SET body = zeroblob(100) WHERE name = 'named'"], COUNT + 1),
        (["UPDATE checkpoint SET body = (SELECT body FROM checkpoint WHERE name = '')"], COUNT + 1),
        (["DELETE FROM checkpoint WHERE name = 'named'"], COUNT + 1),
        (["DELETE FROM checkpoint"], COUNT + 1),
        (["DELETE FROM checkpoint WHERE name = ''"], COUNT + 2),
    ],
)
def test_rows_when_tampered_with_then_the_first_bad_record_is_named(
    plain: Path, statements: list[str], bad: int
) -> None:
    tamper(plain, *statements)
    report = verified(plain)
    assert (report.ok, report.bad_sequence) == (False, bad)
    assert f"record {bad} " in report.problem


def repack(connection: sqlite3.Connection) -> None:
    """Edit a record inside a block, and make the block itself look right again."""
    [(body, last)] = connection.execute("SELECT body, last_sequence FROM block WHERE chain = 'recorder' LIMIT 1")
    records = unpack(body)
    records[5] = records[5]._replace(payload=records[5].payload.replace("92", "93"))
    edited = pack(records)
    connection.execute(
        "UPDATE block SET body = ?, body_hash = ? WHERE last_sequence = ? AND chain = 'recorder'",
        (edited, sha256(edited).digest(), last),
    )


def test_block_when_tampered_with_then_the_first_record_of_it_is_named(compact: Path) -> None:
    with closing(sqlite3.connect(compact / "journal.db")) as connection:
        _, (first, second), *_ = connection.execute(
            "SELECT first_sequence, last_sequence FROM block WHERE chain = 'recorder' ORDER BY last_sequence"
        )
    whole = (compact / "journal.db").read_bytes()
    for statement in (
        "UPDATE block SET body = zeroblob(50) WHERE last_sequence = {}",
        "DELETE FROM block WHERE last_sequence = {}",
        "UPDATE block SET records = records + 1 WHERE last_sequence = {}",
        "UPDATE block SET last_hash = zeroblob(32) WHERE last_sequence = {}",
        "UPDATE block SET previous_hash = zeroblob(32) WHERE last_sequence = {}",
    ):
        tamper(compact, statement.format(second))
        report = verified(compact)
        assert (report.ok, report.bad_sequence) == (False, first), statement
        (compact / "journal.db").write_bytes(whole)
    assert verified(compact).ok


def test_record_in_a_block_when_edited_with_care_then_the_chain_still_tells(compact: Path) -> None:
    tamper(compact, change=repack)
    report = verified(compact)
    assert (report.ok, report.bad_sequence) == (False, 2)
    assert "does not continue the recorder chain" in report.problem


async def test_verify_when_the_guard_writes_on_then_it_proves_what_there_was(opened: Opened) -> None:
    with opened(block_records=60) as journal:
        await keep(journal, mixed(200))
        with journal.reader() as reader:
            bounds = reader.bounds()
            proving = iter(reader._proved(bounds, reader._walks(bounds)))  # the same loop, a step at a time
            count = 1 + (next(proving) is None)
            for number in range(30):
                await keep(journal, [observation(number)] * 10)
                count += sum(1 for _ in zip(range(5), proving))  # noqa: B905  # as many as there are
            count += sum(1 for _ in proving)
    assert count == COUNT


@pytest.mark.parametrize("kind", ["plain", "compact"])
def test_head_when_noted_of_any_record_then_it_is_found_there(kind: str, request: pytest.FixtureRequest) -> None:
    directory = request.getfixturevalue(kind)
    heads = dict.fromkeys(Chain, GENESIS)
    with JournalReader(directory) as reader:
        for record in list(reader.records()):
            chain = chain_of(record.kind)
            heads[chain] = hash_after(heads[chain], record)
            if record.sequence % 17 == 0:
                report = reader.verify({chain: heads[chain]})
                assert (report.ok, report.noted) == (True, {chain: record.sequence})
        assert not reader.verify({Chain.AUDIT: heads[Chain.RECORDER]}).ok, "that is of the other chain"


def test_head_when_no_record_has_it_then_that_is_the_problem_and_a_changed_record_is_a_greater_one(plain: Path) -> None:
    noted = {Chain.AUDIT: bytes(31) + b"1"}
    with JournalReader(plain) as reader:
        report = reader.verify(noted)
        assert (report.ok, report.noted, report.bad_sequence) == (False, {"audit": None}, None)
        assert "no record has the noted head of audit" in report.problem
    tamper(plain, "UPDATE record SET at_ns = at_ns + 1 WHERE sequence = 50")
    with JournalReader(plain) as reader:
        assert reader.verify(noted).bad_sequence == 50
