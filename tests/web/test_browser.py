"""The page in a real browser while the incident of 19 January 2026 is played to a real guard."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from tests.web.playing import Incident, incident

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

BTC, ETH, PAXG = "BTC-USD-PERP", "ETH-USD-PERP", "PAXG-USD-PERP"
SPEED = 200.0
BEFORE, AFTER = "04:32:40", "04:33:40"
"""Times of the story before the exchange comes back with its funding indices at zero, and after."""
PATHS = ("/", f"/markets/{BTC}", f"/markets/{PAXG}", "/decisions", "/markets/NOPE-USD-PERP")
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1200, "height": 900}
PATIENCE_MS = 20_000


class Watched:
    """A browser's window, and all that went wrong or elsewhere in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        context.on("request", self._requested)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    async def open(self, path: str) -> Page:
        page = await self.context.new_page()
        await page.goto(self.url + path)
        return page

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.elsewhere.append(request.url)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def assert_clean(self) -> None:
        assert self.complaints == []
        assert self.elsewhere == []


@asynccontextmanager
async def window(browser: Browser, url: str, **options: object) -> AsyncIterator[Watched]:
    context = await browser.new_context(**({"viewport": DESKTOP} | options))  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    yield Watched(context, url)
    await context.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "expected Debian's chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        await started.close()


@pytest.fixture
async def story() -> AsyncIterator[Incident]:
    async with incident(SPEED) as played:
        yield played


async def test_page_when_the_incident_happens_then_it_shows_it_live_without_a_reload(
    browser: Browser, story: Incident
) -> None:
    await story.play_until(BEFORE)
    async with window(browser, story.url) as watched:
        overview, market = await watched.open("/"), await watched.open(f"/markets/{BTC}")
        for page in (overview, market):
            await expect(page.locator("#live")).to_have_text("live", timeout=PATIENCE_MS)
            await page.evaluate("window.never_reloaded = true")
        await expect(overview.locator(f"[id='market-{BTC}']")).not_to_contain_text("latched")
        await expect(market.locator("path.mark.trip")).to_have_count(0)

        await story.play_until(AFTER)

        await overview.bring_to_front()
        card = overview.locator(f"[id='market-{BTC}']")
        await expect(card).to_contain_text("OPEN (denying), latched", timeout=PATIENCE_MS)
        await expect(card).to_contain_text("DENIED")
        await expect(card).to_contain_text("since 2026-01-19 04:33:00Z")
        await expect(card).to_contain_text("opened for funding_jump: the funding index moved further than funding can")
        await expect(card).to_contain_text(f"circuit-guard reset {BTC} --actor NAME")
        await expect(overview.locator("#summary")).to_contain_text("deny closures")
        await expect(overview.locator("main li.card").first).to_contain_text("latched")

        await market.bring_to_front()
        await expect(market.locator("path.mark.trip")).to_have_count(2, timeout=PATIENCE_MS)
        funding = market.locator("#figure-now-funding_index")
        await expect(funding.locator("text.moment")).to_contain_text("latched 04:33:00 funding_jump")
        await expect(funding.locator("text.edge")).to_contain_text("0 (off the scale)")
        await expect(market.locator("ol.answers > li").first).to_contain_text("DENY")
        for page in (overview, market):
            assert await page.evaluate("window.never_reloaded") is True
        watched.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_when_on_a_phone_then_nothing_sticks_out_and_everything_can_be_read(
    browser: Browser, story: Incident, scheme: str
) -> None:
    await story.play_until("04:34:20")
    async with window(browser, story.url, viewport=PHONE, color_scheme=scheme) as watched:
        for path in PATHS:
            page = await watched.open(path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            shades = await page.evaluate(SHADES)
            assert shades["page"] < 60 if scheme == "dark" else shades["page"] > 200
            assert shades["faint"] == [], f"text that hardly differs from what is behind it on {path}"
        watched.complaints = [told for told in watched.complaints if "404" not in told]
        watched.assert_clean()


async def test_page_when_used_by_keyboard_then_every_market_is_reached_and_focus_is_seen_and_kept(
    browser: Browser, story: Incident
) -> None:
    await story.play_until(BEFORE)
    async with window(browser, story.url) as watched:
        page = await watched.open("/")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.locator("#main")).to_be_focused()
        link = page.locator(f"[id='link-{BTC}']")
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.id") == f"link-{BTC}":
                break
        await expect(link).to_be_focused()
        assert await link.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"

        await story.play_until(AFTER)
        await expect(page.locator(f"[id='market-{BTC}']")).to_contain_text("latched", timeout=PATIENCE_MS)
        await expect(link).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_contain_text(f"{BTC}: closures DENIED")
        evidence = page.locator("ol.answers summary").nth(1)
        await evidence.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("ol.answers details").nth(1)).to_have_attribute("open", "")
        watched.assert_clean()


async def test_page_when_there_is_no_script_then_it_reads_the_same(browser: Browser, story: Incident) -> None:
    await story.play_until(AFTER)
    async with window(browser, story.url, java_script_enabled=False) as watched:
        page = await watched.open(f"/markets/{BTC}")
        await expect(page.locator("h1")).to_contain_text(f"{BTC}: closures DENIED")
        await expect(page.locator("#live")).to_have_text("reload to refresh")
        await expect(page.locator("path.mark.trip")).to_have_count(2)
        await page.locator("ol.answers summary").nth(1).click()
        await expect(page.locator("ol.answers .evidence").nth(1)).to_be_visible()
        watched.assert_clean()


async def test_page_when_the_guard_goes_away_then_it_says_that_it_is_old(browser: Browser) -> None:
    async with AsyncExitStack() as running:
        story = await running.enter_async_context(incident(SPEED))
        await story.play_until("04:27:30")
        async with window(browser, story.url) as watched:
            live = (await watched.open("/")).locator("#live")
            await expect(live).to_have_text("live", timeout=PATIENCE_MS)
            await running.aclose()
            await expect(live).to_have_text("NOT LIVE: connection lost, this is old", timeout=PATIENCE_MS)


SHADES = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const linear = c => c <= 10 ? c / 3294.6 : ((c / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const shade = channels(getComputedStyle(at).backgroundColor);
      if (shade.length < 4 || shade[3] > 0) return shade;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    const own = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || element.closest("svg")) continue;
    const shades = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(...shades) + .05) / (Math.min(...shades) + .05);
    if (contrast < 4.5) faint.push(`${element.nodeName}.${element.className} ${contrast.toFixed(1)}`);
  }
  return {page: channels(getComputedStyle(document.documentElement).backgroundColor)[0], faint};
}"""
"""The lightness of the page, and every text whose contrast is under 4.5 (WCAG 2.2, 1.4.3)."""
