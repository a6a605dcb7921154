"""Names of markets: what may be one, the same at every entrance, and which market a name that is none was meant for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from unicodedata import is_normalized, normalize

from circuit_guard.core.types import Finding, Severity

NAME_CHARACTERS_MAX = 128
EXPECTED_MARKET = f"1 to {NAME_CHARACTERS_MAX} printable characters without space around them, in Unicode's form NFC"
UNKNOWN_MARKET = "unknown_market"

_NAMED = "a market that the policy names"
_MEANT_MAX = 3
SHOWN_MAX = 64
"""Characters of an unknown name that an answer repeats: answers are remembered, and anybody may ask."""


def is_market(name: object) -> bool:
    """Return whether something can name a market: in any script, with commas and signs, but nothing invisible.

    Two forms of one name (a letter and its accent apart, or as one character) would look alike and be two markets.
    """
    return (
        isinstance(name, str)
        and 0 < len(name) <= NAME_CHARACTERS_MAX
        and name.isprintable()
        and name == name.strip()
        and is_normalized("NFC", name)
    )


def unknown(market: str, known: Iterable[str], severity: Severity = Severity.DENY, subject: str = "market") -> Finding:
    """Return the finding for a market that the policy does not name. It says what was meant."""
    meant = _by_key(tuple(known)).get(_key(market), ())[:_MEANT_MAX]
    shown = market if len(market) <= SHOWN_MAX else f"{market[:SHOWN_MAX]}..."
    return Finding(UNKNOWN_MARKET, severity, subject, shown, " or ".join(meant) or _NAMED)


def sentence(finding: Finding) -> str:
    """Return the finding as a sentence."""
    meant = "" if finding.limit == _NAMED else f"; it names {finding.limit}"
    if finding.subject == "market":
        return f"the policy does not name {finding.observed}{meant}"
    holds = "collateral valued" if finding.subject == "account.assets" else "a position"
    return f"the account has {holds} in {finding.observed}, which the policy does not name{meant}"


@lru_cache(maxsize=4)
def _by_key(known: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in known:
        found[_key(name)] = (*found.get(_key(name), ()), name)
    return found


def _key(name: str) -> str:
    """Return what is left of a name without case, width and separators; all of it where that would be nothing."""
    folded = normalize("NFKC", name).casefold()
    return "".join(filter(str.isalnum, folded)) or folded
