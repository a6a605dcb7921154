"""What can go wrong with a journal.

JournalError
|-- JournalUnusable          it cannot be opened or read; says what to do
|   |-- StateDirectoryHeld   another process uses the state directory
|   `-- RecordBroken         a record is not what was written; names the first such
|-- CheckpointGone           a checkpoint's state is asked for and not kept
`-- JournalFailed            it was in use and can keep nothing more
"""

from __future__ import annotations

from pathlib import Path

from circuit_guard.errors import CircuitGuardError


class JournalError(CircuitGuardError):
    """The base of all errors of the journal."""


class JournalUnusable(JournalError):
    """The journal at `path` cannot be opened or read: the problem, and what a person can do about it."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


class StateDirectoryHeld(JournalUnusable):
    """Another process holds the state directory; `problem` says who."""


RESTORE = "keep the file for the inquiry, then start with a backup of it or with an empty state directory"


class RecordBroken(JournalUnusable):
    """Record `sequence` is the first that is not as it was written, is missing, or does not continue the chain."""

    def __init__(self, path: Path, sequence: int, what: str) -> None:
        super().__init__(path, f"record {sequence} {what}", RESTORE)
        self.sequence = sequence
        self.what = what

    def __reduce__(self) -> tuple[type[RecordBroken], tuple[Path, int, str]]:
        return RecordBroken, (self.path, self.sequence, self.what)


class CheckpointGone(JournalError):
    """The state of checkpoint `sequence` is not kept: the problem, and what a person can do about it."""

    def __init__(self, sequence: int, problem: str, remedy: str) -> None:
        super().__init__(sequence, problem, remedy)
        self.sequence = sequence
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"checkpoint {self.sequence} is not available: {self.problem}; {self.remedy}"


class JournalStalled(JournalError):
    """Records have waited for the disk for too long: nothing is taken in until they are written."""


class JournalFailed(JournalError):
    """Nothing more can be kept, and what was not yet durable may be lost; restart the guard once the cause is gone."""
