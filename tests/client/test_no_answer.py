"""No answer of the guard, in every way to get none, is a denial within the deadline that says why."""

from __future__ import annotations

import time

import pytest

from circuit_guard.client import GuardClient, Outcome, Source, Verdict
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import DEADLINE_S, DEATHS, PATIENT_S, SLOW_S, Death, closure
from tests.client.kinds import Kind, each_kind

each_death = pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS.keys())


@each_kind
@each_death
async def test_closing_when_the_guard_gives_no_answer_then_nothing_is_closed_and_it_says_why(
    kind: Kind, death: Death
) -> None:
    deadline_s = PATIENT_S if death.outcome is Outcome.ERROR else DEADLINE_S  # they answer, if badly
    with death.run() as address:
        started = time.monotonic()
        said = await kind(address, deadline_s)
        took_s = time.monotonic() - started

    assert said.closed == 0
    assert took_s < SLOW_S
    assert death.words.format(address=address) in said.words


@each_kind
async def test_closing_when_the_guard_allows_then_it_is_closed(kind: Kind) -> None:
    with FakeGuard() as guard:
        guard.allow()
        said = await kind(guard.address, PATIENT_S)

    assert said.closed > 0


@each_kind
async def test_closing_when_the_guard_denies_then_nothing_is_closed_and_its_words_are_passed_on(kind: Kind) -> None:
    with FakeGuard() as guard:
        guard.deny("funding_jump", sentence="the funding index is where it cannot be")
        said = await kind(guard.address, PATIENT_S)

    assert said.closed == 0
    assert "the funding index is where it cannot be" in said.words


@each_death
def test_check_when_the_guard_gives_no_answer_then_the_denial_is_marked_as_none_of_the_guard(death: Death) -> None:
    with death.run() as address, GuardClient(address, deadline_s=DEADLINE_S) as client:
        answer = client.check(closure())

    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.DENY, Source.NO_ANSWER, death.outcome)
    assert not answer.fail_open
    assert not answer
    assert answer.reasons == ()
    assert answer.decision_id is None
