"""The fake guard: it denies until told, answers as told, and says what it was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from circuit_guard.client import Account, CheckKind, GuardClient, LiftedBy, OrderAction, Outcome, Position, Side
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import BTC, ETH, PATIENT_S, closure, order


def test_fake_guard_when_told_nothing_then_it_denies_as_a_guard_does_that_has_seen_nothing() -> None:
    with FakeGuard() as guard, GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        answer = client.check(closure())

    assert (answer.reasons, answer.lifted_by) == (("warming",), LiftedBy.EVIDENCE)


def test_fake_guard_when_asked_then_it_has_the_questions_as_they_were_asked() -> None:
    held = Position(
        market=ETH,
        size=Decimal("2"),
        entry_price=Decimal("3000.50"),
        cached_funding_index=Decimal("-1.5"),
        maintenance_margin=Decimal("46"),
    )
    account = Account(collateral=Decimal("1000"), positions=(held,))
    asked = closure(kind=CheckKind.INSURANCE_TRANSFER, account=account, execution_price=None, request_id="request-1")
    placed = order(
        side=Side.SELL,
        action=OrderAction.RESTING,
        price=None,
        post_only=True,
        take_profit_or_stop_loss=True,
        created_at=datetime(2026, 1, 19, tzinfo=UTC),
    )
    with FakeGuard() as guard, GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        client.check(asked)
        client.check_orders([placed])

        assert guard.closures == [asked]
        assert guard.orders == [placed]


def test_fake_guard_when_told_of_one_market_then_the_others_stay_as_they_were() -> None:
    with FakeGuard() as guard, GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        guard.allow(market=BTC)
        first = [answer.allowed for answer in client.check_many([closure(), closure(market=ETH)])]
        guard.allow()
        guard.deny(market=BTC)
        second = [answer.allowed for answer in client.check_many([closure(), closure(market=ETH)])]

    assert (first, second) == ([True, False], [False, True])


def test_fake_guard_when_told_to_hang_and_then_not_to_then_what_hung_is_answered() -> None:
    with FakeGuard() as guard, GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        guard.allow()
        guard.hang()
        assert client.check(closure(), deadline_s=0.1).outcome is Outcome.DEADLINE
        guard.delay(0.01)
        assert client.check(closure()).allowed


def test_fake_guard_when_nobody_asks_then_waiting_for_it_ends() -> None:
    with FakeGuard() as guard, pytest.raises(TimeoutError, match=r"^0 calls arrived within 0\.01 s, expected 1$"):
        guard.wait_until_asked(timeout_s=0.01)
