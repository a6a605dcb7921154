"""One line for each event of the guard, for people who watch."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from circuit_guard.cli import words
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, types_pb2

_SEPARATOR = "; "
NOT_CLEAN_SHOWN_MAX = 5


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
        case "halt_changed":
            return _halt(event.halt_changed)
        case _:
            return _act(event)


def _act(event: event_pb2.Event) -> tuple[str, str]:
    match event.WhichOneof("kind"):
        case "market_reopened":
            again = event.market_reopened
            held = words.lasting(again.held.ToTimedelta())
            return f"{again.market} re-opens after {held}: closures go through at a rising rate", "bold green"
        case "maintenance_began":
            began = event.maintenance_began
            what = f"maintenance begun by {began.actor}: {began.reason}; checkpoint {began.checkpoint_name}"
            return what, "bold yellow"
        case "state_validated":
            return _validated(event.state_validated)
        case "maintenance_ended":
            ended = event.maintenance_ended
            clean, latched = words.markets(len(ended.clean)), words.markets(len(ended.latched))
            which = f": {words.scopes(ended.latched)}" if ended.latched else ""
            what = f"maintenance ended by {ended.actor}: {ended.reason}; {clean} in POST_ONLY, {latched} latched{which}"
            return what, "bold red" if ended.latched else "bold green"
        case "rebaselined":
            return _rebaselined(event.rebaselined), "bold yellow"
        case "act_proposed":
            asked = event.act_proposed
            what = f"{asked.act} of {words.scopes(asked.scopes)} proposed by {asked.actor}: {asked.reason}"
            until = words.time(asked.expires_at)
            return f"{what}; not in effect before somebody else asks for the same, until {until}", "yellow"
        case _:
            return _plain(event)


def _plain(event: event_pb2.Event) -> tuple[str, str]:
    match event.WhichOneof("kind"):
        case "phase_changed":
            phase = event.phase_changed
            who = f" by {phase.actor}" if phase.actor else ""
            change = f"{words.phase(phase.before)} -> {words.phase(phase.after)}"
            return f"{phase.market} phase {change}{who}: {phase.note}", "cyan"
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


def _halt(changed: event_pb2.HaltChanged) -> tuple[str, str]:
    what, style = ("halted", "bold red") if changed.halted else ("resumed", "bold green")
    who = f" by {changed.actor}" if changed.actor else ""
    until = f"; until {words.time(changed.expires_at)}" if changed.HasField("expires_at") else ""
    return f"{changed.scope} {what}{who}: {changed.reason}{until}", style


def _validated(validated: event_pb2.StateValidated) -> tuple[str, str]:
    clean = f"the exchange's state validated by {validated.actor}: {words.markets(validated.clean_count)} clean"
    if not validated.not_clean:
        return clean, "bold green"
    shown = [words.outcome(found) for found in validated.not_clean[:NOT_CLEAN_SHOWN_MAX]]
    more = len(validated.not_clean) - len(shown)
    shown += [f"and {more} more"] if more else []
    return f"{clean}, {len(validated.not_clean)} not: {_SEPARATOR.join(shown)}", "bold red"


def _rebaselined(changed: event_pb2.Rebaselined) -> str:
    who = f"says {changed.actor}: {changed.reason}"
    if not changed.funding_index_after:
        return f"{changed.market} accounts are repaired, none is tainted any more, {who}"
    source = f", of checkpoint {changed.checkpoint_id}" if changed.HasField("checkpoint_id") else ""
    before = changed.funding_index_before or "none"
    return f"{changed.market} funding index is {changed.funding_index_after}{source}, instead of {before}, {who}"


def _rejected(what: str, rejected: event_pb2.ItemRejected) -> str:
    return f"{rejected.market} {what} of {rejected.source} rejected: {_sentences(rejected.findings)}"


def _decision(decision: liquidation_pb2.LiquidationDecision) -> tuple[str, str]:
    subject = f"{words.kind(decision.kind)} of {decision.account_id}"
    loss = decision.explained_loss.verdict
    said = f", loss {words.explanation(loss)}" if decision.HasField("explained_loss") else ""
    repeated = " (asked before)" if decision.repeated else ""
    doubtful = loss == liquidation_pb2.EXPLANATION_UNEXPLAINED or decision.verdict != types_pb2.VERDICT_ALLOW
    return f"{decision.explanation} [{subject}, {decision.request_id}{said}]{repeated}", "yellow" if doubtful else ""


def _order(judged: order_pb2.OrderJudgement) -> str:
    return f"{judged.explanation} [order {judged.order_id}]"


def _sentences(findings: Iterable[types_pb2.Finding]) -> str:
    return _SEPARATOR.join(found.sentence for found in findings)


def _markets(policy: event_pb2.PolicyChanged) -> list[tuple[str, list[str]]]:
    return [("added", list(policy.added)), ("removed", list(policy.removed))]
