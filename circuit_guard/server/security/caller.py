"""Who asks, for as long as one RPC lasts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

from circuit_guard.config.security import Role
from circuit_guard.core.inputs import (
    BeginMaintenance,
    EndMaintenance,
    HaltCommand,
    PhaseCommand,
    RebaselineCommand,
    ResetCommand,
    ResumeCommand,
    ValidateState,
)

Act = TypeVar(
    "Act",
    HaltCommand,
    ResumeCommand,
    ResetCommand,
    PhaseCommand,
    RebaselineCommand,
    BeginMaintenance,
    ValidateState,
    EndMaintenance,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An identity of the settings that has shown a certificate or a token of its own."""

    name: str
    roles: tuple[Role, ...]
    sources: frozenset[str]


CALLER: ContextVar[Caller | None] = ContextVar("CALLER", default=None)
"""Who asks in the RPC that is being served: each is served in a context of its own. None: nobody was authenticated."""


def recorded(actor: str) -> str:
    """Return who is recorded for an act: the identity that was proven, then the person that the request names."""
    caller = CALLER.get()
    if caller is None or caller.name == actor:
        return actor
    return f"{caller.name} (as {actor})"


def signed(act: Act) -> Act:
    """Return an act of the caller's with the name that is recorded for it, and what tells two actors apart."""
    caller = CALLER.get()
    if caller is None:
        return act
    if isinstance(act, ResumeCommand | ResetCommand | RebaselineCommand):
        return replace(act, actor=recorded(act.actor), identity=caller.name)
    return replace(act, actor=recorded(act.actor))
