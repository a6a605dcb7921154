"""One line for each event of the guard, for people who watch."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from circuit_guard.cli import words
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, types_pb2

_SEPARATOR = "; "


def line(event: event_pb2.Event) -> Text:
    """Return an event as `04:33:00.250 what happened`, coloured by how bad it is."""
    what, style = describe(event)
    return Text(f"{words.clock_time(event.at)} ", style="dim").append(what, style=style or "not dim")


def describe(event: event_pb2.Event) -> tuple[str, str]:
    """Return what happened, and the style to show it in."""
    match event.WhichOneof("kind"):
        case "breaker_changed":
            return _breaker(event.breaker_changed)
        case "observation_rejected":
            return _rejected("observation", event.observation_rejected), "yellow"
        case "reference_rejected":
            return _rejected("reference", event.reference_rejected), "yellow"
        case "observation_reconsidered":
            again = event.observation_reconsidered
            what = "is trusted after all: the references have followed it"
            return f"{again.market} observation of {again.source} {what}", "green"
        case "decision":
            return _decision(event.decision)
        case "order_denied":
            return _order(event.order_denied), "yellow"
        case "shadow_would":
            found = event.shadow_would
            return f"{found.scope} shadow: enforced, this would act: {_sentences(found.findings)}", "dim"
        case _:
            return _plain(event)


def _plain(event: event_pb2.Event) -> tuple[str, str]:
    match event.WhichOneof("kind"):
        case "phase_changed":
            phase = event.phase_changed
            who = f" by {phase.actor}" if phase.actor else ""
            change = f"{words.phase(phase.before)} -> {words.phase(phase.after)}"
            return f"{phase.market} phase {change}{who}: {phase.note}", "cyan"
        case "halt_changed":
            halt = event.halt_changed
            what, style = ("halted", "bold red") if halt.halted else ("resumed", "bold green")
            return f"{halt.scope} {what} by {halt.actor}: {halt.reason}", style
        case "market_warm":
            return f"{event.market_warm.market} is warm: its closures are judged from now on", "green"
        case "policy_changed":
            policy = event.policy_changed
            markets = "".join(f", {word} {', '.join(names)}" for word, names in _markets(policy) if names)
            return f"policy {policy.revision} in force{markets}", "cyan"
        case "command_refused":
            refused = event.command_refused
            return f"command refused: {refused.subject} was {refused.observed}, expected {refused.expected}", "yellow"
        case "check_refused":
            check = event.check_refused
            return f"check {check.request_id} refused: known with another content, in {check.differing}", "yellow"
        case _:
            return "an event of a kind that this version does not know", "dim"


def _breaker(changed: event_pb2.BreakerChanged) -> tuple[str, str]:
    state = words.breaker_state(changed.after, latched=changed.latched)
    style = {types_pb2.BREAKER_STATE_OPEN: "bold red", types_pb2.BREAKER_STATE_HALF_OPEN: "yellow"}
    if changed.actor:
        return f"{changed.scope} {state}: reset by {changed.actor}: {changed.note}", "bold green"
    opened = changed.after == types_pb2.BREAKER_STATE_OPEN
    why = f": {_sentences(changed.findings)}" if opened and changed.findings else ""
    return f"{changed.scope} {state}{why}", style.get(changed.after, "bold green")


def _rejected(what: str, rejected: event_pb2.ItemRejected) -> str:
    return f"{rejected.market} {what} of {rejected.source} rejected: {_sentences(rejected.findings)}"


def _decision(decision: liquidation_pb2.LiquidationDecision) -> tuple[str, str]:
    subject = f"{words.kind(decision.kind)} of {decision.account_id}"
    repeated = " (asked before)" if decision.repeated else ""
    style = "" if decision.verdict == types_pb2.VERDICT_ALLOW else "yellow"
    return f"{decision.explanation} [{subject}, {decision.request_id}]{repeated}", style


def _order(judged: order_pb2.OrderJudgement) -> str:
    return f"{judged.explanation} [order {judged.order_id}]"


def _sentences(findings: Iterable[types_pb2.Finding]) -> str:
    return _SEPARATOR.join(found.sentence for found in findings)


def _markets(policy: event_pb2.PolicyChanged) -> list[tuple[str, list[str]]]:
    return [("added", list(policy.added)), ("removed", list(policy.removed))]
