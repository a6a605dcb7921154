"""Reading a journal, in use or not: its records, its checkpoints, and the proof that both are as they were written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from types import TracebackType
from typing import Self

from circuit_guard.journal.checkpoint import Checkpoint, unpack_text
from circuit_guard.journal.codec import CodecError, decode_as
from circuit_guard.journal.errors import JournalUnusable, RecordBroken
from circuit_guard.journal.record import Chain, CheckpointNote, Kind, Record, chain_of
from circuit_guard.journal.schema import connect_read_only, query
from circuit_guard.journal.walk import Bounds, Walk, read_bounds

JOURNAL_NAME = "journal.db"


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

    def count(self, record: Record) -> None:
        """Take one proved record."""
        self.records += 1
        self.checkpoints += record.kind is Kind.CHECKPOINT
        self.first_sequence = self.first_sequence or record.sequence
        self.last_sequence = record.sequence


class JournalReader:
    """Reads the journal of a state directory. Use it in `with`; one thread at a time.

    Every method raises JournalUnusable where the file cannot be read, and RecordBroken at the first record that is not
    as it was written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL_NAME
        self._connection = connect_read_only(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def bounds(self) -> dict[Chain, Bounds]:
        """Return where each chain begins and ends now."""
        return read_bounds(self._connection, self._path)

    def records(self, from_sequence: int = 1, kinds: Collection[Kind] = tuple(Kind)) -> Iterator[Record]:
        """Return the records of these kinds from a sequence on, in order, up to the last there is now."""
        wanted = {chain_of(kind) for kind in kinds}
        walks = [walk.records(from_sequence) for chain, walk in self._walks(self.bounds()).items() if chain in wanted]
        return (record for record in merge(*walks) if record.kind in kinds)

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
                report.count(record)
                if record.kind is Kind.CHECKPOINT:
                    last_checkpoint = record
                    self._kept_text(record) if record.scope else self._text(record)
            if last_checkpoint is not None and last_checkpoint.sequence >= self._latest_state():
                self._kept_text(last_checkpoint)
            report.noted = {chain.value: walks[chain].noted_at for chain in noted}
            report.problem = self._without_head(report.noted, bounds)
        except RecordBroken as broken:
            report.bad_sequence, report.problem = broken.sequence, str(broken)
        except JournalUnusable as error:
            report.problem = str(error)
        except CodecError as error:
            report.problem = f"{self._path}: a checkpoint's note cannot be read: {error}"
        return report

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
        text = unpack_text(rows[0][0], _note(record).digest)
        if text is None:
            raise RecordBroken(self._path, record.sequence, "is a checkpoint, and its state was changed")
        return text


def _note(record: Record) -> CheckpointNote:
    return decode_as(CheckpointNote, record.payload)


def _checkpoint(record: Record, text: str | None) -> Checkpoint:
    note = _note(record)
    return Checkpoint(record.sequence, record.at_ns, record.scope, note.covers, note.digest, text)


def _until_broken(walk: Walk) -> Iterator[Record | RecordBroken]:
    """Return the records of a walk and, in its place, the error that ends it: a gap before it is reported first."""
    try:
        yield from walk.records()
    except RecordBroken as broken:
        yield broken
