"""A load of market data, commands and checks on a guard, and a model of what the guard has answered for."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

from circuit_guard.config.policy import parse_policy
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.v1 import admin_pb2, liquidation_pb2, market_data_pb2, types_pb2
from tests.crash.client import RPC_TIMEOUT_S, Client, Promise, latched, observation
from tests.crash.guard_process import MARKETS, policy_text

SCOPES = (GLOBAL_SCOPE, *MARKETS)
PHASES = ("PHASE_OPEN", "PHASE_OPEN", "PHASE_POST_ONLY", "PHASE_CANCEL_ONLY", "PHASE_MAINTENANCE")
DENYING = ("PHASE_CANCEL_ONLY", "PHASE_MAINTENANCE")
CORRUPTIONS = ({"funding_index": "0"}, {"mark_price": "NaN"})
OPERATOR = {"actor": "operator", "reason": "drill"}


class Model:
    """What was acknowledged. A promise that a command without an answer may have changed is not in it."""

    def __init__(self) -> None:
        self.promises: dict[Promise, str] = {("policy", ""): parse_policy(policy_text(), "policy.toml").revision}
        for scope in SCOPES:
            self.promises |= {("halt", scope): "", ("latch", scope): "False"}
        for market in MARKETS:
            self.promises["phase", market] = "PHASE_OPEN"
        self.changes = 0
        self.answered: list[liquidation_pb2.LiquidationDecision] = []
        """Every answer to a check, in order."""
        self.durable = 0
        """So many of them came before a command that was acknowledged: the journal is in order, so they are on disk."""
        self.verdicts: Counter[str] = Counter()

    def denied(self, market: str) -> bool:
        """Return whether what was acknowledged denies closures in the market."""
        held = any(self.promises.get(("halt", scope)) for scope in (GLOBAL_SCOPE, market))
        open_ = any(self.promises.get(("latch", scope)) == "True" for scope in (GLOBAL_SCOPE, market))
        return held or open_ or self.promises.get(("phase", market)) in DENYING

    def latched(self) -> list[str]:
        """Return the scopes that are latched."""
        return [scope for scope in SCOPES if self.promises["latch", scope] == "True"]

    def halted(self) -> list[str]:
        """Return the scopes that are halted."""
        return [scope for scope in SCOPES if self.promises["halt", scope]]

    def adopt(self, found: dict[Promise, str]) -> None:
        """Take over what nobody was told. Raise AssertionError where it differs from what somebody was."""
        del self.answered[self.durable :]  # decisions are answered up to 10 ms before they are on disk
        lost = {key: (value, found[key]) for key, value in self.promises.items() if found[key] != value}
        assert not lost, f"acknowledged, and otherwise after the restart: {lost}"
        self.promises = found
        all_latched = all(found["latch", market] == "True" for market in MARKETS)
        assert found["latch", GLOBAL_SCOPE] == str(all_latched), "the GLOBAL breaker and its markets came apart"


class Load:
    """Drives one guard process until it dies."""

    def __init__(self, client: Client, model: Model, folder: Path, random: Random, sequences: dict[str, int]) -> None:
        self._client = client
        self._model = model
        self._folder = folder
        self._random = random
        self._sequences = sequences
        self._feed = asyncio.Lock()
        self._answers = asyncio.Semaphore(0)

    async def answered(self, count: int) -> None:
        """Return once so many batches of data and checks were answered."""
        for _ in range(count):
            await self._answers.acquire()

    async def publish(self) -> None:
        """Publish honest data, one batch after the other."""
        while True:
            async with self._feed:
                await self._client.refer(MARKETS)
                results = await self._client.observe(*(self._observation(market) for market in MARKETS))
            assert not any(map(latched, results)), "honest data latched"
            self._answers.release()

    async def ask(self, name: str) -> None:
        """Ask about closures, one after the other, and hold each answer against what was acknowledged before."""
        number = 0
        while True:
            number += 1
            market = self._random.choice(MARKETS)
            denied, changes = self._model.denied(market), self._model.changes
            decision = await self._client.check(market, f"{name}-{number}")
            verdict = types_pb2.Verdict.Name(decision.verdict)
            if denied and changes == self._model.changes:
                assert verdict == "VERDICT_DENY", f"allowed in {market}: {self._model.promises}"
            self._model.verdicts[verdict] += 1
            self._model.answered.append(decision)
            self._answers.release()

    async def operate(self) -> None:
        """Harm and heal, one command after the other."""
        while True:
            harm, heal = (self._halt, self._phase, self._corrupt, self._reload), (self._resume, self._reset, self._open)
            await self._random.choice(self._random.choice((harm, heal)))()

    def _observation(self, market: str, **values: str) -> market_data_pb2.Observation:
        self._sequences[market] += 1
        return observation(market, self._sequences[market], **values)

    async def _send(self, rpc: object, request: object, outcome: dict[Promise, str]) -> None:
        """Send a command; until it is answered nothing is known of what it changes."""
        before = len(self._model.answered)
        self._begin(*outcome)
        response = await rpc(request, timeout=RPC_TIMEOUT_S)  # type: ignore[operator]
        self._model.promises |= outcome
        if getattr(response, "events", ()):
            self._model.durable = before

    def _begin(self, *changing: Promise) -> None:
        self._model.changes += 1
        for key in changing:
            self._model.promises.pop(key, None)

    async def _halt(self) -> None:
        scope, reason = self._random.choice(SCOPES), f"drill {self._model.changes}"
        request = admin_pb2.HaltRequest(scopes=[scope], actor="operator", reason=reason)
        await self._send(self._client.admin.Halt, request, {("halt", scope): reason})

    async def _resume(self) -> None:
        for scope in self._model.halted():
            request = admin_pb2.ResumeRequest(scopes=[scope], **OPERATOR)
            await self._send(self._client.admin.Resume, request, {("halt", scope): ""})

    async def _reset(self) -> None:
        """Reset whatever is latched, in one command: so GLOBAL is latched exactly where all markets are."""
        if scopes := self._model.latched():
            request = admin_pb2.ResetBreakerRequest(scopes=scopes, **OPERATOR)
            await self._send(self._client.admin.ResetBreaker, request, {("latch", scope): "False" for scope in scopes})

    async def _open(self) -> None:
        await self._set_phase(GLOBAL_SCOPE, "PHASE_OPEN")

    async def _phase(self) -> None:
        await self._set_phase(self._random.choice(SCOPES), self._random.choice(PHASES))

    async def _set_phase(self, scope: str, phase: str) -> None:
        request = admin_pb2.SetPhaseRequest(phase=phase, scopes=[scope], actor="operator", reason="drill")
        markets = MARKETS if scope == GLOBAL_SCOPE else (scope,)
        await self._send(self._client.admin.SetPhase, request, {("phase", market): phase for market in markets})

    async def _corrupt(self) -> None:
        """Publish an impossible value, and take what the answer says as the promise."""
        market, values = self._random.choice(MARKETS), self._random.choice(CORRUPTIONS)
        async with self._feed:
            was = {scope: self._model.promises["latch", scope] for scope in (market, GLOBAL_SCOPE)}
            self._begin(*(("latch", scope) for scope in was))
            [result] = await self._client.observe(self._observation(market, **values))
        now_latched = "True" if latched(result) else was[market]
        self._model.promises["latch", market] = now_latched
        every = all(self._model.promises["latch", other] == "True" for other in MARKETS)
        self._model.promises["latch", GLOBAL_SCOPE] = str(every)

    async def _reload(self) -> None:
        """Change the policy file, which a restart reads in any case, and have it read."""
        text = policy_text(self._random.randint(3, 9))
        written = self._folder / "policy.new"
        written.write_text(text)
        written.replace(self._folder / "policy.toml")
        self._model.promises["policy", ""] = parse_policy(text, "policy.toml").revision
        request = admin_pb2.ReloadPolicyRequest(**OPERATOR)
        await self._client.admin.ReloadPolicy(request, timeout=RPC_TIMEOUT_S)
