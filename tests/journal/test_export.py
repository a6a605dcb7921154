"""Records in other programs' formats: all of them, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from circuit_guard.core.inputs import Check
from circuit_guard.journal.codec import decode
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.export import export_json_lines, export_parquet
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Kind
from tests.core import world
from tests.journal.builders import keep, mixed, read, state
from tests.journal.conftest import Opened


@pytest.fixture(name="journal")
async def _journal(opened: Opened) -> Path:
    with opened() as journal:
        await keep(journal, mixed(100))
        await journal.checkpoint(state(20), world.policy(), 'before "it"')
    return opened.directory


def test_json_lines_when_exported_then_each_line_is_a_record(journal: Path, tmp_path: Path) -> None:
    records = read(journal)
    with JournalReader(journal) as reader:
        assert export_json_lines(reader.records(), tmp_path / "out.jsonl") == len(records)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [["sequence", "kind", "at_ns", "scope", "value"]] * len(records)
    for line, record in zip(lines, records, strict=True):
        assert tuple(line.values())[:4] == record[:4]
        assert line["value"] == json.loads(record.payload)
    assert isinstance(decode(json.dumps(lines[5]["value"])), Check)


def test_parquet_when_exported_then_each_row_is_a_record(journal: Path, tmp_path: Path) -> None:
    records = read(journal)
    with JournalReader(journal) as reader:
        kinds = (Kind.DECISION, Kind.CHECKPOINT)
        count = export_parquet(reader.records(kinds=kinds), tmp_path / "out.parquet")
    wanted = [record for record in records if record.kind in kinds]
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert count == len(wanted) == table.num_rows
    assert table.column("sequence").to_pylist() == [record.sequence for record in wanted]
    assert table.column("kind").to_pylist() == [record.kind.value for record in wanted]
    assert table.column("at").cast("int64").to_pylist() == [record.at_ns for record in wanted]
    assert table.column("scope").to_pylist() == [record.scope for record in wanted]
    assert table.column("value").to_pylist() == [record.payload for record in wanted]


@pytest.mark.parametrize("export", [export_json_lines, export_parquet])
def test_export_when_it_cannot_be_written_then_nothing_is_left_behind(export: object, tmp_path: Path) -> None:
    assert callable(export)
    with pytest.raises(JournalUnusable, match=r"cannot be written \(.*\); name a file in a directory"):
        export([], tmp_path / "absent" / "out")
    assert list(tmp_path.iterdir()) == []
