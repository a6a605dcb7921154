"""Watching the engine: each watcher has a bounded queue of facts, and is cut off rather than waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from circuit_guard.core.facts import Fact
from circuit_guard.errors import CircuitGuardError

WATCHERS_MAX = 32
WATCH_QUEUE_MAX = 10_000


class TooManyWatchers(CircuitGuardError):  # it says what happened
    """There is no room for another watcher."""


class EventsLost(CircuitGuardError):  # it says what happened
    """A watcher was too slow: `count` facts did not fit into its queue, and its subscription has ended."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} events were lost because the watcher read too slowly")
        self.count = count


class Subscription:
    """What one watcher reads: facts in order, from `Engine.subscribe` until either side ends it."""

    def __init__(self, wanted: Callable[[Fact], bool], queue_max: int, leave: Callable[[Subscription], None]) -> None:
        self._wanted = wanted
        self._queue_max = queue_max
        self._leave = leave
        self._facts: deque[Fact] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._lost = 0

    def offer(self, facts: Sequence[Fact]) -> int:
        """Queue the facts that are wanted and return how many were lost. After a loss nothing more is queued."""
        wanted = [fact for fact in facts if self._wanted(fact)]
        room = 0 if self._lost else self._queue_max - len(self._facts)
        self._facts.extend(wanted[:room])
        lost = max(len(wanted) - room, 0)
        self._lost += lost
        self._changed.set()
        return lost

    def end(self) -> None:
        """Let the watcher read what is queued, then end its iteration."""
        self._ended = True
        self._changed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Fact:
        """Return the next fact; EventsLost once the queued ones are read and some did not fit."""
        while not self._facts:
            if self._lost:
                raise EventsLost(self._lost)
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._facts.popleft()


class Watchers:
    """Everybody who watches, each with a queue of their own."""

    def __init__(self, watchers_max: int, queue_max: int) -> None:
        self._watchers_max = watchers_max
        self._queue_max = queue_max
        self._subscriptions: list[Subscription] = []
        self._lost = 0

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def lost(self) -> int:
        """How many facts did not fit into a queue, over all watchers there ever were."""
        return self._lost

    def subscribe(self, wanted: Callable[[Fact], bool]) -> Subscription:
        """Return a subscription to the wanted facts from now on. Raise TooManyWatchers."""
        if len(self) >= self._watchers_max:
            raise TooManyWatchers(f"there are {len(self)} watchers, and at most {self._watchers_max} may be")
        subscription = Subscription(wanted, self._queue_max, self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription

    def offer(self, facts: Sequence[Fact]) -> None:
        """Let everybody have what they want of the facts."""
        for subscription in self._subscriptions:
            self._lost += subscription.offer(facts)

    def end(self) -> None:
        """End every subscription once it has been read."""
        for subscription in self._subscriptions:
            subscription.end()
