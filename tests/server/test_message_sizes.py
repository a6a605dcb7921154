"""A batch inside the limit of items is answered or says what to do, however many bytes it and its answers take."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from circuit_guard.client import Account, AsyncGuardClient, Basis, Closure, GuardClient, Outcome, Position, Source
from circuit_guard.v1 import liquidation_pb2 as pb
from circuit_guard.v1.liquidation_pb2_grpc import LiquidationGuardServiceStub
from tests.cli.running import Guard, running

BTC = "BTC-USD-PERP"
ALL_S = 30.0


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with running(tmp_path_factory.mktemp("guard")) as guard:
        guard.observe(times=3)
        yield guard


def closures(count: int, positions: int) -> list[Closure]:
    """Return closures of accounts that hold so many positions in markets that nobody knows."""
    held = tuple(
        Position(
            market=f"M{k}-{'LONG' * 10}-USD-PERP",
            size=Decimal(1),
            entry_price=Decimal("93500.5"),
            cached_funding_index=Decimal("20500.25"),
            maintenance_margin_fraction=Decimal("0.01"),
        )
        for k in range(positions)
    )
    basis = Basis(mark_price=Decimal(92_610), funding_index=Decimal("20511.9"))
    account = Account(collateral=Decimal(1_000), positions=held)
    return [
        Closure(market=BTC, account_id=f"account-{n}", size=Decimal(-1), basis=basis, account=account)
        for n in range(count)
    ]


def checks(count: int, positions: int, text: str = "") -> list[pb.LiquidationCheck]:
    asked = []
    for n in range(count):
        one = pb.LiquidationCheck(request_id=f"{text}{n}", account_id=f"account-{n}", market=BTC, size="-1")
        one.basis.mark_price, one.basis.funding_index = "92610", "20511.9"
        one.account.collateral = "1000"
        for k in range(positions):
            one.account.positions.add(
                market=f"M{k}-{'長' * 110}-USD-PERP",
                size="1",
                entry_price="93500.5",
                cached_funding_index="20500.25",
                maintenance_margin_fraction="0.01",
            )
        asked.append(one)
    return asked


@pytest.mark.parametrize(("count", "positions"), [(1_000, 10), pytest.param(990, 9, marks=pytest.mark.system)])
def test_plain_client_when_its_answer_would_not_fit_then_it_is_told_which_checks_to_ask_again(
    guard: Guard, count: int, positions: int
) -> None:
    asked, answered, calls = checks(count, positions, f"plain-{count}-"), 0, 0
    with grpc.insecure_channel(guard.address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = LiquidationGuardServiceStub(channel)
        while answered < count:
            response = stub.CheckLiquidations(pb.CheckLiquidationsRequest(checks=asked[answered:]), timeout=ALL_S)
            calls += 1
            kinds = [one.WhichOneof("result") for one in response.results]
            assert len(kinds) == count - answered
            decided = kinds.index("error") if "error" in kinds else len(kinds)
            left_out = response.results[decided:]
            assert decided
            assert {one.error.reason for one in left_out} <= {"ANSWER_TOO_LARGE"}
            if left_out:
                assert f"ask checks[{decided}] and those after it again" in left_out[0].error.message
            answered += decided
    assert calls > 1


@pytest.mark.parametrize(
    ("count", "positions"),
    [(1_000, 12), *(pytest.param(*many, marks=pytest.mark.system) for many in [(550, 100), (52, 1_000)]), (3, 2)],
)
def test_client_when_a_batch_is_too_many_bytes_then_every_closure_has_its_own_answer_all_the_same(
    guard: Guard, count: int, positions: int
) -> None:
    asked = closures(count, positions)

    with GuardClient(guard.address, deadline_s=ALL_S) as client:
        answers = client.check_many(asked)

    assert [answer.account_id for answer in answers] == [one.account_id for one in asked]
    assert {answer.source for answer in answers} == {Source.GUARD}
    assert len({answer.request_id for answer in answers}) == count


async def test_async_client_when_a_batch_is_too_many_bytes_then_every_closure_has_its_own_answer_all_the_same(
    guard: Guard,
) -> None:
    asked = closures(850, 60)

    async with AsyncGuardClient(guard.address, deadline_s=ALL_S) as client:
        answers = await client.check_many(asked)

    assert [answer.account_id for answer in answers] == [one.account_id for one in asked]
    assert {answer.source for answer in answers} == {Source.GUARD}


def test_client_when_the_guard_takes_smaller_messages_then_it_says_what_to_do(tmp_path: Path) -> None:
    small = {"CIRCUIT_GUARD_GRPC__MESSAGE_BYTES_MAX": "65536"}
    with running(tmp_path, settings=small) as guard, GuardClient(guard.address, deadline_s=ALL_S) as client:
        answer = client.check_many(closures(100, 100))[0]

    assert (answer.source, answer.outcome, answer.ask_again_after) == (Source.NO_ANSWER, Outcome.ERROR, None)
    assert "ask about fewer closures at a time, or raise grpc.message_bytes_max" in answer.explanation


def test_client_when_the_deadline_ends_between_two_messages_then_the_rest_is_denied_for_it(guard: Guard) -> None:
    with GuardClient(guard.address, deadline_s=0.02) as client:
        answers = client.check_many(closures(300, 300))

    assert len(answers) == 300
    assert {answer.outcome for answer in answers[-10:]} == {Outcome.DEADLINE}
    assert "did not answer within 0.02 s" in answers[-1].explanation
