"""AdminService: what operators do and see."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import structlog

from circuit_guard.core.facts import CommandRefused, Fact, PolicyChanged
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.engine.engine import Engine
from circuit_guard.server import errors
from circuit_guard.server.convert import events, requests, status
from circuit_guard.server.security.access import Act, Context, proven, recorded, signed
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc

ReloadPolicy = Callable[[], Awaitable[Sequence[Fact]]]
"""Reads the policy and puts it into force; returns the facts, or raises PolicyError and leaves the old one in force."""

_log = structlog.get_logger(__name__)


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Operators' commands, the status and the stream of events."""

    def __init__(self, engine: Engine, reload_policy: ReloadPolicy, scopes_max: int) -> None:
        self._engine = engine
        self._reload_policy = reload_policy
        self._scopes_max = scopes_max

    async def Halt(self, request: admin_pb2.HaltRequest, context: Context) -> admin_pb2.HaltResponse:
        command = requests.halt(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.HaltResponse(events=events.events(facts))

    async def Resume(self, request: admin_pb2.ResumeRequest, context: Context) -> admin_pb2.ResumeResponse:
        command = requests.resume(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.ResumeResponse(events=events.events(facts), proposal=events.proposal(facts))

    async def ResetBreaker(
        self, request: admin_pb2.ResetBreakerRequest, context: Context
    ) -> admin_pb2.ResetBreakerResponse:
        command = requests.reset(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.ResetBreakerResponse(events=events.events(facts), proposal=events.proposal(facts))

    async def SetPhase(self, request: admin_pb2.SetPhaseRequest, context: Context) -> admin_pb2.SetPhaseResponse:
        command = requests.set_phase(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.SetPhaseResponse(events=events.events(facts))

    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        return admin_pb2.GetStatusResponse(status=status.guard(self._engine.status(), self._engine.ready()))

    async def WatchEvents(self, request: admin_pb2.WatchEventsRequest, context: Context) -> None:
        wanted = partial(events.watched, include_allowed=request.include_allowed)
        async with self._engine.subscribe(wanted) as facts:
            await context.send_initial_metadata(())
            async for fact in facts:
                await context.write(admin_pb2.WatchEventsResponse(event=events.event(fact)))

    async def ReloadPolicy(
        self, request: admin_pb2.ReloadPolicyRequest, context: Context
    ) -> admin_pb2.ReloadPolicyResponse:
        actor, reason = requests.operator(request.actor, request.reason)
        _log.info("policy_reload_requested", actor=recorded(actor), identity=proven(), reason=reason)
        before = self._engine.policy.revision
        facts = await self._reload_policy()
        await self._engine.settled(facts)
        changed = [fact for fact in facts if isinstance(fact, PolicyChanged)]
        return admin_pb2.ReloadPolicyResponse(
            revision=self._engine.policy.revision,
            previous_revision=before,
            added=[market for fact in changed for market in fact.added],
            removed=[market for fact in changed for market in fact.removed],
        )


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
