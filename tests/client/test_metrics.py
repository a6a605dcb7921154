"""The metrics of a client: these names, and a number of series that nobody who asks can raise."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from prometheus_client import CollectorRegistry

from circuit_guard.client import AsyncGuardClient, FailOpen, GuardClient
from circuit_guard.client.metrics import ClientMetrics
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import BTC, DEADLINE_S, ETH, PATIENT_S, closure, order

CALLS = "circuit_guard_client_calls_total"
FAIL_OPEN = "circuit_guard_client_fail_open_total"
DURATION = "circuit_guard_client_call_duration_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


def calls(registry: CollectorRegistry) -> dict[str, float]:
    """Return the questions by outcome, without those that are zero."""
    [family] = [family for family in registry.collect() if family.name == CALLS.removesuffix("_total")]
    counted = {sample.labels["outcome"]: sample.value for sample in family.samples if sample.name == CALLS}
    assert set(counted) == {"allow", "deny", "unavailable", "deadline", "error"}, "all series are there from the start"
    return {outcome: value for outcome, value in counted.items() if value}


def test_metrics_when_nothing_was_asked_then_exactly_these_are_there_at_zero(registry: CollectorRegistry) -> None:
    ClientMetrics([BTC], registry)

    families = {family.name: family.type for family in registry.collect()}
    assert families == {
        CALLS.removesuffix("_total"): "counter",
        FAIL_OPEN.removesuffix("_total"): "counter",
        DURATION: "histogram",
    }
    assert calls(registry) == {}
    assert registry.get_sample_value(FAIL_OPEN, {"market": BTC}) == 0
    assert registry.get_sample_value(FAIL_OPEN, {"market": "other"}) == 0


def test_metrics_when_questions_have_every_outcome_then_each_is_counted_under_its_own(
    registry: CollectorRegistry, guard: FakeGuard
) -> None:
    with GuardClient(guard.address, deadline_s=PATIENT_S, observer=ClientMetrics(registry=registry)) as client:
        client.check(closure())
        guard.deny(market=ETH)
        client.check_many([closure(), closure(market=ETH)])
        client.check_orders([order()])
        guard.hang()
        client.check(closure(), deadline_s=DEADLINE_S)
        guard.delay(0)
        guard.fail(grpc.StatusCode.INTERNAL)
        client.check(closure())
        guard.kill()
        client.check(closure())

    assert calls(registry) == {"allow": 3, "deny": 1, "deadline": 1, "error": 1, "unavailable": 1}
    assert registry.get_sample_value(f"{DURATION}_count") == 6
    took_s = registry.get_sample_value(f"{DURATION}_sum")
    assert took_s is not None
    assert took_s >= DEADLINE_S


async def test_metrics_when_an_async_client_asks_then_they_count_as_well(
    registry: CollectorRegistry, guard: FakeGuard
) -> None:
    metrics = ClientMetrics(registry=registry)
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S, observer=metrics) as client:
        await client.check(closure())

    assert calls(registry) == {"allow": 1}


def test_metrics_when_closures_fail_open_then_they_are_counted_by_market_and_strangers_as_other(
    registry: CollectorRegistry, guard: FakeGuard
) -> None:
    fail_open = {BTC: FailOpen(30), ETH: FailOpen(30)}
    metrics = ClientMetrics([BTC], registry)
    with GuardClient(guard.address, deadline_s=PATIENT_S, fail_open=fail_open, observer=metrics) as client:
        both = [closure(), closure(market=ETH)]
        client.check_many(both)
        guard.kill()
        client.check_many(both)
        client.check(closure())

    assert registry.get_sample_value(FAIL_OPEN, {"market": BTC}) == 2
    assert registry.get_sample_value(FAIL_OPEN, {"market": "other"}) == 1
    assert registry.get_sample_value(FAIL_OPEN, {"market": ETH}) is None
    assert calls(registry) == {"allow": 2, "unavailable": 3}
