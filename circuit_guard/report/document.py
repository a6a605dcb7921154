"""The document as data: sections of paragraphs, tables, lists and commands, which every form of it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str
    kind = "paragraph"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; `numbers` are the columns to set flush right, `total` whether the last row is a sum."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    total: bool = False
    marks: tuple[str, ...] = ()
    """For each row `corrupt`, `stop`, `open`, `act` or nothing: how it stands out; empty: none does."""
    kind = "table"


@dataclass(frozen=True, slots=True)
class Points:
    """A list."""

    items: tuple[str, ...]
    kind = "points"


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be taken as they are: commands, a formula."""

    text: str
    kind = "code"


Element = Paragraph | Table | Points | Code


@dataclass(frozen=True, slots=True)
class Section:
    """A section. `name` is its anchor."""

    name: str
    title: str
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The whole, and what stands above it."""

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]


def money(amount: Decimal) -> str:
    """Return an amount to the cent: `1,234.50`."""
    text = f"{amount:,.2f}"
    return "0.00" if text == "-0.00" else text


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things: `1 account`, `54 accounts`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
