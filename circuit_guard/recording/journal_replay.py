"""A journal run again through the core: whether every recorded decision follows from the recorded inputs, bit for bit.

The run starts at the oldest checkpoint after which nothing was pruned, and goes on to the last record there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from circuit_guard.core.facts import DecisionMade, Fact
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.codec import decode_as, encode
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import DecisionsDropped, Entry, Kind, Record, Start, fact_entry
from circuit_guard.journal.recovery import Rerun, rerun_errors, rerun_from
from circuit_guard.recording.format import JsonObject

_ABSENT = object()
_WRAPPER = f"{DecisionMade.__name__}."


@dataclass(frozen=True, slots=True)
class Difference:
    """Where record and replay part. `sequence` is the decision's, or the check's that has no recorded decision."""

    sequence: int
    field: str
    recorded: str
    replayed: str


def difference_of(record: Record, entry: Entry, text: str) -> Difference:
    """Return the first field in which a recorded decision is not the one that was made again."""
    for name in ("at_ns", "scope"):
        recorded, replayed = getattr(record, name), getattr(entry, name)
        if recorded != replayed:
            return Difference(record.sequence, name, str(recorded), str(replayed))
    try:
        found = _first_unlike(json.loads(record.payload), json.loads(text), "")
    except (ValueError, RecursionError):
        found = None
    name, recorded, replayed = found or ("payload", record.payload, text)
    return Difference(record.sequence, name.removeprefix(_WRAPPER), recorded, replayed)


def _first_unlike(recorded: Any, replayed: Any, path: str) -> tuple[str, str, str] | None:
    """Return path and both values of the first leaf in which two JSON values differ."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        pairs = [(f"{path}.{key}" if path else key, key) for key in {**replayed, **recorded}]
        both = [(name, recorded.get(key, _ABSENT), replayed.get(key, _ABSENT)) for name, key in pairs]
    elif isinstance(recorded, list) and isinstance(replayed, list):
        count = max(len(recorded), len(replayed))
        padded = [values + [_ABSENT] * (count - len(values)) for values in (recorded, replayed)]
        both = [(f"{path}[{number}]", *values) for number, values in enumerate(zip(*padded, strict=True))]
    elif recorded == replayed and type(recorded) is type(replayed):
        return None
    else:
        return path, _shown(recorded), _shown(replayed)
    return next(filter(None, (_first_unlike(left, right, name) for name, left, right in both)), None)


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


RECORDS_BETWEEN_REPORTS = 4096
NO_DECISION = "no decision"
_NOTE_OF_DROPPED = f'{{"{DecisionsDropped.__name__}":'

Progress = Callable[[int, int], None]
"""Told now and then how many records are done, and how many there are."""


@dataclass(slots=True)
class JournalReplay:
    """The outcome: what was run, and how the decisions compare."""

    covers: int
    """The run starts from the state after this record."""
    last_sequence: int
    inputs: int = 0
    decisions: int = 0
    """Recorded decisions that were compared."""
    different: int = 0
    """Those of them that the replay makes otherwise, or not at all."""
    missing: int = 0
    """Decisions that the replay makes and the journal has no record of."""
    dropped: int = 0
    """Those of them that the journal says were dropped because the disk was too slow."""
    cut_off: int = 0
    """Decisions that cannot have been recorded: those of the last input before the journal ends or the process died."""
    versions: list[str] = field(default_factory=list)
    """The versions of circuit_guard known to have written these records."""
    first_difference: Difference | None = None
    digest: str = ""
    """SHA-256 of every decision that the replay makes, in order."""

    @property
    def identical(self) -> bool:
        """Whether every recorded decision is made again exactly, and none is missing that was not dropped."""
        return not self.different and self.missing == self.dropped

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        counted = asdict(self)
        begins_after, ends_with = counted.pop("covers"), counted.pop("last_sequence")
        return {"from_record": begins_after + 1, "to_record": ends_with, "identical": self.identical, **counted}


def replay_journal(directory: Path, progress: Progress | None = None) -> JournalReplay:
    """Run the journal of a state directory again, in use or not, and compare its decisions.

    Raise JournalUnusable for a journal that cannot be read, holds no usable checkpoint, or cannot be run again;
    RecordBroken for the first record that is not as it was written.
    """
    path = directory / JOURNAL_NAME
    with JournalReader(directory) as reader:
        last = max(bounds.last.sequence for bounds in reader.bounds().values())
        checkpoint, versions = _oldest_checkpoint(reader, path)
        comparison = _Comparison(
            rerun_from(checkpoint, path), JournalReplay(checkpoint.covers, last, versions=versions)
        )
        expected = checkpoint.covers + 1
        for record in reader.records(expected):
            if record.sequence not in (expected - 1, expected):  # one record may hold many checks
                problem = f"records {expected} to {record.sequence - 1} are gone: they were pruned while they were read"
                raise JournalUnusable(path, problem, "run it again")
            with rerun_errors(record, path):
                comparison.take(record)
            expected = record.sequence + 1
            if progress is not None and record.sequence % RECORDS_BETWEEN_REPORTS == 0:
                progress(record.sequence - checkpoint.covers, max(last, record.sequence) - checkpoint.covers)
    return comparison.finish(expected - 1)


def _oldest_checkpoint(reader: JournalReader, path: Path) -> tuple[Checkpoint, list[str]]:
    """Return the first checkpoint whose state is kept and after which nothing is pruned, and the versions before it."""
    kept_from = max(bounds.pruned.sequence for bounds in reader.bounds().values())
    versions: list[str] = []
    for record in reader.records(kept_from + 1, (Kind.CHECKPOINT, Kind.START)):
        if record.kind is Kind.START:
            _add_version(versions, record)
            continue
        checkpoint = reader.checkpoint(record.sequence)
        if checkpoint is not None and checkpoint.text is not None and checkpoint.covers >= kept_from:
            return checkpoint, versions
    problem = f"no checkpoint after record {kept_from}, up to which it is pruned, still has its state"
    raise JournalUnusable(path, problem, "let the guard run until its next checkpoint")


def _add_version(versions: list[str], record: Record) -> None:
    version = decode_as(Start, record.payload).program_version
    if version not in versions:
        versions.append(version)


class _Comparison:
    """Takes records in order: inputs are run, and each decision they make is held until its record comes."""

    def __init__(self, rerun: Rerun, result: JournalReplay) -> None:
        self._rerun = rerun
        self._result = result
        self._digest = sha256()
        self._made: tuple[int, Entry, str] | None = None
        """The decision that the next DECISION record must hold: the input's sequence, the entry and its text."""
        self._missing = 0
        """How many are missing since the last note of how many were dropped."""
        self._first_missing: Difference | None = None

    def take(self, record: Record) -> None:
        match record.kind:
            case Kind.DECISION:
                self._compare(record)
            case Kind.FACT:  # what time alone changes is recorded when a tick sees it, so no fact is compared
                if record.payload.startswith(_NOTE_OF_DROPPED):
                    self._miss()
                    self._settle(decode_as(DecisionsDropped, record.payload).count)
            case Kind.START:
                self._cut_off()
                _add_version(self._result.versions, record)
            case _:
                self._miss()
                self._hold(record.sequence, self._rerun.take(record))

    def finish(self, last_sequence: int) -> JournalReplay:
        """Return the outcome, once every record is taken."""
        self._cut_off()
        self._result.inputs = self._rerun.inputs
        self._result.last_sequence = last_sequence
        self._result.digest = self._digest.hexdigest()
        return self._result

    def _hold(self, sequence: int, facts: list[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, DecisionMade) and not fact.repeated:
                text = encode(fact)
                self._made = sequence, fact_entry(fact), text
                self._digest.update(f"{text}\n".encode())

    def _compare(self, record: Record) -> None:
        made, self._made = self._made, None
        self._result.decisions += 1
        if made is None:
            self._differ(Difference(record.sequence, "decision", record.payload, NO_DECISION))
            return
        _, entry, text = made
        if (record.at_ns, record.scope, record.payload) != (entry.at_ns, entry.scope, text):
            self._differ(difference_of(record, entry, text))

    def _differ(self, difference: Difference) -> None:
        self._result.different += 1
        self._note(difference)

    def _note(self, difference: Difference) -> None:
        first = self._result.first_difference
        if first is None or difference.sequence < first.sequence:
            self._result.first_difference = difference

    def _miss(self) -> None:
        if self._made is not None:
            sequence, _, text = self._made
            self._missing += 1
            self._first_missing = self._first_missing or Difference(sequence, "decision", NO_DECISION, text)
            self._made = None

    def _settle(self, dropped: int) -> None:
        """Count what is missing up to here, of which at most `dropped` were dropped."""
        self._result.missing += self._missing
        self._result.dropped += min(self._missing, dropped)
        if self._missing > dropped and self._first_missing is not None:
            self._note(self._first_missing)
        self._missing, self._first_missing = 0, None

    def _cut_off(self) -> None:
        """Count a decision whose record a dying process left out: it may end between two commits."""
        self._result.cut_off += self._made is not None
        self._made = None
        self._settle(dropped=0)
