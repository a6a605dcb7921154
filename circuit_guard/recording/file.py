"""Files of recordings: JSON Lines, plain or gzipped.

They are read as a stream and judged line by line; equal entries are written as equal bytes.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path

from circuit_guard.errors import RecordingError
from circuit_guard.journal.permissions import create_private
from circuit_guard.recording.format import (
    Entry,
    EntryParser,
    FieldError,
    Header,
    JsonObject,
    entry_line,
    header_line,
    parse_header,
)

LINE_BYTES_MAX = 1024 * 1024
LINES_PER_REPORT = 4096
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_LEVEL = 9

BytesRead = Callable[[int], None]
"""Told now and then how many bytes of the file have been read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording file and its header. Its entries can be read any number of times."""

    path: Path
    header: Header

    def entries(self, bytes_read: BytesRead | None = None) -> Iterator[Entry]:
        """Yield the entries in the order of the file. Raises RecordingError at the first line that is wrong."""
        parser = EntryParser()
        for number, text in _lines(self.path, bytes_read):
            if number == 1:
                continue
            try:
                yield parser.parse(text)
            except FieldError as error:
                raise RecordingError(str(self.path), number, str(error)) from None


def read_recording(path: Path) -> Recording:
    """Open a recording and read its header. Raises RecordingError, also where the file cannot be read."""
    for number, text in _lines(path, None):
        try:
            return Recording(path, parse_header(text))
        except FieldError as error:
            raise RecordingError(str(path), number, str(error)) from None
    raise RecordingError(str(path), 1, 'the file is empty, expected a header such as {"circuit_guard_recording": 1}')


def _lines(path: Path, bytes_read: BytesRead | None) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, counted from 1, without its line end."""
    number = 0
    try:
        with path.open("rb") as raw, _plain(raw) as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                yield number, _text(line)
                if bytes_read is not None and number % LINES_PER_REPORT == 0:
                    bytes_read(raw.tell())
            if bytes_read is not None:
                bytes_read(raw.tell())
    except FieldError as error:
        raise RecordingError(str(path), number, str(error)) from None
    except EOFError:
        raise RecordingError(str(path), number + 1, "the gzip file is cut off here, expected a complete file") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        problem = f"the gzip file is damaged here ({error}), expected a sound file"
        raise RecordingError(str(path), number + 1, problem) from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror}), expected a readable file"
        raise RecordingError(str(path), number, problem) from None


@contextmanager
def _plain(raw: BufferedReader) -> Iterator[gzip.GzipFile | BufferedReader]:
    """Give the file's own bytes, unpacked where they are gzip by content, whatever its name is."""
    if raw.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] != _GZIP_MAGIC:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as unpacked:
        yield unpacked


def _text(line: bytes) -> str:
    if len(line) > LINE_BYTES_MAX:
        raise FieldError(f"is longer than {LINE_BYTES_MAX} bytes, expected one entry per line")
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise FieldError(f"is not UTF-8 at byte {error.start + 1}, expected text in UTF-8") from None
    if not text:
        raise FieldError("is an empty line, expected one JSON object")
    return text


def write_recording(path: Path, header: Header, entries: Iterable[Entry]) -> int:
    """Write a recording, gzipped where the name ends in .gz, and return how many entries it has.

    Every line is held against the reader before it is written. Raises RecordingError for the first that the reader
    would refuse, and where the file cannot be written; whatever was at `path` is then still there.
    """
    parser = EntryParser()
    number = 1
    try:
        with _sink(path) as file:
            file.write(_checked(header_line(header), parse_header))
            for entry in entries:
                number += 1
                file.write(_checked(entry_line(entry), parser.parse))
    except FieldError as error:
        raise RecordingError(str(path), number, str(error)) from None
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be written ({error.strerror}), expected a writable file") from None
    return number - 1


@contextmanager
def _sink(path: Path) -> Iterator[gzip.GzipFile | BufferedWriter]:
    """Give a file to write to, which takes its name only once all has been written."""
    partial = path.with_name(path.name + ".partial")
    try:
        create_private(partial)
        with partial.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _checked(line: JsonObject, read: Callable[[str], object]) -> bytes:
    text = json.dumps(line, separators=(",", ":"))
    read(text)
    return text.encode() + b"\n"
