"""The markets of the load: which there are, and what is published and asked about them.

All have one price, which swings far enough that the closures asked about have a reason: in a market that stands still a
hundred of them would trip `unexplained_burst`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from math import sin, tau
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.config.policy import parse_policy
from circuit_guard.v1 import liquidation_pb2, market_data_pb2

ROOT = Path(__file__).parent.parent.parent
POLICY = ROOT / "config" / "policy.toml"

VENUES = ("binance", "bybit", "okx")
PRICE, INDEX = 92_610.0, Decimal("20511.930812345678")
SWING, PERIOD_S = 0.004, 8
CALM = SWING / 8
"""So little that references of some seconds ago still stand by every mark price."""
RATE = Decimal("0.00000001")
"""So small that the funding index stays where the checks have it, for hours."""

ID_DIGITS = 18
PLACE = b"#" * ID_DIGITS
SECOND_NS = 10**9

_RANGES = count(0, 10**9)
"""Where the ids of the next `Questions` begin: no two ask the same."""


def policy_text(markets: int) -> str:
    """Return the shipped policy with as many markets as wanted, all rules on."""
    text = POLICY.read_text()
    shipped = len(parse_policy(text, str(POLICY)).markets)
    return text + "".join(f"[markets.LOAD-{number:04d}-USD-PERP]\n" for number in range(markets - shipped))


def names(markets: int) -> list[str]:
    """Return the names of the markets in that policy."""
    return list(parse_policy(policy_text(markets), "the policy of the load").markets)


def price_at(at_ns: int, swing: float = SWING) -> Decimal:
    """Return the price of every market at an instant."""
    turn = at_ns % (PERIOD_S * SECOND_NS) / (PERIOD_S * SECOND_NS)
    return Decimal(f"{PRICE * (1 + swing * sin(tau * turn)):.2f}")


def observations(markets: Sequence[str], at_ns: int, index: Decimal = INDEX, swing: float = SWING) -> bytes:
    """Return a request that publishes these markets as they are at an instant."""
    price = price_at(at_ns, swing)
    observed = market_data_pb2.Observation(
        source="exchange",
        epoch=1,
        feed_sequence=at_ns // 1000,
        event_time=timestamp(at_ns),
        mark_price=str(price),
        index_price=str(price),
        funding_index=str(index),
        funding_rate=f"{RATE:f}",
        funding_premium=f"{RATE * price:f}",
    )
    request = market_data_pb2.PublishObservationsRequest()
    for market in markets:
        observed.market = market
        request.observations.append(observed)
    return request.SerializeToString()


def references(markets: Sequence[str], at_ns: int, swing: float = SWING) -> bytes:
    """Return a request with three references a market at an instant."""
    reference = market_data_pb2.Reference(event_time=timestamp(at_ns), price=str(price_at(at_ns, swing)))
    request = market_data_pb2.PublishReferencesRequest()
    for market in markets:
        for venue in VENUES:
            reference.market, reference.source = market, venue
            request.references.append(reference)
    return request.SerializeToString()


def timestamp(at_ns: int) -> Timestamp:
    """Return nanoseconds since the Unix epoch as a protobuf time."""
    return Timestamp(seconds=at_ns // SECOND_NS, nanos=at_ns % SECOND_NS)


class Questions:
    """Requests as bytes, each about closures of accounts that nobody asked about before."""

    def __init__(self, markets: Sequence[str], batch: int) -> None:
        """Ask about so many closures at a time, of the markets in turn."""
        self._batch = batch
        requests = -(-len(markets) // batch)
        shifted = [[*markets[number * batch :], *markets] for number in range(requests)]
        self._parts = [_template(some, batch).split(PLACE) for some in shifted]
        self._asked = next(_RANGES)
        self.request_id = b""
        """Of the first check in the last request."""

    def __next__(self) -> bytes:
        """Return the next request. A stream takes those of one check, too, and several of them are one of a batch."""
        parts = self._parts[self._asked // self._batch % len(self._parts)]
        ids = [b"%0*d" % (ID_DIGITS, number) for number in range(self._asked, self._asked + self._batch)]
        self.request_id = ids[0]
        self._asked += self._batch
        pieces = [b""] * (4 * self._batch + 1)
        pieces[::2] = parts
        pieces[1::4] = pieces[3::4] = ids  # the request_id and the account_id
        return b"".join(pieces)


def _template(markets: Sequence[str], batch: int) -> bytes:
    basis = liquidation_pb2.Basis(mark_price=str(PRICE), funding_index=str(INDEX))
    place = PLACE.decode()
    checks = [
        liquidation_pb2.LiquidationCheck(
            request_id=place, account_id=place, market=markets[number % len(markets)], size="-0.5", basis=basis
        )
        for number in range(batch)
    ]
    if batch == 1:
        return liquidation_pb2.CheckLiquidationRequest(check=checks[0]).SerializeToString()
    return liquidation_pb2.CheckLiquidationsRequest(checks=checks).SerializeToString()
