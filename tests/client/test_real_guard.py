"""The clients and the real guard: what it allows, what it denies, and what it says of an account."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.client import (
    Account,
    AsyncGuardClient,
    Basis,
    BreakerState,
    Explanation,
    GuardClient,
    LiftedBy,
    OrderAction,
    Outcome,
    Position,
    Source,
    Verdict,
)
from tests.cli.running import Guard, running
from tests.client.guards import BTC, ETH, PATIENT_S, closure, order


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with running(tmp_path) as guard:
        guard.observe(times=3)
        yield guard


@pytest.fixture
def client(guard: Guard) -> Iterator[GuardClient]:
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        yield client


def account(collateral: str) -> Account:
    """Return an account with one long position that is worth 46,305 and has lost 700."""
    position = Position(
        market=BTC,
        size=Decimal("0.5"),
        entry_price=Decimal(94_000),
        cached_funding_index=Decimal("20511.9"),
        maintenance_margin_fraction=Decimal("0.01"),
    )
    return Account(collateral=Decimal(collateral), positions=(position,))


def test_check_when_all_is_sound_then_the_guard_allows_it(client: GuardClient) -> None:
    answer = client.check(closure())

    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.ALLOW, Source.GUARD, Outcome.ALLOW)
    assert answer.explanation == f"ALLOW {BTC}"
    assert answer.breaker is BreakerState.CLOSED
    assert answer.decision_id
    assert answer.policy_revision
    assert answer.decided_at is not None


def test_check_when_the_funding_index_was_reset_then_the_denial_says_so_and_who_lifts_it(
    guard: Guard, client: GuardClient
) -> None:
    guard.observe(funding_index="0")

    answer = client.check(closure(basis=Basis(mark_price=Decimal(92_610), funding_index=Decimal(0))))

    assert not answer
    assert {"breaker_open", "funding_jump", "basis_funding"} <= set(answer.reasons)
    assert (answer.lifted_by, answer.ask_again_after) == (LiftedBy.OPERATOR, None)
    [jump] = [found for found in answer.findings if found.reason == "funding_jump"]
    assert jump.observed.startswith("0, a step of -20511.9")
    assert jump.sentence in answer.explanation


@pytest.mark.parametrize(
    ("collateral", "verdict", "explanation"),
    [("1000", Verdict.ALLOW, Explanation.EXPLAINED), ("90000", Verdict.DENY, Explanation.UNEXPLAINED)],
)
def test_check_when_it_carries_the_account_then_its_loss_is_judged(
    client: GuardClient, collateral: str, verdict: Verdict, explanation: Explanation
) -> None:
    answer = client.check(closure(account=account(collateral)))

    loss = answer.explained_loss
    assert loss is not None
    assert (answer.verdict, loss.verdict) == (verdict, explanation)
    assert loss.low is not None
    assert loss.high is not None
    assert loss.low < loss.high < Decimal(collateral)


def test_batch_when_it_is_mixed_then_each_closure_has_its_own_answer_in_order(client: GuardClient) -> None:
    known = closure(request_id="request-1")
    client.check(known)

    good, cold, conflict, repeated = client.check_many(
        [closure(), closure(market=ETH), closure(request_id="request-1", size=Decimal(-1)), known]
    )

    assert good.allowed
    assert (cold.verdict, cold.source, cold.market) == (Verdict.DENY, Source.GUARD, ETH)
    assert (conflict.verdict, conflict.source, conflict.outcome) == (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)
    assert "checks[2].request_id" in conflict.explanation
    assert (repeated.verdict, repeated.repeated) == (Verdict.ALLOW, True)


def test_check_when_a_known_request_id_comes_with_another_content_then_it_is_denied_and_says_so(
    client: GuardClient,
) -> None:
    client.check(closure(request_id="request-1"))

    answer = client.check(closure(request_id="request-1", size=Decimal(-1)))

    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)
    assert "it differs in size" in answer.explanation
    assert answer.ask_again_after is None


def test_check_when_the_same_closure_is_asked_about_again_then_it_is_a_new_question(client: GuardClient) -> None:
    asked = closure()

    first, second = client.check(asked), client.check(asked)

    assert first.request_id != second.request_id
    assert not second.repeated


def test_orders_when_asked_about_then_each_has_its_own_answer(client: GuardClient) -> None:
    good, resting = client.check_orders(
        [order(), order(order_id="order-2", market="DOGE-USD-PERP", action=OrderAction.RESTING)]
    )

    assert (good.order_id, resting.order_id) == ("order-1", "order-2")
    assert resting.verdict is Verdict.DENY
    assert resting.reasons == ("unknown_market",)
    assert good.source is Source.GUARD


async def test_async_client_when_it_asks_then_it_gets_the_answers_that_the_other_gets(
    guard: Guard, client: GuardClient
) -> None:
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as other:
        allowed = await other.check(closure(request_id="request-1", account=account("1000")))
        denied, _ = await other.check_many([closure(market=ETH), closure()])
        (judged,) = await other.check_orders([order(market="DOGE-USD-PERP")])

    same = client.check(closure(request_id="request-1", account=account("1000")))
    assert (same.repeated, same.decision_id, same.explained_loss) == (
        True,
        allowed.decision_id,
        allowed.explained_loss,
    )
    assert (allowed.verdict, denied.verdict) == (Verdict.ALLOW, Verdict.DENY)
    assert judged.reasons == ("unknown_market",)
