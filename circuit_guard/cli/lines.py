"""One coloured line for each event of `watch`."""

from __future__ import annotations

from rich.text import Text

from circuit_guard.core import facts, sentences
from circuit_guard.core.facts import Fact
from circuit_guard.core.formatting import time_of_day_ms
from circuit_guard.core.types import BreakerState, Explanation, Outcome, Verdict
from circuit_guard.errors import WireError
from circuit_guard.server.convert import received
from circuit_guard.server.convert.records import time_ns
from circuit_guard.v1 import event_pb2


def of_event(event: event_pb2.Event) -> Text:
    """Return an event as `04:33:00.250 BTC-USD-PERP: what happened`, coloured by how bad it is."""
    try:
        fact = received.event(event)
    except WireError:
        what, colour = "the guard sent an event that this version of circuit-guard cannot read", "dim"
    else:
        what, colour = sentences.line(fact), style(fact)
    return Text(f"{time_of_day_ms(time_ns(event.at))} ", style="dim").append(what, style=colour or "not dim")


def style(fact: Fact) -> str:  # noqa: C901  # one case for each colour
    """Return how a fact is shown, by how bad it is; empty for what is as usual."""
    match fact:
        case facts.BreakerChanged(after=BreakerState.OPEN) | facts.HaltChanged(halted=True, stays=False):
            return "bold red"
        case facts.ClockChanged(off_ns=off_ns) if off_ns:
            return "bold red"
        case facts.StateValidated(outcomes=found) if any(one.outcome is not Outcome.OK for one in found):
            return "bold red"
        case facts.MaintenanceEnded(latched=latched) if latched:
            return "bold red"
        case facts.BreakerChanged(after=BreakerState.HALF_OPEN, actor="") | facts.HaltChanged(stays=True):
            return "yellow"
        case (
            facts.BreakerChanged()
            | facts.HaltChanged()
            | facts.StateValidated()
            | facts.MaintenanceEnded()
            | facts.MarketReopened()
            | facts.ClockChanged()
        ):
            return "bold green"
        case facts.MaintenanceBegan() | facts.Rebaselined():
            return "bold yellow"
        case facts.MarketWarm() | facts.ObservationReconsidered():
            return "green"
        case facts.PhaseChanged() | facts.PolicyChanged():
            return "cyan"
        case facts.ShadowWould():
            return "dim"
        case (
            facts.ObservationJudged(accepted=True)
            | facts.ReferenceJudged(accepted=True)
            | facts.OrderJudged(verdict=Verdict.ALLOW)
        ):
            return ""
        case facts.DecisionMade(decision=made) if made.verdict is Verdict.ALLOW:
            unexplained = made.explained is not None and made.explained.verdict is Explanation.UNEXPLAINED
            return "yellow" if unexplained else ""
        case _:
            return "yellow"
