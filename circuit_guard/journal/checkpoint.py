"""Checkpoints: a copy of the state at one instant, and the form in which it is stored with its policy.

The types say what can change, and so has to be copied: they are looked at once, not the tens of thousands of values
each time. Still, a thousand markets take 100 ms. So a `Snapshot` copies a few of them at a time while inputs go on.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import sha256
from itertools import islice
from operator import methodcaller
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from circuit_guard.core.market import MarketState
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


def _dataclass(kind: Any, left_out: str = "") -> Copier:
    hints = get_type_hints(kind)
    parts = [
        (field.name, _copier_of(hints[field.name])) for field in fields(kind) if field.init and field.name != left_out
    ]
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
_COPY_ALL_BUT_MARKETS = _dataclass(GuardState, "markets")
_COPY_MARKET = _dataclass(MarketState)


class Snapshot:
    """The state as it is now, though it goes on: a market is copied before anything can change it.

    Whatever changes a market reaches it through `state.markets`. Until all are copied that is a dict which first copies
    what is taken out of it. What belongs to no market is copied at once. `close` it, and do so before the next one.
    """

    def __init__(self, state: GuardState) -> None:
        self._state = state
        self._twin: GuardState = _COPY_ALL_BUT_MARKETS(state)
        self._markets = state.markets = _CopiedFirst(state.markets)

    def copy_some(self, most: int) -> bool:
        """Copy as many of the markets that are left; return whether there are more."""
        markets = self._markets
        for name in tuple(islice(markets.left, most)):
            markets.copy_first(name)
        return bool(markets.left)

    def whole(self) -> GuardState:
        """Copy what is left, and return the state as it was."""
        self.copy_some(len(self._markets.left))
        self._twin.markets = self._markets.copies
        return self._twin

    def close(self) -> None:
        """Copy nothing more: inputs need not wait for it any longer."""
        if self._state.markets is self._markets:
            self._state.markets = dict(dict.items(self._markets))


class _CopiedFirst(dict[str, MarketState]):
    """Markets, each of which is copied before it is given out.

    Nothing here refers back to it: the copy of a state in a cycle would stay in memory until garbage is looked for.
    """

    def __init__(self, markets: dict[str, MarketState]) -> None:
        super().__init__(markets)
        self.left = dict(markets)
        """The markets that are not copied yet. None of them has changed."""
        self.copies: dict[str, Any] = dict.fromkeys(markets)

    def copy_first(self, name: str) -> None:
        """Copy a market unless it is copied, or has come since."""
        market = self.left.pop(name, None)
        if market is not None:
            self.copies[name] = _COPY_MARKET(market)

    def __getitem__(self, name: str) -> MarketState:
        self.copy_first(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, market: MarketState) -> None:
        self.copy_first(name)
        super().__setitem__(name, market)

    def __delitem__(self, name: str) -> None:
        self.copy_first(name)
        super().__delitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.copy_first(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.copy_first(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.copy_first(name)
        return super().setdefault(name, default)

    def values(self) -> Any:
        self._copy_all()
        return super().values()

    def items(self) -> Any:
        self._copy_all()
        return super().items()

    def copy(self) -> dict[str, MarketState]:
        self._copy_all()
        return super().copy()

    def _copy_all(self) -> None:
        for name in tuple(self.left):
            self.copy_first(name)
