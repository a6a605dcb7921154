"""Recordings: any file can be read to its end, or RecordingError says which line cannot be used and why."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from circuit_guard.errors import RecordingError
from circuit_guard.recording.file import read_recording, write_recording
from fuzz import story


def seeds() -> Iterator[bytes]:
    """Return the beginning of the bundled recording, and one entry of each kind, plain and gzipped."""
    with gzip.open(story.RECORDING) as file:
        lines = file.readlines()
    kinds = groupby(sorted(lines[1:], key=_kind), key=_kind)
    each = [next(group) for _, group in kinds]
    for chosen in (lines[:3], lines[:40], [lines[0], *sorted(each)]):
        yield b"".join(chosen)
        yield gzip.compress(b"".join(chosen), mtime=0)


def _kind(line: bytes) -> bytes:
    return line.split(b'"')[5]


def feed(data: bytes) -> None:
    """Read the bytes as a recording. What is read can be written, and is read again as it was."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "fuzzed")
        path.write_bytes(data)
        try:
            recording = read_recording(path)
            entries = list(recording.entries())
        except RecordingError as error:
            if not str(error).isprintable():
                raise AssertionError(f"a message that cannot be printed: {error!r}") from error
            return
        written = Path(folder, "written")
        write_recording(written, recording.header, entries)
        again = read_recording(written)
        if (again.header, list(again.entries())) != (recording.header, entries):
            raise AssertionError("what was written is not what was read")
