"""The document as data, from which every form of it is made: sections of paragraphs, tables, lists and commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from circuit_guard.core.formatting import instant_ms
from circuit_guard.core.types import SECOND_NS


def clock(at_ns: int) -> str:
    """Return an instant as `2026-01-19 04:33:00.228`."""
    return instant_ms(at_ns).removesuffix("Z")


def day(at_ns: int) -> str:
    """Return the day of an instant as `19 January 2026`."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, UTC)
    return f"{moment.day} {moment:%B %Y}"


def stamp(at_ns: int) -> str:
    """Return an instant to the second as file names have it: `20260119T043300Z`."""
    return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y%m%dT%H%M%SZ}"


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


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


_SPECIAL = re.compile(r"([\\`*\[\]<>|&~])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(document: Document) -> str:
    """Return the document as Markdown (GitHub's, for the tables). Names from outside cannot become markup."""
    environment = _environment(autoescape=False, finalize=_escaped)
    environment.filters["fenced"] = _fenced
    return environment.get_template("report.md.j2").render(document=document)


def html(document: Document) -> str:
    """Return the document as one HTML page: no scripts, nothing to load, fit for print, dark and light."""
    return _environment(autoescape=True).get_template("report.html.j2").render(document=document)


def _environment(*, autoescape: bool, finalize: Callable[[object], object] | None = None) -> Environment:
    return Environment(
        loader=PackageLoader("circuit_guard.report"),
        autoescape=autoescape,  # noqa: S701  # off for Markdown, which `finalize` escapes
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _escaped(value: object) -> object:
    """Return text so that Markdown shows it as it is, on one line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = _SPECIAL.sub(r"\\\1", " ".join(value.split()))
    return _EDGE_UNDERSCORE.sub(r"\\_", text)


def _fenced(text: str) -> Markup:
    """Return lines that are to be taken as they are."""
    return Markup(text)  # noqa: S704  # Markdown, in a fence, and of our own making
