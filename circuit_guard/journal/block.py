"""Many records in few bytes, exactly: what a block decodes to is what was put in, character by character.

Each payload is cut into the numbers in it and the text between them. Payloads with equal text between, such as the
observations of one market, form a table whose columns are stored by `columns`; what is like nothing else is kept as it
is, one text after the other. Nothing here knows what a payload means.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import Any

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

BLOCK_VERSION = 2
_READ = frozenset({1, BLOCK_VERSION})
"""In version 1 a payload that none is like was a table of its own."""

_NUMBER = re.compile(r"((?:-(?=(?:0\.0{0,39})?[1-9]))?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?)")
"""A number that its value and its count of decimals give back: no leading zeros, and no sign where it is zero."""

_DECOMPRESSION = [{"id": lzma.FILTER_LZMA2, "preset": 6, "pb": 0, "lp": 0, "lc": 3}]
_COMPRESSION = [_DECOMPRESSION[0] | {"preset": 1, "dict_size": 2**20}]
"""Looking back further than a block is long takes 90 MB while one is made, and a higher preset twice the time for one
byte in twenty. Older blocks were made so."""
_NONE: list[str] = []
_BEGINNING = 12
"""By so many characters of their payloads the records of one kind and scope are told apart."""
_OWN_SHAPES = 4
"""Where so many of them have each had a shape of its own, the rest are not cut up: ids of which no two are alike."""

Table = tuple[str, str, tuple[str, ...] | None]
"""Kind, scope, and the text between the numbers; None where payloads are kept as they are."""


def pack(records: Sequence[Record]) -> bytes:
    """Return records as a block."""
    tables, numbers = _cut(records)
    _keep_whole(tables)
    members = [0] * len(records)
    planes = Planes()
    columns: list[list[Meta]] = []
    texts: list[str] = []
    for member, (table, indices) in enumerate(tables.items()):
        for index in indices:
            members[index] = member
        if table[2] is None:
            texts += [records[index].payload for index in indices]
            columns.append([])
            continue
        times = [records[index].at_ns for index in indices]
        rows = zip(*(numbers[index] for index in indices), strict=True)
        columns.append([put_decimals(row, times, _role(table, place), planes) for place, row in enumerate(rows)])
    head = [
        _put_own([record.sequence for record in records], "s", planes),
        _put_own([record.at_ns for record in records], "t", planes),
        _put_own(members, "m", planes),
    ]
    if texts:
        head.append(_put_own([len(text) for text in texts], "x", planes))
    header = {"version": BLOCK_VERSION, "count": len(records), "texts": len(texts), "head": head}
    return _compressed(header | {"tables": list(tables), "columns": columns}, planes, "".join(texts))


def unpack(data: bytes) -> list[Record]:
    """Return the records of a block whose bytes are known to be whole."""
    header, planes, text = _decompressed(data)
    count: int = header["count"]
    sequences, at, members = (
        take_numbers(meta, None, role, planes, count)
        for meta, role in zip(header["head"][:3], ("s", "t", "m"), strict=True)
    )
    texts = _texts(header, planes, text)
    times_of: list[list[int]] = [[] for _ in header["tables"]]
    for member, at_ns in zip(members, at, strict=True):
        times_of[member].append(at_ns)
    payloads = [
        _payloads((kind, scope, between), metas, times, planes, texts)
        for (kind, scope, between), metas, times in zip(header["tables"], header["columns"], times_of, strict=True)
    ]
    kinds = [(Kind(kind), scope) for kind, scope, _ in header["tables"]]
    return [
        Record(sequence, kinds[member][0], at_ns, kinds[member][1], next(payloads[member]))
        for sequence, at_ns, member in zip(sequences, at, members, strict=True)
    ]


def _cut(records: Sequence[Record]) -> tuple[dict[Table, list[int]], list[list[str]]]:
    """Return which records belong to each table, and the numbers in each record."""
    tables: dict[Table, list[int]] = {}
    numbers: list[list[str]] = []
    own_shapes: dict[tuple[str, str, str], int] = {}
    for index, record in enumerate(records):
        kind, scope, payload = record.kind.value, record.scope, record.payload
        alike = (kind, scope, payload[:_BEGINNING])
        own = own_shapes.get(alike, 0)
        if own >= _OWN_SHAPES:
            tables.setdefault((kind, scope, None), []).append(index)
            numbers.append(_NONE)
            continue
        parts = _NUMBER.split(payload)
        table = (kind, scope, tuple(parts[::2]))
        own_shapes[alike] = -len(records) if table in tables else own + 1  # less than nothing: shapes repeat
        tables.setdefault(table, []).append(index)
        numbers.append(parts[1::2])
    return tables, numbers


def _keep_whole(tables: dict[Table, list[int]]) -> None:
    """Put records that nothing is like with the others of their kind and scope that are kept as they are."""
    for kind, scope, between in [table for table, indices in tables.items() if len(indices) == 1]:
        if between is not None:
            tables.setdefault((kind, scope, None), []).extend(tables.pop((kind, scope, between)))
    for (_, _, between), indices in tables.items():
        if between is None:
            indices.sort()


def _texts(header: dict[str, Any], planes: PlaneReader, text: str) -> Iterator[str]:
    """Return the payloads that are kept as they are."""
    if not header.get("texts"):
        return iter(())
    ends = accumulate(take_numbers(header["head"][3], None, "x", planes, header["texts"]), initial=0)
    return iter([text[start:end] for start, end in pairwise(ends)])


def _payloads(
    table: Table, metas: list[Meta], times: list[int], planes: PlaneReader, texts: Iterator[str]
) -> Iterator[str]:
    """Return the payloads of one table. They are taken out at once: planes and texts go on to the next table."""
    if table[2] is None:
        return iter(list(islice(texts, len(times))))
    columns = [take_decimals(meta, times, _role(table, index), planes) for index, meta in enumerate(metas)]
    if not columns:
        return iter([table[2][0]] * len(times))
    between = [part.replace("%", "%%") for part in table[2]]
    form = "%s".join(between)
    return map(form.__mod__, zip(*columns, strict=True))


def _put_own(numbers: list[int], role: str, planes: Planes) -> Meta:
    return put_numbers(numbers, None, role, planes)


def _role(table: Table, index: int) -> str:
    """Return where a column belongs: with the same column of the other tables of its shape."""
    return f"{table[0]} {len(table[2] or ())} {index}"


def _compressed(header: dict[str, Any], planes: Planes, texts: str) -> bytes:
    sections = planes.sections()
    header["sections"] = [[role, plane, len(data)] for role, plane, data in sections]
    text = json.dumps(header, separators=(",", ":")).encode()
    parts = [len(text).to_bytes(8, "big"), text, *(data for _, _, data in sections), texts.encode()]
    return lzma.compress(b"".join(parts), format=lzma.FORMAT_RAW, filters=_COMPRESSION)


def _decompressed(data: bytes) -> tuple[dict[str, Any], PlaneReader, str]:
    content = lzma.decompress(data, format=lzma.FORMAT_RAW, filters=_DECOMPRESSION)
    end = 8 + int.from_bytes(content[:8], "big")
    header = json.loads(content[8:end])
    if header["version"] not in _READ:
        raise ValueError(f"a block was of version {header['version']}, expected one of {sorted(_READ)}")

    def sections() -> Iterator[tuple[str, int, bytes]]:
        start = end
        for role, plane, size in header["sections"]:
            yield role, plane, content[start : start + size]
            start += size

    texts = content[end + sum(size for _, _, size in header["sections"]) :].decode()
    return header, PlaneReader(sections()), texts
