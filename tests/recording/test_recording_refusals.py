"""Every way in which a line can be wrong, and the sentence it is refused with."""

from __future__ import annotations

import copy
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.errors import RecordingError
from circuit_guard.recording.file import LINE_BYTES_MAX, read_recording
from circuit_guard.recording.format import LabelledCheck

HEADER = {
    "circuit_guard_recording": 1,
    "description": "a test",
    "funding_period_s": 28800,
    "funding_gap_mode": "accrue",
    "markets": {"BTC-USD-PERP": {"max_funding_rate": "0.02"}},
}
AT = "2026-01-19T04:30:00.250Z"
LINES: dict[str, dict[str, Any]] = {
    "observation": {
        "at": AT,
        "observation": {
            "market": "BTC-USD-PERP",
            "source": "exchange",
            "epoch": 1,
            "feed_sequence": 7,
            "event_time": "2026-01-19T04:30:00Z",
            "mark_price": "92600.1",
            "funding_index": "20511.93",
        },
    },
    "reference": {
        "at": AT,
        "reference": {"market": "BTC-USD-PERP", "source": "binance", "event_time": AT, "price": "92605.5"},
    },
    "phase": {"at": AT, "phase": {"phase": "POST_ONLY", "markets": []}},
    "check": {
        "at": AT,
        "check": {
            "request_id": "r-1",
            "account_id": "a-1",
            "market": "BTC-USD-PERP",
            "size": "-0.5",
            "execution_price": "92600",
            "basis": {"mark_price": "92600", "funding_index": "0"},
            "account": {
                "collateral": "1000",
                "positions": [
                    {
                        "market": "BTC-USD-PERP",
                        "size": "0.5",
                        "entry_price": "92000",
                        "cached_funding_index": "20500",
                        "maintenance_margin_fraction": "0.01",
                    }
                ],
            },
        },
        "label": "wrongful",
        "loss": "1042.17",
    },
    "fault": {"at": AT, "fault": {"kind": "reset", "markets": ["BTC-USD-PERP"], "until": "2026-01-19T05:00:00Z"}},
}
REMOVED = object()

DECIMAL = 'a decimal as a string, such as "92600.1", of at most 40 digits and within 1e-30 .. 1e30'
TIME = 'a time in UTC as RFC 3339, such as "2026-01-19T04:30:00.250Z", with at most 9 decimals of a second'
NAME = "a string of 1 to 128 printable characters"
INTEGER = "a whole number from 0 to 2^63-1"
NAMES = f"a list of different names, each {NAME}"
KINDS = "observation, reference, phase, check, fault"
PHASES = "one of OPEN, POST_ONLY, CANCEL_ONLY, MAINTENANCE"


def changed(kind: str, path: str, value: object) -> str:
    """Return the valid line of a kind with one field set to a value, or removed."""
    line = copy.deepcopy(LINES[kind])
    *parents, key = [int(part) if part.isdigit() else part for part in path.split(".")]
    body: Any = line
    for parent in parents:
        body = body[parent]
    if value is REMOVED:
        del body[key]
    else:
        body[key] = value
    return json.dumps(line)


def problem(tmp_path: Path, *lines: str) -> str:
    """Return why a recording of these lines after a good header is refused."""
    return problem_of(tmp_path, "\n".join([json.dumps(HEADER), *lines]).encode())


def problem_of(tmp_path: Path, content: bytes, name: str = "recording.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError) as raised:
        list(read_recording(path).entries())
    message = str(raised.value)
    assert message.startswith(f"{path}")
    return message.removeprefix(str(path))


@pytest.mark.parametrize("kind", LINES)
def test_reader_when_line_is_valid_then_accepts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join([json.dumps(HEADER), json.dumps(LINES[kind])]))
    assert len(list(read_recording(path).entries())) == 1


POSITION = "check.account.positions.0"
FRACTION = f"{POSITION}.maintenance_margin_fraction"
AMOUNT = f"{POSITION}.maintenance_margin"

VALUES = [
    ("observation", "at", REMOVED, f"at is missing, expected {TIME}"),
    ("observation", "at", 1768797000, f"at was 1768797000, expected {TIME}"),
    ("observation", "at", "", f'at was "", expected {TIME}'),
    ("observation", "at", "2026-01-19T04:30:00", f'at was "2026-01-19T04:30:00", expected {TIME}'),
    ("observation", "at", "2026-01-19 04:30:00Z", f'at was "2026-01-19 04:30:00Z", expected {TIME}'),
    ("observation", "at", "2026-01-19T04:30:00+01:00", f'at was "2026-01-19T04:30:00+01:00", expected {TIME}'),
    ("observation", "at", "2026-02-30T04:30:00Z", f'at was "2026-02-30T04:30:00Z", expected {TIME}'),
    ("observation", "at", "2026-01-19T04:30:60Z", f'at was "2026-01-19T04:30:60Z", expected {TIME}'),
    ("observation", "at", "1969-12-31T23:59:59Z", f'at was "1969-12-31T23:59:59Z", expected {TIME}'),
    ("observation", "at", "2262-01-01T00:00:00Z", f'at was "2262-01-01T00:00:00Z", expected {TIME}'),
    ("observation", "at", "2026-01-19T04:30:00.Z", f'at was "2026-01-19T04:30:00.Z", expected {TIME}'),
    (
        "observation",
        "at",
        "2026-01-19T04:30:00.0123456789Z",
        f'at was "2026-01-19T04:30:00.0123456789Z", expected {TIME}',
    ),
    ("observation", "observation", [], "observation was [], expected a JSON object"),
    ("observation", "observation", None, "observation was null, expected a JSON object"),
    (
        "observation",
        "label",
        "genuine",
        '"label" is not a field, expected only at, observation',
    ),
    ("observation", "observation.market", REMOVED, f"observation.market is missing, expected {NAME}"),
    ("observation", "observation.market", "", f'observation.market was "", expected {NAME}'),
    ("observation", "observation.market", 7, f"observation.market was 7, expected {NAME}"),
    ("observation", "observation.market", "a\nb", f'observation.market was "a\\nb", expected {NAME}'),
    ("observation", "observation.market", "\ud800", f'observation.market was "\\ud800", expected {NAME}'),
    ("observation", "observation.market", "x" * 129, f'observation.market was "{"x" * 59}..., expected {NAME}'),
    ("observation", "observation.source", REMOVED, f"observation.source is missing, expected {NAME}"),
    ("observation", "observation.epoch", REMOVED, f"observation.epoch is missing, expected {INTEGER}"),
    ("observation", "observation.epoch", -1, f"observation.epoch was -1, expected {INTEGER}"),
    ("observation", "observation.epoch", True, f"observation.epoch was true, expected {INTEGER}"),
    ("observation", "observation.epoch", 1.0, f"observation.epoch was 1.0, expected {INTEGER}"),
    ("observation", "observation.epoch", "1", f'observation.epoch was "1", expected {INTEGER}'),
    ("observation", "observation.epoch", 2**63, f"observation.epoch was 9223372036854775808, expected {INTEGER}"),
    ("observation", "observation.feed_sequence", REMOVED, f"observation.feed_sequence is missing, expected {INTEGER}"),
    ("observation", "observation.feed_sequence", -7, f"observation.feed_sequence was -7, expected {INTEGER}"),
    ("observation", "observation.event_time", REMOVED, f"observation.event_time is missing, expected {TIME}"),
    ("observation", "observation.event_time", "now", f'observation.event_time was "now", expected {TIME}'),
    ("observation", "observation.mark_price", 92600.1, f"observation.mark_price was 92600.1, expected {DECIMAL}"),
    ("observation", "observation.mark_price", 92600, f"observation.mark_price was 92600, expected {DECIMAL}"),
    ("observation", "observation.mark_price", None, f"observation.mark_price was null, expected {DECIMAL}"),
    ("observation", "observation.mark_price", "", f'observation.mark_price was "", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "NaN", f'observation.mark_price was "NaN", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "sNaN", f'observation.mark_price was "sNaN", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "Infinity", f'observation.mark_price was "Infinity", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "1e999999", f'observation.mark_price was "1e999999", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "1e31", f'observation.mark_price was "1e31", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "1e-31", f'observation.mark_price was "1e-31", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "1_000", f'observation.mark_price was "1_000", expected {DECIMAL}'),
    ("observation", "observation.mark_price", " 1", f'observation.mark_price was " 1", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "1,5", f'observation.mark_price was "1,5", expected {DECIMAL}'),
    ("observation", "observation.mark_price", "٣", f'observation.mark_price was "\\u0663", expected {DECIMAL}'),
    (
        "observation",
        "observation.mark_price",
        "1." + "1" * 40,
        f'observation.mark_price was "1.{"1" * 40}", expected {DECIMAL}',
    ),
    (
        "observation",
        "observation.mark_prize",
        "1",
        (
            '"observation.mark_prize" is not a field, expected only epoch, event_time, feed_sequence, funding_index,'
            " funding_period_s, funding_premium, funding_rate, funding_rate_max, index_price, mark_price, market,"
            " source"
        ),
    ),
    ("reference", "reference.market", REMOVED, f"reference.market is missing, expected {NAME}"),
    ("reference", "reference.source", "", f'reference.source was "", expected {NAME}'),
    ("reference", "reference.event_time", REMOVED, f"reference.event_time is missing, expected {TIME}"),
    ("reference", "reference.price", REMOVED, f"reference.price is missing, expected {DECIMAL}"),
    ("reference", "reference.price", "-", f'reference.price was "-", expected {DECIMAL}'),
    (
        "reference",
        "reference.size",
        "1",
        '"reference.size" is not a field, expected only event_time, market, price, source',
    ),
    ("phase", "phase.phase", REMOVED, f"phase.phase is missing, expected {PHASES}"),
    ("phase", "phase.phase", "HALTED", f'phase.phase was "HALTED", expected {PHASES}'),
    ("phase", "phase.phase", "RECOVERING", f'phase.phase was "RECOVERING", expected {PHASES}'),
    ("phase", "phase.markets", "BTC-USD-PERP", f'phase.markets was "BTC-USD-PERP", expected {NAMES}'),
    ("phase", "phase.markets", ["A", "A"], f'phase.markets was ["A", "A"], expected {NAMES}'),
    ("phase", "phase.actor", "me", '"phase.actor" is not a field, expected only markets, phase'),
    ("check", "check.request_id", REMOVED, f"check.request_id is missing, expected {NAME}"),
    ("check", "check.account_id", "", f'check.account_id was "", expected {NAME}'),
    ("check", "check.market", REMOVED, f"check.market is missing, expected {NAME}"),
    ("check", "check.size", REMOVED, f"check.size is missing, expected {DECIMAL}"),
    ("check", "check.size", "0.00", 'check.size was "0.00", expected a signed amount in base units, not zero'),
    ("check", "check.execution_price", 1, f"check.execution_price was 1, expected {DECIMAL}"),
    ("check", "check.basis", "x", 'check.basis was "x", expected a JSON object'),
    ("check", "check.basis.mark_price", "", f'check.basis.mark_price was "", expected {DECIMAL}'),
    (
        "check",
        "check.basis.index",
        "1",
        '"check.basis.index" is not a field, expected only funding_index, mark_price',
    ),
    (
        "check",
        "check.kind",
        "SALE",
        'check.kind was "SALE", expected one of LIQUIDATION, AUTO_DELEVERAGE, INSURANCE_TRANSFER, TRIGGER, SETTLEMENT',
    ),
    ("check", "check.judge_anew", "true", 'check.judge_anew was "true", expected true or false'),
    ("check", "check.account", [], "check.account was [], expected a JSON object"),
    ("check", "check.account.collateral", REMOVED, f"check.account.collateral is missing, expected {DECIMAL}"),
    (
        "check",
        "check.account.positions",
        REMOVED,
        "check.account.positions is missing, expected a list of JSON objects",
    ),
    (
        "check",
        "check.account.positions.0",
        7,
        "check.account.positions was [7], expected a list of JSON objects",
    ),
    (
        "check",
        "check.account.positions.0.size",
        "0",
        'check.account.positions[0].size was "0", expected a signed amount in base units, not zero',
    ),
    (
        "check",
        FRACTION,
        "1.01",
        (
            'check.account.positions[0].maintenance_margin_fraction was "1.01", expected a share of the notional'
            " from 0 to 1"
        ),
    ),
    (
        "check",
        FRACTION,
        REMOVED,
        (
            "check.account.positions[0].maintenance_margin_fraction is missing, expected a share of the notional"
            " from 0 to 1, or maintenance_margin in its place"
        ),
    ),
    (
        "check",
        AMOUNT,
        "463",
        (
            'check.account.positions[0].maintenance_margin was "463", expected none where maintenance_margin_fraction'
            " is given"
        ),
    ),
    (
        "check",
        "check.account.positions.0.entry_price",
        REMOVED,
        f"check.account.positions[0].entry_price is missing, expected {DECIMAL}",
    ),
    (
        "check",
        "check.account.positions.0.leverage",
        "2",
        (
            '"check.account.positions[0].leverage" is not a field, expected only cached_funding_index, entry_price,'
            " maintenance_margin, maintenance_margin_fraction, market, size"
        ),
    ),
    ("check", "label", "maybe", 'label was "maybe", expected one of wrongful, genuine'),
    ("check", "label", None, "label was null, expected one of wrongful, genuine"),
    ("check", "loss", 1042.17, f"loss was 1042.17, expected {DECIMAL}"),
    ("check", "loss", "much", f'loss was "much", expected {DECIMAL}'),
    ("fault", "fault.kind", REMOVED, f"fault.kind is missing, expected {NAME}"),
    ("fault", "fault.markets", REMOVED, f"fault.markets is missing, expected {NAMES}"),
    (
        "fault",
        "fault.until",
        "2026-01-19T04:00:00Z",
        'fault.until was "2026-01-19T04:00:00Z", expected not before the fault\'s own time, 2026-01-19T04:30:00.25Z',
    ),
    ("fault", "tick", {}, '"tick" is not a field, expected only at, fault'),
    ("fault", "check", {}, f"holds check and fault of {KINDS}, expected exactly one"),
    ("fault", "fault", REMOVED, f"holds none of {KINDS}, expected exactly one"),
]


@pytest.mark.parametrize(("kind", "path", "value", "expected"), VALUES)
def test_reader_when_a_field_is_wrong_then_names_line_field_value_and_expected(
    tmp_path: Path, kind: str, path: str, value: object, expected: str
) -> None:
    assert problem(tmp_path, changed(kind, path, value)) == f":2: {expected}"


AMOUNTS = [
    ("-0.01", 'was "-0.01", expected an amount in quote currency, 0 or more'),
    ("", f'was "", expected {DECIMAL}'),
    ("NaN", f'was "NaN", expected {DECIMAL}'),
    ("Infinity", f'was "Infinity", expected {DECIMAL}'),
    ("1e31", f'was "1e31", expected {DECIMAL}'),
    (463, f"was 463, expected {DECIMAL}"),
    (None, f"was null, expected {DECIMAL}"),
]


def with_amount(amount: object) -> str:
    """Return the valid check with a maintenance margin in quote currency."""
    line = json.loads(changed("check", FRACTION, REMOVED))
    line["check"]["account"]["positions"][0]["maintenance_margin"] = amount
    return json.dumps(line)


@pytest.mark.parametrize(("amount", "expected"), AMOUNTS)
def test_reader_when_a_margin_amount_is_wrong_then_names_it(tmp_path: Path, amount: object, expected: str) -> None:
    path = "check.account.positions[0].maintenance_margin"
    assert problem(tmp_path, with_amount(amount)) == f":2: {path} {expected}"


@pytest.mark.parametrize("amount", ["0", "463.05", "1e30"])
def test_reader_when_a_margin_is_an_amount_then_there_is_no_fraction(tmp_path: Path, amount: str) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join([json.dumps(HEADER), with_amount(amount)]))
    [entry] = read_recording(path).entries()
    assert isinstance(entry, LabelledCheck)
    assert entry.check.account is not None
    [position] = entry.check.account.positions
    assert (position.maintenance_margin_fraction, position.maintenance_margin) == (Decimal(0), Decimal(amount))


HEADERS = [
    ("circuit_guard_recording", REMOVED, "circuit_guard_recording is missing, expected 1, the version of the format,"),
    ("circuit_guard_recording", 2, "circuit_guard_recording was 2, expected 1, the version of the format,"),
    ("circuit_guard_recording", True, "circuit_guard_recording was true, expected 1, the version of the format,"),
    ("description", 7, "description was 7, expected a string"),
    ("funding_period_s", 0, "funding_period_s was 0, expected whole seconds from 1 to 31622400"),
    ("funding_period_s", "28800", 'funding_period_s was "28800", expected whole seconds from 1 to 31622400'),
    ("funding_gap_mode", "skip", 'funding_gap_mode was "skip", expected one of accrue, freeze'),
    ("markets", [], "markets was [], expected a JSON object"),
    ("markets", {"": {}}, f'markets has the name "", expected {NAME}'),
    ("markets", {"A": "0.02"}, 'markets.A was "0.02", expected a JSON object'),
    ("markets", {"A": {"cap": "1"}}, '"markets.A.cap" is not a field, expected only max_funding_rate'),
    (
        "markets",
        {"A": {"max_funding_rate": 0.02}},
        f"markets.A.max_funding_rate was 0.02, expected {DECIMAL}",
    ),
    (
        "markets",
        {"A": {"max_funding_rate": "0"}},
        'markets.A.max_funding_rate was "0", expected a rate over 0',
    ),
    (
        "version",
        1,
        (
            '"version" is not a field, expected only circuit_guard_recording, description, funding_gap_mode,'
            " funding_period_s, markets"
        ),
    ),
]


@pytest.mark.parametrize(("key", "value", "expected"), HEADERS)
def test_reader_when_the_header_is_wrong_then_names_the_field(
    tmp_path: Path, key: str, value: object, expected: str
) -> None:
    header = {name: kept for name, kept in {**HEADER, key: value}.items() if kept is not REMOVED}
    assert problem_of(tmp_path, json.dumps(header).encode()).startswith(f":1: {expected}")


REFERENCE = json.dumps(LINES["reference"])
TEXTS = [
    ("", "is an empty line, expected one JSON object"),
    ("{", "is not JSON at column 2 (Expecting property name enclosed in double quotes), expected one JSON object"),
    ("[]", "was [], expected one JSON object"),
    (
        REFERENCE + " {}",
        f"has more after its JSON object at column {len(REFERENCE) + 1}, expected nothing after it",
    ),
    ('{"at": 1, "at": 2}', 'has the key "at" twice, expected each key once'),
    ('{"a": {"b": 1, "c": 2, "b": 3}}', 'has the key "b" twice, expected each key once'),
    ('{"at": NaN}', "holds NaN, expected decimals as strings and finite"),
    ('{"at": -Infinity}', "holds -Infinity, expected decimals as strings and finite"),
    ("[" * 100_000, "is nested too deeply, expected one JSON object of the format"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_reader_when_a_line_is_no_such_json_then_says_what_it_is(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text, REFERENCE) == f":2: {expected}"


def test_reader_when_a_number_has_too_many_digits_then_refuses(tmp_path: Path) -> None:
    assert problem(tmp_path, '{"at": ' + "9" * 5000 + "}").startswith(":2: is not readable JSON (")


def test_reader_when_time_goes_back_then_names_both_times(tmp_path: Path) -> None:
    earlier = changed("reference", "at", "2026-01-19T04:30:00.249999999Z")
    assert problem(tmp_path, REFERENCE, earlier) == (
        ':3: at was "2026-01-19T04:30:00.249999999Z", expected not before the line above it, 2026-01-19T04:30:00.25Z'
    )


def test_reader_when_only_some_observations_have_a_sequence_then_refuses(tmp_path: Path) -> None:
    line = json.loads(changed("observation", "observation.epoch", REMOVED))
    del line["observation"]["feed_sequence"]
    assert problem(tmp_path, json.dumps(line), changed("observation", "at", AT)) == (
        ":3: observation.epoch was 1, expected none, as the first observation of this recording has none"
    )


def test_reader_when_no_observation_has_a_sequence_then_counts(tmp_path: Path) -> None:
    line = json.loads(changed("observation", "observation.epoch", REMOVED))
    del line["observation"]["feed_sequence"]
    other = copy.deepcopy(line)
    other["observation"]["market"] = "ETH-USD-PERP"
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(map(json.dumps, [HEADER, line, other, line])))
    counted = [(o.market[:3], o.epoch, o.feed_sequence) for o in read_recording(path).entries()]  # type: ignore[union-attr]
    assert counted == [("BTC", 1, 1), ("ETH", 1, 1), ("BTC", 1, 2)]


def test_reader_when_a_line_is_huge_then_refuses(tmp_path: Path) -> None:
    huge = changed("reference", "reference.source", "x" * LINE_BYTES_MAX)
    assert problem(tmp_path, huge) == ":2: is longer than 1048576 bytes, expected one entry per line"


def test_reader_when_a_line_is_not_utf8_then_refuses(tmp_path: Path) -> None:
    content = json.dumps(HEADER).encode() + b"\n\xff\n"
    assert problem_of(tmp_path, content) == ":2: is not UTF-8 at byte 1, expected text in UTF-8"


def test_reader_when_the_file_is_empty_then_says_so(tmp_path: Path) -> None:
    expected = ':1: the file is empty, expected a header such as {"circuit_guard_recording": 1}'
    assert problem_of(tmp_path, b"") == expected
    assert problem_of(tmp_path, gzip.compress(b"")) == expected


def test_reader_when_the_file_is_not_there_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    with pytest.raises(RecordingError) as raised:
        read_recording(path)
    assert str(raised.value) == f"{path}: cannot be read (No such file or directory), expected a readable file"


def test_reader_when_gzip_is_cut_off_then_says_where(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join([json.dumps(HEADER), *[REFERENCE] * 500]).encode())
    message = problem_of(tmp_path, packed[:-20], "cut.jsonl.gz")
    assert message.endswith(": the gzip file is cut off here, expected a complete file")


def test_reader_when_gzip_is_damaged_then_says_so(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress("\n".join([json.dumps(HEADER), REFERENCE]).encode()))
    packed[-8] ^= 0xFF
    assert "the gzip file is damaged here (CRC check failed" in problem_of(tmp_path, bytes(packed))


def test_reader_when_gzip_has_another_name_then_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "recording.txt"
    path.write_bytes(gzip.compress("\n".join([json.dumps(HEADER), REFERENCE]).encode()))
    assert len(list(read_recording(path).entries())) == 1
