"""AdminService: what operators do and see."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from circuit_guard.core.facts import Fact, PolicyChanged
from circuit_guard.engine.engine import Engine
from circuit_guard.server.convert import events, requests, status
from circuit_guard.server.interceptor import Context
from circuit_guard.server.security.caller import recorded
from circuit_guard.server.services.commands import carry_out
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc

ReloadPolicy = Callable[[], Sequence[Fact]]
"""Reads the policy and puts it into force; returns the facts, or raises PolicyError and leaves the old one in force."""

_log = structlog.get_logger(__name__)


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Operators' commands, the status and the stream of events."""

    def __init__(self, engine: Engine, reload_policy: ReloadPolicy, scopes_max: int) -> None:
        self._engine = engine
        self._reload_policy = reload_policy
        self._scopes_max = scopes_max

    async def Halt(self, request: admin_pb2.HaltRequest, context: Context) -> admin_pb2.HaltResponse:
        """Deny every closure in the scopes until Resume, or until it expires."""
        command = requests.halt(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.HaltResponse(events=events.events(facts))

    async def Resume(self, request: admin_pb2.ResumeRequest, context: Context) -> admin_pb2.ResumeResponse:
        """Lift the halts of the scopes."""
        command = requests.resume(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.ResumeResponse(events=events.events(facts), proposal=events.proposal(facts))

    async def ResetBreaker(
        self, request: admin_pb2.ResetBreakerRequest, context: Context
    ) -> admin_pb2.ResetBreakerResponse:
        """Close the breakers of the scopes."""
        command = requests.reset(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.ResetBreakerResponse(events=events.events(facts), proposal=events.proposal(facts))

    async def SetPhase(self, request: admin_pb2.SetPhaseRequest, context: Context) -> admin_pb2.SetPhaseResponse:
        """Take what the exchange is doing."""
        command = requests.set_phase(request, self._engine.now_ns(), self._scopes_max)
        facts = await carry_out(self._engine, command, request.scopes)
        return admin_pb2.SetPhaseResponse(events=events.events(facts))

    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        """Return the state of the guard and of every market."""
        return admin_pb2.GetStatusResponse(status=status.guard(self._engine.status(), self._engine.ready()))

    async def WatchEvents(self, request: admin_pb2.WatchEventsRequest, context: Context) -> None:
        """Stream what happens from now on, until either side ends it."""
        wanted = partial(events.watched, include_allowed=request.include_allowed)
        async with self._engine.subscribe(wanted) as facts:
            await context.send_initial_metadata(())
            async for fact in facts:
                await context.write(admin_pb2.WatchEventsResponse(event=events.event(fact)))

    async def ReloadPolicy(
        self, request: admin_pb2.ReloadPolicyRequest, context: Context
    ) -> admin_pb2.ReloadPolicyResponse:
        """Read the policy file again; all of it takes effect, or nothing."""
        actor, reason = requests.operator(request.actor, request.reason)
        _log.info("policy_reload_requested", actor=recorded(actor), reason=reason)
        before = self._engine.policy.revision
        facts = self._reload_policy()
        await self._engine.settled(facts)
        changed = [fact for fact in facts if isinstance(fact, PolicyChanged)]
        return admin_pb2.ReloadPolicyResponse(
            revision=self._engine.policy.revision,
            previous_revision=before,
            added=[market for fact in changed for market in fact.added],
            removed=[market for fact in changed for market in fact.removed],
        )
