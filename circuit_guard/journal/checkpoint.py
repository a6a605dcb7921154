"""Checkpoints: a copy of the state at one instant, and the form in which it is stored with its policy.

The copy is cheap enough to be made between two inputs: the types say what can change. They are looked at once, not the
tens of thousands of values each time.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from operator import methodcaller
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from circuit_guard.core.state import GuardState
from circuit_guard.journal.codec import decode_as, encoded_parts
from circuit_guard.journal.record import CheckpointContent, CheckpointNote, PackedCheckpoint

_COMPRESSION = 6
_PACKED_AT_ONCE = 65_536
STATE_BYTES_MAX = 256 * 1024 * 1024
"""The longest state that is read: a thousand markets take a tenth of it."""


class Checkpoint(NamedTuple):
    """A checkpoint of the journal. To go on from it, apply the inputs after record `covers`."""

    sequence: int
    at_ns: int
    name: str
    """Empty for those made by the clock."""
    covers: int
    digest: str
    text: str | None
    """The encoded content; None where it was not asked for, or retention has dropped it."""

    def content(self) -> CheckpointContent:
        """Return state and policy. Raise CodecError if another version wrote them, ValueError if they are not here."""
        if self.text is None:
            raise ValueError(f"the state of checkpoint {self.sequence} is not here")
        return decode_as(CheckpointContent, self.text)


def pack(content: CheckpointContent, covers: int) -> PackedCheckpoint:
    """Return the content of a checkpoint as it is stored. Takes a few hundred milliseconds."""
    digest, packer, packed, waiting = sha256(), zlib.compressobj(_COMPRESSION), [], bytearray()

    def take() -> None:
        digest.update(waiting)
        packed.append(packer.compress(waiting))
        waiting.clear()

    for part in encoded_parts(content):
        waiting += part
        if len(waiting) >= _PACKED_AT_ONCE:
            take()
    take()
    return PackedCheckpoint(CheckpointNote(covers, digest.hexdigest()), b"".join([*packed, packer.flush()]))


def unpack_text(body: object, digest: str) -> str | None:
    """Return the text of a stored state; None where it is not the one that the digest is of.

    Raise ValueError where it inflates to more than any state has.
    """
    if not isinstance(body, bytes):
        return None
    inflating = zlib.decompressobj()
    try:
        text = inflating.decompress(body, STATE_BYTES_MAX + 1)
    except zlib.error:
        return None
    if len(text) > STATE_BYTES_MAX:
        raise ValueError(f"its state inflates to more than {STATE_BYTES_MAX} bytes")
    if not inflating.eof:
        return None
    return text.decode() if sha256(text).hexdigest() == digest else None


Copier = Callable[[Any], Any]

_PARAMETERS = "__dataclass_params__"


def copied(state: GuardState) -> GuardState:
    """Return a copy that later changes of the state do not reach.

    What can change is copied; frozen dataclasses and tuples are values, and are shared.
    """
    twin: GuardState = _COPY(state)
    return twin


@cache
def _copier_of(hint: Any) -> Copier | None:
    """Return the function that copies what a type holds; None where that cannot change. Raise TypeError if unknown."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        [kind] = (kind for kind in arguments if kind is not NoneType)
        copy = _copier_of(kind)
        return None if copy is None else lambda value: None if value is None else copy(value)
    if origin in (dict, OrderedDict, deque, list):
        copy_item = _copier_of(arguments[-1])
        if copy_item is None:
            return methodcaller("copy")
        if origin in (deque, list):
            return lambda value: origin(map(copy_item, value))
        return lambda value: origin((key, copy_item(item)) for key, item in value.items())
    if origin is set:
        return set.copy
    if origin not in (None, tuple, frozenset):
        raise TypeError(f"{hint} is a container that a checkpoint does not know how to copy")
    return _dataclass(hint) if is_dataclass(hint) and not getattr(hint, _PARAMETERS).frozen else None


def _dataclass(kind: Any) -> Copier:
    hints = get_type_hints(kind)
    parts = [(field.name, _copier_of(hints[field.name])) for field in fields(kind) if field.init]
    derived = [(field.name, field.default) for field in fields(kind) if not field.init]

    def copied(value: Any) -> Any:
        twin = object.__new__(kind)
        for name, copy in parts:
            item = getattr(value, name)
            setattr(twin, name, item if copy is None else copy(item))
        for name, nothing in derived:
            setattr(twin, name, nothing)
        return twin

    return copied


_COPY = _dataclass(GuardState)
