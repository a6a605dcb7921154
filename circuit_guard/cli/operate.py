"""What operators do: `halt`, `resume`, `reset`, `phase` and `reload`. Each act names who does it and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rich.text import Text

from circuit_guard.cli import event_lines, options, status_view
from circuit_guard.cli.output import as_json, display, print_json, screen
from circuit_guard.cli.proposals import end_if_proposed
from circuit_guard.cli.rpc import Guard
from circuit_guard.errors import shown
from circuit_guard.v1 import admin_pb2


class Commanded(StrEnum):
    """The phases that can be set: RECOVERING is entered by the guard itself."""

    OPEN = "OPEN"
    POST_ONLY = "POST_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    MAINTENANCE = "MAINTENANCE"


_DURATION = re.compile("(?P<number>[1-9][0-9]{0,6})(?P<unit>[smh])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}

Response = TypeVar(
    "Response",
    admin_pb2.HaltResponse,
    admin_pb2.ResumeResponse,
    admin_pb2.ResetBreakerResponse,
    admin_pb2.SetPhaseResponse,
)
Scopes = Annotated[list[str], typer.Argument(metavar="SCOPES", help="Markets, or GLOBAL for the breaker over all.")]
ThePhase = Annotated[
    Commanded,
    typer.Argument(metavar="PHASE", case_sensitive=False, help="OPEN, POST_ONLY, CANCEL_ONLY or MAINTENANCE."),
]
For = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="End it by itself after so long: 90s, 15m, 2h; at most 7 days."),
]
Rollback = Annotated[bool, typer.Option("--rollback", help="The chain was moved back: resting orders are to go.")]


def halt(
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    for_: For = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Deny every closure in these markets until `resume`, or for so long. No rule lifts it."""
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.HaltRequest(scopes=scopes, actor=actor, reason=reason, expires_after=_expiry(for_))
    with Guard(address, timeout) as guard:
        _told(guard, guard.admin.Halt, request, json)
        if not json:
            _print_denying(guard, scopes)


def resume(
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Lift operators' halts.

    Those of the markets named, or with --all the one over everything. Breakers stay as they are.

    Exit code 1: nothing was resumed. It was only proposed, as the policy wants two actors; or one is not halted.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.ResumeRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response = _told(guard, guard.admin.Resume, request, json)
        end_if_proposed(response, f"resume {'--all' if everything else ' '.join(scopes)}", json=json)
        if not json:
            _print_denying(guard, scopes)


def reset(
    scopes: Scopes,
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Close breakers, latched or not.

    A market then shows evidence again before its closures go through.

    Exit code 1: nothing was reset. It was only proposed, as the policy wants two actors; or one is CLOSED already.
    """
    request = admin_pb2.ResetBreakerRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        response = _told(guard, guard.admin.ResetBreaker, request, json)
        end_if_proposed(response, f"reset {' '.join(scopes)}", json=json)
        if not json:
            _print_denying(guard, scopes)


def phase(
    phase: ThePhase,
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    rollback: Rollback = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Say what the exchange is doing.

    OPEN is reached through RECOVERING: leaving another phase needs evidence.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.SetPhaseRequest(
        phase=f"PHASE_{phase}", scopes=scopes, actor=actor, reason=reason, rollback=rollback
    )
    with Guard(address, timeout) as guard:
        _told(guard, guard.admin.SetPhase, request, json)
        if not json:
            _print_denying(guard, scopes)


def reload(
    actor: options.Actor,
    reason: options.Reason,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Have the guard read its policy file again.

    Exit code 1: the file is not valid, and the policy before it stays in force.
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
    for word, markets in (("added", response.added), ("removed", response.removed)):
        if markets:
            screen().print(f"{word}: {', '.join(markets)}")


def _told(guard: Guard, method: Callable[..., Response], request: Message, json: bool) -> Response:
    """Carry out a command, print what changed, and return the answer."""
    response = guard.call(method, request)
    if json:
        print_json(as_json(response))
        return response
    for line in [event_lines.line(event) for event in response.events] or [Text("nothing changed: it was so already")]:
        display(line)
    return response


def _print_denying(guard: Guard, scopes: list[str]) -> None:
    """Print what denies closures in the scopes of a command after it."""
    status = guard.status()
    denying = status_view.denying_in(status, scopes)
    display(Text("\nDenying closures there now:" if denying else "\nNothing denies closures there now."))
    for part in status_view.explained(denying, status.at):
        display(part)


def _expiry(given: str | None) -> Duration | None:
    if given is None:
        return None
    match = _DURATION.fullmatch(given)
    if match is None:
        expected = "a whole number with s, m or h, for instance 15m, at most 168h"
        raise typer.BadParameter(f"--for was {shown(given)}, expected {expected}")
    return Duration(seconds=int(match["number"]) * _UNITS_S[match["unit"]])
