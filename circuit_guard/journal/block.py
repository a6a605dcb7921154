"""Many records in few bytes, exactly: what a block decodes to is what was put in, character by character.

Each payload is cut into the numbers in it and the text between them. Payloads with equal text between, such as the
observations of one market, form a table whose columns are stored by `columns`. Nothing here knows what a payload means.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from circuit_guard.journal.columns import (
    Meta,
    PlaneReader,
    Planes,
    put_decimals,
    put_numbers,
    take_decimals,
    take_numbers,
)
from circuit_guard.journal.record import Kind, Record

T = TypeVar("T")

BLOCK_VERSION = 1

_NUMBER = re.compile(r"((?:-(?=(?:0\.0{0,39})?[1-9]))?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?)")
"""A number that its value and its count of decimals give back: no leading zeros, and no sign where it is zero."""

_DECOMPRESSION = [{"id": lzma.FILTER_LZMA2, "preset": 6, "pb": 0, "lp": 0, "lc": 3}]
_COMPRESSION = [_DECOMPRESSION[0] | {"preset": 1, "dict_size": 2**20}]
"""Looking back further than a block is long takes 90 MB while one is made, and a higher preset twice the time for one
byte in twenty. Older blocks were made so."""
_BREATH = 64
_BEGINNING = 12
"""By so many characters of their payloads the records of one kind and scope are told apart."""
_OWN_SHAPES = 4
"""Where so many of them have each had a shape of its own, the rest are not cut up: ids of which no two are alike."""

Table = tuple[str, str, tuple[str, ...]]
"""Kind, scope, and the text between the numbers."""


def pack(records: Sequence[Record], breathe: Callable[[], None] = lambda: None) -> bytes:
    """Return records as a block. `breathe` is called every few hundred microseconds: other threads wait meanwhile."""
    tables: dict[Table, int] = {}
    members: list[int] = []
    rows: list[tuple[list[list[str]], list[int]]] = []
    own_shapes: dict[tuple[str, str, str], int] = {}
    for record in _breathing(breathe, records):
        alike = (record.kind.value, record.scope, record.payload[:_BEGINNING])
        own = own_shapes.get(alike, 0)
        parts = _NUMBER.split(record.payload) if own < _OWN_SHAPES else [record.payload]
        table = (record.kind.value, record.scope, tuple(parts[::2]))
        member = tables.setdefault(table, len(tables))
        if member == len(rows):
            rows.append(([], []))
            own_shapes[alike] = own + 1
        elif own < _OWN_SHAPES:
            own_shapes[alike] = -len(records)  # shapes repeat
        members.append(member)
        numbers, times = rows[member]
        numbers.append(parts[1::2])
        times.append(record.at_ns)
    planes = Planes()
    at = [record.at_ns for record in records]
    head: list[Meta] = [_put_own([record.sequence for record in records], "s", planes), _put_own(at, "t", planes)]
    head.append(_put_own(members, "m", planes))
    columns: list[list[Meta]] = []
    shapes: list[Table] = []
    for table, (numbers, times) in zip(tables, rows, strict=True):
        if len(numbers) > 1 or not len(shapes) % _BREATH:
            breathe()
        if len(numbers) == 1:
            shapes.append(_whole(table, numbers[0]))
            columns.append([])
            continue
        shapes.append(table)
        columns.append([put_decimals(column, times, _role(table, index), planes) for index, column in _turned(numbers)])
    header = {"version": BLOCK_VERSION, "count": len(records), "head": head, "tables": shapes, "columns": columns}
    return _compressed(header, planes)


def unpack(data: bytes, breathe: Callable[[], None] = lambda: None) -> list[Record]:
    """Return the records of a block whose bytes are known to be whole. `breathe` is called as by `pack`."""
    header, planes = _decompressed(data)
    count: int = header["count"]
    sequences, at, members = (
        take_numbers(meta, None, role, planes, count)
        for meta, role in zip(header["head"], ("s", "t", "m"), strict=True)
    )
    times_of: list[list[int]] = [[] for _ in header["tables"]]
    for member, at_ns in zip(members, at, strict=True):
        times_of[member].append(at_ns)
    payloads = [
        _payloads((kind, scope, tuple(between)), metas, times, planes)
        for (kind, scope, between), metas, times in _breathing(
            breathe, zip(header["tables"], header["columns"], times_of, strict=True)
        )
    ]
    kinds = [(Kind(kind), scope) for kind, scope, _ in header["tables"]]
    return [
        Record(sequence, kinds[member][0], at_ns, kinds[member][1], next(payloads[member]))
        for sequence, at_ns, member in zip(sequences, at, members, strict=True)
    ]


def _breathing(breathe: Callable[[], None], items: Iterable[T]) -> Iterator[T]:
    for count, item in enumerate(items):
        if not count % _BREATH:
            breathe()
        yield item


def _payloads(table: Table, metas: list[Meta], times: list[int], planes: PlaneReader) -> Iterator[str]:
    """Return the payloads of one table. Its columns are taken out at once: the planes go on to the next table."""
    columns = [take_decimals(meta, times, _role(table, index), planes) for index, meta in enumerate(metas)]
    if not columns:
        return iter([table[2][0]] * len(times))
    between = [part.replace("%", "%%") for part in table[2]]
    form = "%s".join(between)
    return map(form.__mod__, zip(*columns, strict=True))


def _whole(table: Table, numbers: list[str]) -> Table:
    """Return the table of a single payload as one without columns: ids make each decision a shape of its own."""
    kind, scope, between = table
    return kind, scope, ("".join(map("".join, zip_longest(between, numbers, fillvalue=""))),)


def _put_own(numbers: list[int], role: str, planes: Planes) -> Meta:
    return put_numbers(numbers, None, role, planes)


def _turned(rows: list[list[str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    return enumerate(zip(*rows, strict=True))


def _role(table: Table, index: int) -> str:
    """Return where a column belongs: with the same column of the other tables of its shape."""
    return f"{table[0]} {len(table[2])} {index}"


def _compressed(header: dict[str, object], planes: Planes) -> bytes:
    sections = planes.sections()
    header["sections"] = [[role, plane, len(data)] for role, plane, data in sections]
    text = json.dumps(header, separators=(",", ":")).encode()
    parts = [len(text).to_bytes(8, "big"), text, *(data for _, _, data in sections)]
    return lzma.compress(b"".join(parts), format=lzma.FORMAT_RAW, filters=_COMPRESSION)


def _decompressed(data: bytes) -> tuple[dict[str, Any], PlaneReader]:
    content = lzma.decompress(data, format=lzma.FORMAT_RAW, filters=_DECOMPRESSION)
    end = 8 + int.from_bytes(content[:8], "big")
    header = json.loads(content[8:end])
    if header["version"] != BLOCK_VERSION:
        raise ValueError(f"a block was of version {header['version']}, expected {BLOCK_VERSION}")

    def sections() -> Iterator[tuple[str, int, bytes]]:
        start = end
        for role, plane, size in header["sections"]:
            yield role, plane, content[start : start + size]
            start += size

    return header, PlaneReader(sections())
