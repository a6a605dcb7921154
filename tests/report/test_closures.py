"""Closures as a report assesses them: on journals of a real engine, one question at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.core.inputs import Account, Basis, Position
from circuit_guard.core.types import CheckKind
from circuit_guard.report.closures import Assessment, Closure, PriceSource
from circuit_guard.report.exports import ledger
from circuit_guard.report.incident import Incident, read_incident
from circuit_guard.report.timeline import timeline_section
from tests.driver import BTC, ETH, INDEX, PRICE, Driver, policy_of
from tests.recording.recorded_guard import RecordedGuard
from tests.report.recorded import WHOLE_DAY, account

SHADOW = policy_of(BTC, ETH, guard="shadow = true")
ENFORCED = policy_of(BTC, ETH)
HALF = Decimal("-0.5")


async def told(directory: Path, story: Callable[[Driver], object], *, shadow: bool = True) -> Incident:
    """Record a story after ten honest seconds, and read it back."""
    async with RecordedGuard(directory, SHADOW if shadow else ENFORCED) as guard:
        guard.run(10, BTC, ETH)
        story(guard)
        await guard.engine.durable()
    return read_incident(directory, WHOLE_DAY)


def only(incident: Incident) -> Closure:
    [closure] = incident.closures
    return closure


async def test_closure_when_its_account_is_healthy_then_is_wrongful_and_costs_the_price_difference(
    tmp_path: Path,
) -> None:
    def story(guard: Driver) -> None:
        low = PRICE - 40
        guard.decide(account=account(), execution_price=low, basis=Basis(low, INDEX))

    closure = only(await told(tmp_path, story))

    assert (closure.assessment, closure.allowed) == (Assessment.WRONGFUL, True)
    assert closure.amounts is not None
    assert (closure.amounts.price_difference, closure.amounts.false_funding) == (Decimal(20), Decimal(0))
    assert closure.amounts.price_source is PriceSource.MARK
    assert (closure.loss, closure.amounts.equity, closure.amounts.beyond) == (Decimal(20), Decimal(1000), Decimal(0))


async def test_timeline_when_one_closure_was_wrongful_then_it_is_told_once(tmp_path: Path) -> None:
    incident = await told(tmp_path, lambda guard: guard.decide(account=account()))
    assert str(timeline_section(incident)).count("wrongful closure is allowed: account account-1") == 1


async def test_closure_when_its_account_is_under_water_then_is_justified(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        guard.decide(account=account("100"))

    closure = only(await told(tmp_path, story))

    assert (closure.assessment, closure.loss, closure.mispriced) == (Assessment.JUSTIFIED, Decimal(0), False)


async def test_closure_when_justified_but_at_a_wrong_price_then_what_it_took_is_in_the_ledger(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        guard.decide(account=account("100"), execution_price=PRICE - 60)

    incident = await told(tmp_path, story)

    closure = only(incident)
    assert (closure.assessment, closure.mispriced, closure.loss) == (Assessment.JUSTIFIED, True, Decimal(30))
    assert ledger(incident).splitlines()[1].startswith(f"account-1,{BTC},LIQUIDATION,ALLOW,justified,30.0,")


@pytest.mark.parametrize("account_id", ["=HYPERLINK(A1)", "+1+1", "@SUM(A1:A9)", "-2+3"])
async def test_ledger_when_an_account_id_is_a_formula_then_a_spreadsheet_does_not_run_it(
    tmp_path: Path, account_id: str
) -> None:
    def story(guard: Driver) -> None:
        guard.engine.decide(
            replace(guard.check(account=account("100"), execution_price=PRICE - 60), account_id=account_id)
        )

    written = ledger(await told(tmp_path, story))

    row = next(csv.DictReader(io.StringIO(written)))
    assert (row["account_id"], row["size"][0]) == (f"'{account_id}", "-")


async def test_closure_when_it_takes_more_than_the_account_held_then_the_rest_is_not_its_loss(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        guard.decide(account=account("700"), basis=Basis(PRICE, INDEX + 2000))

    closure = only(await told(tmp_path, story))

    assert closure.amounts is not None
    assert (closure.amounts.taken, closure.loss, closure.amounts.beyond) == (Decimal(1000), Decimal(700), Decimal(300))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "asked about without its account"),
        (
            {"account": account(), "kind": CheckKind.TRIGGER},
            "TRIGGER closes healthy accounts as well: compare the prices",
        ),
        ({"account": account("463")}, "healthy at some values that can honestly be, under water at others"),
        (
            {"account": Account(Decimal("0.5"), (Position("DOGE", Decimal(1), Decimal(1), Decimal(0), Decimal(0)),))},
            "nothing was trusted of DOGE, which decides",
        ),
    ],
)
async def test_closure_when_nothing_can_be_said_then_is_undecided_and_says_why(
    tmp_path: Path, values: dict[str, object], why: str
) -> None:
    def story(guard: Driver) -> None:
        guard.clock.advance(1)
        guard.decide(**values)  # type: ignore[arg-type]

    incident = await told(tmp_path, story)

    assert (only(incident).assessment, only(incident).why) == (Assessment.UNDECIDED, why)


async def test_closure_when_its_market_is_not_in_the_policy_then_it_has_no_amount(tmp_path: Path) -> None:
    closure = only(await told(tmp_path, lambda guard: guard.decide("DOGE", account=account())))

    assert (closure.amounts, closure.loss) == (None, Decimal(0))


async def test_closure_when_denied_and_asked_again_then_is_one_and_valued_at_the_first_wrongful_question(
    tmp_path: Path,
) -> None:
    def story(guard: Driver) -> None:
        for number, price in enumerate((PRICE - 2000, PRICE - 4000, PRICE)):
            guard.clock.advance(1)
            basis = Basis(price, INDEX)
            guard.decide(request_id=f"ask-{number}", account=account("2600"), execution_price=price, basis=basis)

    closure = only(await told(tmp_path, story, shadow=False))

    assert (closure.assessment, closure.allowed, closure.asked) == (Assessment.WRONGFUL, False, 3)
    assert (closure.ask.check.request_id, closure.loss) == ("ask-0", Decimal(1000))


async def test_closure_when_denied_first_and_allowed_later_then_only_what_was_allowed_counts(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        guard.decide(request_id="denied", account=account("100"), basis=Basis(PRICE * 2, INDEX))
        guard.run(1, BTC, ETH)
        guard.decide(request_id="allowed", account=account("100"))

    closure = only(await told(tmp_path, story, shadow=False))

    assert (closure.ask.check.request_id, closure.allowed, closure.asked) == ("allowed", True, 2)


async def test_account_when_settled_with_a_wrong_index_then_it_is_settled_anew_before_it_is_judged(
    tmp_path: Path,
) -> None:
    def story(guard: Driver) -> None:
        guard.clock.advance(1)
        guard.observe(BTC, funding_index=Decimal(0))
        guard.clock.advance(1)
        guard.observe(BTC)
        for number, collateral in enumerate(("1000", "100")):
            values = {"account": account(collateral, cached_funding_index=Decimal(0)), "request_id": f"ask-{number}"}
            check = replace(guard.check(**values), account_id=f"account-{number}")  # type: ignore[arg-type]
            guard.engine.decide(check)

    healthy, insolvent = (await told(tmp_path, story)).closures

    assert healthy.tainted == insolvent.tainted == (BTC,)
    assert (healthy.assessment, insolvent.assessment) == (Assessment.WRONGFUL, Assessment.JUSTIFIED)
    assert healthy.amounts is not None
    assert healthy.amounts.true_cached == INDEX
    assert (healthy.amounts.taken, healthy.loss) == (INDEX / 2, Decimal(1000))


async def test_price_when_the_mark_is_doubted_then_the_references_stand_for_it(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        guard.clock.advance(1)
        wrong = PRICE * Decimal("0.9")
        guard.observe(BTC, mark_price=wrong)
        guard.decide(account=account("9000"), execution_price=wrong, basis=Basis(wrong, INDEX))

    closure = only(await told(tmp_path, story))

    assert closure.amounts is not None
    assert (closure.amounts.price_source, closure.amounts.true_price) == (PriceSource.REFERENCES, PRICE)
    assert closure.loss == PRICE * Decimal("0.05")


async def test_account_when_it_has_positions_in_two_markets_then_both_are_in_its_equity(tmp_path: Path) -> None:
    def story(guard: Driver) -> None:
        other = Position(ETH, Decimal("0.1"), PRICE + 1000, INDEX, Decimal("0.01"))
        held = account("1000")
        guard.decide(account=Account(held.collateral, (*held.positions, other)), size=HALF)

    closure = only(await told(tmp_path, story))

    assert closure.amounts is not None
    assert closure.amounts.equity == 900
