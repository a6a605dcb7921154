"""The document in its forms: whole, safe with names from outside, and with nothing to load."""

from __future__ import annotations

import html.parser
import re
from collections import Counter
from decimal import Decimal

import pytest

from circuit_guard.core.formatting import counted, format_time
from circuit_guard.report.document import (
    Code,
    Document,
    Paragraph,
    Points,
    Section,
    Table,
    clock,
    day,
    listed,
    markdown,
    money,
    stamp,
)
from circuit_guard.report.document import html as as_html
from circuit_guard.report.incident import Incident
from circuit_guard.report.sections import compose
from tests.report.recorded import losses

HOSTILE = '<script>alert("1")</script> a|b *c* `d` [e](http://x) _f_ \\ &amp;\nnext'
VOID = {"meta", "link", "br", "img", "input"}


class Page(html.parser.HTMLParser):
    """Reads a page: its elements, whether they close, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(name="hostile", scope="module")
def _hostile() -> Document:
    elements = (
        Paragraph(HOSTILE),
        Points((HOSTILE,)),
        Table((HOSTILE, "b"), ((HOSTILE, "1"),), numbers=frozenset({1})),
    )
    return Document(HOSTILE, (HOSTILE,), (Section("one", HOSTILE, elements),))


def test_html_when_names_are_hostile_then_they_are_text(hostile: Document) -> None:
    page = Page(as_html(hostile))
    assert page.tags["script"] == 0
    assert page.texts.count(HOSTILE) == 9, "title twice, summary, section twice, paragraph, point, column, cell"


def test_markdown_when_names_are_hostile_then_they_are_text_in_their_cells(hostile: Document) -> None:
    lines = markdown(hostile).splitlines()
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")]
    assert cells == [3, 3, 3]
    assert not any(re.search(r"(?<!\\)[<*`\[]", line) for line in lines if not line.startswith("|"))
    assert sum("next" in line and "script" in line for line in lines) == len([line for line in lines if "next" in line])


def test_html_when_written_then_it_loads_nothing_and_runs_nothing(shadow: Incident) -> None:
    text = as_html(compose(shadow))
    page = Page(text)
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == page.tags["iframe"] == 0
    assert not {"src", "onload", "onclick", "style"} & page.attributes
    assert all(link.startswith("#") for link in page.links)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_html_when_written_then_it_fits_print_the_dark_and_small_screens(shadow: Incident) -> None:
    text = as_html(compose(shadow))
    for needed in ("@media print", "prefers-color-scheme: dark", 'name="viewport"', 'lang="en"', "overflow-x: auto"):
        assert needed in text


def test_html_when_it_links_within_then_each_section_is_there_once(shadow: Incident) -> None:
    page = Page(as_html(compose(shadow)))
    assert [link[1:] for link in page.links] == page.ids
    assert len(set(page.ids)) == len(page.ids) == 10


@pytest.mark.parametrize("mode", ["enforced", "shadow"])
def test_forms_when_written_then_each_has_every_account_and_the_total(
    incidents: dict[str, Incident], mode: str
) -> None:
    document = compose(incidents[mode])
    for text in (markdown(document), as_html(document)):
        assert {name for name in losses() if name not in text} == set()
        assert "385,329.76" in text


def test_markdown_when_tables_are_written_then_all_rows_have_the_columns_of_the_head(shadow: Incident) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", markdown(compose(shadow)), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_code_when_written_then_it_is_taken_as_it_is() -> None:
    document = Document("t", ("s",), (Section("one", "One", (Code('a --b "c" *d*\ne_f'),)),))
    assert '```\na --b "c" *d*\ne_f\n```' in markdown(document)
    assert "<pre><code>a --b &#34;c&#34; *d*\ne_f</code></pre>" in as_html(document)


def test_words_when_counted_or_listed_then_read_as_a_sentence_has_them() -> None:

    assert [counted(1, "account"), counted(1234, "account")] == ["1 account", "1,234 accounts"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["none", "a", "a, b and c"]
    assert [money(Decimal(text)) for text in ("1234.5", "-0.001", "-3", "0")] == ["1,234.50", "0.00", "-3.00", "0.00"]


def test_times_when_shown_then_are_utc() -> None:
    at_ns = 1_768_797_180_228_000_001
    assert clock(at_ns) == "2026-01-19 04:33:00.228"
    assert format_time(at_ns) == "2026-01-19T04:33:00.228000001Z"
    assert format_time(1_768_797_180_000_000_000) == "2026-01-19T04:33:00Z"
    assert (day(at_ns), stamp(at_ns)) == ("19 January 2026", "20260119T043300Z")
