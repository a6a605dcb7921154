"""An operator's command: signed with who it is, carried out, on the disk, and only then acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from circuit_guard.core.facts import CommandRefused, Fact
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.engine.engine import Engine
from circuit_guard.server import errors
from circuit_guard.server.security.caller import Act, signed


async def carry_out(engine: Engine, command: Act, named: Sequence[str] = (), field: str = "scopes") -> list[Fact]:
    """Return what a command changed, once that is on the disk. Raise RefusalError where it changes nothing.

    `named` are the markets and scopes that the request names, `field` is where it does.
    """
    known = {GLOBAL_SCOPE, *engine.policy.markets}
    facts = engine.step(signed(command))  # without waiting for room: a halt takes effect whatever the disk does
    await engine.durable()  # a rollback that changes no phase is to be remembered as well
    refuse(facts, field, unknown_market=not known.issuperset(named))
    return facts


def refuse(facts: Iterable[Fact], field: str = "scopes", *, unknown_market: bool = False) -> None:
    """Raise RefusalError where the core refused the command."""
    for fact in facts:
        if isinstance(fact, CommandRefused):
            raise errors.command_refusal(fact, field, unknown_market=unknown_market)
