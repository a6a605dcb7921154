"""Records for other programs: JSON Lines to read and grep, Parquet to query."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.permissions import create_private
from circuit_guard.journal.record import Record

_ROWS_AT_A_TIME = 10_000


def json_line(record: Record) -> str:
    """Return a record as one line of JSON, without its end."""
    head = {"sequence": record.sequence, "kind": record.kind, "at_ns": record.at_ns, "scope": record.scope}
    return f'{json.dumps(head)[:-1]}, "value": {record.payload}}}'


def export_json_lines(records: Iterable[Record], path: Path) -> int:
    """Write a JSON Lines file and return how many records it has. Raise JournalUnusable where it cannot be written."""
    count = 0
    with _whole(path) as partial, partial.open("w", encoding="ascii") as file:
        for count, record in enumerate(records, start=1):  # noqa: B007  # the last count is wanted
            file.write(json_line(record) + "\n")
    return count


def export_parquet(records: Iterable[Record], path: Path) -> int:
    """Write a Parquet file and return how many records it has. Raise JournalUnusable where it cannot be written.

    Columns: sequence, kind, at (UTC, nanoseconds), scope, value (JSON as text).
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        remedy = "install the extra (pip install circuit-guard[parquet]), or export JSON Lines"
        raise JournalUnusable(path, "Parquet needs the extra `parquet`", remedy) from None
    schema = pyarrow.schema(
        [
            ("sequence", pyarrow.int64()),
            ("kind", pyarrow.string()),
            ("at", pyarrow.timestamp("ns", tz="UTC")),
            ("scope", pyarrow.string()),
            ("value", pyarrow.string()),
        ]
    )
    count, rest = 0, iter(records)
    with _whole(path) as partial, pyarrow.parquet.ParquetWriter(partial, schema) as file:
        while rows := list(islice(rest, _ROWS_AT_A_TIME)):
            columns = zip(*rows, strict=True)
            arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            file.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a file beside its place to write to; it takes its place only when it is whole."""
    partial = path.with_name(path.name + ".partial")
    try:
        create_private(partial)
        yield partial
        partial.replace(path)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise JournalUnusable(path, problem, "name a file in a directory with room that you may write to") from None
    finally:
        partial.unlink(missing_ok=True)
