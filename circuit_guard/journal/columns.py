"""A column of numbers as few bytes: what is left after prediction, one plane a byte, so that like stands by like.

A column is the same number of successive similar texts: a price, a sequence, a time. It is predicted by the record's
own time, by the number before, or by the number before plus the step before that; whichever leaves least.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import gcd
from typing import Any

Meta = list[Any]
"""What JSON keeps of a column: how it was predicted and where it starts."""

_CONSTANT, _BY_TIME, _BY_LAST, _BY_STEP = range(4)
_NEAR_NS = 10**16
"""A whole number within this distance of a record's time is a time."""


class Planes:
    """Bytes by role: columns of the same role, such as all mark prices, stand together."""

    def __init__(self) -> None:
        self._planes: dict[tuple[str, int], list[bytes]] = defaultdict(list)

    def put(self, role: str, residuals: Sequence[int]) -> int:
        """Take whole numbers, and return how many bytes each of them has."""
        folded = [number << 1 if number >= 0 else (-number << 1) - 1 for number in residuals]
        width = (max(folded, default=0).bit_length() + 7) // 8
        packed = b"".join([number.to_bytes(width, "big") for number in folded]) if width else b""
        for plane in range(width):
            # Counted from the low end, so that the noisy bytes of all columns meet.
            self._planes[role, width - plane].append(packed[plane::width])
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
        packed = bytearray(width * count)
        for plane in range(width):
            data = self._planes[role, width - plane]
            packed[plane::width] = data[:count]
            self._planes[role, width - plane] = data[count:]
        folded = (int.from_bytes(packed[start : start + width], "big") for start in range(0, len(packed), width))
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
