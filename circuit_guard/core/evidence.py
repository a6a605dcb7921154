"""Evidence: unbroken runs of good observations, on which re-opening rests, never on time alone or on traffic.

And the accounts of the last moments, which say whether closures come in numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

ACCOUNTS_MAX = 10_000


class Run(NamedTuple):
    """An unbroken run of observations. What nothing was observed for is no evidence: it ends with the last one."""

    since_ns: int
    last_ns: int

    @property
    def length_ns(self) -> int:
        """How long it has lasted."""
        return self.last_ns - self.since_ns


def extended(run: Run | None, now_ns: int) -> Run:
    """Return the run with an observation of now."""
    return Run(now_ns if run is None else run.since_ns, now_ns)


@dataclass(slots=True)
class Accounts:
    """The different accounts of the last moments, oldest first."""

    seen_ns: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        """Return how many are remembered; some of them may be older than the window."""
        return len(self.seen_ns)

    def note(self, account_id: str, now_ns: int, window_ns: int) -> None:
        """Take note of an account, and forget those older than the window."""
        seen_ns, start_ns = self.seen_ns, now_ns - window_ns
        seen_ns[account_id] = now_ns
        seen_ns.move_to_end(account_id)
        while next(iter(seen_ns.values())) < start_ns or len(seen_ns) > ACCOUNTS_MAX:
            seen_ns.popitem(last=False)

    def count(self, now_ns: int, window_ns: int, asking: str) -> int:
        """Return how many different accounts there are within the window, counting the one that is asking."""
        old, start_ns = 0, now_ns - window_ns
        for seen_ns in self.seen_ns.values():
            if seen_ns >= start_ns:
                break
            old += 1
        return len(self.seen_ns) - old + (asking not in self.seen_ns)
