"""What hypothesis feeds the core: honest data most of the time, and between it whatever can be wrong."""

from __future__ import annotations

import pickle
from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core.inputs import Basis, Order, OrderAction, Side
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, CheckKind
from tests.core import world

MARKETS = (world.BTC, world.ETH)
STRANGE = (
    *("NaN", "sNaN", "-NaN123", "Infinity", "-Infinity", "0", "-0", "0E+999999", "0E-999999", "1e999999", "-1e999999"),
    *("1e-999999", "1e30", "9.9e30", "1e31", "1e-30", "1e-31", "1e-40", "-92600", "1", "92600", "9260000"),
    *("123456789012345678901234567890.1234567890123456789012345678901234567890", "20511.93", "0.0001"),
)
COUNT_MAX = 2**63 - 1
"""The edges refuse a larger epoch or sequence, and a time outside the years 1 to 9999."""

strange = st.sampled_from([Decimal(text) for text in STRANGE])
numbers = st.one_of(strange, st.decimals(allow_nan=True, allow_infinity=True))
maybe = st.one_of(st.none(), numbers)
markets = st.sampled_from(MARKETS)
any_market = st.sampled_from((*MARKETS, "DOGE-USD-PERP"))
seconds = st.sampled_from((0.0, 0.1, 0.5, 1.0, 1.0, 1.0, 5.0, 16.0, 31.0, 61.0))

tampering = st.fixed_dictionaries(
    {},
    optional={
        "mark_price": maybe,
        "index_price": maybe,
        "funding_index": maybe,
        "funding_rate": maybe,
        "funding_premium": maybe,
        "feed_sequence": st.sampled_from((0, 1, 5, COUNT_MAX)),
        "epoch": st.sampled_from((0, 1, 2, 3, COUNT_MAX)),
        "source": st.sampled_from(("exchange", "somebody")),
        "event_offset_s": st.sampled_from((0, -1, 1, 3, -3, -20, -(10**6), 10**6, 10**11, -(6 * 10**10))),
    },
)
bases = st.builds(Basis, mark_price=maybe, funding_index=maybe)
kinds = st.sampled_from(list(CheckKind))
finite = st.one_of(st.none(), st.decimals("-1e6", "1e6", places=2))
orders = st.builds(
    Order,
    order_id=st.just("o1"),
    market=any_market,
    side=st.sampled_from(list(Side)),
    action=st.sampled_from(list(OrderAction)),
    price=finite,
    post_only=st.booleans(),
    take_profit_or_stop_loss=st.booleans(),
    created_at_ns=st.one_of(st.none(), st.integers(0, COUNT_MAX)),
)


def publish(state: guard.GuardState, policy: Policy, feeds: dict[str, world.Feed], now_ns: int) -> None:
    for feed in feeds.values():
        for quote in feed.quotes(now_ns):
            guard.step(state, quote, policy)
        guard.step(state, feed.observation(now_ns), policy)


def warm() -> bytes:
    """Return a policy, a guard that has seen a few honest seconds under it, and the feeds it saw them from."""
    own = {name: world.changed(world.market_policy(), {"band.agreement": "3s"}) for name in MARKETS}
    policy, feeds = replace(world.policy(), markets=own), {name: world.feed_of(name) for name in MARKETS}
    state = guard.new_state(policy, world.at("10:00:00"))
    for second in range(5):
        publish(state, policy, feeds, world.at("10:00:00") + second * SECOND_NS)
    return pickle.dumps((policy, state, feeds))


WARM = warm()
