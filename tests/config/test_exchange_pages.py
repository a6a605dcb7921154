"""The policies of docs/exchanges_prices.md, as they stand in the page: valid, and they do what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.config.policy import parse_policy, parse_policy_file
from circuit_guard.core import guard
from circuit_guard.core.facts import BreakerChanged, DecisionMade, Fact
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Basis, Check, Observation, RebaselineCommand, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, BreakerState

PAGE = (Path(__file__).parents[2] / "docs" / "exchanges_prices.md").read_text(encoding="utf-8")
POLICIES = re.findall(r"^## (.*?)\n.*?```toml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
BY_TITLE = {title.split(":")[0].split(",")[0]: text for title, text in POLICIES}
TUESDAY_NS = 1_768_919_400 * SECOND_NS
"""2026-01-20 14:30 UTC, when New York opens."""


class Market:
    """The guard under a policy of the page, with the feed of one market."""

    def __init__(self, policy: Policy, market: str, start_ns: int = TUESDAY_NS) -> None:
        self.policy, self.market, self.now_ns, self.sequence = policy, market, start_ns, 0
        self.state = guard.new_state(policy, start_ns)
        self.facts: list[Fact] = []
        self.funding_index = Decimal(1)

    def second(self, mark: str, references: dict[str, str], others: dict[str, dict[str, str]] | None = None) -> None:
        """Publish references, of other markets first, and the mark price; then a second passes."""
        for market, prices in {**(others or {}), self.market: references}.items():
            for source, quoted in prices.items():
                quote = Reference(self.now_ns, market, source, self.now_ns, Decimal(quoted))
                self.facts += guard.step(self.state, quote, self.policy)
        self.sequence += 1
        at, price = self.now_ns, Decimal(mark)
        observed = Observation(at, self.market, "exchange", 1, self.sequence, at, price, price, self.funding_index)
        self.facts += guard.step(self.state, observed, self.policy)
        self.now_ns += SECOND_NS

    def answer(self, mark: str) -> tuple[str, list[str]]:
        """Ask for a closure computed with a mark price; return the verdict and the reasons."""
        price = Decimal(mark)
        basis = Basis(price, self.funding_index)
        asked = Check(self.now_ns, f"r{self.now_ns}", "a", self.market, Decimal(-1), execution_price=price, basis=basis)
        for fact in guard.decide(self.state, asked, self.policy):
            if isinstance(fact, DecisionMade):
                return fact.decision.verdict, [found.reason for found in fact.decision.findings]
        raise AssertionError("no decision")

    def tripped(self) -> bool:
        return any(isinstance(fact, BreakerChanged) and fact.after is BreakerState.OPEN for fact in self.facts)


def page(title: str, market: str, start_ns: int = TUESDAY_NS) -> Market:
    return Market(parse_policy(BY_TITLE[title], "page.toml"), market, start_ns)


def alike(price: str, sources: str) -> dict[str, str]:
    return dict.fromkeys(sources.split(), price)


@pytest.mark.parametrize("title", BY_TITLE)
def test_page_when_a_policy_is_checked_as_it_stands_then_it_is_valid_and_nothing_is_doubtful(title: str) -> None:
    warnings = parse_policy_file(BY_TITLE[title], "page.toml").warnings()

    assert not [warning for warning in warnings if "references.sources" in warning or "price.tick" in warning]


def test_page_has_a_policy_in_every_section() -> None:
    assert len(POLICIES) == len(re.findall("^## ", PAGE, re.MULTILINE)) == 5


def test_prelaunch_when_it_is_run_then_closures_pass_and_a_jump_trips() -> None:
    market = page("Pre-launch", "XPL-USD-PERP")
    for one in range(120):
        market.second(f"{Decimal('0.55') - one * Decimal('0.0002')}", {})
    assert market.answer("0.5262") == ("ALLOW", [])

    for _ in range(40):
        market.second("0.48", {})
    assert market.tripped()


def test_equities_when_it_is_run_then_it_is_open_by_day_and_closed_at_night() -> None:
    market = page("Equities and other markets with trading hours", "TSLA-USD-PERP")
    sources = "venue-a venue-b venue-c"
    for _ in range(60):
        market.second("250", alike("250", sources))
    assert market.answer("250") == ("ALLOW", [])

    market.now_ns += 8 * 3600 * SECOND_NS
    for _ in range(60):
        market.second("246", alike("250", sources))
    verdict, reasons = market.answer("246")
    assert (verdict, "market_closed" in reasons, market.tripped()) == ("DENY", True, False)


def test_near_zero_when_it_is_run_then_a_tick_beside_zero_passes_and_more_trips() -> None:
    market = page("Prices near", "WAHA-USD-PERP")
    sources = "binance bybit okx"
    for _ in range(60):
        market.second("0.02", alike("0.00", sources))
    assert market.answer("0.02") == ("ALLOW", [])

    for _ in range(40):
        market.second("0.06", alike("0.00", sources))
    assert market.tripped()


def quotes(usdc: str) -> Iterator[dict[str, str]]:
    yield alike(usdc, "coinbase kraken bitstamp")
    converted = str(round(Decimal(20500) / Decimal(usdc), 6))
    yield {**alike(converted, "binance bybit"), **alike("20500", "okx kraken pyth")}


def test_references_when_a_stablecoin_loses_its_peg_then_nothing_trips_and_a_wrong_mark_does() -> None:
    market = page("References that publish something else", "BTC-USD-PERP")
    for usdc in ["1"] * 60 + ["0.88"] * 60:
        conversion, references = quotes(usdc)
        market.second("20500", references, {"USDC-USD": conversion})
    assert market.answer("20500") == ("ALLOW", [])
    assert not market.tripped()

    for _ in range(40):
        conversion, references = quotes("0.88")
        market.second("21400", references, {"USDC-USD": conversion})
    assert market.tripped()


def test_references_when_a_contract_is_of_1000_then_prices_of_one_are_multiplied() -> None:
    market = page("References that publish something else", "1000PEPE-USD-PERP")
    for _ in range(60):
        market.second("0.0045", alike("0.0000045", "binance bybit okx"))

    assert market.answer("0.0045") == ("ALLOW", [])


def redenominated(factor: str) -> Market:
    """Return a market redenominated 1000:1 at the second of the page's change, while okx quotes the old token."""
    at_ns = TUESDAY_NS + 60 * SECOND_NS
    text = BY_TITLE["A market whose scale changes"].replace("2030-01-01T08:00:00Z", format_time(at_ns))
    market = Market(parse_policy(text, "page.toml"), "BTCST-USD-PERP")
    for _ in range(60):
        market.second("0.0137", alike("0.0137", "binance bybit okx"))
    act = RebaselineCommand(at_ns, (), "alice", "1000:1", factor=Decimal(factor), rescaled=(market.market,))
    market.facts += guard.step(market.state, act, market.policy)
    market.funding_index *= 1000
    for _ in range(60):
        market.second("13.7", {**alike("13.7", "binance bybit"), "okx": "0.0137"})
    return market


def test_scale_when_the_factor_is_that_of_the_exchange_then_closures_come_back_and_nothing_trips() -> None:
    market = redenominated("1000")
    assert market.answer("13.7") == ("ALLOW", [])
    assert not market.tripped()


def test_scale_when_the_factor_is_another_then_the_market_latches() -> None:
    market = redenominated("100")
    assert market.answer("13.7")[0] == "DENY"
    assert market.tripped()
