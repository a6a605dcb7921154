"""Many records as few bytes: columns of numbers, predicted, so that only what no prediction says is left to compress.

A payload is cut into the numbers in it and the text between them. Payloads with equal text between, such as the
observations of one market, form a table. A column of it is the same number of successive payloads: a price, a sequence,
a time. It is predicted by the record's own time, by the number before, or by the number before plus the step before
that; whichever leaves least. The remainder is stored in one plane per byte, so that similar bytes are next to each
other. A payload that resembles no other is kept as it is. Nothing here knows what a payload means.

(zstandard and plain LZMA need twice the bytes, which is more than a day may have: docs/journal.md, Room.)
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from math import gcd
from typing import Any

from circuit_guard.journal.record import Kind, Record, of_taken

Meta = list[Any]
"""What JSON keeps of a column: how it was predicted and where it starts."""

_CONSTANT, _BY_TIME, _BY_LAST, _BY_STEP = range(4)
_NEAR_NS = 10**16
"""A whole number within this distance of a record's time is a time."""


_WORD = 8
"""Numbers of at most so many bytes, nearly all, are made bytes by the machine, many at a time."""


def _words(numbers: Sequence[int]) -> bytes:
    """Return whole numbers as 8 bytes each, the highest first."""
    words = array("Q", numbers)
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def _of_words(packed: bytes | bytearray) -> array[int]:
    """Return the numbers that `_words` made bytes of."""
    words = array("Q", packed)
    if sys.byteorder == "little":
        words.byteswap()
    return words


class Planes:
    """Bytes by role: columns of the same role, such as all mark prices, stand together."""

    def __init__(self) -> None:
        self._planes: dict[tuple[str, int], list[bytes]] = defaultdict(list)

    def put(self, role: str, residuals: Sequence[int]) -> int:
        """Take whole numbers, and return how many bytes each of them has."""
        folded = [number << 1 if number >= 0 else (-number << 1) - 1 for number in residuals]
        width = (max(folded, default=0).bit_length() + 7) // 8
        if not width:
            return 0
        wide = max(width, _WORD)
        packed = _words(folded) if wide == _WORD else b"".join([number.to_bytes(wide, "big") for number in folded])
        for plane in range(width):
            # Counted from the low end, so that the noisy bytes of all columns meet.
            self._planes[role, width - plane].append(packed[wide - width + plane :: wide])
        return width

    def sections(self) -> list[tuple[str, int, bytes]]:
        """Return role, plane and bytes of everything put."""
        return [(role, plane, b"".join(parts)) for (role, plane), parts in sorted(self._planes.items())]


class PlaneReader:
    """Takes out what was put into `Planes`, in the same order."""

    def __init__(self, sections: Iterator[tuple[str, int, bytes]]) -> None:
        self._planes = {(role, plane): memoryview(data) for role, plane, data in sections}

    def take(self, role: str, width: int, count: int) -> list[int]:
        """Return the next numbers of a role."""
        if not width:
            return [0] * count
        _require_small("bytes in a number", width, WIDTH_MAX)
        wide = max(width, _WORD)
        packed = bytearray(wide * count)
        for plane in range(width):
            data = self._planes[role, width - plane]
            packed[wide - width + plane :: wide] = data[:count]
            self._planes[role, width - plane] = data[count:]
        folded: Iterable[int] = (
            _of_words(packed)
            if wide == _WORD
            else (int.from_bytes(packed[start : start + wide], "big") for start in range(0, len(packed), wide))
        )
        return [-((number + 1) >> 1) if number & 1 else number >> 1 for number in folded]


def put_numbers(numbers: Sequence[int], times: Sequence[int] | None, role: str, planes: Planes) -> Meta:
    """Store whole numbers, whose records have these times if any, and return what is needed to get them back."""
    first = numbers[0]
    if numbers.count(first) == len(numbers):
        return [_CONSTANT, first]
    if times is not None and abs(first - times[0]) < _NEAR_NS:
        return [_BY_TIME, *_put([number - time for number, time in zip(numbers, times, strict=True)], role, planes)]
    steps = _steps(numbers)
    turns = _steps(steps)
    if len(steps) > 2 and sum(map(abs, turns)) < sum(map(abs, steps[1:])):
        return [_BY_STEP, *_put(turns, role, planes), first, steps[0]]
    return [_BY_LAST, *_put(steps, role, planes), first]


def take_numbers(meta: Meta, times: Sequence[int] | None, role: str, planes: PlaneReader, count: int) -> list[int]:
    """Return the numbers that `put_numbers` stored."""
    match meta:
        case [0, first]:
            return [first] * count
        case [1, divisor, width] if times is not None:
            residuals = _take(divisor, width, count, role, planes)
            return [residual + time for residual, time in zip(residuals, times, strict=True)]
        case [2, divisor, width, first]:
            return list(accumulate(_take(divisor, width, count - 1, role, planes), initial=first))
        case [3, divisor, width, first, step]:
            steps = accumulate(_take(divisor, width, count - 2, role, planes), initial=step)
            return list(accumulate(steps, initial=first))
    raise ValueError(f"a column was {meta}, expected one of the forms of this version")


def put_decimals(texts: Sequence[str], times: Sequence[int], role: str, planes: Planes) -> Meta:
    """Store numbers given as text, such as `92600.10`."""
    if texts.count(texts[0]) == len(texts):
        return [texts[0]]
    places = [len(text) - text.find(".") - 1 if "." in text else 0 for text in texts]
    most = max(places)
    whole = [int(text.replace(".", "")) for text in texts]
    if places.count(most) == len(places):
        return [most, put_numbers(whole, times, role, planes)]
    scaled = [number * 10 ** (most - few) for number, few in zip(whole, places, strict=True)]
    meta = put_numbers(scaled, times, role, planes)
    return [most, meta, put_numbers(places, None, role + ".", planes)]


def take_decimals(meta: Meta, times: Sequence[int], role: str, planes: PlaneReader) -> list[str]:
    """Return the texts that `put_decimals` stored."""
    if len(meta) == 1:
        return [meta[0]] * len(times)
    _require_small("decimals in a number", meta[0], PLACES_MAX)
    most, numbers = meta[0], take_numbers(meta[1], times, role, planes, len(times))
    if len(meta) == 2:
        return list(map(str, numbers)) if most == 0 else [_text(number, most) for number in numbers]
    places = take_numbers(meta[2], None, role + ".", planes, len(times))
    return [_text(number // 10 ** (most - few), few) for number, few in zip(numbers, places, strict=True)]


def _text(number: int, places: int) -> str:
    if not places:
        return str(number)
    digits = str(abs(number)).zfill(places + 1)
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _steps(numbers: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(numbers)]


def _put(residuals: list[int], role: str, planes: Planes) -> Meta:
    divisor = gcd(*residuals) or 1
    if divisor > 1:
        residuals = [residual // divisor for residual in residuals]
    return [divisor, planes.put(role, residuals)]


def _take(divisor: int, width: int, count: int, role: str, planes: PlaneReader) -> list[int]:
    residuals = planes.take(role, width, count)
    return residuals if divisor == 1 else [residual * divisor for residual in residuals]


INFLATED_BYTES_MAX = 192 * 1024 * 1024
RECORDS_MAX = 1_000_000
CELLS_MAX = 8_000_000
WIDTH_MAX = 64
PLACES_MAX = 80
"""What a block may hold. Those made now hold a tenth of it; one that was made to fill the memory is refused."""

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
"""Records of one kind and scope are told apart by this many characters of their payloads."""
_OWN_SHAPES = 4
"""Once this many of them each had a shape of its own, the rest are not cut up: their ids are all different."""
_OWN_SHAPES_TAKEN = 64
"""The same for market data that came together: a feeder sends many groups of markets in turn, each again and again."""

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
        put_numbers([record.sequence for record in records], None, "s", planes),
        put_numbers([record.at_ns for record in records], None, "t", planes),
        put_numbers(members, None, "m", planes),
    ]
    if texts:
        head.append(put_numbers([len(text) for text in texts], None, "x", planes))
    header = {"version": BLOCK_VERSION, "count": len(records), "texts": len(texts), "head": head}
    return _compressed(header | {"tables": list(tables), "columns": columns}, planes, "".join(texts))


def unpack(data: bytes) -> list[Record]:
    """Return the records of a block whose bytes are known to be whole."""
    header, planes, text = _decompressed(data)
    count: int = header["count"]
    _require_small("records", count, RECORDS_MAX)
    sequences, at, members = (
        take_numbers(meta, None, role, planes, count)
        for meta, role in zip(header["head"][:3], ("s", "t", "m"), strict=True)
    )
    texts = _texts(header, planes, text)
    times_of: list[list[int]] = [[] for _ in header["tables"]]
    for member, at_ns in zip(members, at, strict=True):
        times_of[member].append(at_ns)
    _require_small_tables(header["tables"], times_of)
    payloads = [
        _payloads((kind, scope, between), metas, times, planes, texts)
        for (kind, scope, between), metas, times in zip(header["tables"], header["columns"], times_of, strict=True)
    ]
    kinds = [(Kind(kind), scope) for kind, scope, _ in header["tables"]]
    return [
        Record(sequence, kinds[member][0], at_ns, kinds[member][1], next(payloads[member]))
        for sequence, at_ns, member in zip(sequences, at, members, strict=True)
    ]


def _require_small_tables(tables: list[list[Any]], times_of: list[list[int]]) -> None:
    """Refuse tables that say more than a block may hold: a short one that is repeated can be as long as one likes."""
    inflated = cells = 0
    for (_, _, between), times in zip(tables, times_of, strict=True):
        inflated += len(times) * sum(map(len, between or ()))
        cells += len(times) * len(between or ())
    _require_small("bytes in tables", inflated, INFLATED_BYTES_MAX)
    _require_small("numbers in tables", cells, CELLS_MAX)


def _require_small(what: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it has more {what} than the {most} that a block may have")


def _cut(records: Sequence[Record]) -> tuple[dict[Table, list[int]], list[list[str]]]:
    """Return which records belong to each table, and the numbers in each record."""
    tables: dict[Table, list[int]] = {}
    numbers: list[list[str]] = []
    own_shapes: dict[tuple[str, str, str], int] = {}
    for index, record in enumerate(records):
        kind, scope, payload = record.kind.value, record.scope, record.payload
        alike = (kind, scope, payload[:_BEGINNING])
        own = own_shapes.get(alike, 0)
        if own >= (_OWN_SHAPES_TAKEN if of_taken(record) else _OWN_SHAPES):
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
    inflating = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_DECOMPRESSION)
    content = inflating.decompress(data, INFLATED_BYTES_MAX + 1)
    _require_small("bytes inflated", len(content), INFLATED_BYTES_MAX)
    if not inflating.eof:
        raise ValueError("its end is missing")
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
