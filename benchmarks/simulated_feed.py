"""What 111 markets publish in a while: random walks with the digits, the rates and the jitter that real feeds have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS

VENUES = ("binance", "bybit", "okx")
START_NS = 1_768_780_800 * SECOND_NS
_MICROSECOND_NS, _MILLISECOND_NS = 1_000, 1_000_000


@dataclass
class Market:
    """One market: its price walks by about 2 basis points a second, and funding accrues."""

    name: str
    price: float
    digits: int
    phase_ns: int
    funding_index: Decimal = Decimal(0)
    rate: float = 0.0001
    sequence: int = 0
    venue_offsets: dict[str, float] = field(default_factory=dict)

    def second(self, start_ns: int, random: Random) -> Iterator[Observation | Reference]:
        """Return what is published about the market in one second: one observation, one reference a venue."""
        self.price *= 1 + random.gauss(0, 0.0002)
        self.rate += random.gauss(0, 1e-7)
        premium = Decimal(f"{self.rate * self.price:.12g}")
        self.funding_index += (premium / 28_800).quantize(Decimal("1e-18"))
        self.sequence += 1
        at_ns = start_ns + self.phase_ns + self._jitter_ns(random)
        yield Observation(
            at_ns=at_ns,
            market=self.name,
            source="exchange",
            epoch=1,
            feed_sequence=self.sequence,
            event_time_ns=_event_ns(at_ns, random),
            mark_price=self._rounded(self.price * (1 + random.gauss(0, 0.00003))),
            index_price=self._rounded(self.price),
            funding_index=self.funding_index,
            funding_rate=Decimal(f"{self.rate:.10f}"),
            funding_premium=premium,
        )
        for venue in VENUES:
            offset = self.venue_offsets.get(venue, 0.0) * 0.95 + random.gauss(0, 0.00002)
            self.venue_offsets[venue] = offset
            at_ns = start_ns + self.phase_ns + self._jitter_ns(random)
            price = self._rounded(self.price * (1 + offset))
            yield Reference(at_ns, self.name, venue, _event_ns(at_ns, random), price)

    def _rounded(self, price: float) -> Decimal:
        return Decimal(f"{price:.{self.digits}g}")

    def _jitter_ns(self, random: Random) -> int:
        return int(random.gauss(0, 20_000)) * _MICROSECOND_NS


def _event_ns(at_ns: int, random: Random) -> int:
    """Return when it happened: some milliseconds before it arrived, and venues stamp whole milliseconds."""
    latency_ns = int(random.lognormvariate(2.5, 0.6) * _MILLISECOND_NS)
    return (at_ns - latency_ns) // _MILLISECOND_NS * _MILLISECOND_NS


def simulate(markets: int, seconds: int, seed: int = 1) -> Iterator[Observation | Reference]:
    """Return what so many markets publish in so many seconds, in order, and stamped by one clock: never back."""
    random = Random(seed)  # noqa: S311  # a simulation
    books = [
        Market(
            name=f"{''.join(random.choices('ABCDEFGHIJKLMNOPQRSTUVWXYZ', k=random.randint(2, 6)))}-USD-PERP",
            price=10 ** random.uniform(-3, 5),
            digits=random.choice((6, 7, 8)),
            phase_ns=random.randrange(1_000_000) * _MICROSECOND_NS,
            funding_index=Decimal(f"{random.uniform(-30_000, 30_000):.13f}"),
        )
        for _ in range(markets)
    ]
    last_ns = START_NS
    for second in range(seconds):
        start_ns = START_NS + second * SECOND_NS
        published = [input_ for book in books for input_ in book.second(start_ns, random)]
        published.sort(key=lambda input_: input_.at_ns)
        for input_ in published:
            last_ns = max(last_ns, input_.at_ns)
            yield input_ if input_.at_ns == last_ns else replace(input_, at_ns=last_ns)
