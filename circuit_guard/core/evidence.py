"""Evidence and doubt as shares of time: on them re-opening and tripping rest, never on time alone or on traffic.

A run grows with the time between two observations that are alike, and shrinks with other time: one late stamp
every 25 s ends no health, and one good observation every 80 s ends no doubt.

And the accounts of the last moments, which say whether closures come in numbers.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

ACCOUNTS_MAX = 10_000
"""Accounts of one market that are remembered."""
ACCOUNTS_IN_ALL = 100_000
"""And of all markets together: beyond that those with most lose their oldest."""
ACCOUNTS_LOOK_EVERY = 64
"""Every so many new accounts of a market it is looked at whether all together are too many."""
KEY_CHARACTERS_MAX = 40
LOST_PER_BAD = 2
"""How much good time a bad time takes from the evidence: it is kept up by less than a third of bad time."""


class Run(NamedTuple):
    """Time in which something held, as an interval that ends at the last observation.

    `holds`: it held in that observation. What takes from the run moves its beginning.
    """

    since_ns: int
    last_ns: int
    holds: bool = True

    @property
    def length_ns(self) -> int:
        """How long it has lasted. Time in which nothing was observed is no evidence: it ends with the last one."""
        return self.last_ns - self.since_ns


def extended(run: Run | None, now_ns: int) -> Run:
    """Return evidence with a good observation of now. The time before it is good if it began with a good one."""
    if run is None:
        return Run(now_ns, now_ns)
    since_ns = run.since_ns if run.holds else _taken(run, now_ns)
    return Run(min(since_ns, now_ns), now_ns)


def interrupted(run: Run | None, now_ns: int, needed_ns: int) -> Run | None:
    """Return evidence with a bad observation of now; None where nothing is left. More than is needed is not kept."""
    if run is None:
        return None
    since_ns = max(_taken(run, now_ns), now_ns - needed_ns)
    return None if since_ns >= now_ns else Run(since_ns, now_ns, False)


def doubted(run: Run | None, now_ns: int) -> Run:
    """Return a doubt with another observation that gives rise to it."""
    if run is None:
        return Run(now_ns, now_ns)
    return Run(run.since_ns if run.holds else run.since_ns + now_ns - run.last_ns, now_ns)


def relieved(run: Run, now_ns: int) -> Run | None:
    """Return a doubt with an observation that gives no rise to it; None where it is gone.

    Between one that does and one that does not, it neither grows nor shrinks; after that it shrinks as it grew.
    """
    since_ns = run.since_ns + (now_ns - run.last_ns) * (1 if run.holds else 2)
    return None if since_ns >= now_ns else Run(since_ns, now_ns, False)


def _taken(run: Run, now_ns: int) -> int:
    return run.since_ns + (now_ns - run.last_ns) * (1 + LOST_PER_BAD)


@dataclass(slots=True)
class Accounts:
    """The different accounts of the last moments by when each was noted first, oldest first."""

    seen_ns: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _recent_ns: deque[int] | None = field(default=None, init=False, repr=False, compare=False)
    _window_ns: int = field(default=0, init=False, repr=False, compare=False)
    """When those within the window that was counted last were noted, and that window: they follow from `seen_ns`."""

    def __len__(self) -> int:
        """Return how many are remembered; some of them may be older than the window."""
        return len(self.seen_ns)

    def knows(self, account_id: str) -> bool:
        """Return whether an account is remembered."""
        return key_of(account_id) in self.seen_ns

    def note(self, account_id: str, now_ns: int, kept_ns: int) -> bool:
        """Take note of an account unless it is known: a retry is no other ask. Forget those older than `kept_ns`.

        Return whether it is time to see that all accounts together are not too many: then `thin` them.
        """
        seen_ns, key = self.seen_ns, key_of(account_id)
        self.forget_before(now_ns - kept_ns)
        if key in seen_ns:
            return False
        seen_ns[key] = now_ns
        if self._recent_ns is not None:
            self._recent_ns.append(now_ns)
            _drop_before(self._recent_ns, now_ns - self._window_ns)
        if len(seen_ns) > ACCOUNTS_MAX:
            self.forget_oldest()
        return len(seen_ns) % ACCOUNTS_LOOK_EVERY == 0

    def forget_before(self, start_ns: int) -> None:
        """Forget those that were noted first before an instant."""
        seen_ns = self.seen_ns
        while seen_ns and next(iter(seen_ns.values())) < start_ns:
            self.forget_oldest()

    def forget_oldest(self) -> None:
        """Forget the one that was noted longest ago."""
        _, at_ns = self.seen_ns.popitem(last=False)
        if self._recent_ns and self._recent_ns[0] == at_ns:
            self._recent_ns.popleft()

    def count(self, now_ns: int, window_ns: int) -> int:
        """Return how many were noted first within the window. It costs the same however many there are."""
        if self._recent_ns is None or self._window_ns != window_ns:
            self._recent_ns, self._window_ns = deque(self.seen_ns.values()), window_ns
        _drop_before(self._recent_ns, now_ns - window_ns)
        return len(self._recent_ns)


def key_of(account_id: str) -> str:
    """Return what an account is remembered by: its name, or the digest of one that is long."""
    if len(account_id) <= KEY_CHARACTERS_MAX and account_id.isascii():
        return account_id
    return blake2b(account_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def thin(kept: Iterable[Accounts], start_ns: int) -> None:
    """Forget what was noted before an instant, then the oldest of whoever has most, until there are not too many."""
    kept = list(kept)
    for accounts in kept:
        accounts.forget_before(start_ns)
    while sum(map(len, kept)) > ACCOUNTS_IN_ALL:
        most = max(kept, key=len)
        for _ in range(len(most) // 8 + 1):
            most.forget_oldest()


def _drop_before(times_ns: deque[int], start_ns: int) -> None:
    while times_ns and times_ns[0] < start_ns:
        times_ns.popleft()
