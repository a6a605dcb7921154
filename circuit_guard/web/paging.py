"""Which markets one page shows: filtered by a part of the name, a hundred at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from circuit_guard.core.status import MarketStatus

PAGE_SIZE = 100
WANTED_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the markets. `number` counts from 1."""

    markets: Sequence[MarketStatus]
    number: int
    last: int
    found: int
    wanted: str

    def link(self, number: int) -> str:
        """Return the address of another page of the same."""
        return "/?" + urlencode({"q": self.wanted, "page": number} if self.wanted else {"page": number})


def page_of(markets: Sequence[MarketStatus], wanted: str, number: str) -> Page:
    """Return the page with a number as given in an address: the nearest there is, the first for what is no number."""
    wanted = wanted.strip()[:WANTED_CHARACTERS_MAX]
    found = [market for market in markets if wanted.lower() in market.market.lower()]
    last = max(-(-len(found) // PAGE_SIZE), 1)
    asked = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
    shown = min(max(asked, 1), last)
    return Page(found[(shown - 1) * PAGE_SIZE : shown * PAGE_SIZE], shown, last, len(found), wanted)
