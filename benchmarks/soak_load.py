"""Everybody who uses a guard, for `soak`: publishers, engines, operators, watchers, people with browsers, and faults.

A model beside them holds what was acknowledged. Whatever the guard answers is held against it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import aiohttp
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    liquidation_pb2,
    liquidation_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    types_pb2,
)

MARKETS = [f"M{number:03d}-USD-PERP" for number in range(111)]
OPERATED, FAULTY = MARKETS[:20], MARKETS[20:30]
"""Markets that operators halt, and markets whose data go wrong. Nothing happens to the others."""
GLOBAL = "GLOBAL"
VENUES = ("binance", "okx", "bybit")
DEADLINE_S = 10.0
HTTP_OK = 200
STALE_AFTER_S = 17.0
"""The policy denies at 15 s; what is on its way gets two seconds."""
RECONNECT_S = 4.0
"""For so long after a start clients may still be told that nobody listens."""
DOCUMENTED = frozenset(
    {
        *("MALFORMED_REQUEST", "REQUEST_ID_CONFLICT", "UNKNOWN_MARKET", "COMMAND_REFUSED", "POLICY_INVALID"),
        *("TOO_MANY_WATCHERS", "RATE_LIMITED", "OVERLOADED", "EXPIRED", "EVENTS_LOST"),
    }
)
"""Reasons that a request may be refused for while the guard runs. ENGINE_FAILED and INTERNAL are none."""
GLOBAL_SHARE, HALT_SHARE, RESUME_SHARE = 0.01, 0.45, 0.9
"""Up to which random number an operator halts everything, halts a market, resumes; else a latch is reset."""
UNANSWERED = f"without an answer in {DEADLINE_S:g} s"
NOT_REFUSED = "mistakes that were not refused"
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


class Model:
    """What was acknowledged of halts and latches, and what the feed was told of its data."""

    def __init__(self) -> None:
        self.halts: dict[str, str] = {}
        self.latched: set[str] = set()
        self.doubted: set[str] = set()
        """Markets whose latest observation was rejected."""
        self.sent: dict[str, float] = {}
        """When a market was last published, or began to be."""
        self.unsure: set[str] = set()
        """Scopes with a command that was not answered yet, or never will be."""
        self.changes: Counter[str] = Counter()
        self.generation = 0
        self.up_since = 0.0
        self.down = True
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.problems: list[str] = []

    def why_denied(self, market: str) -> str:
        """Return why a closure asked for now must be denied; empty where it need not be."""
        for scope in (GLOBAL, market):
            if scope in self.halts and scope not in self.unsure:
                return f"{scope} is halted"
        if market in self.latched and market not in self.unsure:
            return "it is latched"
        if market in self.doubted:
            return "its latest observation was rejected"
        age_s = monotonic() - self.sent.get(market, monotonic())
        return f"its data are {age_s:.0f} s old" if age_s > STALE_AFTER_S else ""

    def version(self, market: str) -> tuple[int, int, int]:
        """Return what is another one once anything that matters to a market has begun to change."""
        return self.generation, self.changes[market], self.changes[GLOBAL]

    def problem(self, sentence: str) -> None:
        """Note what must not be."""
        self.problems.append(sentence)

    def interrupted(self, generation: int) -> bool:
        """Return whether a call of that generation may have met a guard that was being restarted."""
        return self.down or generation != self.generation or monotonic() - self.up_since < RECONNECT_S


def reason_of(error: aio.AioRpcError) -> str:
    """Return the ErrorInfo's reason, or the status code where there is none."""
    status, info = Status(), ErrorInfo()
    status.ParseFromString(dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b""))
    if status.details and status.details[0].Unpack(info):
        return str(info.reason)
    return str(error.code().name)


def now() -> Timestamp:
    """Return the present instant."""
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


class Load:
    """All the clients of one guard at one address."""

    def __init__(self, address: str, policy: Path, model: Model, seed: int) -> None:
        self.http = ""
        self._address = address
        self._policy = policy
        self._model = model
        self._random = Random(seed)  # noqa: S311  # a simulation
        self._ids = count()
        self._sequences: Counter[str] = Counter()
        self._prices = {market: 10 ** self._random.uniform(0, 4) for market in MARKETS}
        self._faults: dict[str, str] = {}
        self.operating = asyncio.Lock()
        """Held by whoever sends a command, and by who must know that none is on its way."""

    def everybody(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return what runs as long as the soak does."""
        quarters = [MARKETS[first::4] for first in range(4)]
        return [
            *(self._channelled(partial(self._publish, markets=own)) for own in quarters),
            *(self._channelled(self._ask) for _ in range(4)),
            self._channelled(self._ask_many),
            self._channelled(self._order),
            self._channelled(self._operate),
            self._channelled(self._reload),
            self._channelled(self._mistake),
            self._fault,
            *(self._look for _ in range(2)),
            *(self._watch for _ in range(3)),
            self._browse,
            *(self._live for _ in range(3)),
        ]

    def _channelled(self, work: Callable[[aio.Channel], Awaitable[None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            async with aio.insecure_channel(self._address, OPTIONS) as channel:
                await work(channel)

        return run

    @asynccontextmanager
    async def _calling(self, what: str) -> AsyncIterator[None]:
        """Count a call, and hold its error against what is documented. The block ends at the error."""
        generation = self._model.generation
        try:
            yield
        except aio.AioRpcError as error:
            reason = reason_of(error)
            if reason in DOCUMENTED:
                self._model.refused[reason] += 1
            elif self._model.interrupted(generation):
                self._model.refused["while restarting"] += 1
            elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._model.done[UNANSWERED] += 1
            else:
                self._model.problem(f"{what}: {reason}: {error.details()}")
        else:
            self._model.done[what] += 1

    async def _publish(self, channel: aio.Channel, markets: list[str]) -> None:
        stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
        due = monotonic()
        while True:
            due = max(due + 1, monotonic())
            async with self._calling("references published"):
                references = [self._reference(market, venue) for market in markets for venue in VENUES]
                request = market_data_pb2.PublishReferencesRequest(references=references)
                await stub.PublishReferences(request, timeout=DEADLINE_S)
            async with self._calling("observations published"):
                await self._observe(stub, [market for market in markets if self._faults.get(market) != "stale"])
            await asyncio.sleep(max(due - monotonic(), 0))

    async def _observe(self, stub: Any, markets: list[str]) -> None:
        """Publish a state of each market, and take what the answer says of them."""
        model, generation = self._model, self._model.generation
        for market in markets:
            model.sent[market] = monotonic()
            model.doubted.discard(market)
            model.changes[market] += 1
        request = market_data_pb2.PublishObservationsRequest(observations=map(self._observation, markets))
        response = await stub.PublishObservations(request, timeout=DEADLINE_S)
        if generation != model.generation:
            return
        for market, result in zip(markets, response.results, strict=True):
            enforced = [found for found in result.findings if not found.shadow]
            if any(found.severity == types_pb2.SEVERITY_LATCH for found in enforced):
                model.latched.add(market)
                model.done["latched"] += 1
            if result.status == market_data_pb2.PUBLISH_STATUS_REJECTED:
                model.doubted.add(market)
                if market not in FAULTY:
                    model.problem(f"{market}: honest data were rejected: {enforced}")
            elif result.HasField("error"):
                model.problem(f"{market}: honest data were refused: {result.error.message}")

    def _observation(self, market: str) -> market_data_pb2.Observation:
        self._prices[market] *= 1 + self._random.gauss(0, 0.0001)
        self._sequences[market] += 1
        fault = self._faults.get(market)
        price = self._prices[market]
        if fault == "reset":
            del self._faults[market]  # once: an index that stays at zero is the same fault
        return market_data_pb2.Observation(
            market=market,
            source="exchange",
            epoch=1,
            feed_sequence=self._sequences[market],
            event_time=now(),
            mark_price=f"{price * (1.05 if fault == 'divergence' else 1):.6f}",
            index_price=f"{price:.6f}",
            funding_index="0" if fault == "reset" else self._index(market),
        )

    def _index(self, market: str) -> str:
        return f"{1000 + MARKETS.index(market)}.5"

    def _reference(self, market: str, venue: str) -> market_data_pb2.Reference:
        price = self._prices[market] * (1 + self._random.gauss(0, 0.00002))
        return market_data_pb2.Reference(market=market, source=venue, event_time=now(), price=f"{price:.6f}")

    def _check(self, market: str) -> liquidation_pb2.LiquidationCheck:
        price, index = f"{self._prices[market]:.6f}", self._index(market)
        check = liquidation_pb2.LiquidationCheck(
            request_id=f"r-{next(self._ids)}",
            account_id=f"a-{self._random.randrange(10_000)}",
            market=market,
            size="-0.5",
            execution_price=price,
            basis=liquidation_pb2.Basis(mark_price=price, funding_index=index),
        )
        if self._random.random() < 0.3:  # some tell of the account, which is under water
            position = liquidation_pb2.Position(
                market=market,
                size="0.5",
                entry_price=f"{self._prices[market] * 1.1:.6f}",
                cached_funding_index=index,
                maintenance_margin_fraction="0.01",
            )
            check.account.CopyFrom(liquidation_pb2.Account(collateral="0", positions=[position]))
        return check

    def _market(self) -> str:
        return self._random.choice(self._random.choice((OPERATED, FAULTY, MARKETS)))

    def _hold(self, decision: liquidation_pb2.LiquidationDecision, why: str, before: object) -> None:
        """Hold a decision against why it had to be a deny when it was asked for."""
        verdict = types_pb2.Verdict.Name(decision.verdict).removeprefix("VERDICT_")
        self._model.done[verdict] += 1
        if why and verdict != "DENY" and before == self._model.version(decision.market):
            self._model.problem(f"{decision.market}: {verdict} although {why}: {decision.decision_id}")

    async def _ask(self, channel: aio.Channel) -> None:
        stub = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
        while True:
            market = self._market()
            request = liquidation_pb2.CheckLiquidationRequest(check=self._check(market))
            why, before, answers = self._model.why_denied(market), self._model.version(market), []
            for _ in range(2 if self._random.random() < 0.05 else 1):
                async with self._calling("checks"):
                    answers.append((await stub.CheckLiquidation(request, timeout=DEADLINE_S)).decision)
                    self._hold(answers[-1], why, before)
            if len({answer.decision_id for answer in answers}) > 1 and before == self._model.version(market):
                self._model.problem(f"{request.check.request_id} asked twice got two decisions")
            await asyncio.sleep(self._random.uniform(0.02, 0.08))

    async def _ask_many(self, channel: aio.Channel) -> None:
        stub = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
        while True:
            markets = [self._market() for _ in range(self._random.choice((10, 50, 100)))]
            request = liquidation_pb2.CheckLiquidationsRequest(checks=map(self._check, markets))
            held = [(self._model.why_denied(market), self._model.version(market)) for market in markets]
            async with self._calling("batches of checks"):
                response = await stub.CheckLiquidations(request, timeout=DEADLINE_S)
                for result, (why, before) in zip(response.results, held, strict=True):
                    self._hold(result.decision, why, before)
            await asyncio.sleep(0.5)

    async def _order(self, channel: aio.Channel) -> None:
        stub = order_pb2_grpc.OrderGuardServiceStub(channel)
        while True:
            orders = [
                order_pb2.Order(
                    order_id=f"o-{next(self._ids)}",
                    market=market,
                    side=order_pb2.ORDER_SIDE_BUY,
                    action=order_pb2.ORDER_ACTION_NEW,
                    price="10",
                )
                for market in self._random.sample(MARKETS, 20)
            ]
            async with self._calling("batches of orders"):
                await stub.CheckOrders(order_pb2.CheckOrdersRequest(orders=orders), timeout=DEADLINE_S)
            await asyncio.sleep(1)

    async def _mistake(self, channel: aio.Channel) -> None:
        """Ask what cannot be meant: each is refused, by its name."""
        liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        while True:
            check = liquidation_pb2.LiquidationCheck(request_id="x", account_id="a", market=MARKETS[50], size="-0.5e")
            async with self._calling(NOT_REFUSED):
                await liquidations.CheckLiquidation(
                    liquidation_pb2.CheckLiquidationRequest(check=check), timeout=DEADLINE_S
                )
            unknown = admin_pb2.HaltRequest(scopes=[f"NO-{next(self._ids)}"], actor="soak", reason="a mistake")
            async with self._calling(NOT_REFUSED):
                await admin.Halt(unknown, timeout=DEADLINE_S)
            await asyncio.sleep(2)

    async def _operate(self, channel: aio.Channel) -> None:
        """Halt, resume, and reset what has latched, one act after the other."""
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        while True:
            await asyncio.sleep(self._random.uniform(0.3, 1.5))
            async with self.operating:
                if not self._model.interrupted(self._model.generation):
                    await self._operate_once(stub)

    async def _operate_once(self, stub: Any) -> None:
        model, act = self._model, self._random.random()
        if act < HALT_SHARE:
            scope, reason = self._random.choice(OPERATED), f"drill {next(self._ids)}"
            if act < GLOBAL_SHARE:
                scope = GLOBAL
            halt = admin_pb2.HaltRequest(scopes=[scope], actor="soak", reason=reason)
            await self._act("halts", stub.Halt, halt, lambda: model.halts.update({scope: reason}), scope)
        elif act < RESUME_SHARE and model.halts:
            held = GLOBAL if GLOBAL in model.halts else self._random.choice(sorted(model.halts))
            resume = admin_pb2.ResumeRequest(scopes=[held], actor="soak", reason="over")
            await self._act("resumes", stub.Resume, resume, lambda: model.halts.pop(held, None), held)
        elif model.latched:
            market = self._random.choice(sorted(model.latched))
            reset = admin_pb2.ResetBreakerRequest(scopes=[market], actor="soak", reason="restored")
            await self._act("resets", stub.ResetBreaker, reset, lambda: model.latched.discard(market), market)

    async def _act(self, what: str, call: Any, request: Any, acknowledged: Callable[[], object], scope: str) -> None:
        """Send a command; until it is answered nothing is known of what it changes."""
        self._model.unsure.add(scope)
        self._model.changes[scope] += 1
        async with self._calling(what):
            await call(request, timeout=DEADLINE_S)
            acknowledged()
            self._model.unsure.discard(scope)

    async def _reload(self, channel: aio.Channel) -> None:
        """Change the policy file now and then, once in a while to one that is not valid."""
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        while True:
            await asyncio.sleep(self._random.uniform(10, 20))
            wrong = self._random.random() < 0.2
            write_policy(self._policy, "0" if wrong else str(self._random.randint(4, 9)))
            async with self._calling("reloads"):
                await stub.ReloadPolicy(admin_pb2.ReloadPolicyRequest(actor="soak", reason="drill"), timeout=DEADLINE_S)
            if wrong:
                write_policy(self._policy, "5")

    async def _fault(self) -> None:
        """Lay a fault into a market's data, and lift it."""
        while True:
            kind = self._random.choice(("reset", "stale", "divergence"))
            market = self._random.choice([it for it in FAULTY if it not in self._faults])
            self._faults[market] = kind
            self._model.done[f"faults: {kind}"] += 1
            await asyncio.sleep({"reset": 3, "stale": 25, "divergence": 6}[kind])
            self._faults.pop(market, None)

    async def _look(self) -> None:
        """Look at the status a few times, over a connection of its own."""
        while True:
            async with aio.insecure_channel(self._address, OPTIONS) as channel:
                for _ in range(10):
                    async with self._calling("statuses"):
                        request = admin_pb2.GetStatusRequest()
                        await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(request, timeout=DEADLINE_S)
                    await asyncio.sleep(self._random.uniform(0.5, 1.5))

    async def _watch(self) -> None:
        """Watch events for a while, then go away without a word."""
        while True:
            async with aio.insecure_channel(self._address, OPTIONS) as channel:
                stream = admin_pb2_grpc.AdminServiceStub(channel).WatchEvents(admin_pb2.WatchEventsRequest())
                async with self._calling("watches"):
                    try:
                        async with asyncio.timeout(self._random.uniform(3, 15)):
                            async for _ in stream:
                                self._model.done["events seen"] += 1
                    except TimeoutError:
                        stream.cancel()
            await asyncio.sleep(0.5)

    async def _browse(self) -> None:
        """Open every page, one after the other."""
        paths = ("/", f"/markets/{MARKETS[3]}", "/decisions", "/api/status", "/metrics", "/healthz", "/static/app.css")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session:
            while True:
                for path in paths:
                    await self._get(session, path)
                    await asyncio.sleep(0.3)

    async def _live(self) -> None:
        """Have live updates for a while, then go away."""
        while True:
            whole = aiohttp.ClientTimeout(total=self._random.uniform(4, 12))
            async with aiohttp.ClientSession(timeout=whole) as session:
                await self._get(session, self._random.choice(("/events/status", f"/events/markets/{MARKETS[3]}")))
            await asyncio.sleep(0.5)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> None:
        generation, live = self._model.generation, path.startswith("/events/")
        try:
            async with session.get(f"http://{self.http}{path}") as response:
                async for _ in response.content:
                    self._model.done["live updates"] += live
                if response.status != HTTP_OK:
                    self._model.problem(f"{path}: HTTP {response.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._model.done[UNANSWERED] += not live
            elif not self._model.interrupted(generation):
                self._model.problem(f"{path}: {error!r}")
        self._model.done["pages"] += 1


def write_policy(path: Path, width_bps: str) -> None:
    """Write the policy, whole or not at all."""
    markets = "\n".join(f"[markets.{market}]" for market in MARKETS)
    new = path.with_suffix(".new")
    new.write_text(
        "[guard]\nremembered_requests_max = 2000\n"
        f'[classes.default]\n[classes.default.band]\nwidth_bps = "{width_bps}"\n{markets}\n'
    )
    new.replace(path)
