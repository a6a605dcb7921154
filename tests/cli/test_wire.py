"""What a recording holds is what the guard receives over the wire."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from circuit_guard.cli import wire
from circuit_guard.core.inputs import Account
from circuit_guard.server.convert import requests
from tests.driver import BTC, Driver, policy_of
from tests.recording.strategies import accounts


@given(accounts)
def test_check_when_its_account_goes_over_the_wire_then_it_arrives_as_it_was(account: Account) -> None:
    named = (replace(one, market=f"M-{number}") for number, one in enumerate(account.positions))
    asked = Driver(policy_of(BTC)).check(account=replace(account, positions=tuple(named)))

    assert requests.check(wire.check(asked), "check", asked.at_ns) == asked
