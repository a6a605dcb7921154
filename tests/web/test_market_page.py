"""One market's page: its charts with the moment of the trip, its headroom, what happened, what was answered."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from circuit_guard.core.inputs import Account, Basis, HaltCommand, Position
from circuit_guard.core.types import SECOND_NS
from tests.driver import BTC, ETH, INDEX, PRICE, policy_of
from tests.web.harness import Page, Web, web


@pytest.fixture
async def tripped() -> AsyncIterator[Web]:
    """Yield a guard that has allowed a closure, seen a funding index of zero, and denied another."""
    async with web() as guard:
        await guard.run(60, BTC, ETH)
        guard.driver.decide(request_id="before")
        guard.driver.clock.advance(1)
        guard.driver.observe(BTC, funding_index=Decimal(0))
        guard.driver.clock.advance(1)
        position = Position(BTC, Decimal("0.5"), PRICE, INDEX, maintenance_margin_fraction=Decimal("0.01"))
        account = Account(Decimal(5_000), (position,))
        guard.driver.decide(request_id="after", basis=Basis(PRICE, Decimal(0)), account=account)
        await guard.tick()
        yield guard


async def test_market_when_it_latched_then_the_page_says_why_since_when_and_who_lifts_it(tripped: Web) -> None:
    page = await tripped.get(f"/markets/{BTC}")

    assert re.search(rf'<h1 class="bad">.*{BTC}: closures DENIED', page.html, re.S)
    assert "breaker OPEN (denying), latched, since 2026-01-19 00:01:01Z" in page
    assert "opened for funding_jump: " in page
    assert f'circuit-guard reset {BTC} --actor NAME --reason "WHY"' in page


async def test_market_when_it_latched_then_both_charts_show_that_moment(tripped: Web) -> None:
    page = await tripped.get(f"/markets/{BTC}")

    charts = re.findall(r"<svg viewBox=\"0 0 720 360\".*?</svg>", page.html, re.S)
    assert len(charts) == 2
    for picture in charts:
        assert re.search(r'<path class="mark trip" d="M[\d.]+ 28.0V334.0"/>', picture)
        assert "latched 00:01:01 funding_jump" in picture
        assert re.search(r'<path class="line" d="M[\d.]+ [\d.]+L', picture)
    assert "\N{DOWNWARDS ARROW} 0 (off the scale)" in charts[1]
    assert "1 rejected value, the first 0, the last 0. Marked: latched 00:01:01 funding_jump." in page


async def test_market_when_the_trip_is_long_ago_then_charts_show_now_and_then(tripped: Web) -> None:
    await tripped.run(700, ETH)
    page = await tripped.get(f"/markets/{BTC}")

    titles = re.findall(r"<h3 id=\"title-[\w-]+\">(.*?)</h3>", page.html)
    assert titles == [
        "Mark price",
        "Funding index",
        "Mark price round the trip of 2026-01-19 00:01:01Z",
        "Funding index round the trip of 2026-01-19 00:01:01Z",
    ]
    [*now, _, then] = re.findall(r"<svg viewBox=\"0 0 720 360\".*?</svg>", page.html, re.S)
    assert all("latched" not in picture for picture in now)
    assert "latched 00:01:01 funding_jump" in then


async def test_market_when_judged_then_headroom_and_values_are_there(tripped: Web) -> None:
    page = await tripped.get(f"/markets/{ETH}")

    assert f"{ETH}: closures allowed" in page
    assert "divergence 100 %" in page
    assert "staleness 87 %" in page
    assert "mark price 92600, 2.0 s old" in page
    assert "reference price 92600 from 3 fresh references" in page
    assert "band none in this phase" in page


async def test_market_when_the_policy_changes_something_later_then_the_page_says_what_and_when() -> None:
    change = f"[[markets.{ETH}.changes]]\nfrom = 2026-12-01T08:00:00Z\nfunding.period_s = 3600"
    async with web(policy=policy_of(ETH, market_lines=change)) as guard:
        await guard.run(2, ETH)
        await guard.tick()
        page = await guard.get(f"/markets/{ETH}")

    assert "next change 2026-12-01 08:00:00Z: funding.period_s 28800 to 3600" in page


async def test_market_when_the_policy_changes_nothing_then_the_page_has_no_such_line(tripped: Web) -> None:
    assert "next change" not in await tripped.get(f"/markets/{ETH}")


@pytest.mark.parametrize("name", ["币安人生USDT", "A,B,9BBc-USD", "@107", "100%-USD", "a b"])
async def test_market_when_its_name_is_in_any_script_then_the_links_lead_there(name: str) -> None:
    async with web(policy=policy_of(f'"{name}"')) as guard:
        await guard.tick()
        [link] = re.findall(r'href="(/markets/[^"]+)"', (await guard.get("/")).html)
        page: Page = await guard.get(link)

    assert page.status == 200
    assert f"{name}: closures DENIED" in page


async def test_market_when_decisions_were_made_then_they_have_their_evidence(tripped: Web) -> None:
    page = await tripped.get(f"/markets/{BTC}")

    [denied, allowed] = re.findall(r"<li id=\"decision-.*?</details>", page.html, re.S)
    assert "<details id=" in denied
    assert " open>" in denied
    assert "DENY" in denied
    for evidence in (
        "breaker_open",
        "basis_funding",
        "basis.funding_index was 0",
        "account-1",
        "UNEXPLAINED: healthy at every admissible value, by at least",
    ):
        assert evidence in denied
    assert "ALLOW" in allowed
    assert "Every rule was satisfied." in allowed


async def test_market_when_things_happened_then_they_are_listed_newest_first(tripped: Web) -> None:
    tripped.halt(actor="bob", reason="checking")
    await tripped.tick()
    page = await tripped.get(f"/markets/{BTC}")

    happened = re.findall(r"<time>(2026[^<]*)</time> <span>(.*?)</span>", page.html)
    assert happened[0] == ("2026-01-19 00:01:02Z", "GLOBAL: closures halted by bob: checking")
    assert happened[1][1].startswith("breaker OPEN (denying), latched for funding_jump, until an operator resets it: ")
    assert happened[-1][1] == "market is warm: its closures are judged from now on"


async def test_market_when_a_shorter_halt_changed_nothing_then_it_is_listed_and_neither_denies_nor_lifts(
    tripped: Web,
) -> None:
    tripped.halt(actor="bob", reason="checking")
    engine = tripped.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "bob", "still", engine.now_ns() + SECOND_NS))
    await tripped.tick()
    page = await tripped.get(f"/markets/{BTC}")

    happened = re.findall(r'<li class="(.*?)"><time>2026[^<]*</time> <span>(.*?)</span>', page.html)
    [(before, _), (tone, said)] = [one for one in happened if "halted by bob" in one[1]]
    assert said.startswith("GLOBAL: closures stay halted by bob: the halt that stands lasts longer (checking)")
    assert (tone, before) == ("", "bad")


@pytest.mark.parametrize("name", ["NOPE-USD-PERP", "GLOBAL", "btc-usd-perp", "..%2f..%2fetc%2fpasswd", "<b>x"])
async def test_market_when_the_policy_does_not_name_it_then_the_page_says_so(name: str) -> None:
    async with web() as guard:
        await guard.tick()
        page = await guard.get(f"/markets/{name}")

    assert page.status == 404
    assert "The policy names no market " in page
    assert "<b>" not in page.html


async def test_market_when_its_name_has_a_slash_then_the_links_lead_there() -> None:
    async with web(policy=policy_of('"BTC/USD"')) as guard:
        await guard.tick()
        [link] = re.findall(r'href="(/markets/[^"]+)"', (await guard.get("/")).html)
        page: Page = await guard.get(link)

    assert page.status == 200
    assert "BTC/USD: closures DENIED" in page


async def test_decisions_when_asked_for_then_those_of_all_markets_are_there(tripped: Web) -> None:
    tripped.driver.decide(market="NOPE-USD-PERP", request_id="unknown")
    page = await tripped.get("/decisions")

    shown = re.findall(r"<dt>request</dt><dd>(.*?)</dd>", page.html)
    assert shown == ["unknown", "after", "before"]
    assert "LIQUIDATION of account-1 in NOPE-USD-PERP" in page
