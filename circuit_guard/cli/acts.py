"""What operators do: halt, resume, reset, phases, the policy, maintenances. Each act names who does it and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rich.text import Text

from circuit_guard.cli import lines, options, state_dump, wire
from circuit_guard.cli.options import Guard
from circuit_guard.cli.output import ExitCode, as_json, display, print_json, screen
from circuit_guard.cli.status import denying_in, explained
from circuit_guard.core import sentences
from circuit_guard.core.explain import AUDIT
from circuit_guard.core.formatting import instant, markets
from circuit_guard.core.types import MarketOutcome, Outcome
from circuit_guard.errors import shown
from circuit_guard.server.convert import received
from circuit_guard.v1 import admin_pb2, maintenance_pb2

_DURATION = re.compile("(?P<number>[1-9][0-9]{0,6})(?P<unit>[smh])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}

Response = TypeVar(
    "Response",
    admin_pb2.HaltResponse,
    admin_pb2.ResumeResponse,
    admin_pb2.ResetBreakerResponse,
    admin_pb2.SetPhaseResponse,
    maintenance_pb2.RebaselineResponse,
)
MayBeProposed = admin_pb2.ResumeResponse | admin_pb2.ResetBreakerResponse | maintenance_pb2.RebaselineResponse
ThePhase = Annotated[
    Literal["OPEN", "POST_ONLY", "CANCEL_ONLY", "MAINTENANCE"],
    typer.Argument(metavar="PHASE", case_sensitive=False, help="OPEN, POST_ONLY, CANCEL_ONLY or MAINTENANCE."),
]
"""The phases that can be set: RECOVERING is entered by the guard itself."""

_Values = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MARKET=INDEX...", help="The true funding indices; with --checkpoint or --factor, markets alone."
    ),
]
_Checkpoint = Annotated[
    int | None,
    typer.Option(
        "--checkpoint", min=1, metavar="ID", help="Take them from this checkpoint: the exchange is back there."
    ),
]
_Factor = Annotated[
    str | None,
    typer.Option(
        "--factor",
        metavar="F",
        help="Prices, funding index and premium are F times what they were: 1000 where 1,000 old tokens became "
        "one, 0.1 for a split into ten.",
    ),
]
_MarkPrice = Annotated[
    list[str] | None,
    typer.Option("--mark-price", metavar="MARKET=PRICE", help="The mark price on the new scale; may be repeated."),
]
_IndexPrice = Annotated[
    list[str] | None,
    typer.Option("--index-price", metavar="MARKET=PRICE", help="The index price, beside a mark price."),
]
_Premium = Annotated[
    list[str] | None,
    typer.Option("--premium", metavar="MARKET=PREMIUM", help="The premium of the current funding period."),
]
_Repaired = Annotated[
    list[str] | None,
    typer.Option(
        "--repaired",
        metavar="MARKET",
        help="The exchange has repaired the accounts in this market; may be repeated.",
    ),
]

maintenance = typer.Typer(
    help="Restart the exchange: begin, validate its state before it publishes, end.", no_args_is_help=True
)

ROWS_SHOWN_MAX = 20
"""More markets that are not clean are only counted: the worst must stay on the screen."""


def halt(
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="How long: 90s, 15m, 2h; at most 7 days. Without it, until `resume`."
        ),
    ] = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Deny every closure in these markets until `resume`, or for the time given. No rule lifts it.

    Halts of several operators stand side by side, and closures are denied until the last one ends. Your new halt takes
    the place of your own unless it would end sooner.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.HaltRequest(scopes=scopes, actor=actor, reason=reason, expires_after=_expiry(for_))
    with Guard(address, timeout) as guard:
        _carry_out(guard, guard.admin.Halt, request, json)
        _print_denying(guard, scopes, json)


def resume(
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Lift operators' halts, whoever halted.

    Lifts every halt of the markets named, or with --all those over everything. Breakers stay as they are.

    Exit code 1: nothing was resumed. Either a market is not halted, or the policy wants two actors and this is the
    first: the act is only proposed.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.ResumeRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response = _carry_out(guard, guard.admin.Resume, request, json)
        _end_if_proposed(response, f"resume {'--all' if everything else ' '.join(scopes)}", json)
        _print_denying(guard, scopes, json)


def reset(
    scopes: Annotated[list[str], typer.Argument(metavar="SCOPES", help="Markets, or GLOBAL for the breaker over all.")],
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Close breakers, latched or not.

    A market must then show good data again before its closures go through.

    Exit code 1: nothing was reset. Either a breaker is CLOSED already, or the policy wants two actors and this is the
    first: the act is only proposed.
    """
    request = admin_pb2.ResetBreakerRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response = _carry_out(guard, guard.admin.ResetBreaker, request, json)
        _end_if_proposed(response, f"reset {' '.join(scopes)}", json)
        _print_denying(guard, scopes, json)


def phase(
    phase: ThePhase,
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="The chain was rolled back: cancel resting orders.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Tell the guard which phase the exchange enters.

    A market reaches OPEN through RECOVERING: it must show good data before it leaves another phase.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.SetPhaseRequest(
        phase=f"PHASE_{phase}", scopes=scopes, actor=actor, reason=reason, rollback=rollback
    )
    with Guard(address, timeout) as guard:
        _carry_out(guard, guard.admin.SetPhase, request, json)
        _print_denying(guard, scopes, json)


def reload(
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Make the guard read its policy file again.

    Exit code 1: the file is not valid; the previous policy stays in force.
    """
    request = admin_pb2.ReloadPolicyRequest(actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response: admin_pb2.ReloadPolicyResponse = guard.call(guard.admin.ReloadPolicy, request)
    if json:
        print_json(as_json(response))
        return
    changed = response.revision != response.previous_revision
    now = f"policy {response.revision} is in force"
    screen().print(f"{now}, instead of {response.previous_revision}" if changed else f"{now}, as before")
    for word, named in (("added", response.added), ("removed", response.removed)):
        if named:
            screen().print(f"{word}: {', '.join(named)}")


def rebaseline(
    actor: options.Actor,
    reason: options.Reason,
    values: _Values = None,
    checkpoint: _Checkpoint = None,
    everything: Annotated[bool, typer.Option("--all", help="With --checkpoint: every market of the policy.")] = False,
    factor: _Factor = None,
    mark_price: _MarkPrice = None,
    index_price: _IndexPrice = None,
    premium: _Premium = None,
    repaired: _Repaired = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Set what to trust from now on, whatever was trusted before.

    Breakers and halts stay as they are. After a rollback name the checkpoint. The guard then denies closures of the
    accounts that were settled with values published since, until the exchange has repaired them.

    After a redenomination, another contract multiplier or a split give --factor, or every value with --mark-price. What
    venues and publishers said before counts no more. Rates stay. The exchange converts sizes, entry prices and cached
    indices.

    Exit code 1: the act is only proposed, or nothing could be changed.
    """
    request = maintenance_pb2.RebaselineRequest(actor=actor, reason=reason, repaired=repaired or ())
    prices = {"mark_price": mark_price, "index_price": index_price, "funding_premium": premium}
    if factor is not None:
        _ask_for_factor(request, factor, values, checkpoint, everything)
    elif checkpoint is None:
        if everything:
            raise typer.BadParameter("--all was given without --checkpoint, expected MARKET=INDEX for each market")
        if not values and not repaired:
            raise typer.BadParameter("name at least one MARKET=INDEX, or give --checkpoint, --factor or --repaired")
        request.baselines.extend(map(_baseline, values or ()))
    else:
        request.checkpoint_id = checkpoint
        request.scopes.extend(options.scopes_of(values, everything))
    for field, given in prices.items():
        _add(request, field, given or [])
    with Guard(address, timeout) as guard:
        response = _carry_out(guard, guard.maintenance.Rebaseline, request, json)
        again = "the same values" if factor is None else f"the same --factor {factor}"
        _end_if_proposed(response, f"rebaseline with {again}", json)
        if not json:
            _print_still_latched(guard, response)


@maintenance.command("begin")
def begin(
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Deny every closure, and keep a checkpoint of what is trusted now.

    Exit code 1: nothing was changed. Either a maintenance runs already, or the guard keeps no journal.
    """
    request = maintenance_pb2.BeginMaintenanceRequest(actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.BeginMaintenanceResponse = guard.call(guard.maintenance.BeginMaintenance, request)
    if json:
        print_json(as_json(response))
        return
    display(Text(f"maintenance begun by {actor}: closures are denied in every market", style="bold yellow"))
    display(f"checkpoint {response.checkpoint_id}, {response.checkpoint_name}, SHA-256 {response.checkpoint_digest}")
    display("next: restart the exchange, then circuit-guard maintenance validate DUMP --actor NAME")


@maintenance.command("validate")
def validate(
    dump: Annotated[Path, typer.Argument(metavar="DUMP", help="A .json or .csv file; `-` is JSON on standard input.")],
    actor: options.Actor,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Compare a dump of the restarted exchange's state with what was last trusted, before it is published.

    Exit code 0: every market is clean. 1: a market is not clean, or no maintenance has begun; publish nothing. 2: the
    dump cannot be used. 3: no answer.
    """
    rows = map(wire.state_row, state_dump.read(dump))
    request = maintenance_pb2.ValidateStateRequest(actor=actor, rows=rows)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.ValidateStateResponse = guard.call(guard.maintenance.ValidateState, request)
    if json:
        print_json(as_json(response))
    else:
        for line in _found([received.outcome(one) for one in response.outcomes]):
            display(line)
    raise typer.Exit(ExitCode.OK if response.clean else ExitCode.DENIED)


@maintenance.command("end")
def end(
    actor: options.Actor,
    reason: options.Reason,
    unvalidated: Annotated[
        bool, typer.Option("--unvalidated", help="End it even if nothing was validated: every market then latches.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Put the clean markets into POST_ONLY, and latch the others.

    Exit code 1: nothing was changed. Either no maintenance has begun, or nothing was validated.
    """
    request = maintenance_pb2.EndMaintenanceRequest(actor=actor, reason=reason, unvalidated=unvalidated)
    with Guard(address, timeout) as guard:
        response: maintenance_pb2.EndMaintenanceResponse = guard.call(guard.maintenance.EndMaintenance, request)
    if json:
        print_json(as_json(response))
        return
    display(Text(f"maintenance ended by {actor}", style="bold"))
    if response.clean:
        count = f"{markets(len(response.clean))} in POST_ONLY, opening once data are good"
        display(Text(f"{count}: {', '.join(response.clean)}", style="green"))
    if response.latched:
        display(Text(f"{markets(len(response.latched))} latched: {', '.join(response.latched)}", style="bold red"))
        display(f"once the cause is gone: circuit-guard reset {' '.join(response.latched)} {AUDIT}")


def _carry_out(guard: Guard, method: Callable[..., Response], request: Message, json: bool) -> Response:
    """Carry out a command, print what changed, and return the answer."""
    response = guard.call(method, request)
    if json:
        print_json(as_json(response))
        return response
    for line in [lines.of_event(event) for event in response.events] or [Text("nothing changed: it was already so")]:
        display(line)
    return response


def _print_denying(guard: Guard, scopes: list[str], json: bool) -> None:
    """Print what denies closures in the scopes of a command after it; a machine has read the answer already."""
    if json:
        return
    status = received.guard(guard.status())
    denying = denying_in(status, scopes)
    display(Text("\nDenying closures there now:" if denying else "\nNothing denies closures there now."))
    for part in explained(denying, status.at_ns):
        display(part)


def _end_if_proposed(response: MayBeProposed, command: str, json: bool) -> None:
    """End with exit code 1 where an act is only proposed. `command` is what a second actor types, without the audit."""
    if not response.HasField("proposal"):
        return
    if not json:
        asked = received.proposal(response.proposal)
        who = f"somebody other than {asked.actor} must run circuit-guard {command} {AUDIT}"
        display(f"Not in effect yet: {who} before {instant(asked.expires_ns)}.")
    raise typer.Exit(ExitCode.DENIED)


def _print_still_latched(guard: Guard, response: maintenance_pb2.RebaselineResponse) -> None:
    """Print how to reset the breakers that are still latched: a rebaseline makes the values right, and no more."""
    moved = {event.rebaselined.market for event in response.events if event.HasField("rebaselined")}
    status = guard.status()
    latched = [market.market for market in status.markets if market.market in moved and market.breaker.latched]
    if latched:
        command = f"circuit-guard reset {' '.join(latched)} {AUDIT}"
        display(Text(f"{markets(len(latched))} still latched; an operator must reset: {command}", "bold red"))


def _ask_for_factor(
    request: maintenance_pb2.RebaselineRequest,
    factor: str,
    values: list[str] | None,
    checkpoint: int | None,
    everything: bool,
) -> None:
    """Put a factor and its markets into a request; values and a checkpoint are other ways to say the same."""
    if checkpoint is not None:
        raise typer.BadParameter(f"--factor was {shown(factor)} beside --checkpoint {checkpoint}, expected one of them")
    if everything:
        raise typer.BadParameter(f"--factor was {shown(factor)} beside --all, expected the markets by name")
    if not factor or not values:
        raise typer.BadParameter(f"--factor was {shown(factor)}, expected a number above 0, and at least one market")
    request.factor = factor
    request.scopes.extend(values)


def _add(request: maintenance_pb2.RebaselineRequest, field: str, given: list[str]) -> None:
    """Put MARKET=VALUE into the baseline of that market."""
    option = "--" + field.replace("_", "-").removeprefix("funding-")
    known = {baseline.market: baseline for baseline in request.baselines}
    for text in given:
        market, equals, value = text.rpartition("=")
        if not equals or not value:
            raise typer.BadParameter(f"{option} was {shown(text)}, expected MARKET=VALUE")
        if request.factor or market not in known:
            expected = "none beside --factor" if request.factor else "a market that MARKET=INDEX names"
            raise typer.BadParameter(f"{option} was {shown(text)}, expected {expected}")
        setattr(known[market], field, value)


def _baseline(text: str) -> maintenance_pb2.Baseline:
    market, equals, index = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"the value was {text}, expected MARKET=INDEX, for instance BTC-USD-PERP=20511.93")
    return maintenance_pb2.Baseline(market=market, funding_index=index)


def _expiry(given: str | None) -> Duration | None:
    if given is None:
        return None
    match = _DURATION.fullmatch(given)
    if match is None:
        expected = "a whole number with s, m or h, for instance 15m, at most 168h"
        raise typer.BadParameter(f"--for was {shown(given)}, expected {expected}")
    return Duration(seconds=int(match["number"]) * _UNITS_S[match["unit"]])


def _found(outcomes: list[MarketOutcome]) -> list[Text]:
    """Return a line for each of the worst markets, how many more are not clean, and how many there are of each kind."""
    not_clean = [one for one in outcomes if one.outcome is not Outcome.OK]
    clean = markets(len(outcomes) - len(not_clean))
    if not not_clean:
        return [Text(f"{clean} clean: end the maintenance, then publish", style="bold green")]
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(one.outcome for one in not_clean).most_common())
    more = len(not_clean) - ROWS_SHOWN_MAX
    return [
        *(Text(sentences.outcome_line(one), style="red") for one in not_clean[:ROWS_SHOWN_MAX]),
        *([Text(f"and {more} more, none worse; --json names them all", style="red")] if more > 0 else []),
        Text(f"{markets(len(not_clean))} not clean ({counts}): publish nothing", style="bold red"),
        Text(f"{clean} clean"),
    ]
