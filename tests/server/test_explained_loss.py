"""What trusted values say of an account's loss, in the answer to a check."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.v1 import liquidation_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.conftest import Start
from tests.server.harness import Harness, account, basis, check, position

SURPLUS = Decimal("-168.5")
"""Of the account that checks carry in these tests: 1000 + 0.5 * (92600 - 94000) - 463 - 0.5 * (20511 - 20500)."""
FUNDING_REACH = Decimal(1)
"""The funding index, and so the surplus, is certain to well under this."""


@pytest.mark.parametrize(
    ("collateral", "verdict"),
    [
        ("1000", liquidation_pb2.EXPLANATION_EXPLAINED),
        ("1168.5", liquidation_pb2.EXPLANATION_INDETERMINATE),
        ("90000", liquidation_pb2.EXPLANATION_UNEXPLAINED),
    ],
)
async def test_loss_when_the_account_is_given_then_its_verdict_and_both_bounds_are_in_the_answer(
    guard: Harness, collateral: str, verdict: liquidation_pb2.Explanation
) -> None:
    loss = (await guard.decide(check(account=account(collateral=collateral)))).explained_loss

    low, exact, high = Decimal(loss.low), SURPLUS + Decimal(collateral) - 1000, Decimal(loss.high)
    assert loss.verdict == verdict
    assert exact - FUNDING_REACH < low < exact < high < exact + FUNDING_REACH
    assert not loss.unknown_markets


@pytest.mark.parametrize(("denies", "verdict"), [("true", types_pb2.VERDICT_DENY), ("false", types_pb2.VERDICT_ALLOW)])
async def test_loss_when_it_is_unexplained_then_the_policy_says_whether_that_denies(
    start: Start, denies: str, verdict: types_pb2.Verdict
) -> None:
    driver = Driver(policy_of(BTC, market_lines=f"explained_loss.deny = {denies}"))
    driver.run(40, BTC)
    guard = await start(driver)

    decision = await guard.decide(check(account=account(collateral="90000")))

    denying = [found.reason for found in decision.findings if found.severity >= types_pb2.SEVERITY_DENY]
    assert decision.verdict == verdict
    assert denying == (["unexplained_loss"] if denies == "true" else [])
    assert decision.explained_loss.verdict == liquidation_pb2.EXPLANATION_UNEXPLAINED


async def test_loss_when_the_margin_is_an_amount_then_it_counts_as_the_fraction_of_the_same_amount_does(
    guard: Harness,
) -> None:
    amount = position(maintenance_margin_fraction="", maintenance_margin="463")

    by_fraction = await guard.decide(check(request_id="fraction"))
    by_amount = await guard.decide(check(request_id="amount", account=account(amount)))

    fraction, absolute = by_fraction.explained_loss, by_amount.explained_loss
    assert (Decimal(fraction.low), Decimal(fraction.high)) == (Decimal(absolute.low), Decimal(absolute.high))


@pytest.mark.parametrize("amounts", [("463", "464"), ("0", "0.01")])
async def test_check_when_it_comes_again_with_another_margin_amount_then_it_is_another_question(
    guard: Harness, amounts: tuple[str, str]
) -> None:
    checks = [
        check(account=account(position(maintenance_margin_fraction="", maintenance_margin=amount)))
        for amount in amounts
    ]

    response = await guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=checks))

    assert response.results[1].error.reason == "REQUEST_ID_CONFLICT"
    assert "it differs in account" in response.results[1].error.message


async def test_loss_when_nothing_is_trusted_of_a_market_of_the_account_then_it_is_named(guard: Harness) -> None:
    unknown = position(market="DOGE-USD-PERP")

    loss = (await guard.decide(check(account=account(position(), unknown)))).explained_loss

    assert loss.verdict == liquidation_pb2.EXPLANATION_INDETERMINATE
    assert list(loss.unknown_markets) == ["DOGE-USD-PERP"]


@pytest.mark.parametrize("asked", [check(account=None), check(market="DOGE-USD-PERP")])
async def test_loss_when_there_is_no_account_or_the_market_is_unknown_then_the_answer_says_nothing_of_it(
    guard: Harness, asked: liquidation_pb2.LiquidationCheck
) -> None:
    assert not (await guard.decide(asked)).HasField("explained_loss")


async def test_loss_when_its_bounds_have_too_many_digits_then_they_are_rounded_away_from_each_other(
    guard: Harness,
) -> None:
    long = position(size="0.5" + "0" * 30 + "1", entry_price="94000." + "1" * 20)
    asked = check(account=account(long, collateral="1000." + "7" * 36))

    loss = (await guard.decide(asked)).explained_loss

    kept = guard.engine.state.remembered[asked.request_id][1].explained
    assert kept is not None
    assert kept.low is not None
    assert kept.high is not None
    assert all(len(bound.as_tuple().digits) > 40 for bound in (kept.low, kept.high))
    assert all(len(Decimal(bound).as_tuple().digits) == 40 for bound in (loss.low, loss.high))
    assert Decimal(loss.low) < kept.low < kept.high < Decimal(loss.high)
    assert (loss.low[:36], loss.high[:36]) == (str(kept.low)[:36], str(kept.high)[:36])


async def test_explanation_when_an_explained_closure_goes_through_a_halt_then_it_says_why(start: Start) -> None:
    driver = Driver(policy_of(BTC, ETH, market_lines='explained_loss.halted = "allow_explained"'))
    driver.run(40, BTC, ETH)
    guard = await start(driver)
    guard.driver.clock.advance(1)
    await guard.observe(guard.observation(funding_index="0"))

    allowed = await guard.decide(check(basis=basis(funding_index="0")))
    denied = await guard.decide(check(request_id="unexplained", account=account(collateral="90000")))

    assert allowed.verdict == types_pb2.VERDICT_ALLOW
    assert allowed.explanation.startswith(
        f"ALLOW {BTC}: found but not enforced, because trusted values explain the loss: breaker_open, funding_jump"
    )
    assert denied.verdict == types_pb2.VERDICT_DENY
    assert denied.explained_loss.verdict == liquidation_pb2.EXPLANATION_UNEXPLAINED
