"""How a parameter of the policy is declared: its unit, bounds, default and meaning, once, beside the code it steers.

A group of parameters is a frozen dataclass derived from `Parameters`; each field is made by one of the functions below.
The policy's schema, its loader, `config/policy.toml` and the reference are derived from these declarations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from circuit_guard.core.types import ARITHMETIC, SECOND_NS

_BPS_OF_ONE = Decimal(10_000)


class Unit(Enum):
    """What a value counts. In the core SECONDS are whole nanoseconds and BASIS_POINTS are fractions."""

    NUMBER = "number"
    SHARE = "fraction"
    WIDTHS = "widths of the hull"
    SECONDS = "seconds"
    BASIS_POINTS = "basis points"
    COUNT = "count"
    FLAG = "true or false"
    CHOICE = "choice"
    NAME = "name"
    NAMES = "names"
    TABLES = "tables by name"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared of a parameter besides its name and default. Bounds are in the units of the policy file."""

    unit: Unit
    meaning: str
    key: str = ""
    over: Decimal | None = None
    least: Decimal | None = None
    most: Decimal | None = None
    choices: type[Enum] | None = None
    of: type[Any] | None = None
    """TABLES: the group that each of them is, besides its name."""
    expected: str = ""
    pattern: str = ""
    """TEXTS: what each of them is, in words and as a regular expression."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `name` is its field in the core and in the journal, `key` its name in the policy file."""

    name: str
    key: str
    default: Any
    """In the units of the core."""
    declared: Declaration

    @property
    def written_default(self) -> Any:
        """The default as the policy file has it: seconds and basis points as decimals, names as a tuple."""
        return self.to_written(self.default)

    def to_written(self, value: Any) -> Any:
        """Return a value of the core as the policy file has it."""
        match self.declared.unit:
            case Unit.SECONDS:
                return _plain(ARITHMETIC.divide(Decimal(value), Decimal(SECOND_NS)))
            case Unit.BASIS_POINTS:
                return _plain(ARITHMETIC.multiply(value, _BPS_OF_ONE))
            case Unit.NAMES:
                return tuple(sorted(value))
            case Unit.TABLES:
                return {getattr(one, fields(one)[0].name): _written(one) for one in value}
        return value

    def to_core(self, written: Any) -> Any:
        """Return a value of the policy file in the units of the core."""
        match self.declared.unit:
            case Unit.SECONDS:
                return int(ARITHMETIC.multiply(written, Decimal(SECOND_NS)))
            case Unit.BASIS_POINTS:
                return ARITHMETIC.multiply(written, 1 / _BPS_OF_ONE)
            case Unit.NAMES:
                return frozenset(written)
            case Unit.TABLES if self.declared.of is not None:
                return tuple(_read(self.declared.of, name, table) for name, table in sorted(written.items()))
        return written


class Relation(NamedTuple):
    """One parameter must not exceed (`at most`), fall below (`at least`) or reach (`less than`) another.

    Both are named as in the policy file, `table.key`. A value in basis points is compared with a fraction as such.
    """

    key: str
    bound: str
    other: str
    why: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """The base of all groups. Several groups may share one table of the policy file; each module declares its own."""

    TABLE: ClassVar[str]
    RELATIONS: ClassVar[tuple[Relation, ...]] = ()


def parameters_of(group: type[Any]) -> Iterator[Parameter]:
    """Yield the parameters that a dataclass declares, in its order. Fields that are no parameters are left out."""
    for one in fields(group):
        declared = one.metadata.get("declared")
        if declared is not None:
            ending = "_s" if declared.unit is Unit.SECONDS else ""
            yield Parameter(one.name, declared.key or one.name.removesuffix("_ns") + ending, one.default, declared)


def share(default: str, meaning: str, *, zero: bool = False, key: str = "") -> Any:
    """Declare a fraction of a price or of another value, above 0 (or from 0 on) to 1."""
    over, least = (None, 0) if zero else (0, None)
    return _field(Decimal(default), _bounded(Unit.SHARE, meaning, over=over, least=least, most=1, key=key))


def widths(default: int, meaning: str) -> Any:
    """Declare a multiple of the hull's own width, 0 to 100."""
    return _field(Decimal(default), _bounded(Unit.WIDTHS, meaning, least=0, most=100))


def number(default: str, meaning: str, *, least: int | None = None, over: int | None = None, most: int) -> Any:
    """Declare a decimal with bounds of its own; give `least` (inclusive) or `over` (exclusive)."""
    least = 0 if over is None and least is None else least
    return _field(Decimal(default), _bounded(Unit.NUMBER, meaning, over=over, least=least, most=most))


def seconds(default: int, meaning: str, *, least: int | None = None, most: int = 3600) -> Any:
    """Declare a duration above 0 (or from `least` on) to `most` seconds; the core has it in nanoseconds."""
    over = 0 if least is None else None
    return _field(default * SECOND_NS, _bounded(Unit.SECONDS, meaning, over=over, least=least, most=most))


def basis_points(default: int, meaning: str, *, key: str) -> Any:
    """Declare basis points, above 0 to 10,000; the core has them as a fraction."""
    declared = _bounded(Unit.BASIS_POINTS, meaning, over=0, most=10_000, key=key)
    return _field(Decimal(default) / _BPS_OF_ONE, declared)


def count(default: int, meaning: str, *, least: int = 1, most: int) -> Any:
    """Declare a whole number within bounds."""
    return _field(default, _bounded(Unit.COUNT, meaning, least=least, most=most))


def flag(default: bool, meaning: str) -> Any:  # noqa: FBT001 - the default is the value
    """Declare true or false."""
    return _field(default, Declaration(Unit.FLAG, meaning))


def choice(default: Enum, meaning: str) -> Any:
    """Declare one value of an enumeration."""
    return _field(default, Declaration(Unit.CHOICE, meaning, choices=type(default)))


def name(default: str, meaning: str) -> Any:
    """Declare a short name, such as a source's."""
    return _field(default, Declaration(Unit.NAME, meaning))


def names(meaning: str, *, most: int) -> Any:
    """Declare a set of short names, empty by default."""
    return _field(frozenset(), _bounded(Unit.NAMES, meaning, most=most))


def texts(meaning: str, *, expected: str, pattern: str, most: int) -> Any:
    """Declare texts of one form, none by default, in the order given."""
    declared = Declaration(Unit.TEXTS, meaning, most=Decimal(most), expected=expected, pattern=pattern)
    return field(default=(), metadata={"declared": declared})


def named_tables(group: type[Any], meaning: str, *, most: int) -> Any:
    """Declare tables by name, none by default: in the core a tuple of the group, whose first field is the name."""
    return field(default=(), metadata={"declared": Declaration(Unit.TABLES, meaning, most=Decimal(most), of=group)})


def _read(group: type[Any], name: str, table: Any) -> Any:
    return group(name, **{one.name: one.to_core(getattr(table, one.key)) for one in parameters_of(group)})


def _written(table: Any) -> dict[str, Any]:
    return {one.key: one.to_written(getattr(table, one.name)) for one in parameters_of(type(table))}


def _bounded(
    unit: Unit, meaning: str, *, over: int | None = None, least: int | None = None, most: int, key: str = ""
) -> Declaration:
    low, lowest = (None if bound is None else Decimal(bound) for bound in (over, least))
    return Declaration(unit, meaning, key, low, lowest, Decimal(most))


def _field(default: Any, declared: Declaration) -> Any:
    return field(default=default, metadata={"declared": declared})


def _plain(value: Decimal) -> Decimal:
    """Return a decimal without trailing zeros and without an exponent."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()
