"""The one writer: every input passes here, one at a time, on one event loop.

    stamp time -> core -> journal -> observers (metrics, log) -> watchers -> the caller

No method that changes anything awaits, so nothing interleaves; call all of them on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from decimal import localcontext
from typing import Protocol, TypeVar

from circuit_guard.core import guard, own_clock, permit
from circuit_guard.core.facts import DecisionMade, Fact, MarketWarm, PolicyChanged
from circuit_guard.core.guard import GuardState
from circuit_guard.core.hours import is_shut
from circuit_guard.core.inputs import (
    Check,
    ClockCorrected,
    ClockMoved,
    Input,
    Observation,
    OrdersCheck,
    PolicyCommand,
    Reference,
    Restarted,
    Tick,
)
from circuit_guard.core.policy import Policy
from circuit_guard.core.status import GuardStatus, MarketStatus, guard_status, market_status
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, AllowedCheck
from circuit_guard.engine.clock import Clock, EngineClock
from circuit_guard.engine.subscriptions import WATCH_QUEUE_MAX, WATCHERS_MAX, Subscription, Watchers
from circuit_guard.errors import CircuitGuardError
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import CheckpointGone, JournalFailed
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.record import Start, promise_anything
from circuit_guard.journal.recovery import Rerun
from circuit_guard.threads import apart

T = TypeVar("T")
CLOCK_STEP_NS = SECOND_NS // 2
"""A wall clock that moves by less under the guard is not worth a record."""
TOLD_WITHIN_S = 0.005
"""Checks that permits allow are recorded, counted and logged together, this long after the first at the latest."""
TOLD_AT_ONCE = 1_000
_log = logging.getLogger(__name__)


class EngineFailed(CircuitGuardError):  # it says what happened
    """The engine stopped on an error of its own and answers nothing more: nobody can vouch for its state."""


class EngineRefuses(EngineFailed):  # it says why
    """The guard could not take up what it knew before it started: it answers nothing, and has nothing to show."""


class Observer(Protocol):
    """Is told of everything that happens, in order, before the caller is answered."""

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Take the facts of one input, or of market data that came together; an exception stops the engine.

        `took_ns`: how long the core took; 0 for market data, which nobody times.
        """

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        """Take checks that permits allowed, one right after the other. An exception stops the engine."""


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
        self._journal: Journal | None = None
        self._observers = tuple(observers)
        self._watchers = Watchers(watchers_max, watch_queue_max)
        self._failure: EngineFailed | None = None
        self._was_ready = not self._cold()
        self._refused_files: dict[str, str] = {}
        self._allowed: list[AllowedCheck] = []
        """What permits allowed and nobody was told of yet: before anything else happens, they are."""

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @property
    def state(self) -> GuardState:
        """The state of the core, to read only."""
        return self._state

    @property
    def failure(self) -> EngineFailed | None:
        """Why the engine answers nothing; EngineRefuses where it has nothing to show either. None while it answers."""
        return self._failure

    @property
    def watchers(self) -> int:
        """How many watchers there are."""
        return len(self._watchers)

    @property
    def events_lost(self) -> int:
        """How many facts did not fit into a watcher's queue, over all watchers."""
        return self._watchers.lost

    def now_ns(self) -> int:
        """Return the time to stamp an input with; never less than before."""
        return self._clock.now_ns()

    def clock_offset_ns(self) -> int:
        """Return how far the wall clock has moved ahead of the engine's since the start."""
        return self._clock.offset_ns()

    def begin(self, start: Start, journal: Journal, recovered: Rerun | None) -> list[Fact]:
        """Record everything from now on, and go on from the recovered state, under the policy in force now.

        Every market then proves itself against what was last trusted. Raise EngineFailed.
        """
        self._journal = journal
        journal.start(start)
        if recovered is None:
            return []
        policy, self._state, self._policy = self._policy, recovered.state, recovered.policy
        facts = self.step(Restarted(self.now_ns()))
        if policy != self._policy:  # whole: a rule that came with an upgrade leaves the revision as it is
            facts += self.reload(policy)
        self._policy = policy
        self._was_ready = not self._cold()
        return facts

    def refuse(self, problem: str) -> None:
        """Answer nothing from now on, show nothing, and say why: whoever asks treats that as a deny."""
        self._failure = EngineRefuses(problem)
        _log.critical("%s", problem)

    async def checkpoint(self, name: str = "") -> Checkpoint | None:
        """Have the state as it is now on the disk: a restart runs again only what came after. Raise EngineFailed.

        A named one is kept as long as the decisions are. None where there is no journal.
        """
        self._tell_allowed()
        return await self._of_journal(lambda journal: journal.checkpoint(self._state, self._policy, name))

    async def recorded_checkpoint(self, sequence: int) -> Checkpoint | None:
        """Return the checkpoint of that sequence with its state, None where there is none; read on another thread.

        Raise CheckpointGone where its state is not kept, or nothing is; JournalUnusable where it cannot be read.
        """
        if self._journal is None:
            raise CheckpointGone(sequence, "the guard keeps no journal", "set journal.directory and restart the guard")
        journal = self._journal
        return await apart(lambda: journal.recorded_checkpoint(sequence))

    async def room(self) -> None:
        """Return once the journal has room: await it before an input is stamped and taken.

        Raise EngineFailed, and JournalStalled while the disk does not write.
        """
        await self._of_journal(Journal.room)

    async def durable(self) -> None:
        """Return once all that happened so far is on the disk. Raise EngineFailed."""
        self._tell_allowed()
        await self._of_journal(Journal.durable)

    async def settled(self, facts: Sequence[Fact]) -> None:
        """Return once what the facts promise is on the disk: await it before anybody is told. Raise EngineFailed."""
        if promise_anything(facts):
            await self._of_journal(Journal.durable)

    def step(self, input_: Input) -> list[Fact]:
        """Take market data or a command, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(input_, lambda: guard.step(self._state, input_, self._policy))

    def publish(self, items: Sequence[Observation] | Sequence[Reference]) -> list[list[Fact]]:
        """Take market data that came together, stamped with one `now_ns`, in order; return the facts of each item.

        They are recorded together, and observers are told of them together. Raise EngineFailed where the engine has
        stopped.
        """
        self._tell_allowed()
        self._raise_failure()
        state, policy = self._state, self._policy
        try:
            happened = [guard.step(state, item, policy) for item in items]
            facts = [fact for one in happened for fact in one]
            if self._journal is not None:
                self._journal.taken(items, facts)
            for observer in self._observers:
                observer.on_facts(facts, 0)
        except Exception as error:
            raise self._stop(error) from error
        self._announce(facts)
        return happened

    def tick(self) -> list[Fact]:
        """Let passing time take effect. Raise EngineFailed where the engine has stopped.

        It reaches for every market, and nothing depends on when it does: so it leaves a checkpoint time to copy them.
        """
        if self._journal is not None and self._journal.copying:
            return []
        return [*self._mind_the_clock(), *self.step(Tick(self.now_ns()))]

    def _mind_the_clock(self) -> list[Fact]:
        """Tell the core of steps of the wall clock, and follow it where publishers say the same."""
        known, facts = self._state.clock, list[Fact]()
        if known.catching_up:
            return [] if self._clock.stands_still() else self.step(ClockCorrected(self.now_ns(), 0))
        ahead_ns = self._clock.offset_ns()
        if abs(ahead_ns - known.wall_ahead_ns) >= CLOCK_STEP_NS:
            facts += self.step(ClockMoved(self.now_ns(), ahead_ns))
        if own_clock.agreed(known):
            by_ns = self._clock.follow_wall()
            facts += self.step(ClockCorrected(self.now_ns(), by_ns, self._clock.stands_still()))
        return facts

    def decide(self, check: Check) -> list[Fact]:
        """Answer a check, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(check, lambda: guard.decide(self._state, check, self._policy))

    def admit(self, asked: permit.Asked, now_ns: int | None = None) -> AllowedCheck | None:
        """Allow a check that is inside its market's permit, or return None: then `decide` answers it.

        `now_ns`: what the clock said a moment ago, for many checks that came together.

        What is allowed is told to the journal and to observers a little later, many at a time: before the next input of
        another kind, and within TOLD_WITHIN_S. Raise EngineFailed where the engine has stopped.
        """
        self._raise_failure()
        if not self._allowed and self._journal is not None and not self._journal.has_room:
            return None  # looked at once for all that are told together
        try:
            at_ns = self._clock.now_ns() if now_ns is None else now_ns
            allowed = permit.admit(self._state, self._policy, asked, at_ns)
        except Exception as error:
            raise self._stop(error) from error
        if allowed is not None:
            waiting = self._allowed
            waiting.append(allowed)
            if len(waiting) == 1:
                asyncio.get_running_loop().call_later(TOLD_WITHIN_S, self._tell_in_time)
            elif len(waiting) >= TOLD_AT_ONCE:
                self._tell_allowed()
        return allowed

    def _tell_in_time(self) -> None:
        try:
            self._tell_allowed()
        except EngineFailed:
            """It is logged, and whoever asks next is told."""

    def _tell_allowed(self) -> None:
        """Have the journal, observers and watchers take what permits allowed. Raise EngineFailed."""
        if not self._allowed:
            return
        self._raise_failure()
        checks, self._allowed = self._allowed, []
        try:
            if self._journal is not None:
                self._journal.allowed(checks)
            for observer in self._observers:
                observer.on_allowed(checks)
        except Exception as error:
            raise self._stop(error) from error
        if len(self._watchers):
            self._watchers.offer([DecisionMade(one.at_ns, permit.decision_of(one)) for one in checks])

    def decide_orders(self, check: OrdersCheck) -> list[Fact]:
        """Answer a batch of orders, stamped with `now_ns`. Raise EngineFailed where the engine has stopped."""
        return self._apply(check, lambda: guard.decide_orders(self._state, check, self._policy))

    def reload(self, policy: Policy) -> list[Fact]:
        """Put a policy into force. Breakers, halts and phases stay. Raise EngineFailed where the engine has stopped."""
        command = PolicyCommand(self.now_ns(), policy.revision)

        def swap() -> list[Fact]:
            if self._journal is not None:
                self._journal.policy(policy, command.at_ns)
            facts = guard.step(self._state, command, policy)
            self._policy = policy
            return facts

        return self._apply(command, swap)

    @property
    def journal_full(self) -> bool:
        """Whether what the journal has to keep is larger than `journal.bytes_max`; never without a journal."""
        return self._journal is not None and self._journal.status().over_budget_bytes > 0

    def status(self) -> GuardStatus:
        """Return what the guard knows of every market now, or knew when it stopped. Raise EngineRefuses."""
        if isinstance(self._failure, EngineRefuses):
            self._raise_failure()
        return guard_status(self._state, self._policy, self.now_ns(), self.refused_files())

    def market_status(self, market: str) -> MarketStatus:
        """Return what the guard knows of one market of the policy now."""
        with localcontext(ARITHMETIC):
            return market_status(self._state, self._state.markets[market], self._policy.markets[market], self.now_ns())

    def file_judged(self, kind: str, refused: str) -> None:
        """Take note of why a file is not in force, to be shown in the status; empty: it is in force."""
        self._refused_files[kind] = refused

    def refused_files(self) -> tuple[str, ...]:
        """Return a sentence for each file that is not in force, for what was before it stays."""
        return tuple(refused for _, refused in sorted(self._refused_files.items()) if refused)

    def ready(self) -> list[str]:
        """Return why the guard is not ready, one sentence each; empty when it is.

        Once all required markets have been warm, only a failure of the engine, a disk that does not write or a clock
        that is off takes readiness back: later trouble with a market is answered check by check, and costs no other.
        """
        if self._failure:
            return [str(self._failure)]
        if self._journal is not None and (stalled := self._journal.stalled()) is not None:
            return [stalled]
        if (clock_off := own_clock.finding(self._state.clock)) is not None:
            return [own_clock.sentence(clock_off)]
        return [] if self._was_ready else [f"market {name} is required and still warming" for name in self._cold()]

    def subscribe(self, wanted: Callable[[Fact], bool] = lambda _: True) -> Subscription:
        """Return a subscription to the wanted facts from now on; use it in `async with`.

        Facts that are not wanted take no room in the queue. Raise TooManyWatchers; EngineFailed where none will come.
        """
        self._raise_failure()
        return self._watchers.subscribe(wanted)

    def end_watchers(self) -> None:
        """End every subscription once it has been read, so that a draining server need not wait for watchers."""
        self._watchers.end()

    def _apply(self, input_: Input | Check | OrdersCheck, compute: Callable[[], list[Fact]]) -> list[Fact]:
        self._tell_allowed()
        self._raise_failure()
        started_ns = self._clock.now_ns()
        try:
            facts = compute()
            took_ns = self._clock.elapsed_ns(started_ns)
            if self._journal is not None:
                self._journal.record(input_, facts)
            for observer in self._observers:
                observer.on_facts(facts, took_ns)
        except Exception as error:
            raise self._stop(error) from error
        self._announce(facts)
        return facts

    def _announce(self, facts: Sequence[Fact]) -> None:
        """Let watchers have the facts, once they are recorded, and see whether they make the guard ready."""
        if not self._was_ready and any(isinstance(fact, MarketWarm | PolicyChanged) for fact in facts):
            self._was_ready = not self._cold()
        self._watchers.offer(facts)

    def _cold(self) -> list[str]:
        markets = self._state.markets
        now_ns = self.now_ns()
        return [
            name
            for name, market in self._policy.markets.items()
            if market.required and not markets[name].warm and not is_shut(market, now_ns)
        ]

    async def _of_journal(self, work: Callable[[Journal], Awaitable[T]]) -> T | None:
        """Have the journal do something, None where there is none; where it can keep nothing more the engine stops."""
        if self._journal is None:
            return None
        self._raise_failure()
        try:
            return await work(self._journal)
        except JournalFailed as error:
            raise self._stop(error) from error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)

    def _stop(self, error: Exception) -> EngineFailed:
        """Answer nothing from now on. Only the first error counts: all who wait for a dead journal come by here."""
        if self._failure is None:
            self._failure = EngineFailed(f"the engine stopped on {type(error).__name__}: {error}; restart the guard")
            _log.critical("%s", self._failure, exc_info=error)
        return EngineFailed(*self._failure.args)
