"""The one writer: every input passes here, one at a time, on one event loop.

    stamp time -> core -> observers (metrics, log) -> watchers -> the caller

No method awaits, so nothing interleaves; call all of them on the loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from decimal import localcontext
from typing import Protocol

from circuit_guard.clock import Clock, EngineClock
from circuit_guard.core import guard
from circuit_guard.core.facts import Fact, MarketWarm, PolicyChanged
from circuit_guard.core.guard import GuardState
from circuit_guard.core.inputs import Check, Input, OrdersCheck, PolicyCommand, Tick
from circuit_guard.core.policy import Policy
from circuit_guard.core.status import GuardStatus, MarketStatus, guard_status, market_status
from circuit_guard.core.types import ARITHMETIC
from circuit_guard.errors import CircuitGuardError
from circuit_guard.watching import Subscription, TooManyWatchers

WATCHERS_MAX = 32
WATCH_QUEUE_MAX = 10_000

_log = logging.getLogger(__name__)


class EngineFailed(CircuitGuardError):  # it says what happened
    """The engine stopped on an error of its own and answers nothing more: nobody can vouch for its state."""


class Observer(Protocol):
    """Is told of everything that happens, in order, before the caller is answered."""

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Take the facts of one input and how long the core took. An exception stops the engine."""


class Engine:
    """Holds the state and the policy in force, and feeds the core."""

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        observers: Sequence[Observer] = (),
        watchers_max: int = WATCHERS_MAX,
        watch_queue_max: int = WATCH_QUEUE_MAX,
    ) -> None:
        self._clock = EngineClock(clock)
        self._policy = policy
        self._state = guard.new_state(policy, self._clock.now_ns())
        self._observers = tuple(observers)
        self._watchers_max = watchers_max
        self._watch_queue_max = watch_queue_max
        self._watchers: list[Subscription] = []
        self._events_lost = 0
        self._failure: str | None = None
        self._was_ready = not self._cold_markets()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @property
    def state(self) -> GuardState:
        """The state of the core, to read only."""
        return self._state

    @property
    def watchers(self) -> int:
        """How many watchers there are."""
        return len(self._watchers)

    @property
    def events_lost(self) -> int:
        """How many facts did not fit into a watcher's queue, over all watchers."""
        return self._events_lost

    def now_ns(self) -> int:
        """Return the time to stamp an input with; never less than before."""
        return self._clock.now_ns()

    def clock_offset_ns(self) -> int:
        """Return how far the wall clock has moved ahead of the engine's since the start."""
        return self._clock.offset_ns()

    def step(self, input_: Input) -> list[Fact]:
        """Take market data or a command, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(lambda: guard.step(self._state, input_, self._policy))

    def tick(self) -> list[Fact]:
        """Let passing time take effect. Raise EngineFailed where the engine has stopped."""
        return self.step(Tick(self.now_ns()))

    def decide(self, check: Check) -> list[Fact]:
        """Answer a check, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(lambda: guard.decide(self._state, check, self._policy))

    def decide_orders(self, check: OrdersCheck) -> list[Fact]:
        """Answer a batch of orders, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(lambda: guard.decide_orders(self._state, check, self._policy))

    def reload(self, policy: Policy) -> list[Fact]:
        """Put a policy into force. Breakers, halts and phases stay. Raise EngineFailed where the engine has stopped."""

        def swap() -> list[Fact]:
            facts = guard.step(self._state, PolicyCommand(self.now_ns(), policy.revision), policy)
            self._policy = policy
            return facts

        return self._apply(swap)

    def status(self) -> GuardStatus:
        """Return what the guard knows of every market now."""
        return guard_status(self._state, self._policy, self.now_ns())

    def market_status(self, market: str) -> MarketStatus:
        """Return what the guard knows of one market of the policy now."""
        with localcontext(ARITHMETIC):
            return market_status(self._state, self._state.markets[market], self._policy.markets[market], self.now_ns())

    def ready(self) -> list[str]:
        """Return why the guard is not ready, one sentence each; empty when it is.

        Once all required markets have been warm, only a failure of the engine takes readiness back: later trouble
        with a market is answered check by check, and costs the other markets nothing.
        """
        if self._failure is not None:
            return [self._failure]
        if self._was_ready:
            return []
        return [f"market {market} is required and still warming" for market in self._cold_markets()]

    def subscribe(self, wanted: Callable[[Fact], bool] = lambda _: True) -> Subscription:
        """Return a subscription to the wanted facts from now on; use it in `async with`. Raise TooManyWatchers.

        Facts that are not wanted take no room in the watcher's queue.
        """
        if len(self._watchers) >= self._watchers_max:
            raise TooManyWatchers(f"there are {len(self._watchers)} watchers, and at most {self._watchers_max} may be")
        subscription = Subscription(wanted, self._watch_queue_max, self._watchers.remove)
        self._watchers.append(subscription)
        return subscription

    def end_watchers(self) -> None:
        """End every subscription once it has been read, so that a draining server need not wait for watchers."""
        for watcher in self._watchers:
            watcher.end()

    def _apply(self, compute: Callable[[], list[Fact]]) -> list[Fact]:
        if self._failure is not None:
            raise EngineFailed(self._failure)
        started_ns = self._clock.now_ns()
        try:
            facts = compute()
            took_ns = self._clock.elapsed_ns(started_ns)
            for observer in self._observers:
                observer.on_facts(facts, took_ns)
        except Exception as error:
            raise self._stop(error) from error
        if not self._was_ready and any(isinstance(fact, MarketWarm | PolicyChanged) for fact in facts):
            self._was_ready = not self._cold_markets()
        for watcher in self._watchers:
            self._events_lost += watcher.offer(facts)
        return facts

    def _stop(self, error: Exception) -> EngineFailed:
        self._failure = f"the engine stopped on {type(error).__name__}: {error}; restart the guard"
        _log.critical("%s", self._failure, exc_info=error)
        return EngineFailed(self._failure)

    def _cold_markets(self) -> list[str]:
        markets = self._state.markets
        return [name for name, policy in self._policy.markets.items() if policy.required and not markets[name].warm]
