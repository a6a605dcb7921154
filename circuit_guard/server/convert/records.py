"""Core types and their messages: one table of fields for each pair, read in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core.types import DIGITS_MAX, SECOND_NS
from circuit_guard.errors import WireError
from circuit_guard.server.convert import enums

Core = TypeVar("Core")
Wire = TypeVar("Wire", bound=Message)

ON_THE_WIRE = Context(prec=DIGITS_MAX)
"""What came from the wire goes back as it was; what was computed is rounded to what the wire may carry."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the value of one field is written to a message and read from it. None is never written.

    An `optional` field is None where the message does not have it. `name` is the field in the message, where it is
    another one than in the core.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    optional: bool = False
    name: str = ""

    def named(self, name: str) -> Codec:
        """Return the codec for a field that has this name in the message."""
        return replace(self, name=name)

    def or_none(self) -> Codec:
        """Return the codec for a field that may be absent."""
        return replace(self, optional=True)


class Record(Generic[Core, Wire]):
    """A core type and its message. Texts, numbers, flags and enumerations of one name on both sides correspond.

    Every other field has a codec, or is derived where it is written and known where it is read. A codec for a field
    that either side does not have is a TypeError at import.
    """

    def __init__(self, core: type[Core], wire: type[Wire], **codecs: Codec) -> None:
        self.core = core
        self._wire = wire
        names, contract = core.__annotations__, wire.DESCRIPTOR.fields_by_name
        plain = [name for name in contract if name in names and contract[name].message_type is None]
        codecs = {name: _plain(contract[name]) for name in plain} | codecs
        self._fields = [(name, codec.name or name, codec) for name, codec in codecs.items()]
        for name, wire_name, _ in self._fields:
            if name not in names or wire_name not in contract:
                raise TypeError(f"{core.__name__}.{name} and {wire.__name__}.{wire_name}, expected both to exist")

    def write(self, value: Core, **derived: Any) -> Wire:
        """Return the message of a value; `derived` are the fields that only the message has."""
        for name, wire_name, codec in self._fields:
            found = getattr(value, name)
            if found is not None:
                derived[wire_name] = found if codec is SAME else codec.write(found)
        return self._wire(**derived)

    def read(self, message: Wire, **known: Any) -> Core:
        """Return the value of a message; `known` are the fields that the message does not have.

        Raise WireError for the member of an enumeration that this version does not know.
        """
        for name, wire_name, codec in self._fields:
            if codec.optional and not message.HasField(wire_name):
                known[name] = None
            else:
                known[name] = codec.read(getattr(message, wire_name))
        return self.core(**known)

    def one(self) -> Codec:
        """Return the codec for a field that holds one of these."""
        return Codec(self.write, self.read)


def timestamp(at_ns: int) -> Timestamp:
    """Return nanoseconds since the Unix epoch as a protobuf time."""
    return Timestamp(seconds=at_ns // SECOND_NS, nanos=at_ns % SECOND_NS)


def duration(duration_ns: int | None) -> Duration | None:
    """Return a duration of at least 0 ns; None stays None, an absent field."""
    return None if duration_ns is None else Duration(seconds=duration_ns // SECOND_NS, nanos=duration_ns % SECOND_NS)


def shift(shift_ns: int) -> Duration:
    """Return a duration that may be negative: its seconds and its nanoseconds then both are."""
    sign = -1 if shift_ns < 0 else 1
    return Duration(seconds=sign * (abs(shift_ns) // SECOND_NS), nanos=sign * (abs(shift_ns) % SECOND_NS))


def time_ns(message: Timestamp | Duration) -> int:
    """Return an instant in nanoseconds since the Unix epoch, or a duration in nanoseconds."""
    return message.seconds * SECOND_NS + message.nanos


def unchanged(value: Any) -> Any:
    """Return the value."""
    return value


SAME = Codec(unchanged, unchanged)
TEXTS = Codec(unchanged, tuple)
TIME = Codec(timestamp, time_ns)
DURATION = Codec(duration, time_ns)
SHIFT = Codec(shift, time_ns)
DECIMAL = Codec(lambda value: str(ON_THE_WIRE.plus(value)), lambda text: Decimal(text) if text else None)
"""Empty text is None."""
RATIO = Codec(float, lambda number: Decimal(str(number)))


def _plain(field: Any) -> Codec:
    """Return the codec for a field descriptor that is not of a message."""
    if field.enum_type is not None:
        return _member(enums.OF_CONTRACT[field.enum_type.name], field.name)
    return TEXTS if field.is_repeated else SAME


def _member(numbers: Mapping[Any, int], name: str) -> Codec:
    members = {number: value for value, number in numbers.items()}

    def read(number: int) -> Any:
        if number not in members:
            raise WireError(name, str(number), "a value that this version knows")
        return members[number]

    return Codec(numbers.__getitem__, read)
