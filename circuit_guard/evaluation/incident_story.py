"""The bundled incident's script: which markets, what happens to them when, and who holds what.

Modelled on 19 January 2026 at a perpetuals exchange, with published magnitudes and made-up prices in between: a race
at a restart resets funding indices to zero, a thin post-only book pushes gold, the restored indices strike those who
traded in between. The real day took hours; here the maintenance takes three minutes, and all of it fits into fifteen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from circuit_guard.core.inputs import Side

STEP_S = 5
"""The exchange publishes every 5 s."""
START = datetime(2026, 1, 19, 4, 27, tzinfo=UTC)
CRASH_S = 60
MAINTENANCE_S = 180
RESTART_S = 360
SKEW_S, SKEW_UNTIL_S = 420, 470
RESTORE_S = 480
OPEN_S = 600
RALLY_S = 690
END_S = 880

PPM = 1_000_000
PERIOD_S = 28_800
RESET_MARKETS = ("BTC-USD-PERP", "BERA-USD-PERP")
SKEWED_MARKET = "PAXG-USD-PERP"
SKEW_PPM = -55_000
"""How far the thin book pushes the mark price: 5.5 % down."""


@dataclass(frozen=True, slots=True)
class MarketScript:
    """A market at the start, and the drift of its price: (second, parts per million), linear in between."""

    market: str
    price: Decimal
    decimals: int
    funding_index: Decimal
    funding_rate: Decimal
    max_funding_rate: Decimal
    drift: tuple[tuple[int, int], ...] = ((0, 0), (END_S, 0))


MARKETS = (
    MarketScript(
        "BTC-USD-PERP",
        Decimal("92610"),
        1,
        Decimal("20511.934207715"),
        Decimal("0.00007172918481"),
        Decimal("0.02"),
        ((0, 0), (CRASH_S, 0), (CRASH_S + 70, -4_000), (END_S, -2_000)),
    ),
    MarketScript(
        "ETH-USD-PERP",
        Decimal("3212.4"),
        2,
        Decimal("704.220518346"),
        Decimal("0.00005830415127"),
        Decimal("0.02"),
        ((0, 0), (RALLY_S, 0), (RALLY_S + 100, 26_000), (END_S, 24_000)),
    ),
    MarketScript(
        "SOL-USD-PERP",
        Decimal("133.85"),
        3,
        Decimal("21.406771932"),
        Decimal("0.00010000000000"),
        Decimal("0.02"),
        ((0, 0), (CRASH_S, 0), (CRASH_S + 70, -38_000), (MAINTENANCE_S, -34_000), (END_S, -33_000)),
    ),
    MarketScript(
        "BERA-USD-PERP",
        Decimal("0.5150"),
        5,
        Decimal("-2.314983676759"),
        Decimal("-0.01070340466085"),
        Decimal("0.05"),
    ),
    MarketScript(
        SKEWED_MARKET,
        Decimal("4668.50"),
        2,
        Decimal("58.117340926"),
        Decimal("0.00003120577418"),
        Decimal("0.05"),
    ),
    MarketScript(
        "NEAR-USD-PERP",
        Decimal("1.7340"),
        5,
        Decimal("0.029920825505"),
        Decimal("0.00007100916923"),
        Decimal("0.05"),
        ((0, 0), (RALLY_S, 0), (RALLY_S + 120, -62_000), (END_S, -60_000)),
    ),
)

VENUES = (("binance", 350), ("okx", 800), ("bybit", 1300))
"""The reference venues, with their latency in milliseconds."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Accounts alike: `count` of them, each opening one position at `opened_s` with a margin within these bounds."""

    name: str
    market: str
    side: Side
    """What opened the position: BUY a long, SELL a short."""
    count: int
    margin_ppm: tuple[int, int]
    """Collateral as parts per million of the notional, the lowest and the highest."""
    maintenance_margin_fraction: Decimal
    opened_s: int = 0


ONE_PERCENT = Decimal("0.01")
CROWDS = (
    Crowd("sol-crash", "SOL-USD-PERP", Side.BUY, 9, (20_000, 40_000), ONE_PERCENT),
    Crowd("btc-short", "BTC-USD-PERP", Side.SELL, 18, (40_000, 200_000), ONE_PERCENT),
    Crowd("bera-long", "BERA-USD-PERP", Side.BUY, 10, (120_000, 400_000), Decimal("0.025")),
    Crowd("paxg-long", SKEWED_MARKET, Side.BUY, 12, (25_000, 55_000), ONE_PERCENT),
    Crowd("btc-long-at-zero", "BTC-USD-PERP", Side.BUY, 8, (60_000, 180_000), ONE_PERCENT, 400),
    Crowd("bera-short-at-zero", "BERA-USD-PERP", Side.SELL, 6, (120_000, 400_000), Decimal("0.025"), 400),
    Crowd("eth-rally", "ETH-USD-PERP", Side.SELL, 6, (20_000, 30_000), ONE_PERCENT, OPEN_S),
    Crowd("near-fall", "NEAR-USD-PERP", Side.BUY, 10, (25_000, 60_000), ONE_PERCENT, OPEN_S),
    Crowd("bystander", "BTC-USD-PERP", Side.BUY, 4, (300_000, 500_000), ONE_PERCENT),
)
