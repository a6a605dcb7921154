"""The dump of an exchange's state as a file, read strictly and written: JSON, or CSV.

    {"markets": [{"market": "BTC-USD-PERP", "event_time": "2026-11-22T22:30:00Z", "mark_price": "92600.1",
                  "index_price": "92610", "funding_index": "20511.93"}]}

A value that is null or empty was not given. Decimals are text or JSON numbers, and never pass through a float.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from circuit_guard.cli.output import CommandError, ExitCode
from circuit_guard.core.formatting import cell, format_time, from_cell
from circuit_guard.core.inputs import StateRow
from circuit_guard.errors import WireError, shown
from circuit_guard.journal.permissions import write_private
from circuit_guard.recording.format import EXPECTED_TIME, parse_time_ns
from circuit_guard.server.convert import fields
from circuit_guard.server.convert.requests import ROWS_MAX

BYTES_MAX = 16 * 1024 * 1024
STDIN = Path("-")
CSV_SUFFIX = ".csv"
VALUES = ("mark_price", "index_price", "funding_index")
EXCERPT_MAX = 60
KEYS = ("market", "event_time", *VALUES)


@dataclass(frozen=True, slots=True)
class _Item:
    """One market as the file has it, and where that is."""

    place: str
    path: str
    values: dict[str, object]


def read(file: Path) -> list[StateRow]:
    """Return the rows of a dump; `-` is JSON on standard input. Raise CommandError for the first thing wrong in it."""
    origin = "standard input" if file == STDIN else str(file)
    text = _text(file, origin)
    items = _csv_items(text, origin) if file.suffix.lower() == CSV_SUFFIX else _json_items(text, origin)
    rows: dict[str, StateRow] = {}
    for item in items:
        row = _row(item)
        if row.market in rows:
            _refuse(f"{item.place}: {item.path}market was {shown(row.market)}, expected each market once")
        rows[row.market] = row
        if len(rows) > ROWS_MAX:
            _refuse(f"{item.place}: expected at most {ROWS_MAX} markets in one dump")
    if not rows:
        _refuse(f"{origin}: has no market, expected at least one")
    return list(rows.values())


def write(rows: Iterable[StateRow], file: Path) -> None:
    """Write a dump that `read` reads, JSON or CSV by the name. Raise CommandError where it cannot be written."""
    dumped = [plain(row) for row in rows]
    if file.suffix.lower() == CSV_SUFFIX:
        text = io.StringIO()
        table = csv.DictWriter(text, KEYS, lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "market": cell(str(row["market"]))} for row in dumped)
        content = text.getvalue()
    else:
        content = json.dumps({"markets": dumped}, indent=2, ensure_ascii=False) + "\n"
    try:
        write_private(file, content)
    except OSError as error:
        _refuse(f"{file}: cannot be written ({error.strerror}), expected the name of a file in a folder that exists")


def plain(row: StateRow) -> dict[str, str | None]:
    """Return a row as a dump and the contract have it."""
    values = {key: getattr(row, key) for key in VALUES}
    given = {key: None if value is None else str(value) for key, value in values.items()}
    return {"market": row.market, "event_time": format_time(row.event_time_ns), **given}


def _text(file: Path, origin: str) -> str:
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(BYTES_MAX + 1)
    except OSError as error:
        _refuse(f"{origin}: cannot be read ({error.strerror}), expected a dump of the exchange's state")
    if len(data) > BYTES_MAX:
        _refuse(f"{origin}: is larger than {BYTES_MAX} bytes, expected at most {ROWS_MAX} markets")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(f"{origin}:{line}: is not UTF-8, expected UTF-8 text")


def _json_items(text: str, origin: str) -> Iterator[_Item]:
    try:
        document = json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=_constant, object_pairs_hook=_unique
        )
    except json.JSONDecodeError as error:
        _refuse(f"{origin}:{error.lineno}: is not JSON at column {error.colno} ({error.msg}), expected JSON")
    except (ValueError, RecursionError, ArithmeticError) as error:
        _refuse(f"{origin}: is not readable JSON ({error}), expected JSON")
    markets = document.get("markets") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(markets, list):
        _refuse(f'{origin}: was {_excerpt(document)}, expected {{"markets": [...]}} and nothing else')
    for number, values in enumerate(markets):
        path = f"markets[{number}]"
        if not isinstance(values, dict):
            _refuse(f"{origin}: {path} was {_excerpt(values)}, expected an object with {', '.join(KEYS)}")
        for key in values:
            if key not in KEYS:
                _refuse(f"{origin}: {path} has the key {shown(key)}, expected only {', '.join(KEYS)}")
        for key in KEYS:
            if key not in values:
                _refuse(f"{origin}: {path}.{key} is missing, expected it, with null for what is not given")
        yield _Item(origin, f"{path}.", values)


def _csv_items(text: str, origin: str) -> Iterator[_Item]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = [name.strip() for name in next(reader, [])]
        if sorted(heading) != sorted(KEYS):
            found = shown(",".join(heading))
            _refuse(f"{origin}:1: the heading was {found}, expected {','.join(KEYS)}, in any order")
        for cells in reader:
            place = f"{origin}:{reader.line_num}"
            if len(cells) != len(KEYS):
                _refuse(f"{place}: has {len(cells)} values, expected one for each of {', '.join(heading)}")
            values = dict(zip(heading, (value.strip() for value in cells), strict=True))
            yield _Item(place, "", {**values, "market": from_cell(values["market"])})
    except csv.Error as error:
        _refuse(f"{origin}:{reader.line_num}: is not CSV ({error}), expected comma-separated values")


def _row(item: _Item) -> StateRow:
    try:
        market = fields.market(_as_text(item, "market"), item.path[:-1], "market")
        event_time = _as_text(item, "event_time")
        event_time_ns = parse_time_ns(event_time)
        if event_time_ns is None:
            raise fields.error(item.path[:-1], "event_time", event_time, EXPECTED_TIME)
        return StateRow(market, event_time_ns, *(_decimal(item, key) for key in VALUES))
    except WireError as error:
        _refuse(f"{item.place}: {error}")


def _as_text(item: _Item, key: str) -> str:
    value = item.values[key]
    if isinstance(value, str):
        return value
    raise fields.error(item.path[:-1], key, _excerpt(value), "text")


def _decimal(item: _Item, key: str) -> Decimal | None:
    value = item.values[key]
    if value is None:
        return None
    if not isinstance(value, str | Decimal):
        raise fields.error(item.path[:-1], key, _excerpt(value), "a decimal as text or as a number, or null")
    return fields.decimal(str(value), item.path[:-1], key)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a JSON object; json alone would keep the last of two equal keys and say nothing."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {shown(twice[0])} stands twice in one object")
    return dict(pairs)


def _constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is no JSON: write it as text, "{name}", and the guard judges it')


def _excerpt(value: object) -> str:
    """Return a value as JSON has it, cut to a readable length."""
    text = str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)
    return text if len(text) <= EXCERPT_MAX else text[: EXCERPT_MAX - 3] + "..."


def _refuse(message: str) -> NoReturn:
    raise CommandError(message, ExitCode.BAD_INPUT)
