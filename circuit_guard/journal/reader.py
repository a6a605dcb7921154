"""Reading a journal, in use or not: its records, its checkpoints, and the proof that both are as they were written."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import merge
from lzma import LZMAError
from pathlib import Path
from typing import Any, NamedTuple, Self

from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.permit import check_of, decision_of
from circuit_guard.journal.anchor import ADOPT, ANCHOR_NAME, Anchor, read_anchor
from circuit_guard.journal.block import unpack
from circuit_guard.journal.checkpoint import Checkpoint, unpack_text
from circuit_guard.journal.codec import CodecError, decode, decode_as, encode
from circuit_guard.journal.errors import JournalUnusable, RecordBroken
from circuit_guard.journal.permissions import refuse_irregular
from circuit_guard.journal.record import (
    Chain,
    CheckpointNote,
    ChecksAllowed,
    Kind,
    Record,
    chain_hashes,
    chain_of,
    fact_entry,
    hash_after,
    input_entry,
    of_allowed,
    of_taken,
)
from circuit_guard.journal.store import End, connect_read_only, identity, query, query_up_to

_ROWS_AT_A_TIME = 1000
"""A reader that stayed in one transaction would keep the write-ahead log from being reused."""
_BYTES_AT_A_TIME = 4 * 1024 * 1024
"""How long these rows may be together: one of them can be longer than a megabyte."""

_BLOCK = (
    "SELECT first_sequence, last_sequence, records, previous_hash, last_hash, body_hash, body FROM block"
    " WHERE chain = ? AND last_sequence > ? ORDER BY last_sequence LIMIT 1"
)
_ROWS = (
    "SELECT sequence, kind, at_ns, scope, payload, hash FROM record WHERE chain = ? AND sequence > ?"
    " ORDER BY sequence LIMIT ?"
)
_ROW_BEFORE = (
    "SELECT sequence, hash FROM record WHERE chain = ? AND sequence > ? AND sequence < ? ORDER BY sequence DESC LIMIT 1"
)
_KINDS = {kind.value: kind for kind in Kind}
SEQUENCE_MAX = 2**63 - 1


class Bounds(NamedTuple):
    """Where a chain begins, after the last pruned record, and where it ends."""

    pruned: End
    last: End


def read_bounds(connection: sqlite3.Connection, path: Path) -> dict[Chain, Bounds]:
    """Return the bounds of both chains at one instant. Raise RecordBroken where they are not readable as such."""
    statement = "SELECT chain, pruned_sequence, pruned_hash, last_sequence, last_hash FROM chain"
    rows = [row for row in query(connection, path, statement) if _typed(row, (str, int, bytes, int, bytes))]
    bounds = {row[0]: Bounds(End(*row[1:3]), End(*row[3:])) for row in rows if 0 <= row[1] <= row[3]}
    lost = [chain for chain in Chain if chain.value not in bounds]
    if lost:
        raise RecordBroken(path, 1, f"and those after it cannot be proved: the bounds of {' and '.join(lost)} are lost")
    return {chain: bounds[chain.value] for chain in Chain}


class _Block(NamedTuple):
    first: int
    last: int
    records: int
    previous_hash: bytes
    last_hash: bytes
    body_hash: bytes
    body: bytes


def without_anchor(connection: sqlite3.Connection, path: Path, anchor: Anchor | None) -> str:
    """Return what is wrong with a journal that does not go as far as its anchor says; empty where it does."""
    if anchor is None:
        return ""
    for chain, bounds in read_bounds(connection, path).items():
        end, last = anchor.ends[chain], bounds.last
        if last.sequence < end.sequence:
            return f"its {chain} chain ends at record {last.sequence}, and the anchor beside it says {end.sequence}"
        walk = Walk(connection, chain, path, bounds, noted=end.hash)
        if end.sequence:
            next(walk.records(end.sequence), None)
        if end.sequence and walk.noted_at != end.sequence:
            return f"its {chain} chain has another record {end.sequence} than the anchor beside it says"
    return ""


class Walk:
    """Reads one chain within bounds that were read before, so that a journal in use can be read as well."""

    def __init__(
        self, connection: sqlite3.Connection, chain: Chain, path: Path, bounds: Bounds, noted: bytes | None = None
    ) -> None:
        self.noted_at = bounds.pruned.sequence if noted == bounds.pruned.hash else None
        """The record whose hash is `noted`; None while it was not read."""
        self._noted = noted
        self._connection = connection
        self._chain = chain
        self._path = path
        self._bounds = bounds

    def records(self, from_sequence: int = 1) -> Iterator[Record]:
        """Return the records from a sequence on. Raise RecordBroken at the first that does not continue the chain.

        What is pruned meanwhile is passed over. Records before `from_sequence` are read as far as the proof needs.
        """
        last = self._bounds.last
        at = self._start(from_sequence)
        while at.sequence < last.sequence:
            at, blocks, rows = self._fetch(at)
            if at.sequence >= last.sequence:
                return
            proved = self._from_block(at, blocks[0]) if blocks else self._from_rows(at, rows)
            for record, at in proved:
                if record.sequence > last.sequence:
                    raise self._missing_end()
                if at.hash == self._noted:
                    self.noted_at = record.sequence
                if record.sequence == last.sequence and at.hash != last.hash:
                    raise self._broken(record.sequence, f"is not the end of the {self._chain} chain that was noted")
                if record.sequence >= from_sequence:
                    yield record
                if record.sequence == last.sequence:
                    return

    def block_end(self, before_sequence: int = SEQUENCE_MAX) -> End:
        """Return the end of the last block that is wholly before a sequence, or of what is pruned if there is none."""
        row = self._query(
            "SELECT last_sequence, last_hash FROM block WHERE chain = ? AND last_sequence < ?"
            " ORDER BY last_sequence DESC LIMIT 1",
            self._chain.value,
            before_sequence,
        )
        if not row:
            return self._bounds.pruned
        if not _typed(row[0], (int, bytes)):
            raise self._broken(
                self._bounds.pruned.sequence + 1, "or a later one is in a block whose head is not readable"
            )
        return End(*row[0])

    def _start(self, from_sequence: int) -> End:
        """Return the place to prove from: the plain row before a sequence, or the end of the last block before it.

        The hash there is believed; were it not the one that was written, the next record would not continue it.
        """
        end = self.block_end(from_sequence)
        row = self._query(_ROW_BEFORE, self._chain.value, max(end.sequence, self.block_end().sequence), from_sequence)
        if not row:
            return end
        if not _typed(row[0], (int, bytes)):
            raise self._broken(end.sequence + 1, "or a later one is not readable")
        return End(*row[0])

    def _fetch(self, at: End) -> tuple[End, list[Any], list[Any]]:
        """Return the place to go on from, later than `at` where that was pruned, and the block or the rows there."""
        self._query("BEGIN")
        try:
            pruned = read_bounds(self._connection, self._path)[self._chain].pruned
            at = max(at, pruned)
            blocks = self._query(_BLOCK, self._chain.value, at.sequence)
            values = self._chain.value, at.sequence, _ROWS_AT_A_TIME
            rows = [] if blocks else query_up_to(self._connection, self._path, _BYTES_AT_A_TIME, _ROWS, *values)
            return at, blocks, rows
        finally:
            if self._connection.in_transaction:
                self._query("ROLLBACK")

    def _from_block(self, at: End, row: Any) -> Iterator[tuple[Record, End]]:
        """Return the records of a block after `at`, each with the place after it."""
        if not _typed(row, (int, int, int, bytes, bytes, bytes, bytes)):
            raise self._broken(at.sequence + 1, "is in a block whose head is not readable")
        block = _Block(*row)
        first = max(block.first, at.sequence + 1)
        place = f"is in the block of {block.first} to {block.last}, which"
        if sha256(block.body).digest() != block.body_hash:
            raise self._broken(first, f"{place} was changed")
        try:
            records = unpack(block.body)
        except (ValueError, ArithmeticError, LookupError, TypeError, LZMAError) as error:
            raise self._broken(first, f"{place} cannot be read: {error}") from error
        hashes = [block.previous_hash, *chain_hashes(block.previous_hash, records)]
        done = sum(record.sequence <= at.sequence for record in records)
        if (len(records), records[0].sequence, records[-1].sequence) != (block.records, block.first, block.last):
            raise self._broken(first, f"{place} has other records than its head says")
        if hashes[done] != at.hash or hashes[-1] != block.last_hash:
            raise self._broken(first, f"{place} does not continue the {self._chain} chain")
        for record, after in zip(records[done:], hashes[done + 1 :], strict=True):
            yield record, End(record.sequence, after)

    def _from_rows(self, at: End, rows: list[Any]) -> Iterator[tuple[Record, End]]:
        """Return the records of plain rows, each with the place after it."""
        if not rows:
            raise self._missing_end()
        for row in rows:
            record = self._record(at, row)
            at = End(record.sequence, hash_after(at.hash, record))
            if at.hash != row[5]:
                raise self._broken(record.sequence, f"does not continue the {self._chain} chain")
            yield record, at

    def _record(self, at: End, row: Any) -> Record:
        if not _typed(row, (int, str, int, str, str, bytes)) or row[1] not in _KINDS:
            raise self._broken(row[0] if isinstance(row[0], int) else at.sequence + 1, "is not readable")
        sequence, kind, at_ns, scope, payload, _ = row
        record = Record(sequence, _KINDS[kind], at_ns, scope, payload)
        if chain_of(record.kind) is not self._chain:
            raise self._broken(sequence, f"is of kind {kind}, but in the {self._chain} chain")
        return record

    def _missing_end(self) -> RecordBroken:
        return self._broken(self._bounds.last.sequence, f"is missing: the {self._chain} chain goes up to it")

    def _broken(self, sequence: int, what: str) -> RecordBroken:
        return RecordBroken(self._path, sequence, what)

    def _query(self, statement: str, *values: object) -> list[Any]:
        return query(self._connection, self._path, statement, *values)


def _typed(row: Sequence[object], types: tuple[type, ...]) -> bool:
    """Return whether a row holds what was written: a damaged file may hold anything."""
    return tuple(map(type, row)) == types


JOURNAL_NAME = "journal.db"
FILE_NAMES = (JOURNAL_NAME, f"{JOURNAL_NAME}-wal", f"{JOURNAL_NAME}-shm", ANCHOR_NAME)
"""The files of a journal."""


@dataclass(slots=True)
class VerifyReport:
    """What `verify` found. `heads`: the last hash of each chain, hexadecimal; noted elsewhere it proves more later."""

    records: int = 0
    checkpoints: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    heads: dict[str, str] = field(default_factory=dict)
    noted: dict[str, int | None] = field(default_factory=dict)
    """Per chain that a head was given of: the record that had it then; None where there is no such record."""
    bad_sequence: int | None = None
    """The first record that is not as it was written; None where all are, or where the file cannot be read at all."""
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problem


class JournalReader:
    """Reads the journal of a state directory. Use it in `with`; one thread at a time.

    Every method raises JournalUnusable where the file cannot be read, and RecordBroken at the first record that is not
    as it was written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL_NAME
        refuse_irregular(directory, *FILE_NAMES)
        if not self._path.exists() and (anchor := read_anchor(directory)) is not None:
            known = max(end.sequence for end in anchor.ends.values())
            raise JournalUnusable(self._path, f"the journal of {known} records that this directory held is gone", ADOPT)
        self._connection = connect_read_only(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def bounds(self) -> dict[Chain, Bounds]:
        """Return where each chain begins and ends now."""
        return read_bounds(self._connection, self._path)

    def records(self, from_sequence: int = 1, kinds: Collection[Kind] = tuple(Kind)) -> Iterator[Record]:
        """Return the records of these kinds from a sequence on, in order, up to the last there is now.

        A record of checks that permits allowed is returned as an INPUT and a DECISION for each, all with its sequence;
        one of market data that came together as an INPUT for each.
        """
        return (one for record in self.stored(from_sequence, kinds) for one in _each(record, kinds))

    def stored(self, from_sequence: int = 1, kinds: Collection[Kind] = tuple(Kind)) -> Iterator[Record]:
        """Return the same records as they are stored; checks that permits allowed are both INPUT and DECISION."""
        wanted = {chain_of(kind) for kind in kinds} | ({Chain.AUDIT} if Kind.INPUT in kinds else set())
        walks = [walk.records(from_sequence) for chain, walk in self._walks(self.bounds()).items() if chain in wanted]
        both = Kind.INPUT in kinds
        return (record for record in merge(*walks) if record.kind in kinds or (both and of_allowed(record)))

    def checkpoints(self) -> list[Checkpoint]:
        """Return every recorded checkpoint without its state, oldest first."""
        return [_checkpoint(record, None) for record in self.records(kinds=(Kind.CHECKPOINT,))]

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the latest checkpoint with its state; None where there is none."""
        last = None
        for last in self.records(max(self._latest_state(), 1), (Kind.CHECKPOINT,)):  # noqa: B007  # the last one is wanted
            pass
        return None if last is None else _checkpoint(last, self._kept_text(last))

    def checkpoint(self, sequence: int) -> Checkpoint | None:
        """Return the checkpoint of that sequence, None where there is none. Retention may have dropped its state."""
        record = next(self.records(sequence, (Kind.CHECKPOINT,)), None)
        if record is None or record.sequence != sequence:
            return None
        return _checkpoint(record, self._kept_text(record) if record.scope else self._text(record))

    def verify(self, noted: Mapping[Chain, bytes] | None = None) -> VerifyReport:
        """Read everything, and report the first record that was changed, removed, moved or cut off.

        `noted`: heads from an earlier report. A chain that does not have its head any more was cut or written anew.
        """
        report, noted = VerifyReport(), noted or {}
        try:
            bounds = self.bounds()
            report.heads = {chain.value: bound.last.hash.hex() for chain, bound in bounds.items()}
            last_checkpoint = None
            walks = self._walks(bounds, noted)
            for record in self._proved(bounds, walks):
                report.records += 1
                report.first_sequence = report.first_sequence or record.sequence
                report.last_sequence = record.sequence
                if record.kind is Kind.CHECKPOINT:
                    report.checkpoints += 1
                    last_checkpoint = record
                    self._kept_text(record) if record.scope else self._text(record)
            if last_checkpoint is not None and last_checkpoint.sequence >= self._latest_state():
                self._kept_text(last_checkpoint)
            report.noted = {chain.value: walks[chain].noted_at for chain in noted}
            report.problem = self._without_head(report.noted, bounds) or self._without_end()
        except RecordBroken as broken:
            report.bad_sequence, report.problem = broken.sequence, str(broken)
        except JournalUnusable as error:
            report.problem = str(error)
        except CodecError as error:
            report.problem = f"{self._path}: a checkpoint's note cannot be read: {error}"
        return report

    def identity(self) -> str:
        """Return the identity of the journal; empty where it never had an anchor."""
        return identity(self._connection)

    def missing(self) -> str:
        """Return what the anchor beside the journal says that it lacks; empty where it is whole."""
        own = identity(self._connection)
        try:
            anchor = read_anchor(self._path.parent)
        except JournalUnusable as error:
            return f"{error.path.name}: {error.problem}"
        if anchor is None:
            gone = f"the file {ANCHOR_NAME} beside it is gone, so nothing says whether its end is there"
            return gone if own else ""
        if anchor.journal != own:
            return f"it is not the journal that this directory held, {anchor.journal}"
        return without_anchor(self._connection, self._path, anchor)

    def _without_end(self) -> str:
        problem = self.missing()
        return f"{self._path}: {problem}; {ADOPT}" if problem else ""

    def _without_head(self, noted: Mapping[str, int | None], bounds: Mapping[Chain, Bounds]) -> str:
        """Return what is wrong with a chain that does not have the head noted of it; empty where all do."""
        lost = [chain for chain, sequence in noted.items() if sequence is None]
        if not lost:
            return ""
        pruned = max(bounds[Chain(chain)].pruned.sequence for chain in lost)
        what = f"no record has the noted head of {' and '.join(lost)}: the end was cut off, or all was written anew"
        return f"{self._path}: {what}" + (f", or it is one of those up to {pruned}, which are pruned" if pruned else "")

    def _proved(self, bounds: dict[Chain, Bounds], walks: Mapping[Chain, Walk]) -> Iterator[Record]:
        """Return the records of both chains. Raise RecordBroken for a sequence that neither has."""
        both_from = max(bound.pruned.sequence for bound in bounds.values())
        expected = both_from + 1
        found = merge(*map(_until_broken, walks.values()), key=lambda item: item.sequence)
        for item in found:
            if item.sequence > expected:
                raise RecordBroken(self._path, expected, "is missing")
            if isinstance(item, RecordBroken):
                raise item
            yield item
            expected = max(item.sequence, both_from) + 1

    def _walks(self, bounds: dict[Chain, Bounds], noted: Mapping[Chain, bytes] | None = None) -> dict[Chain, Walk]:
        heads = noted or {}
        return {
            chain: Walk(self._connection, chain, self._path, bound, heads.get(chain)) for chain, bound in bounds.items()
        }

    def _latest_state(self) -> int:
        """Return the sequence of the latest checkpoint whose state is there, 0 for none."""
        [(sequence,)] = query(self._connection, self._path, "SELECT max(sequence) FROM checkpoint")
        return sequence or 0

    def _kept_text(self, record: Record) -> str:
        """Return the state of a checkpoint that retention does not drop."""
        text = self._text(record)
        if text is None:
            raise RecordBroken(self._path, record.sequence, "is a checkpoint and has lost its state")
        return text

    def _text(self, record: Record) -> str | None:
        rows = query(self._connection, self._path, "SELECT body FROM checkpoint WHERE sequence = ?", record.sequence)
        if not rows:
            return None
        try:
            text = unpack_text(rows[0][0], decode_as(CheckpointNote, record.payload).digest)
        except ValueError as error:
            raise RecordBroken(self._path, record.sequence, f"is a checkpoint, and cannot be read: {error}") from error
        if text is None:
            raise RecordBroken(self._path, record.sequence, "is a checkpoint, and its state was changed")
        return text


def _checkpoint(record: Record, text: str | None) -> Checkpoint:
    note = decode_as(CheckpointNote, record.payload)
    return Checkpoint(record.sequence, record.at_ns, record.scope, note.covers, note.digest, text)


def _until_broken(walk: Walk) -> Iterator[Record | RecordBroken]:
    """Return the records of a walk and, in its place, the error that ends it: a gap before it is reported first."""
    try:
        yield from walk.records()
    except RecordBroken as broken:
        yield broken


def _each(record: Record, kinds: Collection[Kind]) -> Iterator[Record]:
    """Yield a record, or of checks that permits allowed each question and each decision of the kinds asked for.

    Of market data that came together each by itself.
    """
    if of_taken(record):
        for taken in decode(record.payload).items:  # type: ignore[attr-defined]  # of_taken says so
            entry = input_entry(taken)
            yield Record(record.sequence, entry.kind, entry.at_ns, entry.scope, encode(taken))
        return
    if not of_allowed(record):
        yield record
        return
    for allowed in decode_as(ChecksAllowed, record.payload).checks:
        question, made = check_of(allowed), DecisionMade(allowed.at_ns, decision_of(allowed))
        for entry in (input_entry(question), fact_entry(made)):
            if entry.kind in kinds:
                yield Record(record.sequence, entry.kind, entry.at_ns, entry.scope, encode(entry.value))
