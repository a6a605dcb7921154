"""The errors of the journal survive a trip between processes, words and all."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from circuit_guard.journal.errors import (
    JournalError,
    JournalFailed,
    JournalUnusable,
    RecordBroken,
    StateDirectoryHeld,
)

PATH = Path("journal.db")


@pytest.mark.parametrize(
    "error",
    [
        JournalUnusable(PATH, "it is on fire", "put it out"),
        StateDirectoryHeld(PATH, "somebody has it", "ask them"),
        RecordBroken(PATH, 7, "is missing"),
        JournalFailed("the disk is full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_when_pickled_then_it_says_the_same(error: JournalError) -> None:
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_record_when_broken_then_the_error_names_it_and_says_what_to_do() -> None:
    assert str(RecordBroken(PATH, 7, "is missing")) == (
        "journal.db: record 7 is missing; "
        "keep the file for the inquiry, then start with a backup of it or with an empty state directory"
    )
