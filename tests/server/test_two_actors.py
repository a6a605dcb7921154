"""Acts that the policy wants two actors for: the first only proposes, over gRPC as well."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from circuit_guard.v1 import admin_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.commands import baseline, call, halt, rebaseline, reset, resume
from tests.server.conftest import Start
from tests.server.harness import Harness

TWO_ACTORS = 'two_actors = ["resume", "reset", "rebaseline"]\ntwo_actors_within_s = 60'
ACTS = [
    (resume, {}, "resume"),
    (reset, {}, "reset"),
    (rebaseline, {"baselines": [baseline()]}, "rebaseline"),
    (rebaseline, {"factor": "1000", "scopes": [BTC]}, "rebaseline"),
]


@pytest_asyncio.fixture
async def pair(start: Start) -> Harness:
    """Return a guard whose policy wants two actors, with a market that is latched and halted."""
    driver = Driver(policy_of(BTC, ETH, guard=TWO_ACTORS))
    driver.run(40, BTC, ETH)
    driver.clock.advance(1)
    driver.observe(BTC, funding_index=Decimal(0))
    guard = await start(driver)
    await guard.admin.Halt(halt())
    return guard


async def proposals(guard: Harness) -> list[types_pb2.Proposal]:
    return list((await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.proposals)


@pytest.mark.parametrize(("make", "fields", "act"), ACTS)
async def test_act_when_one_actor_asks_then_it_is_proposed_and_not_in_effect(
    pair: Harness, make: Any, fields: dict[str, Any], act: str
) -> None:
    before = pair.state()

    response = await call(pair, make(**fields))

    [event] = response.events
    assert event.act_proposed == response.proposal
    assert (response.proposal.act, list(response.proposal.scopes)) == (act, [BTC])
    assert (response.proposal.actor, response.proposal.reason) == ("alice", "looking into it")
    assert response.proposal.expires_at == pair.time(ahead_s=60)
    assert await proposals(pair) == [response.proposal]
    assert pair.state().markets == before.markets


@pytest.mark.parametrize(("make", "fields", "act"), ACTS)
async def test_act_when_another_actor_asks_for_the_same_then_it_takes_effect(
    pair: Harness, make: Any, fields: dict[str, Any], act: str
) -> None:
    await call(pair, make(**fields))

    again = await call(pair, make(**fields))
    done = await call(pair, make(actor="bob", **fields))

    assert again.HasField("proposal"), f"{act}: one actor alone stays alone"
    assert not done.HasField("proposal")
    assert "alice and bob" in {
        actor
        for event in done.events
        for actor in (event.halt_changed.actor, event.breaker_changed.actor, event.rebaselined.actor)
    }
    assert await proposals(pair) == []


async def test_act_when_the_second_asks_too_late_then_it_is_proposed_anew(pair: Harness) -> None:
    await call(pair, resume())
    pair.driver.clock.advance(60)

    late = await call(pair, resume(actor="bob"))

    assert late.proposal.actor == "bob"
    assert [proposal.actor for proposal in await proposals(pair)] == ["bob"]
