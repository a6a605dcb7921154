"""Rows of a CSV or Parquet file, every value as text, so that one strict parser judges both."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from circuit_guard.errors import RecordingError

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})

Row = tuple[int, dict[str, object]]
"""The row's number, and its values by column name in lower case. In a CSV file the heading is row 1."""


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the named columns of every row; others are passed over. Raises RecordingError."""
    rows = _parquet_rows(path, columns) if path.suffix.lower() in PARQUET_SUFFIXES else _csv_rows(path, columns)
    try:
        yield from rows
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}), expected a readable file"
        raise RecordingError(str(path), 0, problem) from None


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            places = _places(path, next(reader, []), columns)
            for values in reader:
                if len(values) <= max(places.values()):
                    problem = f"has {len(values)} values, expected one for each of the columns {', '.join(columns)}"
                    raise RecordingError(str(path), reader.line_num, problem)
                yield reader.line_num, {column: values[place].strip() for column, place in places.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            problem = f"is not CSV in UTF-8 ({error}), expected comma-separated values"
            raise RecordingError(str(path), reader.line_num + 1, problem) from None


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        problem = "needs the extra `parquet` (pip install circuit-guard[parquet]), or expected a CSV file"
        raise RecordingError(str(path), 0, problem) from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        places = _places(path, file.schema_arrow.names, columns)
        names = {column: file.schema_arrow.names[place] for column, place in places.items()}
        number = 0
        for batch in file.iter_batches(columns=list(names.values())):
            for values in batch.to_pylist():
                number += 1
                yield number, {column: _text(values[name]) for column, name in names.items()}
    except (pyarrow.ArrowException, ValueError) as error:
        raise RecordingError(str(path), 0, f"is not readable Parquet ({error}), expected a Parquet file") from None


def _places(path: Path, heading: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    """Return where each column stands, whatever the case of its name."""
    names = [name.strip().lower() for name in heading]
    for column in columns:
        if names.count(column) != 1:
            problem = f"has {names.count(column)} columns named {column!r}, expected one each of {', '.join(columns)}"
            raise RecordingError(str(path), 1, problem)
    return {column: names.index(column) for column in columns}


def _text(value: object) -> object:
    """Return a Parquet value as CSV would hold it; a missing one stays None."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return None if value is None else str(value)
