"""One judge on one run: it is told what was published, asked what the engine asks, and scored against the truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import NamedTuple

from circuit_guard.core.formatting import format_time
from circuit_guard.core.gates import ACCOUNT_TAINTED
from circuit_guard.core.inputs import Basis, Check, Observation, Reference, Restarted, Tick
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation.feed import WARM_UP_NS, FaultedFeed
from circuit_guard.evaluation.judge import Answer, Judge, Told
from circuit_guard.evaluation.outcome import DIFFERENCES_SHOWN_MAX, Difference, Tally, quote
from circuit_guard.evaluation.population import Closure, true_surplus
from circuit_guard.recording.format import Fault, JsonObject, Label
from circuit_guard.recording.replay import RETRY_FOR_S, RETRY_INTERVAL_NS


@dataclass(frozen=True, slots=True)
class Run:
    """A faulted feed and the closures on it, in the order in which a judge meets them, second by second."""

    recording: str
    seed: int
    """The seed that the evaluation was asked for; the fault's own is derived from it."""
    faulted: FaultedFeed
    closures: tuple[Closure, ...]
    timeline: tuple[Told | Closure, ...]

    @staticmethod
    def of(recording: str, seed: int, faulted: FaultedFeed, closures: Sequence[Closure]) -> Run:
        """Put everything in time order: at one instant time passes first, and closures are asked for last.

        While the guard warms up nobody is asked: an account that goes under water then was closed before.
        """
        start_ns, end_ns = faulted.honest.start_ns, faulted.honest.end_ns
        warm_ns = start_ns + WARM_UP_NS
        gone = {closure.check.account_id for closure in closures if closure.at_ns < warm_ns}
        first_ns = start_ns - start_ns % SECOND_NS + SECOND_NS
        ticks = [Tick(at_ns) for at_ns in range(first_ns, end_ns, SECOND_NS)]
        restarts = [Restarted(at_ns) for at_ns in faulted.restarts_ns]
        asked = [
            closure
            for closure in closures
            if warm_ns <= closure.at_ns <= end_ns and closure.check.account_id not in gone
        ]
        timeline: list[Told | Closure] = [*ticks, *restarts, *faulted.published, *asked]
        timeline.sort(key=lambda item: item.at_ns)
        return Run(recording, seed, faulted, tuple(asked), tuple(timeline))


class Noticing:
    """Watches one fault. It is noticed by the first observation of its markets that is not believed, or by the first
    closure denied there with doubts about its data, from its beginning to its end.
    """

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._noticed = False
        self._observations = 0
        self._closures = 0

    def observed(self, observation: Observation, *, believed: bool) -> None:
        """Take an observation that was believed or not."""
        if self._watching(observation.market, observation.at_ns):
            self._observations += believed
            self._noticed = not believed

    def answered(self, market: str, at_ns: int, answer: Answer) -> None:
        """Take an answer to a check, or to a retry of it."""
        if self._watching(market, at_ns):
            self._closures += answer.allowed
            self._noticed = answer.doubts

    def report(self, tally: Tally) -> None:
        """Write what was counted into a tally."""
        if self._fault is None:
            return
        tally.faults += 1
        if self._noticed:
            tally.observations_before.append(self._observations)
            tally.closures_before.append(self._closures)

    def _watching(self, market: str, at_ns: int) -> bool:
        fault = self._fault
        if fault is None or self._noticed or market not in fault.markets:
            return False
        return fault.at_ns <= at_ns <= fault.until_ns


RETRIES_MAX = RETRY_FOR_S * SECOND_NS // RETRY_INTERVAL_NS
EXAMPLES_PER_RUN_MAX = 5


class Pending(NamedTuple):
    """A denied closure on its way to being asked again."""

    closure: Closure
    answer: Answer
    retries: int
    while_halted: bool


class Held(NamedTuple):
    """A genuine closure that stays denied; `in_a_halt`: until its market is no longer halted."""

    closure: Closure
    in_a_halt: bool


Limits = MutableMapping[str, Decimal | None]
"""What surplus the guard cannot see in principle, for each wrongful closure, by request_id; None: nothing is hidden."""


class Trial:
    """One judge on one run.

    `measure` returns the limit as the judge's own state has it. The first trial of a run, that of the guard under
    evaluation, writes the limits of the first questions; those after it read them.
    """

    def __init__(
        self, judge: Judge, run: Run, limits: Limits, measure: Callable[[Closure, int], Decimal | None] | None = None
    ) -> None:
        self.tally = Tally(runs=1)
        self.allowed: dict[str, bool] = {}
        """How each closure that was asked for ended, by request_id; one that lapsed is not here."""
        self._judge = judge
        self.run = run
        self._limits = limits
        self._measure = measure
        self._faulted = run.faulted
        self._noticing = Noticing(run.faulted.fault)
        self._due: deque[tuple[int, Pending]] = deque()
        self._closed: set[str] = set()
        self._held: list[Held] = []
        self._halted: set[str] = set()

    def play(self) -> Tally:
        """Play the whole run and return its tally. Retries that are due after its end are still asked."""
        with localcontext(ARITHMETIC):
            self._play()
        return self.tally

    def difference(self, against: Trial) -> Difference:
        """Compare this trial with another of its run. A closure that only one of them came to ask about is left out."""
        difference = Difference()
        for closure in self.run.closures:
            request_id = closure.check.request_id
            if request_id not in self.allowed or request_id not in against.allowed:
                continue
            changed = difference.changed[closure.label]
            changed.asked += 1
            before, after = self.allowed[request_id], against.allowed[request_id]
            if before == after:
                continue
            changed.allowed_only_by_policy += before
            changed.allowed_only_by_against += after
            difference.examples.append({**self._which(closure), "allowed_by": "policy" if before else "against"})
        del difference.examples[DIFFERENCES_SHOWN_MAX:]
        return difference

    def _play(self) -> None:
        run = self.run
        for item in run.timeline:
            if not self._judge.hears_references and isinstance(item, Reference):
                continue
            while self._due and self._due[0][0] < item.at_ns:
                self._ask_again()
            if isinstance(item, Closure):
                self._ask_first(item)
                continue
            believed = self._judge.tell(item)
            if isinstance(item, Observation):
                self._noticing.observed(item, believed=believed)
            elif isinstance(item, Tick):
                self._look_round(item.at_ns)
        while self._due:
            self._ask_again()
        for held in self._held:
            self._add_bad_debt(held.closure, self._faulted.honest.end_ns)
        self._noticing.report(self.tally)

    def _ask_first(self, closure: Closure) -> None:
        check, tally = closure.check, self.tally
        if closure.label is Label.WRONGFUL and self._measure is not None and check.request_id not in self._limits:
            self._limits[check.request_id] = self._measure(closure, closure.at_ns)
        if check.account_id in self._closed:
            return
        halted = self._judge.halted(check.market)
        if closure.label is Label.WRONGFUL:
            tally.wrongful += 1
            tally.wrongful_beyond += not self._is_inside_limit(closure, closure.at_ns)
        else:
            tally.genuine += 1
            tally.halted_asked += halted
        self._settle(Pending(closure, self._judge.ask(check), 0, halted), closure.at_ns)

    def _ask_again(self) -> None:
        """Ask the next due closure once more, unless the engine no longer wants it."""
        at_ns, pending = self._due.popleft()
        closure = pending.closure
        if closure.wanted_until_ns is not None and at_ns >= closure.wanted_until_ns:
            self.tally.genuine_lapsed += closure.label is Label.GENUINE
            return
        answer = self._judge.ask(self._again(closure, at_ns, pending.retries + 1))
        self._settle(pending._replace(answer=_first(pending.answer, answer), retries=pending.retries + 1), at_ns)

    def _again(self, closure: Closure, at_ns: int, number: int) -> Check:
        """Return the question as the engine puts it now: with the values it sees, to be filled at the book's price."""
        check, faulted = closure.check, self._faulted
        seen = faulted.seen.mark(check.market, at_ns)
        fill = seen if faulted.fills_at_mark else faulted.truth.mark(check.market, at_ns)
        return replace(
            check,
            at_ns=at_ns,
            request_id=f"{check.request_id}#retry-{number}",
            execution_price=None if check.execution_price is None else fill,
            basis=Basis(seen, faulted.seen.funding(check.market, at_ns)),
        )

    def _settle(self, pending: Pending, at_ns: int) -> None:
        """Take an answer: to the first question, or to the latest one."""
        check = pending.closure.check
        self._noticing.answered(check.market, at_ns, pending.answer)
        if pending.answer.allowed:
            self._allow(pending, at_ns)
        elif pending.retries < RETRIES_MAX:
            self._due.append((at_ns + RETRY_INTERVAL_NS, pending))
        else:
            self._deny(pending)

    def _allow(self, pending: Pending, at_ns: int) -> None:
        closure, tally = pending.closure, self.tally
        self._closed.add(closure.check.account_id)
        self.allowed[closure.check.request_id] = True
        if closure.label is Label.GENUINE:
            tally.genuine_on_retry += pending.retries > 0
            tally.genuine_at_once += pending.retries == 0
            tally.halted_allowed += pending.while_halted
            if pending.retries:
                self._add_bad_debt(closure, at_ns)
                self._add_example(pending, "allowed_on_retry")
            return
        if pending.retries and self._true_surplus(closure, at_ns) < 0:
            return  # by now it is genuine
        tally.wrongful_while_halted += self._judge.halted(closure.check.market)
        if self._is_inside_limit(closure, at_ns):
            tally.wrongful_inside += 1
            tally.loss_inside += closure.loss
        else:
            tally.wrongful_outside += 1
            tally.loss_outside += closure.loss
            self._add_example(pending, "allowed_outside_limit")

    def _deny(self, pending: Pending) -> None:
        closure = pending.closure
        self.allowed[closure.check.request_id] = False
        if closure.label is Label.GENUINE:
            self.tally.genuine_denied += 1
            self.tally.halted_tainted += pending.while_halted and ACCOUNT_TAINTED in pending.answer.reasons
            self._held.append(Held(closure, self._judge.halted(closure.check.market)))
            self._add_example(pending, "denied")

    def _look_round(self, at_ns: int) -> None:
        """Count halted markets, those without a fault of their own, and whose hold has ended."""
        markets, fault = self._faulted.honest.markets, self._faulted.fault
        halted = set(filter(self._judge.halted, markets))
        self.tally.market_ns += len(markets) * SECOND_NS
        if not halted and not self._halted:
            return
        self.tally.halted_market_ns += len(halted) * SECOND_NS
        began = fault is not None and at_ns >= fault.at_ns
        everything = began and len(halted) == len(markets)
        faulty = set(fault.markets) if fault is not None and began else set()
        if not everything:
            self.tally.honest_trips += len(halted - self._halted - faulty)
        self._halted = halted
        if self._held:
            ended = [held for held in self._held if held.in_a_halt and held.closure.check.market not in halted]
            for held in ended:
                self._add_bad_debt(held.closure, at_ns)
                self._held.remove(held)

    def _is_inside_limit(self, closure: Closure, at_ns: int) -> bool:
        """Return whether a wrongful closure is one that the guard cannot see, as things stand when it is asked for.

        Those who have no envelope are measured by the limit of the first question.
        """
        limit, surplus = self._limits.get(closure.check.request_id), closure.true_surplus
        if at_ns != closure.at_ns:
            surplus = self._true_surplus(closure, at_ns)
            limit = limit if self._measure is None else self._measure(closure, at_ns)
        return surplus < (limit or 0)

    def _true_surplus(self, closure: Closure, at_ns: int) -> Decimal:
        return true_surplus(self._faulted, closure.account, at_ns)

    def _add_bad_debt(self, closure: Closure, until_ns: int) -> None:
        wanted_until_ns = until_ns if closure.wanted_until_ns is None else closure.wanted_until_ns
        fallen = closure.true_surplus - self._true_surplus(closure, min(until_ns, wanted_until_ns))
        self.tally.bad_debt += max(fallen, Decimal(0))

    def _add_example(self, pending: Pending, outcome: str) -> None:
        if pending.closure.label is Label.GENUINE and len(self.tally.examples) >= EXAMPLES_PER_RUN_MAX:
            return
        limit = self._limits.get(pending.closure.check.request_id)
        self.tally.examples.append(
            {
                **self._which(pending.closure),
                "fault": self._faulted.kind,
                "outcome": outcome,
                "true_surplus": quote(pending.closure.true_surplus),
                "limit": None if limit is None else quote(limit),
                "reasons": list(pending.answer.reasons),
            }
        )

    def _which(self, closure: Closure) -> JsonObject:
        """Return which closure of which run an example is about."""
        check = closure.check
        return {
            "recording": self.run.recording,
            "seed": self.run.seed,
            "at": format_time(check.at_ns),
            "request_id": check.request_id,
            "market": check.market,
            "label": closure.label.value,
        }


def _first(before: Answer, now: Answer) -> Answer:
    """Return the answer of now with the reasons of the first one: they say what held the closure."""
    return now._replace(reasons=before.reasons)
