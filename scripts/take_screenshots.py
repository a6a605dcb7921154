"""Write docs/images: the status page in Chromium while the bundled incident is played to a real guard.

Needs Debian's chromium (`apt-get install chromium`). The pictures show 19 January 2026, 04:34:25 UTC, in the story.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.web.playing import Incident, incident  # noqa: E402  # only now it can be found

IMAGES = ROOT / "docs" / "images"
SPEED = 60.0
UNTIL = "04:34:25"
BYTES_MAX = 150_000
BTC, PAXG = "BTC-USD-PERP", "PAXG-USD-PERP"
DESKTOP, PHONE = ViewportSize(width=900, height=720), ViewportSize(width=360, height=760)


async def main() -> None:
    """Play the incident with the pages open, and take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed, expected Debian's: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    async with incident(SPEED) as story, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        await story.play_until(UNTIL)
        overview = await opened(browser, story, "/", DESKTOP, "light")
        await taken(overview, "status_page_overview.png")
        market = await opened(browser, story, f"/markets/{BTC}", ViewportSize(width=900, height=740), "dark")
        await taken(market, "status_page_market.png")
        skewed = await opened(browser, story, f"/markets/{PAXG}", DESKTOP, "light")
        await taken(skewed, "status_page_charts.png", "section[aria-labelledby=charts]")
        await taken(skewed, "status_page_decision.png", "ol.answers > li:first-child")
        phone = await opened(browser, story, "/", PHONE, "dark")
        await taken(phone, "status_page_phone.png")
        await browser.close()


async def opened(browser: Browser, story: Incident, path: str, size: ViewportSize, scheme: str) -> Page:
    """Return a page that is live."""
    context = await browser.new_context(viewport=size, color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    await page.goto(story.url + path)
    await expect(page.locator("#live")).to_have_text("live", timeout=20_000)
    return page


async def taken(page: Page, name: str, part: str = "") -> None:
    """Write the picture of a page, or of one part of it."""
    path = IMAGES / name
    await (page.locator(part).screenshot(path=path) if part else page.screenshot(path=path))
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size} bytes")
    if size > BYTES_MAX:
        sys.exit(f"{name} has {size} bytes, expected at most {BYTES_MAX}: show less of the page")


if __name__ == "__main__":
    asyncio.run(main())
