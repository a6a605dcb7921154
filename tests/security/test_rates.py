"""How much one identity may ask for in a second, and who is never refused for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from circuit_guard.config.security import LimitSettings, Role
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.rate_limits import Bucket, Rates
from circuit_guard.v1 import admin_pb2, liquidation_pb2, market_data_pb2
from tests.driver import BTC, Driver, policy_of
from tests.security.identities import SECURITY, Start, as_, refusals
from tests.server import commands
from tests.server.harness import account, check, position

STATUS = admin_pb2.GetStatusRequest()


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_bucket_when_it_is_empty_then_it_says_when_there_will_be_some_and_takes_nothing() -> None:
    bucket = Bucket(per_s=10, now_s=0.0)

    assert bucket.take(10, 0.0) == 0
    assert bucket.take(1, 0.0) == pytest.approx(0.01)
    assert bucket.take(1, 0.5) == 0


def test_bucket_when_a_batch_is_larger_than_a_second_of_it_then_it_is_taken_and_the_rest_has_to_fill_up() -> None:
    bucket = Bucket(per_s=10, now_s=0.0)

    assert bucket.take(30, 0.0) == 0
    assert bucket.take(1, 0.0) == pytest.approx(2.0)
    assert bucket.take(1, 1.9) > 0
    assert bucket.take(1, 2.1) == 0


def test_bucket_when_nobody_takes_then_it_holds_no_more_than_a_second() -> None:
    bucket = Bucket(per_s=10, now_s=0.0)

    assert bucket.take(11, 1000.0) == 0
    assert bucket.take(1, 1000.0) == pytest.approx(0.1)


def test_rates_when_one_identity_asks_for_too_much_then_others_and_its_other_work_are_not_held_up() -> None:
    clock = Seconds()
    rates = Rates(LimitSettings(checks_per_s=5, market_data_per_s=5, views_per_s=5), clock)

    rates.charge("engine", Role.LIQUIDATOR, 5)
    with pytest.raises(RefusalError, match="engine asked for more than 5 checks and orders per second"):
        rates.charge("engine", Role.LIQUIDATOR, 1)
    rates.charge("engine", Role.VIEWER, 1)
    rates.charge("other", Role.LIQUIDATOR, 5)
    clock.now_s += 0.3
    rates.charge("engine", Role.LIQUIDATOR, 1)


def test_rates_when_an_operator_acts_then_it_is_never_too_often() -> None:
    rates = Rates(LimitSettings(checks_per_s=1, market_data_per_s=1, views_per_s=1), Seconds())

    for _ in range(1000):
        rates.charge("bastion", Role.OPERATOR, 1)


async def test_request_when_its_identity_asked_for_too_much_then_it_is_told_when_to_ask_again(start: Start) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    limits = LimitSettings(checks_per_s=3, market_data_per_s=2, views_per_s=1)
    guard = await start(driver, security=SECURITY, per_client=limits)
    checks = [check(request_id=f"request-{number}") for number in range(60)]
    batch = liquidation_pb2.CheckLiquidationsRequest(checks=checks)
    references = market_data_pb2.PublishReferencesRequest(references=[guard.reference()] * 40)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: guard.liquidations.CheckLiquidations(batch, metadata=as_(Role.LIQUIDATOR)),
        lambda: guard.market_data.PublishReferences(references, metadata=as_(Role.PUBLISHER)),
        lambda: guard.admin.GetStatus(STATUS, metadata=as_(Role.VIEWER)),
    ]
    for call in calls:
        await call()
    before = guard.state()

    waits = []
    for call in calls:
        with pytest.raises(aio.AioRpcError) as caught:
            await asyncio.gather(*(call() for _ in range(10)))  # far more often than once a second
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
        retry = RetryInfo()
        assert status.details[1].Unpack(retry)
        waits.append(retry.retry_delay.ToTimedelta().total_seconds())

    assert 10 < waits[0] <= 19, "57 checks too many, at 3 a second"
    assert 10 < waits[1] <= 19, "38 references too many, at 2 a second"
    assert 0 < waits[2] <= 1
    assert guard.state() == before
    assert refusals(guard, "rate_limited") >= 3
    for _ in range(30):
        await guard.admin.Halt(commands.halt(), metadata=as_(Role.OPERATOR))


async def test_request_when_its_identity_has_used_up_its_bytes_then_that_is_counted_apart(start: Start) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver, security=SECURITY, per_client=LimitSettings(bytes_per_s=65_536))
    long = check(account=account(*(position(market=f"{number:0>120}") for number in range(900))))
    assert long.ByteSize() > 2 * 65_536, "it takes the bytes of two seconds"
    request = liquidation_pb2.CheckLiquidationRequest(check=long)
    await guard.liquidations.CheckLiquidation(request, metadata=as_(Role.LIQUIDATOR))

    with pytest.raises(aio.AioRpcError, match=r"limits\.bytes_per_s") as caught:
        await guard.liquidations.CheckLiquidation(request, metadata=as_(Role.LIQUIDATOR))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refusals(guard, "bytes_used_up"), refusals(guard, "rate_limited")) == (1, 0)
