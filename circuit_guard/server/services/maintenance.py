"""MaintenanceService: a restart of the exchange, and what is true after it."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from circuit_guard.core.facts import CommandRefused, MaintenanceEnded, StateValidated
from circuit_guard.core.inputs import Baseline, BeginMaintenance, EndMaintenance
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, Outcome
from circuit_guard.engine.engine import Engine
from circuit_guard.server import errors
from circuit_guard.server.convert import answers, events, requests
from circuit_guard.server.security.access import Context, signed
from circuit_guard.server.services.admin import carry_out, refuse
from circuit_guard.threads import apart
from circuit_guard.v1 import maintenance_pb2, maintenance_pb2_grpc


class MaintenanceService(maintenance_pb2_grpc.MaintenanceServiceServicer):
    """Maintenances, validations and rebaselines. `recorded`: whether there is a journal to keep checkpoints in."""

    def __init__(self, engine: Engine, scopes_max: int, *, recorded: bool) -> None:
        self._engine = engine
        self._scopes_max = scopes_max
        self._recorded = recorded

    async def BeginMaintenance(
        self, request: maintenance_pb2.BeginMaintenanceRequest, context: Context
    ) -> maintenance_pb2.BeginMaintenanceResponse:
        actor, reason = requests.operator(request.actor, request.reason)
        if not self._recorded:
            raise errors.no_journal()
        at_ns = self._engine.now_ns()
        name = f"maintenance-{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
        facts = self._engine.step(signed(BeginMaintenance(at_ns, actor, reason, name)))
        refuse(facts)
        # A caller who gives up must leave no maintenance without its checkpoint. What came before is durable with it.
        checkpoint = await asyncio.shield(self._engine.checkpoint(name))
        assert checkpoint is not None  # noqa: S101  # there is a journal
        return maintenance_pb2.BeginMaintenanceResponse(
            checkpoint_id=checkpoint.sequence,
            checkpoint_name=checkpoint.name,
            checkpoint_digest=checkpoint.digest,
            events=events.events(facts),
        )

    async def ValidateState(
        self, request: maintenance_pb2.ValidateStateRequest, context: Context
    ) -> maintenance_pb2.ValidateStateResponse:
        facts = await carry_out(self._engine, requests.validation(request, self._engine.now_ns()))
        found = next(fact.outcomes for fact in facts if isinstance(fact, StateValidated))
        return maintenance_pb2.ValidateStateResponse(
            clean=all(outcome.outcome is Outcome.OK for outcome in found),
            outcomes=map(answers.outcome, found),
        )

    async def EndMaintenance(
        self, request: maintenance_pb2.EndMaintenanceRequest, context: Context
    ) -> maintenance_pb2.EndMaintenanceResponse:
        actor, reason = requests.operator(request.actor, request.reason)
        command = EndMaintenance(self._engine.now_ns(), actor, reason, request.unvalidated)
        facts = await carry_out(self._engine, command)
        ended = next(fact for fact in facts if isinstance(fact, MaintenanceEnded))
        return maintenance_pb2.EndMaintenanceResponse(
            clean=ended.clean, latched=ended.latched, events=events.events(facts)
        )

    async def Rebaseline(
        self, request: maintenance_pb2.RebaselineRequest, context: Context
    ) -> maintenance_pb2.RebaselineResponse:
        asked = requests.rebaseline(request, self._scopes_max, self._engine.now_ns())
        baselines = asked.baselines
        if asked.checkpoint_id is not None:
            baselines = await self._of_checkpoint(asked.checkpoint_id, asked.scopes)
        command = asked.command(self._engine.now_ns(), baselines)
        named = (*(baseline.market for baseline in baselines), *command.repaired, *command.rescaled)
        facts = await carry_out(self._engine, command, named, "markets")
        return maintenance_pb2.RebaselineResponse(events=events.events(facts), proposal=events.proposal(facts))

    async def _of_checkpoint(self, checkpoint_id: int, scopes: Sequence[str]) -> tuple[Baseline, ...]:
        """Return the values of a checkpoint. Raise RefusalError where it has none for one of the scopes."""
        unknown = [scope for scope in scopes if scope != GLOBAL_SCOPE and scope not in self._engine.policy.markets]
        if unknown:
            raise self._refusal(", ".join(unknown), "markets that the policy names", unknown_market=True)
        checkpoint = await self._engine.recorded_checkpoint(checkpoint_id)
        if checkpoint is None:
            raise errors.unknown_checkpoint(checkpoint_id)
        state = (await apart(checkpoint.content)).state
        if checkpoint.at_ns > self._engine.now_ns():
            raise self._refusal(f"checkpoint {checkpoint_id}", "a checkpoint of the past: the clock was set back")
        markets = tuple(self._engine.policy.markets) if GLOBAL_SCOPE in scopes else scopes
        baselines = {market: _baseline(state, market) for market in markets}
        if missing := [market for market, baseline in baselines.items() if baseline is None]:
            expected = f"markets with a trusted funding index in checkpoint {checkpoint_id}"
            raise self._refusal(", ".join(missing), expected)
        return tuple(baseline for baseline in baselines.values() if baseline is not None)

    def _refusal(self, observed: str, expected: str, *, unknown_market: bool = False) -> errors.RefusalError:
        fact = CommandRefused(self._engine.now_ns(), "scopes", observed, expected)
        return errors.command_refusal(fact, unknown_market=unknown_market)


def _baseline(state: GuardState, market: str) -> Baseline | None:
    known = state.markets.get(market)
    if known is None or known.trusted.funding_index is None:
        return None
    return Baseline(market, known.trusted.funding_index, known.trusted.funding_seen_ns)
