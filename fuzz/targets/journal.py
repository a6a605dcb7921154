"""The journal: a file that was damaged anywhere, or written by a program that means something else by it.

It is opened, proved and recovered from, or JournalError says what is wrong. What was halted and latched stays so, and
a state that breaks an invariant is never gone on from. The first byte chooses what is done to a sound journal:

    damage    groups of 5 bytes, each a place in the file, what to do there and a value; the hashes tell
    record    another value somewhere in one record, with all hashes computed anew: they tell nothing
    state     another value somewhere in the last checkpoint, with its digest and all hashes computed anew
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Check, HaltCommand, Observation
from circuit_guard.core.invariants import broken_in
from circuit_guard.core.types import SECOND_NS, Verdict
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.journal.codec import decode_as, encode
from circuit_guard.journal.errors import JournalError
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import CheckpointNote, Kind, PackedCheckpoint, Record, Start
from circuit_guard.journal.recovery import recover
from circuit_guard.journal.store import Store, connect
from fuzz import story

DAMAGE, RECORD, STATE = range(3)
XOR, SET, CUT, ZERO = range(4)
ZEROED_BYTES = 16
GROUP_BYTES = 5

HALTED, LATCHED = story.MARKETS
OPTIONS = JournalOptions(block_records=60)
MEMORY = Path("/dev/shm")  # noqa: S108  # only to be fast
"""Where there is a disk in memory, the file is opened there."""


class Clock:
    """A clock that is set."""

    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return self.at_ns

    def monotonic_ns(self) -> int:
        """Return the same."""
        return self.at_ns


class Sound(NamedTuple):
    """A journal as a guard has left it: the file, what is in it, the text of its last checkpoint, when it ends."""

    file: bytes
    records: list[Record]
    bodies: dict[int, bytes]
    text: str
    end_ns: int


@cache
def sound() -> Sound:
    """Return a journal with a halt before its last checkpoint and a latch after it; blocks, rows, two policies."""
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        end_ns = asyncio.run(_record(directory))
        with closing(sqlite3.connect(directory / JOURNAL_NAME)) as connection:
            connection.execute("VACUUM")  # equal records, equal bytes, whenever they were committed
            bodies = dict(connection.execute("SELECT sequence, body FROM checkpoint"))
        with JournalReader(directory) as reader:
            last = reader.last_checkpoint()
            assert last is not None  # noqa: S101
            assert last.text is not None  # noqa: S101
            records = list(reader.records())
        return Sound((directory / JOURNAL_NAME).read_bytes(), records, bodies, last.text, end_ns)


async def _record(directory: Path) -> int:
    published = story.market_data(story.WARM_S)
    clock = Clock(published[0].at_ns)
    engine = Engine(story.policy(), clock)
    with Journal(directory, clock.at_ns, OPTIONS) as journal:
        engine.begin(Start(clock.at_ns, "0", "host", 1), journal, None)
        await engine.checkpoint()
        for input_ in published:
            clock.at_ns = input_.at_ns
            engine.step(input_)
        engine.step(HaltCommand(clock.at_ns, (HALTED,), "alice", "drill"))
        engine.reload(engine.policy)
        await engine.checkpoint("named")
        clock.at_ns += SECOND_NS
        last = next(it for it in reversed(published) if isinstance(it, Observation) and it.market == LATCHED)
        reset = last.feed_sequence + 1
        values = {"mark_price": last.mark_price, "index_price": last.index_price, "funding_index": Decimal(9)}
        engine.step(Observation(clock.at_ns, LATCHED, last.source, 1, reset, clock.at_ns, **values))
        engine.decide(_closure(HALTED, clock.at_ns))
        await engine.durable()
        await asyncio.to_thread(_settle, directory)
    if not engine.state.markets[LATCHED].breaker.latched:
        raise AssertionError(f"{LATCHED} is not latched: the story has changed")
    return clock.at_ns


def _settle(directory: Path) -> None:
    """Return once what belongs into blocks is in blocks alone."""
    with closing(sqlite3.connect(directory / JOURNAL_NAME, timeout=10)) as connection:
        rest = "SELECT count(*) FROM record WHERE chain = 'recorder'"
        while connection.execute(rest).fetchone()[0] >= 2 * OPTIONS.block_records:
            continue


def seeds() -> Iterator[bytes]:
    """Return the sound journal, and a little of each that can be done to it."""
    yield bytes([DAMAGE])
    for operation in (XOR, SET, CUT, ZERO):
        yield bytes([DAMAGE, 0, 40, 0, operation, 1])
        yield bytes([DAMAGE, 1, 0, 7, operation, 255])
    for number in range(0, 60, 3):
        for mode in (RECORD, STATE):
            yield bytes([mode, number, number, 0, number * 4]) + b'"NaN"'
            yield bytes([mode, number, number, 1, number]) + b"null"


def feed(data: bytes) -> None:
    """Do to a sound journal what the bytes say, and start a guard on it."""
    mode = data[0] % 3 if data else DAMAGE
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        directory = Path(folder)
        if mode == DAMAGE:
            (directory / JOURNAL_NAME).write_bytes(damaged(sound().file, data[1:]))
            _read(directory)
            _start(directory)
            return
        if mode == STATE:
            write_state(directory, rewritten(sound().text, data[1:]))
        else:
            number = int.from_bytes(data[1:3], "big") % len(sound().records)
            write_record(directory, number, rewritten(sound().records[number].payload, data[3:]))
        _read(directory)
        _recover(directory)


def damaged(file: bytes, data: bytes) -> bytes:
    """Return the file after what the groups of bytes do to it."""
    content = bytearray(file)
    for start in range(0, len(data) - GROUP_BYTES + 1, GROUP_BYTES):
        place = int.from_bytes(data[start : start + 3], "big") % max(len(content), 1)
        operation, value = data[start + 3] % 4, data[start + 4]
        if operation == CUT or not content:
            del content[place:]
        elif operation == ZERO:
            end = min(place + ZEROED_BYTES, len(content))
            content[place:end] = bytes(end - place)
        else:
            content[place] = value if operation == SET else content[place] ^ value
    return bytes(content)


def write_record(directory: Path, number: int, payload: str) -> None:
    """Write the journal with another payload in one record, as a program would that means something else by it."""
    records = list(sound().records)
    records[number] = records[number]._replace(payload=payload)
    _write(directory, records, sound().bodies)


def write_state(directory: Path, text: str) -> None:
    """Write the journal with another text in its last checkpoint, and the digest of that."""
    data, last = text.encode(errors="backslashreplace"), max(sound().bodies)
    number = next(number for number, record in enumerate(sound().records) if record.sequence == last)
    note = decode_as(CheckpointNote, sound().records[number].payload)
    records = list(sound().records)
    records[number] = records[number]._replace(payload=encode(CheckpointNote(note.covers, sha256(data).hexdigest())))
    _write(directory, records, {**sound().bodies, last: zlib.compress(data)})


def _write(directory: Path, records: list[Record], bodies: dict[int, bytes]) -> None:
    store = Store(connect(directory / JOURNAL_NAME))
    store.insert((record, _packed(record, bodies.get(record.sequence))) for record in records)
    store.close()


def _packed(record: Record, body: bytes | None) -> PackedCheckpoint | None:
    return None if record.kind is not Kind.CHECKPOINT or body is None else PackedCheckpoint(CheckpointNote(0, ""), body)


def rewritten(text: str, data: bytes) -> str:
    """Return JSON with another value in one place: the first two bytes say where, the others are the value."""
    document = {"": json.loads(text)}
    places = list(_places(document))
    table, key = places[int.from_bytes(data[:2], "big") % len(places)]
    try:
        table[key] = json.loads(data[2:])
    except (ValueError, RecursionError):
        table[key] = data[2:].decode(errors="replace")
    return json.dumps(document[""])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return every place of a value below another: what it is in, and by which key."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _read(directory: Path) -> None:
    """Prove it and read it, as the command line does."""
    try:
        with JournalReader(directory) as reader:
            str(reader.verify())
            for checkpoint in reader.checkpoints():
                reader.checkpoint(checkpoint.sequence)
    except JournalError as error:
        str(error)


def _recover(directory: Path) -> None:
    """Recover from what was written by a program that means something else by it, and look at what comes out."""
    try:
        recovered = recover(directory)
    except JournalError as error:
        str(error)
    else:
        if recovered is not None:
            broken_in(recovered.state)


def _start(directory: Path) -> None:
    """Start a guard on it. Where that goes, it holds what was held."""
    clock = Clock(sound().end_ns + SECOND_NS)
    engine = Engine(story.policy(), clock)
    try:
        with Journal(directory, clock.at_ns, OPTIONS) as journal:
            recovered = recover(directory)
            engine.begin(Start(clock.at_ns, "0", "host", 2), journal, recovered)
            if recovered is None:
                raise AssertionError("a journal that was filled opened as an empty one")
            for market in story.MARKETS:
                _ask(engine, market)
    except (JournalError, EngineFailed) as error:
        str(error)


def _ask(engine: Engine, market: str) -> None:
    """Ask about a closure in a market that was held."""
    answer = engine.decide(_closure(market, engine.now_ns()))[-1]
    held = engine.state.markets[market].breaker.latched or engine.state.markets[market].halt is not None
    if not held or not isinstance(answer, DecisionMade) or answer.decision.verdict is not Verdict.DENY:
        raise AssertionError(f"{market} was held, and is not after a restart")
    if broken := broken_in(engine.state):
        raise AssertionError("; ".join(broken))


def _closure(market: str, at_ns: int) -> Check:
    return Check(at_ns, f"{market}-{at_ns}", "account", market, Decimal(-1))
