"""What is written is what is read, to the byte and to the nanosecond."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Account, Check, PhaseCommand, Position, Reference
from circuit_guard.core.types import Phase
from circuit_guard.errors import RecordingError
from circuit_guard.recording.file import read_recording, write_recording
from circuit_guard.recording.format import Entry, Header, LabelledCheck, parse_decimal, parse_time_ns
from tests.recording.strategies import TIME_NS_MAX, decimals, headers, recordings


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(headers, recordings, st.sampled_from(["recording.jsonl", "recording.jsonl.gz"]))
def test_recording_when_written_then_reads_as_it_was(header: Header, entries: list[Entry], name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        assert write_recording(path, header, entries) == len(entries)
        recording = read_recording(path)
        assert recording.header == header
        assert repr(list(recording.entries())) == repr(entries)


@given(st.integers(min_value=0, max_value=TIME_NS_MAX))
def test_time_when_formatted_then_parses_to_the_same_nanosecond(at_ns: int) -> None:
    assert parse_time_ns(format_time(at_ns)) == at_ns


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2261, 12, 31)))  # noqa: DTZ001 - made UTC below
def test_time_when_parsed_then_agrees_with_the_standard_library(moment: datetime) -> None:
    utc = moment.replace(tzinfo=UTC)
    expected_ns = int(utc.replace(microsecond=0).timestamp()) * 1_000_000_000 + utc.microsecond * 1000
    assert parse_time_ns(utc.isoformat()) == expected_ns
    assert parse_time_ns(utc.isoformat().replace("+00:00", "Z")) == expected_ns


@given(decimals)
def test_decimal_when_printed_then_parses_to_the_same_digits(value: object) -> None:
    assert str(parse_decimal(str(value))) == str(value)


@given(st.text(max_size=20) | st.text("0123456789.eE+-_ nNaIif", max_size=12))
def test_decimal_when_parsed_then_is_finite_and_within_bounds(text: str) -> None:
    value = parse_decimal(text)
    assert value is None or (value.is_finite() and abs(value.adjusted()) <= 30 and text.isascii())


@given(st.text(max_size=40))
def test_time_when_text_is_arbitrary_then_never_raises(text: str) -> None:
    value = parse_time_ns(text)
    assert value is None or 0 <= value < 2**63


def test_gzip_when_written_twice_then_has_the_same_bytes(tmp_path: Path, story: tuple[Header, list[Entry]]) -> None:
    header, entries = story
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_recording(tmp_path / name, header, entries[:200])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).splitlines()) == 201


def test_writer_when_an_entry_cannot_be_read_again_then_refuses_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text("the old one")
    later = Reference(2, "A", "binance", 2, Decimal(1))
    with pytest.raises(RecordingError, match=r":3: at was .* expected not before the line above it"):
        write_recording(path, Header(), [later, replace(later, at_ns=1)])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("recording.jsonl", "the old one")]


def test_writer_when_a_phase_says_more_than_a_recording_holds_then_refuses(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected no actor, reason or rollback"):
        write_recording(tmp_path / "a.jsonl", Header(), [PhaseCommand(1, Phase.OPEN, rollback=True)])


def test_writer_when_a_margin_is_both_a_fraction_and_an_amount_then_refuses(tmp_path: Path) -> None:
    both = Position("A", Decimal(1), Decimal(1), Decimal(0), Decimal("0.01"), Decimal(5))
    check = Check(1, "r", "a", "A", Decimal(-1), account=Account(Decimal(1), (both,)))
    with pytest.raises(RecordingError, match=r'maintenance_margin was "5", expected none where'):
        write_recording(tmp_path / "a.jsonl", Header(), [LabelledCheck(check)])


def test_writer_when_the_folder_is_not_there_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"cannot be written \(No such file or directory\)"):
        write_recording(tmp_path / "none" / "a.jsonl", Header(), [])
