"""The overview: what is halted comes first, with why, since when and who may lift it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.driver import BTC, ETH, policy_of
from tests.web.harness import web

MANY = [f"M{number:04}-USD-PERP" for number in range(250)]


async def test_overview_when_all_is_well_then_it_says_so_first() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        page = await guard.get("/")

    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.search(r'<h1 class="good">.*Closures go through in all 2 markets', page.html, re.S)
    assert "NOT READY" not in page
    assert f"{BTC} \N{CHECK MARK} allowed OPEN CLOSED 92600 92600 0.0 s" in page


async def test_overview_when_a_market_latched_then_it_is_first_and_explained() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.driver.observe(ETH, funding_index=Decimal(0))
        await guard.run(70, BTC)
        page = await guard.get("/")

    assert "\N{MULTIPLICATION X} 1 of 2 markets denies closures" in page
    assert page.html.index(f'id="market-{ETH}"') < page.html.index(f'id="market-{BTC}"')
    assert "breaker OPEN (denying), latched" in page
    assert "since 2026-01-19 00:00:40Z, for 1 min 10 s" in page
    assert "opened for funding_jump: the funding index moved further than funding can move it" in page
    assert "funding_index was 0, a step of -20511, expected 20511 +/-" in page
    assert "An operator must reset the breaker once the cause is gone: " in page
    assert f'circuit-guard reset {ETH} --actor NAME --reason "WHY"' in page


async def test_overview_when_everything_is_halted_then_global_is_explained_before_the_markets() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.halt(actor="alice", reason="venue down")
        await guard.tick()
        page = await guard.get("/")

    assert "GLOBAL \N{MULTIPLICATION X} DENIED in every market" in page
    assert "alice halted it at 2026-01-19 00:00:40Z: venue down" in page
    assert 'circuit-guard resume --all --actor NAME --reason "WHY"' in page
    assert page.html.index('id="global"') < page.html.index(f'id="market-{BTC}"')


async def test_overview_when_several_operators_halted_then_each_says_why() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.halt(ETH, actor="alice", reason="thin book")
        guard.halt(ETH, actor="bob", reason="me too")
        await guard.tick()
        guard.driver.decide(market=ETH, request_id="held")
        await guard.tick()
        overview, market = await guard.get("/"), await guard.get(f"/markets/{ETH}")

    assert "alice halted it at 2026-01-19 00:00:40Z: thin book" in overview
    assert "bob halted it at 2026-01-19 00:00:40Z: me too" in overview
    assert "An operator must resume it, which lifts all 2 halts: " in overview
    assert "bob halted it at 2026-01-19 00:00:40Z: me too" in market
    assert "halted by alice: thin book (and 1 more halt by bob)" in market


async def test_overview_when_people_write_markup_then_it_stays_text() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.halt(BTC, actor="<script>alert(1)</script>", reason='"><img src=x>')
        await guard.tick()
        page, found = await guard.get("/"), await guard.get('/?q="><script>')

    assert "<script>alert" not in page.html
    assert "<img" not in page.html
    assert '<script>alert(1)</script> halted it at 2026-01-19 00:00:40Z: "><img src=x>' in page
    assert 'value="&#34;&gt;&lt;script&gt;"' in found.html


async def test_overview_when_the_guard_is_in_shadow_then_it_says_that_nothing_is_enforced() -> None:
    async with web(policy=policy_of(BTC, guard="shadow = true")) as guard:
        await guard.tick()
        assert "SHADOW: the denials below are not enforced" in await guard.get("/")


async def test_overview_when_there_are_many_markets_then_it_has_pages_and_a_filter() -> None:
    async with web(policy=policy_of(*MANY)) as guard:
        await guard.tick()
        first, third, beyond = [await guard.get(f"/?page={number}") for number in ("1", "3", "999999999999")]
        found, none = await guard.get("/?q=m001"), await guard.get("/?q=nothing")

    assert "250 of 250 markets deny closures" in first
    assert [page.html.count('class="card bad"') for page in (first, third, found, none)] == [100, 50, 10, 0]
    assert "Page 1 of 3, 250 markets" in first
    assert 'href="/?page=2" rel="next"' in first.html
    assert '<label for="q">Market name contains</label>' in first.html
    assert 'rel="next"' not in third.html
    assert "Page 1 of 3" in beyond, "what is no number that can be is the first page"
    assert "The policy names no market whose name contains nothing." in none


@pytest.mark.parametrize("state", ['<span class="sign" aria-hidden="true">\N{CHECK MARK}</span>'])
async def test_overview_when_read_aloud_then_states_are_words_and_changes_are_announced(state: str) -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        page = await guard.get("/")

    assert f'<span class="state good">{state} allowed</span>' in page.html, "the sign is not read, the word is"
    assert '<div class="summary" id="summary" role="status" aria-live="polite">' in page.html
    assert '<html lang="en">' in page.html
    assert '<a class="skip" href="#main">' in page.html
    assert "style=" not in page.html, "the Content-Security-Policy would not let it have an effect"
    assert not re.search(r"<script(?! src=\"/static/app\.js\")|\son\w+=", page.html)
