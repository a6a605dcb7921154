"""`@guarded`: the function runs after the guard has allowed, with the same arguments and results, or not at all."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal

import grpc
import pytest

from circuit_guard.client import ArgumentError, AsyncGuardClient, Closure, ClosureDenied, GuardClient, guarded
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import BTC, ETH, PATIENT_S, closure


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


@pytest.fixture
def client(guard: FakeGuard) -> Iterator[GuardClient]:
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        yield client


def asked(account: str, *sizes: str, market: str = BTC) -> list[Closure] | None:
    return [closure(account_id=account, size=Decimal(size), market=market) for size in sizes] or None


def test_function_when_the_guard_allows_then_it_runs_with_its_arguments_and_returns_its_result(
    client: GuardClient, guard: FakeGuard
) -> None:
    @guarded(client, asked)
    def close(account: str, *sizes: str, market: str = BTC) -> str:
        """Close."""
        return f"{account} {sizes} {market}"

    assert close("account-7", "-1", "-2", market=ETH) == f"account-7 ('-1', '-2') {ETH}"
    assert (close.__name__, close.__doc__) == ("close", "Close.")
    assert [(one.account_id, one.size, one.market) for one in guard.closures] == [
        ("account-7", Decimal(-1), ETH),
        ("account-7", Decimal(-2), ETH),
    ]


def test_function_when_the_guard_denies_then_it_does_not_run_and_the_error_says_when_to_ask_again(
    client: GuardClient, guard: FakeGuard
) -> None:
    guard.deny(ask_again_after=timedelta(seconds=3))
    ran = []

    @guarded(client, asked)
    def close(account: str, *sizes: str, market: str = BTC) -> None:
        ran.append(account)

    with pytest.raises(ClosureDenied) as caught:
        close("account-7", "-1")

    assert ran == []
    assert caught.value.ask_again_after == timedelta(seconds=3)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_function_when_its_mapping_returns_none_then_it_runs_without_asking(
    client: GuardClient, guard: FakeGuard
) -> None:
    guard.kill()

    @guarded(client, asked)
    def close(account: str, *sizes: str, market: str = BTC) -> str:
        return account

    assert close("account-7") == "account-7"


def test_function_when_its_mapping_returns_no_closures_then_that_is_an_error_and_no_permission(
    client: GuardClient,
) -> None:
    @guarded(client, list)
    def close() -> None:
        raise AssertionError

    with pytest.raises(ArgumentError, match=r"^the mapping's result was \[\], expected a Closure, a list of them, or"):
        close()


async def test_async_function_when_the_guard_allows_and_then_denies_then_it_runs_once(guard: FakeGuard) -> None:
    ran = []
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client:

        @guarded(client, asked)
        async def close(account: str, *sizes: str, market: str = BTC) -> str:
            ran.append(account)
            return account

        assert await close("account-7", "-1") == "account-7"
        guard.deny()
        with pytest.raises(ClosureDenied):
            await close("account-8", "-1")

    assert ran == ["account-7"]


async def test_decorator_when_client_and_function_are_of_two_kinds_then_it_is_refused_at_once(
    client: GuardClient,
) -> None:
    async def coroutine() -> None:
        raise AssertionError

    async def generator() -> AsyncIterator[int]:
        yield 1

    def plain() -> None:
        raise AssertionError

    async with AsyncGuardClient("127.0.0.1:1") as other:
        for function in (plain, generator):
            with pytest.raises(TypeError, match="expected an `async def` with an AsyncGuardClient"):
                guarded(other, lambda: None)(function)
    for asynchronous in (coroutine, generator):
        with pytest.raises(TypeError, match="expected a plain function with a GuardClient"):
            guarded(client, lambda: None)(asynchronous)


def test_denial_when_it_comes_from_another_process_then_it_is_whole(client: GuardClient, guard: FakeGuard) -> None:
    guard.deny()
    denial = ClosureDenied([client.check(closure())])

    copied = pickle.loads(pickle.dumps(denial))  # noqa: S301 - our own bytes

    assert isinstance(copied, ClosureDenied)
    assert (copied.answers, copied.code(), str(copied)) == (denial.answers, denial.code(), str(denial))


def test_denial_when_some_waits_are_known_then_the_longest_counts_only_where_all_are(
    client: GuardClient, guard: FakeGuard
) -> None:
    guard.deny(market=BTC, ask_again_after=timedelta(seconds=1))
    guard.deny(market=ETH, ask_again_after=timedelta(seconds=4))
    both = ClosureDenied(client.check_many([closure(), closure(market=ETH)]))
    guard.deny(market=ETH, ask_again_after=None)
    somebody = ClosureDenied(client.check_many([closure(), closure(market=ETH)]))

    assert both.ask_again_after == timedelta(seconds=4)
    assert somebody.ask_again_after is None
