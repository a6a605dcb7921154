"""Where to begin: the checkpoint from which the inputs of a window can be run again."""

from __future__ import annotations

from dataclasses import dataclass, field

from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.codec import decode_as
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Chain, CheckpointNote, Kind, Start
from circuit_guard.report.errors import NothingToReport
from circuit_guard.report.evidence import Window
from circuit_guard.report.times import exact


@dataclass(slots=True)
class Opening:
    """The checkpoint to begin with, with its state; every checkpoint there is, and the version at each."""

    checkpoint: Checkpoint
    checkpoints: list[Checkpoint] = field(default_factory=list)
    version: str = ""
    """The version of circuit_guard that wrote the checkpoint; empty where nothing says so."""


def open_at(reader: JournalReader, window: Window) -> Opening:
    """Return where to begin. Raise NothingToReport where the inputs of the window's beginning are no longer there."""
    checkpoints, versions = _checkpoints(reader)
    bounds = reader.bounds()
    kept_from = max(bound.pruned.sequence for bound in bounds.values())
    usable = [found for found in checkpoints if found.covers >= kept_from]
    for found in sorted(usable, key=lambda known: known.covers, reverse=True):
        if found.at_ns <= window.from_ns and (whole := _with_state(reader, found)) is not None:
            return Opening(whole, checkpoints, versions[found.sequence])
    first = next((whole for found in usable if (whole := _with_state(reader, found)) is not None), None)
    if first is None:
        raise NothingToReport("the journal has no checkpoint to begin with; let the guard run until its next one")
    if bounds[Chain.RECORDER].pruned.sequence or first.sequence != checkpoints[0].sequence:
        begins = f"the first window that can still be reported begins at {exact(first.at_ns)}"
        raise NothingToReport(f"what led up to {exact(window.from_ns)} is no longer kept; {begins}")
    return Opening(first, checkpoints, versions[first.sequence])


def _checkpoints(reader: JournalReader) -> tuple[list[Checkpoint], dict[int, str]]:
    """Return every checkpoint without its state, oldest first, and by whom each was written."""
    found: list[Checkpoint] = []
    versions: dict[int, str] = {}
    version = ""
    for record in reader.records(kinds=(Kind.CHECKPOINT, Kind.START)):
        if record.kind is Kind.START:
            version = decode_as(Start, record.payload).program_version
            continue
        note = decode_as(CheckpointNote, record.payload)
        found.append(Checkpoint(record.sequence, record.at_ns, record.scope, note.covers, note.digest, None))
        versions[record.sequence] = version
    return found, versions


def _with_state(reader: JournalReader, found: Checkpoint) -> Checkpoint | None:
    """Return the checkpoint with its state, None where retention has dropped that."""
    whole = reader.checkpoint(found.sequence)
    return whole if whole is not None and whole.text is not None else None
