"""Operators' halts. Those of one scope stand side by side, one per actor; wherever one is named, it is the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuit_guard.core import formatting

HALTS_MAX = 100
"""Halts of one scope, so that made-up names cannot fill the guard's memory."""


@dataclass(frozen=True, slots=True)
class Halt:
    """An operator's halt. `expires_ns` None: until somebody resumes. `identity` as in `ResumeCommand`."""

    actor: str
    reason: str
    since_ns: int
    expires_ns: int | None = None
    identity: str = ""

    @property
    def person(self) -> str:
        """What tells who halted from others: one identity is one actor, whatever names it gives."""
        return self.identity or self.actor

    def ends_before(self, other: Halt) -> bool:
        """Return whether this one ends sooner."""
        return _end(self) < _end(other)

    def later(self, by_ns: int) -> Halt:
        """Return the halt with its end so much later."""
        return self if self.expires_ns is None else replace(self, expires_ns=self.expires_ns + by_ns)


def all_of(longest: Halt | None, others: tuple[Halt, ...]) -> tuple[Halt, ...]:
    """Return every halt of a scope, the longest first."""
    return () if longest is None else (longest, *others)


def own(halts: Sequence[Halt], new: Halt) -> Halt | None:
    """Return the halt that the actor of a new one has already."""
    return next((halt for halt in halts if halt.person == new.person), None)


def with_new(halts: Sequence[Halt], new: Halt) -> tuple[Halt, ...]:
    """Return the halts with a new one in place of its actor's own, the longest first."""
    others = [halt for halt in halts if halt.person != new.person]
    return tuple(sorted((*others, new), key=_end, reverse=True))


def said(halts: Sequence[Halt]) -> str:
    """Return who halted and why, of the longest, and how many others there are."""
    more = f" ({others_said(halts[1:])})" if len(halts) > 1 else ""
    return f"halted by {halts[0].actor}: {halts[0].reason}{more}"


def others_said(others: Sequence[Halt]) -> str:
    """Return how many further halts there are, whose, and when the last of them ends if it does by itself."""
    noun = "more halt" if len(others) == 1 else "more halts"
    ends_ns = others[0].expires_ns
    until = "" if ends_ns is None else f"{', the last' if len(others) > 1 else ''} until {formatting.instant(ends_ns)}"
    return f"and {len(others)} {noun} by {formatting.scopes([halt.actor for halt in others])}{until}"


def _end(halt: Halt) -> tuple[bool, int]:
    return halt.expires_ns is None, halt.expires_ns or 0
