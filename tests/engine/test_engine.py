"""The engine: one writer, in one order, under a clock that cannot be stepped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest

from circuit_guard.core.facts import DecisionMade, Fact, HaltChanged, ObservationJudged, PolicyChanged
from circuit_guard.core.inputs import HaltCommand, Order, OrderAction, OrdersCheck, Side, Tick
from circuit_guard.core.permit import decision_of
from circuit_guard.core.types import SECOND_NS, AllowedCheck, BreakerState, Verdict
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.engine.subscriptions import EventsLost, Subscription, TooManyWatchers
from tests.driver import BTC, ETH, PRICE, Driver, ManualClock, policy_of

SOL = "SOL-USD-PERP"


class Recorder:
    """An observer that keeps what it was told, and fails when it is asked to."""

    def __init__(self, name: str = "", journal: list[str] | None = None) -> None:
        self.name = name
        self.journal = journal if journal is not None else []
        self.facts: list[Fact] = []
        self.took_ns: list[int] = []
        self.failing = False

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        if self.failing:
            raise OSError("disk full")
        self.journal.append(self.name)
        self.facts += facts
        self.took_ns.append(took_ns)

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        self.on_facts([DecisionMade(one.at_ns, decision_of(one)) for one in checks], 0)


def warm(*markets: str, recorder: Recorder | None = None, **limits: int) -> Driver:
    driver = Driver(policy_of(*markets or (BTC,)), [recorder] if recorder else [], **limits)
    driver.run(40, *markets or (BTC,))
    return driver


async def read(subscription: Subscription) -> list[Fact]:
    return [fact async for fact in subscription]


# Order


def test_observers_when_a_check_is_decided_then_each_was_told_in_order_before_the_caller() -> None:
    journal: list[str] = []
    first, second = Recorder("first", journal), Recorder("second", journal)
    driver = Driver(policy_of(BTC), [first, second])

    facts = driver.engine.decide(driver.check())

    assert journal == ["first", "second"]
    assert first.facts == second.facts == facts
    assert first.took_ns == [0], "the clock stands still, so the core took no time"


async def test_watchers_when_an_observer_fails_then_they_are_not_told_what_was_not_recorded() -> None:
    recorder = Recorder()
    driver = Driver(policy_of(BTC), [recorder])
    subscription = driver.engine.subscribe()
    recorder.failing = True

    with pytest.raises(EngineFailed):
        driver.engine.decide(driver.check())
    subscription.end()

    assert await read(subscription) == []


def test_orders_when_a_batch_is_judged_then_observers_see_every_judgement() -> None:
    recorder = Recorder()
    driver = warm(recorder=recorder)
    order = Order("order-1", BTC, Side.BUY, OrderAction.NEW, PRICE)

    facts = driver.engine.decide_orders(OrdersCheck(driver.engine.now_ns(), (order,)))

    assert recorder.facts[-1] is facts[-1]
    assert facts[-1].verdict is Verdict.ALLOW  # type: ignore[union-attr]


# Time


@pytest.mark.parametrize("step_s", [-86_400, -1, 1, 86_400])
def test_ages_when_the_wall_clock_is_stepped_then_they_do_not_change(step_s: int) -> None:
    driver = warm()
    driver.clock.advance(3)
    before = driver.engine.status().markets[0]

    driver.clock.wall += step_s * SECOND_NS
    after = driver.engine.status().markets[0]

    assert after.mark_age_ns == before.mark_age_ns == 3 * SECOND_NS
    assert driver.engine.clock_offset_ns() == step_s * SECOND_NS
    assert driver.decide().verdict is Verdict.ALLOW


def test_now_when_the_engine_starts_then_it_is_the_wall_clock_and_advances_with_the_monotonic_one() -> None:
    clock = ManualClock()
    engine = Engine(policy_of(BTC), clock)
    assert engine.now_ns() == clock.wall_ns()

    clock.monotonic += 7

    assert engine.now_ns() == clock.wall_ns() + 7
    assert engine.clock_offset_ns() == -7


def test_tick_when_nothing_arrives_for_long_then_the_market_is_recovering() -> None:
    driver = warm()
    driver.clock.advance(60)

    facts = driver.engine.tick()

    assert [(fact.market, fact.after) for fact in facts] == [(BTC, "RECOVERING")]  # type: ignore[union-attr]


# Failure


@pytest.mark.parametrize("call", ["step", "decide", "decide_orders", "tick", "reload"])
def test_engine_when_an_observer_has_failed_then_it_answers_nothing_more(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    driver = warm(recorder=recorder)
    engine, policy = driver.engine, driver.engine.policy
    assert engine.ready() == []
    recorder.failing = True
    with pytest.raises(EngineFailed, match="OSError: disk full"):
        driver.decide()
    recorder.failing = False

    calls: dict[str, Callable[[], object]] = {
        "step": lambda: engine.step(HaltCommand(engine.now_ns(), (), "ana", "test")),
        "decide": lambda: engine.decide(driver.check()),
        "decide_orders": lambda: engine.decide_orders(OrdersCheck(engine.now_ns(), ())),
        "tick": engine.tick,
        "reload": lambda: engine.reload(policy_of(BTC, ETH)),
    }
    with pytest.raises(EngineFailed, match="disk full"):
        calls[call]()

    assert engine.ready() == ["the engine stopped on OSError: disk full; restart the guard"]
    assert engine.policy is policy
    assert engine.status().markets, "an operator can still look"
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


def test_engine_when_an_input_is_older_than_the_last_then_it_stops() -> None:
    driver = warm()

    with pytest.raises(EngineFailed, match="must come in time order"):
        driver.engine.step(Tick(driver.engine.now_ns() - 1))

    assert driver.engine.ready()


# Policy


def test_reload_when_a_breaker_is_latched_then_it_stays_latched() -> None:
    driver = warm(BTC, ETH, SOL)
    driver.observe(BTC, funding_index=Decimal(0))
    driver.engine.step(HaltCommand(driver.engine.now_ns(), (ETH,), "ana", "look at it"))

    policy = policy_of(BTC, ETH, market_lines="warm_observations = 5")
    facts = driver.engine.reload(policy)

    now_ns = driver.engine.now_ns()
    assert facts == [PolicyChanged(now_ns, policy.revision, (), (SOL,))]
    assert driver.engine.policy is policy
    btc, eth = driver.engine.status().markets
    assert (btc.breaker.state, btc.breaker.latched) == (BreakerState.OPEN, True)
    assert eth.halt is not None
    assert driver.decide(BTC).verdict is driver.decide(ETH, "another").verdict is Verdict.DENY


def test_reload_when_it_takes_effect_then_decisions_name_the_new_revision() -> None:
    driver = warm()
    before = driver.decide(request_id="before").policy_revision

    driver.engine.reload(policy_of(BTC, market_lines="warm_observations = 5"))

    assert driver.decide(request_id="after").policy_revision == driver.engine.policy.revision != before


# Readiness


def test_readiness_when_required_markets_are_warming_then_they_are_named() -> None:
    driver = Driver(policy_of(BTC, ETH))
    driver.run(40, BTC)

    assert driver.engine.ready() == [f"market {ETH} is required and still warming"]


def test_readiness_when_no_market_is_required_then_it_is_given_from_the_start() -> None:
    driver = Driver(policy_of(BTC, market_lines="required = false"))

    assert driver.engine.ready() == []


def test_readiness_when_a_cold_required_market_is_removed_then_it_is_given() -> None:
    driver = Driver(policy_of(BTC, ETH))
    driver.run(40, BTC)

    driver.engine.reload(policy_of(BTC))

    assert driver.engine.ready() == []


def test_readiness_when_data_goes_wrong_or_a_market_is_added_later_then_it_stays() -> None:
    driver = warm()
    driver.observe(funding_index=Decimal(0))
    driver.clock.advance(600)
    driver.engine.tick()
    driver.engine.reload(policy_of(BTC, ETH))

    assert driver.engine.ready() == []
    assert driver.decide(ETH).verdict is Verdict.DENY


# Watchers


async def test_watcher_when_things_happen_then_it_reads_them_in_order() -> None:
    driver = warm()

    async with driver.engine.subscribe() as subscription:
        driver.observe()
        driver.decide()
        driver.engine.end_watchers()
        facts = await read(subscription)

    assert [type(fact) for fact in facts] == [ObservationJudged, DecisionMade]
    assert driver.engine.watchers == 0, "leaving frees the place"


async def test_watcher_when_it_waits_then_the_next_fact_wakes_it() -> None:
    driver = warm()

    async with driver.engine.subscribe() as subscription:
        waiting = asyncio.create_task(subscription.__anext__())
        await asyncio.sleep(0)
        driver.engine.step(HaltCommand(driver.engine.now_ns(), (), "ana", "look at it"))

        assert isinstance(await waiting, HaltChanged)


async def test_watcher_when_it_wants_some_facts_only_then_the_others_take_no_room() -> None:
    driver = warm(watch_queue_max=1)

    async with driver.engine.subscribe(lambda fact: isinstance(fact, HaltChanged)) as subscription:
        driver.run(5)
        driver.engine.step(HaltCommand(driver.engine.now_ns(), (), "ana", "look at it"))
        driver.engine.end_watchers()
        [fact] = await read(subscription)

    assert isinstance(fact, HaltChanged)
    assert driver.engine.events_lost == 0


async def test_watcher_when_it_falls_behind_then_it_reads_what_was_queued_and_is_told_how_many_were_lost() -> None:
    driver = warm(watch_queue_max=3)
    facts = []

    async with driver.engine.subscribe() as slow:
        for _ in range(5):
            driver.observe()
        facts.append(await anext(slow))
        driver.observe()
        facts += [await anext(slow), await anext(slow)]
        with pytest.raises(EventsLost, match="3 events were lost"):
            await anext(slow)

    assert len(facts) == 3, "what came after the loss is not read: no hole goes unnoticed"
    assert driver.engine.events_lost == 3


async def test_watcher_when_another_falls_behind_then_it_is_not_disturbed() -> None:
    driver = warm(watch_queue_max=2)

    async with driver.engine.subscribe(), driver.engine.subscribe() as quick:
        for _ in range(5):
            driver.observe()
            assert isinstance(await anext(quick), ObservationJudged)
        assert driver.engine.watchers == 2


async def test_watchers_when_there_are_too_many_then_the_next_is_refused_until_one_leaves() -> None:
    driver = warm(watchers_max=1)

    async with driver.engine.subscribe():
        with pytest.raises(TooManyWatchers, match="there are 1 watchers, and at most 1 may be"):
            driver.engine.subscribe()

    async with driver.engine.subscribe():
        assert driver.engine.watchers == 1
