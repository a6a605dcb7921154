"""The document as Markdown and as one HTML page that needs nothing beside it."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from circuit_guard.report.document import Document

_SPECIAL = re.compile(r"([\\`*\[\]<>|&~])")
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(document: Document) -> str:
    """Return the document as Markdown (GitHub's, for the tables). Names from outside cannot become markup."""
    environment = Environment(
        loader=PackageLoader("circuit_guard.report"),
        autoescape=False,  # noqa: S701  # `finalize` escapes, for Markdown
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fenced"] = _fenced
    return environment.get_template("report.md.j2").render(document=document)


def html(document: Document) -> str:
    """Return the document as one HTML page: no scripts, nothing to load, fit for print, dark and light."""
    environment = Environment(
        loader=PackageLoader("circuit_guard.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(document=document)


def _escaped(value: object) -> object:
    """Return text so that Markdown shows it as it is, on one line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = _SPECIAL.sub(r"\\\1", " ".join(value.split()))
    return _EDGE_UNDERSCORE.sub(r"\\_", text)


def _fenced(text: str) -> Markup:
    """Return lines that are to be taken as they are."""
    return Markup(text)  # noqa: S704  # Markdown, in a fence, and of our own making
