"""What operators do: `halt`, `resume`, `reset`, `phase` and `reload`. Each act names who does it and why."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from circuit_guard.cli import event_lines, options, status_view
from circuit_guard.cli.output import as_json, display, print_json, screen
from circuit_guard.cli.rpc import Guard
from circuit_guard.v1 import admin_pb2


class Commanded(StrEnum):
    """The phases that can be set: RECOVERING is entered by the guard itself."""

    OPEN = "OPEN"
    POST_ONLY = "POST_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    MAINTENANCE = "MAINTENANCE"


Scopes = Annotated[list[str], typer.Argument(metavar="SCOPES", help="Markets, or GLOBAL for the breaker over all.")]
ThePhase = Annotated[
    Commanded,
    typer.Argument(metavar="PHASE", case_sensitive=False, help="OPEN, POST_ONLY, CANCEL_ONLY or MAINTENANCE."),
]
Rollback = Annotated[bool, typer.Option("--rollback", help="The chain was moved back: resting orders are to go.")]


def halt(
    actor: options.Actor,
    reason: options.Reason,
    markets: options.Markets = None,
    everything: options.All = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Deny every closure in these markets until `resume`. No rule lifts it."""
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.HaltRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        _act(guard, guard.admin.Halt, request, scopes, json)


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

    Exit code 1: one of them is not halted, and nothing was resumed.
    """
    scopes = options.scopes_of(markets, everything)
    request = admin_pb2.ResumeRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        _act(guard, guard.admin.Resume, request, scopes, json)


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

    Exit code 1: one of them is CLOSED already, and nothing was reset.
    """
    request = admin_pb2.ResetBreakerRequest(scopes=scopes, actor=actor, reason=reason)
    with Guard(address, timeout) as guard:
        _act(guard, guard.admin.ResetBreaker, request, scopes, json)


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
        _act(guard, guard.admin.SetPhase, request, scopes, json)


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


def _act(guard: Guard, method: Callable[..., Any], request: Any, scopes: list[str], json: bool) -> None:
    """Carry out a command; print what changed, and what denies closures in its scopes after it."""
    response = guard.call(method, request)
    if json:
        print_json(as_json(response))
        return
    for line in [event_lines.line(event) for event in response.events] or [Text("nothing changed: it was so already")]:
        display(line)
    status = guard.status()
    denying = status_view.denying_in(status, scopes)
    display(Text("\nDenying closures there now:" if denying else "\nNothing denies closures there now."))
    for part in status_view.explained(denying, status.at):
        display(part)
