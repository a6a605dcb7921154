"""`demo`: the bundled incident against a real guard on this machine, in half a minute.

A clock that runs as fast as the story, a score of what the guard answered, a narrator, and a player that is the
exchange and its liquidation engine.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import lines, wire
from circuit_guard.cli.options import CHANNEL_OPTIONS
from circuit_guard.cli.output import CommandError, ExitCode, bundled, screen, table
from circuit_guard.config.settings import Settings
from circuit_guard.core import sentences
from circuit_guard.core.explain import AUDIT
from circuit_guard.core.facts import BreakerChanged, DecisionMade, ObservationJudged, PhaseChanged
from circuit_guard.core.formatting import ending, time_of_day
from circuit_guard.core.inputs import Basis, Check, Observation, PhaseCommand, Reference
from circuit_guard.core.types import SECOND_NS, Phase, Verdict
from circuit_guard.engine.clock import Clock, SystemClock
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Fault, Label, LabelledCheck
from circuit_guard.recording.replay import RETRY_FOR_S, RETRY_INTERVAL_NS
from circuit_guard.server.convert import received
from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    event_pb2,
    liquidation_pb2,
    liquidation_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    status_pb2,
    types_pb2,
)

if TYPE_CHECKING:
    from circuit_guard.runtime.app import App

SPEED = 30.0
SPEED_MAX = 10_000.0
TICK_INTERVAL_MS_MIN = 10
DEADLINE_S = 10.0
ACTOR = "demo exchange"
_RETRIES_MAX = RETRY_FOR_S * SECOND_NS // RETRY_INTERVAL_NS
_PHASES = {
    Phase.OPEN: "opens",
    Phase.POST_ONLY: "is back in post-only: it takes only resting orders, so books are thin",
    Phase.CANCEL_ONLY: "is cancel-only: it takes no new orders",
    Phase.MAINTENANCE: "goes into maintenance",
}
_FAULTS = {
    "funding_reset": "a race at the restart has set funding indices to zero",
    "thin_book_skew": "a thin book pushes the mark price away from every other venue",
    "funding_restore": "the true funding indices are put back: a jump for everybody who traded in between",
}
_STYLES = {"exchange": "cyan", "fault": "bold magenta", "guard": "default"}
_HELD_BACK_NS = 2 * SECOND_NS
"""Changes of phase this close together are told in one line."""


def demo(
    speed: Annotated[
        float, typer.Option(min=1.0, max=SPEED_MAX, help="How many times faster than real time it runs.")
    ] = SPEED,
) -> None:
    """Play the bundled incident to a real guard.

    Starts a guard on free ports of this machine. Over gRPC, an exchange publishes to it and a liquidation engine asks
    about each closure. Exit code 0: the guard allowed no wrongful closure. 1: it allowed one.
    """
    recording, policy = read_recording(bundled("incident.jsonl.gz")), bundled("policy.toml")
    entries = list(recording.entries())
    try:
        score = asyncio.run(_run(screen(), entries, policy, speed))
    except grpc.aio.AioRpcError as error:
        message = f"the guard gave no answer ({error.code().name}): {error.details()}"
        raise CommandError(message, ExitCode.NO_ANSWER) from error
    raise typer.Exit(ExitCode.OK if score.nothing_wrongful_allowed() else ExitCode.DENIED)


async def _run(console: Console, entries: Sequence[Entry], policy: Path, speed: float) -> Score:
    """Run a guard whose clock is the story's, and play the entries to it."""
    from circuit_guard.runtime.app import build  # only this command and `serve` run a guard

    clock = StoryClock(SystemClock(), entries[0].at_ns, speed)
    async with build(_settings(policy, speed), clock).running() as app:
        console.print(f"A guard listens on {app.grpc_address}, its status page on http://{app.http_address}.")
        console.print(f"Its clock starts with the recording and runs {speed:g} times faster.\n")
        return await _play(console, entries, app, clock)


def _settings(policy: Path, speed: float) -> Settings:
    """Return settings for a guard on free ports that logs nothing but trouble."""
    return Settings.model_validate(
        {
            "grpc": {"listen": "127.0.0.1:0"},
            "http": {"listen": "127.0.0.1:0"},
            "policy": {"path": policy},
            "log": {"level": "error"},
            "engine": {"tick_interval_ms": max(int(1000 / speed), TICK_INTERVAL_MS_MIN)},
        }
    )


async def _play(console: Console, entries: Sequence[Entry], app: App, clock: StoryClock) -> Score:
    score = Score()
    async with grpc.aio.insecure_channel(app.grpc_address, CHANNEL_OPTIONS) as channel:
        with _time_shown(console, entries[0].at_ns, entries[-1].at_ns) as show_time:
            narrator = Narrator(console, show_time)
            player, watching = Player(clock, channel, narrator, score), asyncio.Event()
            telling = asyncio.create_task(player.narrate(watching))
            await watching.wait()
            clock.begin()
            await player.play(entries)
            status = await player.status()
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        narrator.end(score, status)
    return score


@contextmanager
def _time_shown(console: Console, start_ns: int, end_ns: int) -> Iterator[Callable[[int], None]]:
    """Show the time of the story below it, where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(time_of_day(start_ns), total=end_ns - start_ns)
        yield lambda at_ns: progress.update(task, completed=at_ns - start_ns, description=time_of_day(at_ns))


class StoryClock:
    """A clock for the engine that runs `speed` times faster than the machine's.

    It stands still until `begin`, and at each instant that `allow` names until the next one is named: whatever was
    recorded for an instant is received at that instant, however slow the machine is.
    """

    def __init__(self, machine: Clock, start_ns: int, speed: float) -> None:
        self._machine = machine
        self._start_ns = start_ns
        self._speed = speed
        self._begun_ns: int | None = None
        self._allowed_ns = start_ns

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, in the story."""
        return min(self._start_ns + self._run_ns(), self._allowed_ns)

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the story began."""
        return self.wall_ns() - self._start_ns

    def begin(self) -> None:
        """Start the clock."""
        self._begun_ns = self._machine.monotonic_ns()

    def allow(self, until_ns: int) -> None:
        """Let the clock run until this instant, and no further."""
        self._allowed_ns = max(until_ns, self._allowed_ns)

    def machine_s_until(self, at_ns: int) -> float:
        """Return how many seconds of the machine's time are left until an instant of the story; 0 once it is there."""
        return max(at_ns - self._start_ns - self._run_ns(), 0) / self._speed / SECOND_NS

    def _run_ns(self) -> int:
        if self._begun_ns is None:
            return 0
        return int((self._machine.monotonic_ns() - self._begun_ns) * self._speed)


@dataclass(slots=True)
class FaultScore:
    """When the guard noticed a fault. `halted_before`: its markets were denied already when it began."""

    fault: Fault
    halted_before: bool
    published: Counter[str] = field(default_factory=Counter)
    """Observations of its markets since it began."""
    noticed_at_observation: int | None = None
    checks_before: int = 0

    def noticed(self) -> str:
        """Return when it was noticed, for the table."""
        if self.halted_before:
            return "denied already"
        if self.noticed_at_observation is None:
            return "not noticed"
        return f"observation {self.noticed_at_observation}"


@dataclass(slots=True)
class Score:
    """How labelled closures ended, and how soon faults were noticed."""

    outcomes: Counter[tuple[Label, bool]] = field(default_factory=Counter)
    """By label, and whether the closure was allowed in the end."""
    on_retry: int = 0
    asked: int = 0
    faults: list[FaultScore] = field(default_factory=list)

    def total(self, label: Label) -> int:
        """Return how many closures have this label."""
        return self.outcomes[label, True] + self.outcomes[label, False]

    def nothing_wrongful_allowed(self) -> bool:
        """Tell whether the guard did what it is there for."""
        return self.total(Label.WRONGFUL) > 0 and not self.outcomes[Label.WRONGFUL, True]

    def add_fault(self, fault: Fault, *, halted_before: bool) -> None:
        """Take note of a fault that begins."""
        self.faults.append(FaultScore(fault, halted_before))

    def add_observation(self, observed: Observation, *, rejected: bool) -> None:
        """Count an observation against the faults that are on."""
        for score in self._on(observed.market, observed.at_ns):
            score.published[observed.market] += 1
            if rejected and score.noticed_at_observation is None:
                score.noticed_at_observation = score.published[observed.market]

    def add_question(self, market: str, at_ns: int) -> None:
        """Count a question against the faults that are on and not yet noticed."""
        self.asked += 1
        for score in self._on(market, at_ns):
            score.checks_before += score.noticed_at_observation is None and not score.halted_before

    def add_outcome(self, asked: LabelledCheck, *, allowed: bool, retries: int) -> None:
        """Count how a closure ended, after its last retry."""
        if asked.label is not None:
            self.outcomes[asked.label, allowed] += 1
            self.on_retry += allowed and retries > 0

    def _on(self, market: str, at_ns: int) -> list[FaultScore]:
        return [
            score
            for score in self.faults
            if market in score.fault.markets and score.fault.at_ns <= at_ns <= score.fault.until_ns
        ]


class Narrator:
    """Tells the story as it happens."""

    def __init__(self, console: Console, show_time: Callable[[int], None]) -> None:
        self._console = console
        self._show_time = show_time
        self._epochs: dict[str, int] = {}
        self._answered: set[tuple[str, Verdict]] = set()
        self._rejected: set[tuple[str, str]] = set()
        self._phases: list[PhaseChanged] = []
        """Equal changes of phase, held back to be told of in one line."""

    def reach(self, at_ns: int) -> None:
        """Take note of the time: show it, and tell what was held back for one line."""
        self._show_time(at_ns)
        if self._phases and at_ns - self._phases[0].at_ns > _HELD_BACK_NS:
            self._tell_phases()

    def phase(self, command: PhaseCommand) -> None:
        """Tell that the exchange enters a phase."""
        self._tell(command.at_ns, "exchange", f"{_PHASES[command.phase]} ({command.phase})")

    def fault(self, fault: Fault) -> None:
        """Tell what is wrong from now on."""
        what = _FAULTS.get(fault.kind, fault.kind)
        self._tell(fault.at_ns, "fault", f"{what}: {', '.join(fault.markets)} (the guard is not told)")

    def observation(self, observed: Observation) -> None:
        """Tell when another process has begun to publish."""
        known = self._epochs.get(observed.source)
        self._epochs[observed.source] = observed.epoch
        if known is not None and observed.epoch > known:
            self._tell(observed.at_ns, "exchange", f"publishes again, from a new process (epoch {observed.epoch})")

    def answer(self, asked: LabelledCheck, made: DecisionMade) -> None:
        """Tell the first answer of each kind in each market."""
        decision = made.decision
        if (decision.market, decision.verdict) in self._answered:
            return
        self._answered.add((decision.market, decision.verdict))
        truth = f" ({asked.label} in truth)" if asked.label else ""
        question = f"may {decision.account_id} be closed?{truth} "
        denying = sentences.denying_of(decision.verdict, decision.findings)
        hardest = sentences.hardest(denying)
        if hardest is None:
            self._tell(asked.at_ns, "liquidator", f"{question}ALLOW", "green")
            return
        how = ending(hardest, sentences.longest_wait_ns(denying))
        self._tell(asked.at_ns, "liquidator", f"{question}DENY: {sentences.codes(decision.findings)}. {how}", "red")

    def event(self, event: event_pb2.Event) -> None:
        """Tell what the guard finds and does: values rejected, breakers moved, phases ended."""
        match received.event(event):
            case ObservationJudged(accepted=False) as judged:
                self._reject(judged)
            case BreakerChanged() as changed:
                self._tell(changed.at_ns, "guard", sentences.line(replace(changed, findings=())), lines.style(changed))
            case PhaseChanged(actor="") as changed:
                if self._phases and _change(self._phases[0]) != _change(changed):
                    self._tell_phases()
                self._phases.append(changed)

    def end(self, score: Score, status: status_pb2.GuardStatus) -> None:
        """Print the score, and what is left to do."""
        console = self._console
        if self._phases:
            self._tell_phases()
        faults = [
            (one.fault.kind, ", ".join(one.fault.markets), one.noticed(), str(one.checks_before))
            for one in score.faults
        ]
        closures = []
        denied, allowed = score.outcomes[Label.WRONGFUL, False], score.outcomes[Label.GENUINE, True]
        again = f"asked again every second for 12 s, {score.asked} checks in all"
        at_once = f"{allowed - score.on_retry} at once, {score.on_retry} on asking again"
        for name, label, right, how in (
            ("wrongful denied", Label.WRONGFUL, denied, again),
            ("genuine allowed", Label.GENUINE, allowed, at_once),
        ):
            of = score.total(label)
            closures.append((name, Text(f"{right}/{of}", style="bold green" if right == of else "bold red"), how))
        columns = ("WHAT WENT WRONG", "MARKETS", "FIRST NOTICED", "CLOSURES ASKED BEFORE")
        console.print("", table(console, *columns, rows=faults), sep="\n")
        console.print("", table(console, "CLOSURES", "RESULT", "HOW", rows=closures), sep="\n")
        latched = [market.market for market in status.markets if market.breaker.latched]
        if latched:
            console.print("\nStill latched. Once the cause is gone, an operator must reset:")
            console.print(f"  circuit-guard reset {' '.join(latched)} {AUDIT}")

    def _reject(self, judged: ObservationJudged) -> None:
        """Tell the first rejection of each market for each reason."""
        key = (judged.market, judged.findings[0].reason)
        if key not in self._rejected:
            self._rejected.add(key)
            self._tell(judged.at_ns, "guard", sentences.line(judged), "yellow")

    def _tell_phases(self) -> None:
        first, markets = self._phases[0], ", ".join(changed.market for changed in self._phases)
        self._phases = []
        evidence = " on evidence" if first.after is Phase.OPEN else ""
        self._tell(first.at_ns, "guard", f"{_change(first)}{evidence}, {first.note}: {markets}", "green")

    def _tell(self, at_ns: int, who: str, what: str, style: str = "") -> None:
        line = Table.grid(padding=(0, 2))
        line.add_column(no_wrap=True, style="dim")
        line.add_column(no_wrap=True, style="dim", min_width=10)
        line.add_column(overflow="fold")
        line.add_row(time_of_day(at_ns), who, Text(what, style=style or _STYLES[who]))
        self._console.print(line)


def _change(changed: PhaseChanged) -> str:
    return f"{changed.before} to {changed.after}"


class Player:
    """Sends what was recorded when it was recorded, one after the other, and asks again as an engine would."""

    def __init__(self, clock: StoryClock, channel: grpc.aio.Channel, narrator: Narrator, score: Score) -> None:
        self._clock = clock
        self._narrator = narrator
        self._score = score
        self._data = market_data_pb2_grpc.MarketDataServiceStub(channel)
        self._liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(channel)
        self._due: deque[tuple[int, LabelledCheck, int]] = deque()
        """The denied closures to ask about again, earliest first: when, which, and for the how-many-th time."""
        self._marks: dict[str, Decimal | None] = {}
        self._funding_indices: dict[str, Decimal | None] = {}
        """What the exchange published last, trusted or not: what its engine would compute with."""

    async def play(self, entries: Iterable[Entry]) -> None:
        """Play the recording to its end, and the retries after it."""
        for (at_ns, kind), group in groupby(entries, key=lambda entry: (entry.at_ns, type(entry))):
            while self._due and self._due[0][0] < at_ns:
                await self._ask_again(*self._due.popleft())
            await self._reach(at_ns)
            self._narrator.reach(at_ns)
            await self._send(kind, list(group))
        while self._due:
            await self._ask_again(*self._due.popleft())

    async def status(self) -> status_pb2.GuardStatus:
        """Return the state of the guard."""
        response: admin_pb2.GetStatusResponse = await self._admin.GetStatus(
            admin_pb2.GetStatusRequest(), timeout=DEADLINE_S
        )
        return response.status

    async def narrate(self, watching: asyncio.Event) -> None:
        """Have the guard's events told for as long as the guard runs; `watching` is set once none can be missed."""
        stream = self._admin.WatchEvents(admin_pb2.WatchEventsRequest())
        await stream.initial_metadata()
        watching.set()
        async for response in stream:
            self._narrator.event(response.event)

    async def _reach(self, at_ns: int) -> None:
        self._clock.allow(at_ns)
        await asyncio.sleep(self._clock.machine_s_until(at_ns))

    async def _send(self, kind: type, group: list[Entry]) -> None:
        if kind is Reference:
            references = [wire.reference(entry) for entry in group if isinstance(entry, Reference)]
            request = market_data_pb2.PublishReferencesRequest(references=references)
            await self._data.PublishReferences(request, timeout=DEADLINE_S)
        elif kind is Observation:
            await self._observe([entry for entry in group if isinstance(entry, Observation)])
        for entry in group:
            match entry:
                case PhaseCommand():
                    self._narrator.phase(entry)
                    await self._admin.SetPhase(wire.phase(entry, ACTOR), timeout=DEADLINE_S)
                case Fault():
                    self._narrator.fault(entry)
                    self._score.add_fault(entry, halted_before=await self._halted(entry))
                case LabelledCheck():
                    await self._ask(entry, entry.check, retries=0)

    async def _observe(self, observations: list[Observation]) -> None:
        request = market_data_pb2.PublishObservationsRequest(observations=map(wire.observation, observations))
        for observed in observations:
            self._narrator.observation(observed)
            self._marks[observed.market] = observed.mark_price
            self._funding_indices[observed.market] = observed.funding_index
        response: market_data_pb2.PublishObservationsResponse = await self._data.PublishObservations(
            request, timeout=DEADLINE_S
        )
        for observed, result in zip(observations, response.results, strict=True):
            rejected = result.status != market_data_pb2.PUBLISH_STATUS_ACCEPTED
            self._score.add_observation(observed, rejected=rejected)

    async def _halted(self, fault: Fault) -> bool:
        """Tell whether the markets of a fault that begins are denied by their breakers already."""
        markets = [market for market in (await self.status()).markets if market.market in fault.markets]
        return all(market.breaker.state == types_pb2.BREAKER_STATE_OPEN for market in markets)

    async def _ask(self, asked: LabelledCheck, check: Check, retries: int) -> None:
        self._score.add_question(check.market, check.at_ns)
        request = liquidation_pb2.CheckLiquidationRequest(check=wire.check(check))
        response: liquidation_pb2.CheckLiquidationResponse = await self._liquidations.CheckLiquidation(
            request, timeout=DEADLINE_S
        )
        made = received.decision(response.decision)
        allowed = made.decision.verdict is Verdict.ALLOW
        if not retries:
            self._narrator.answer(asked, made)
        if allowed or retries == _RETRIES_MAX:
            self._score.add_outcome(asked, allowed=allowed, retries=retries)
        else:
            self._due.append((check.at_ns + RETRY_INTERVAL_NS, asked, retries + 1))

    async def _ask_again(self, at_ns: int, asked: LabelledCheck, retries: int) -> None:
        """Ask once more, as a new question with what is published now."""
        await self._reach(at_ns)
        market = asked.check.market
        again = replace(
            asked.check,
            at_ns=at_ns,
            request_id=f"{asked.check.request_id}#retry-{retries}",
            execution_price=self._marks.get(market),
            basis=Basis(self._marks.get(market), self._funding_indices.get(market)),
        )
        await self._ask(asked, again, retries)
