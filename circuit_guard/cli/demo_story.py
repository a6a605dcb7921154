"""The demo's narrator: a few lines on what the exchange does, what is wrong, and what the guard makes of it."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import words
from circuit_guard.cli.demo_score import Score
from circuit_guard.cli.output import table
from circuit_guard.core.inputs import Observation, PhaseCommand
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.recording.format import Fault, Label, LabelledCheck, format_time
from circuit_guard.v1 import event_pb2, liquidation_pb2, status_pb2, types_pb2

_PHASES = {
    Phase.OPEN: "opens",
    Phase.POST_ONLY: "is back, post-only: only resting orders, so thin books",
    Phase.CANCEL_ONLY: "is cancel-only: no new orders",
    Phase.MAINTENANCE: "goes into maintenance",
}
_FAULTS = {
    "funding_reset": "a race at the restart has set funding indices to zero",
    "thin_book_skew": "a thin book pushes the mark price away from every other venue",
    "funding_restore": "the true funding indices are put back: a jump for whoever traded in between",
}
_STYLES = {"exchange": "cyan", "fault": "bold magenta", "guard": "default"}
_HELD_BACK_NS = 2 * SECOND_NS
"""Markets whose phase changes within so long are told of in one line."""


class Narrator:
    """Tells the story as it happens."""

    def __init__(self, console: Console, show_time: Callable[[int], None]) -> None:
        self._console = console
        self._show_time = show_time
        self._epochs: dict[str, int] = {}
        self._answered: set[tuple[str, int]] = set()
        self._rejected: set[tuple[str, str]] = set()
        self._phases: list[event_pb2.Event] = []
        """Equal changes of phase, held back to be told of in one line."""

    def reach(self, at_ns: int) -> None:
        """Take note of the time: show it, and tell what was held back for one line."""
        self._show_time(at_ns)
        if self._phases and at_ns - self._phases[0].at.ToNanoseconds() > _HELD_BACK_NS:
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

    def answer(self, asked: LabelledCheck, decision: liquidation_pb2.LiquidationDecision) -> None:
        """Tell the first answer of each kind in each market."""
        if (decision.market, decision.verdict) in self._answered:
            return
        self._answered.add((decision.market, decision.verdict))
        truth = f" ({asked.label} in truth)" if asked.label else ""
        question = f"may {decision.account_id} be closed?{truth} "
        if decision.verdict == types_pb2.VERDICT_ALLOW:
            self._tell(asked.at_ns, "liquidator", f"{question}ALLOW", "green")
            return
        reasons = ", ".join(dict.fromkeys(found.reason for found in decision.findings))
        ending = f"lifted by {words.lifted_by(decision.lifted_by)}"
        self._tell(asked.at_ns, "liquidator", f"{question}DENY: {reasons}; {ending}", "red")

    def event(self, event: event_pb2.Event) -> None:
        """Tell what the guard finds and does: values rejected, breakers moved, phases ended."""
        at_ns = event.at.ToNanoseconds()
        match event.WhichOneof("kind"):
            case "observation_rejected":
                self._reject(at_ns, event.observation_rejected)
            case "breaker_changed":
                changed = event.breaker_changed
                state = words.breaker_state(changed.after, latched=changed.latched)
                style = "bold red" if changed.after == types_pb2.BREAKER_STATE_OPEN else "green"
                self._tell(at_ns, "guard", f"{changed.scope} {state}", style)
            case "phase_changed" if not event.phase_changed.actor:
                if self._phases and _change(self._phases[0]) != _change(event):
                    self._tell_phases()
                self._phases.append(event)

    def end(self, score: Score, status: status_pb2.GuardStatus) -> None:
        """Print the score, and what is left to do."""
        console = self._console
        if self._phases:
            self._tell_phases()
        console.print()
        console.print(_faults(console, score))
        console.print()
        console.print(_closures(console, score))
        latched = [market.market for market in status.markets if market.breaker.latched]
        if latched:
            console.print("\nStill latched, until an operator has looked into it:")
            console.print(f'  circuit-guard reset {" ".join(latched)} --actor NAME --reason "WHY"')

    def _reject(self, at_ns: int, rejected: event_pb2.ItemRejected) -> None:
        """Tell the first rejection of each market for each reason."""
        found = rejected.findings[0]
        if (rejected.market, found.reason) not in self._rejected:
            self._rejected.add((rejected.market, found.reason))
            self._tell(at_ns, "guard", f"{rejected.market} observation rejected: {found.sentence}", "yellow")

    def _tell_phases(self) -> None:
        first = self._phases[0]
        markets = ", ".join(event.phase_changed.market for event in self._phases)
        evidence = " on evidence" if first.phase_changed.after == types_pb2.PHASE_OPEN else ""
        at_ns, self._phases = first.at.ToNanoseconds(), []
        self._tell(at_ns, "guard", f"{_change(first)}{evidence}, {first.phase_changed.note}: {markets}", "green")

    def _tell(self, at_ns: int, who: str, what: str, style: str = "") -> None:
        line = Table.grid(padding=(0, 2))
        line.add_column(no_wrap=True, style="dim")
        line.add_column(no_wrap=True, style="dim", min_width=10)
        line.add_column(overflow="fold")
        line.add_row(time_of_day(at_ns), who, Text(what, style=style or _STYLES[who]))
        self._console.print(line)


def time_of_day(at_ns: int) -> str:
    """Return the time of day in UTC to the second."""
    return format_time(at_ns)[11:19]


def _change(event: event_pb2.Event) -> str:
    return f"{words.phase(event.phase_changed.before)} -> {words.phase(event.phase_changed.after)}"


def _faults(console: Console, score: Score) -> Table:
    rows = table(console, "WHAT WENT WRONG", "MARKETS", "FIRST NOTICED", "CLOSURES ASKED BEFORE")
    for one in score.faults:
        rows.add_row(one.fault.kind, ", ".join(one.fault.markets), one.noticed(), str(one.checks_before))
    return rows


def _closures(console: Console, score: Score) -> Table:
    wrongful, genuine = score.total(Label.WRONGFUL), score.total(Label.GENUINE)
    denied, allowed = score.outcomes[Label.WRONGFUL, False], score.outcomes[Label.GENUINE, True]
    rows = table(console, "CLOSURES", "RESULT", "HOW")
    again = f"asked again every second for 12 s, {score.asked} checks in all"
    rows.add_row("wrongful denied", Text(f"{denied}/{wrongful}", style=_good(denied == wrongful)), again)
    at_once = f"{allowed - score.on_retry} at once, {score.on_retry} on asking again"
    rows.add_row("genuine allowed", Text(f"{allowed}/{genuine}", style=_good(allowed == genuine)), at_once)
    return rows


def _good(good: bool) -> str:
    return "bold green" if good else "bold red"
