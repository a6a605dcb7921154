"""What the data of a market say, worked out once and then used by every check until the data change.

Between two inputs thousands of checks ask the same of one market: where its references let a price be, what was
published lately. The first one works it out. The rest is left to two things, and to nothing else:

- an input may change the data, so `guard.step`, the only door through which inputs come, drops the outlook;
- time alone may change what they say (a reference grows too old), so an outlook ends at `until_ns`.

It holds nothing that the state does not say, so it is no part of it: it is never recorded, compared or copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from circuit_guard.core.hours import Session, session_of
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.references import ReferenceBook, ReferenceView


@dataclass(slots=True)
class Outlook:
    """What the data of one market say under one policy, from when it was made until `until_ns`."""

    policy: MarketPolicy
    references: ReferenceView
    until_ns: int
    """The first instant at which time alone may change anything in here."""
    session: Session | None = None
    """Where the market stands in its trading hours; None where it always trades."""
    permit: Any = None
    refused: Any = None
    """The permit of the market; None where it is not worked out yet, or under the policy in `refused` there is none
    (`core/permit.py`)."""
    holding: Any = None
    """What accounts hold in the market while it is trusted (`core/account_permit.py`); None: not worked out."""
    worked_out: dict[Callable[..., Any], Any] = field(default_factory=dict)
    """Results by the function that they are of; `MarketView.once` puts them here."""

    def ends(self, at_ns: int) -> None:
        """Say that time alone changes one of the results at that instant."""
        self.until_ns = min(self.until_ns, at_ns)

    def withdraw(self) -> None:
        """Have the permit worked out anew: a check has changed what it rests on."""
        self.permit = self.refused = self.holding = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Let copies of a state have None in its place, and work out their own."""
        return type(None), ()


def outlook_of(book: ReferenceBook, policy: MarketPolicy, now_ns: int) -> Outlook:
    """Return a new outlook, in which nothing but references and trading hours has been worked out yet."""
    session, until_ns = session_of(policy, now_ns), book.changes_ns(now_ns, policy)
    if session is not None:
        until_ns = min(until_ns, session.until_ns)
    return Outlook(policy, book.view(now_ns, policy), until_ns, session)
