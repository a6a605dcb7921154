"""An honest feed made up for evaluations: prices that walk and fall, funding that accrues, three venues."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults import in_time_order
from circuit_guard.evaluation.feed import Feed, FeedEntry

START_NS = 1_768_797_000 * SECOND_NS
STEP_S = 5
VENUES = ("binance", "bybit", "okx")
PRICES = {
    "BTC-USD-PERP": ("92610.4", "20511.93"),
    "ETH-USD-PERP": ("3212.41", "704.22"),
    "SOL-USD-PERP": ("133.852", "21.406"),
    "BERA-USD-PERP": ("0.51503", "-2.3149"),
    "PAXG-USD-PERP": ("4668.52", "58.117"),
    "NEAR-USD-PERP": ("1.73401", "0.02992"),
    "LTC-USD-PERP": ("79.183", "-23.754"),
    "DOGE-USD-PERP": ("0.148325", "-0.005933"),
}
MARKETS = tuple(PRICES)
MILLISECOND_NS = SECOND_NS // 1000


def honest_entries(seed: int = 1, markets: int = 8, seconds: int = 960, fall: float = 0.06) -> tuple[FeedEntry, ...]:
    """Return entries of so many markets, in which each falls by about `fall` in the middle minutes."""
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    entries: list[FeedEntry] = []
    for market in MARKETS[:markets]:
        price, index = (Decimal(text) for text in PRICES[market])
        value, tick, rate = float(price), Decimal(1).scaleb(int(price.as_tuple().exponent)), Decimal("0.0001234567")
        steps = seconds // STEP_S
        for step in range(steps):
            falling = 0.4 * steps <= step < 0.6 * steps
            value *= 1 + random.gauss(-fall * 5 / steps if falling else 0, 0.0006)
            mark = Decimal(value).quantize(tick)
            premium, at_ns = rate * mark, START_NS + step * STEP_S * SECOND_NS
            received_ns = at_ns + random.randint(50, 400) * MILLISECOND_NS
            entries.append(
                Observation(received_ns, market, "exchange", 1, step + 1, at_ns, mark, mark, index, rate, premium)
            )
            index += premium * STEP_S / 28_800
            for place, venue in enumerate(VENUES):
                late_ns = (300 + 400 * place + random.randint(0, 200)) * MILLISECOND_NS
                quoted = Decimal(value * (1 + random.gauss(0, 0.0001))).quantize(tick)
                entries.append(Reference(at_ns + late_ns, market, venue, at_ns, quoted))
    return in_time_order(entries)


def honest_feed(seed: int = 1, markets: int = 8, seconds: int = 960, fall: float = 0.06) -> Feed:
    """Return them as a feed."""
    return Feed.of(honest_entries(seed, markets, seconds, fall))
