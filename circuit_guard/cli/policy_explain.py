"""`policy explain`: what the policy of a market cannot see, how large that can be, and how soon the rest is seen."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from circuit_guard.cli.output import table
from circuit_guard.cli.policy_sentences import of_funding, of_mark, of_references, of_time, of_what_passes
from circuit_guard.config.detection import Delay, delays, percent, seconds
from circuit_guard.config.policy_limits import (
    enforced,
    funding_drift,
    funding_limits,
    mark_limits,
    unseen,
    wrong_references,
)
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import SECOND_NS

WHAT = {
    "published_funding_index": "the funding index, published 5 s after the last",
    "callers_funding_index": "the funding index that the caller computed with",
    "mark_price": "the mark price, while the reference price stands still",
    "index_price": "the index price, while the reference price stands still",
    "execution_price": "the price that the closure executes at",
    "execution_price_in_post_only": "the same in POST_ONLY",
    "execution_price_in_recovering": "the same in RECOVERING",
    "engine_sums": "the engine's own sums: its formula, what it adds up",
    "account_as_given": "the account, as the check gives it",
    "references_wrong_alike": "the references, most of them wrong alike",
}
_SPANS = {60: "1 min", 600: "10 min", 3600: "1 h", 28_800: "8 h"}
_PLACES = Decimal("1e-12")
_DIGITS = Context(prec=6)


class Scale(NamedTuple):
    """How limits are written: in % of the price, and at a price as an amount as well (quote currency)."""

    price: Decimal | None

    def cell(self, share: Decimal | None) -> str:
        """Return a limit for a person."""
        if share is None:
            return "any size"
        if share == 0:
            return "nothing passes"
        return percent(share) + (f" ({self._amount(share)})" if self.price is not None else "")

    def entry(self, share: Decimal | None) -> dict[str, str | None] | None:
        """Return a limit for a machine; None is any size."""
        if share is None:
            return None
        exact = f"{share.quantize(_PLACES).normalize():f}"
        return {"share": exact, "amount": None if self.price is None else self._amount(share)}

    def _amount(self, share: Decimal) -> str:
        return f"{_DIGITS.multiply(share, self.price or 0).normalize():f}"


def document(policy: MarketPolicy, price: Decimal | None) -> dict[str, object]:
    """Return everything as one JSON document."""
    scale, drift = Scale(price), funding_drift(policy)
    return {
        "price": None if price is None else str(price),
        "shadow_rules": sorted(policy.shadow_rules),
        "unseen": [
            {
                "what": limit.what,
                "without_account": scale.entry(limit.without_account),
                "with_account": scale.entry(limit.with_account),
            }
            for limit in unseen(policy)
        ],
        "funding": [
            {
                "elapsed_s": limit.elapsed_ns / SECOND_NS,
                "jump_beyond": scale.entry(limit.step),
                "surely_seen_beyond": scale.entry(limit.error),
                "unpredicted_beyond": scale.entry(limit.unpredicted),
            }
            for limit in funding_limits(policy)
        ],
        "funding_drift_per_hour": {
            "unpublished": scale.entry(drift.unpublished),
            "premium_zero": scale.entry(drift.premium_zero),
            "premium_at_cap": scale.entry(drift.premium_at_cap),
        },
        "mark": [
            {
                "moved": str(limit.moved),
                "denied_beyond": scale.entry(limit.diverges),
                "trips_at_once_beyond": scale.entry(limit.trips_at_once),
                "believed_within": scale.entry(limit.believed),
            }
            for limit in mark_limits(policy)
        ],
        "references": {"quorum": policy.references.quorum, "wrong_alike_that_decide": wrong_references(policy)},
        "delays": [_delay(policy, delay) for delay in delays(policy)],
        "notes": [
            *of_what_passes(policy),
            *of_funding(policy),
            *of_mark(policy),
            *of_references(policy),
            *of_time(policy),
        ],
    }


def sections(
    console: Console, policy: MarketPolicy, price: Decimal | None
) -> Iterator[tuple[str, Table | None, list[str]]]:
    """Yield what to print, part by part: a heading, a table, and what it takes to read it."""
    scale = Scale(price)
    amounts = " (and in quote currency per 1 base unit)" if price is not None else ""
    heading = f"What passes unseen, in % of the price{amounts}"
    yield heading, _what_passes(console, policy, scale), list(of_what_passes(policy))
    yield "Funding index", _funding(console, policy, scale), list(of_funding(policy))
    yield "Mark price", _mark(console, policy, scale), list(of_mark(policy))
    yield "References", None, list(of_references(policy))
    yield "How soon the rest is seen", _how_soon(console, policy), list(of_time(policy))


def _what_passes(console: Console, policy: MarketPolicy, scale: Scale) -> Table:
    rows = table(console, "WHAT IS WRONG", "CHECK WITHOUT ITS ACCOUNT", "CHECK WITH ITS ACCOUNT")
    for limit in unseen(policy):
        rows.add_row(WHAT[limit.what], scale.cell(limit.without_account), scale.cell(limit.with_account))
    return rows


def _funding(console: Console, policy: MarketPolicy, scale: Scale) -> Table:
    columns = ("A STEP IS A JUMP BEYOND", "A RESET IS SURELY SEEN BEYOND", "DENIED BEYOND, AT A PREMIUM OF ZERO")
    rows = table(console, "TRUSTED LAST", *columns)
    for limit in funding_limits(policy):
        elapsed_s = limit.elapsed_ns // SECOND_NS
        unpredicted = "not foretold" if limit.unpredicted is None else scale.cell(limit.unpredicted)
        span = _SPANS.get(elapsed_s, f"{elapsed_s} s")
        rows.add_row(f"{span} ago", scale.cell(limit.step), scale.cell(limit.error), unpredicted)
    return rows


def _mark(console: Console, policy: MarketPolicy, scale: Scale) -> Table:
    moves = f"THE REFERENCE PRICE MOVES IN {seconds(policy.divergence.window_ns)}"
    rows = table(console, moves, "DENIED BEYOND", "TRIPS AT ONCE BEYOND", "BELIEVED OF AN ACCOUNT WITHIN")
    for limit in mark_limits(policy):
        beyond = (limit.diverges, limit.trips_at_once, limit.believed)
        rows.add_row(percent(limit.moved), *map(scale.cell, beyond))
    return rows


def _how_soon(console: Console, policy: MarketPolicy) -> Table:
    rows = table(console, "WHAT IS WRONG", "RULE", "DENIED", "TRIPS")
    for delay in delays(policy):
        if enforced(policy, delay.rule):
            rows.add_row(delay.what, delay.rule, _denied(delay), _trips(delay))
        else:
            rows.add_row(delay.what, delay.rule, "in shadow: recorded only", "")
    return rows


def _denied(delay: Delay) -> str:
    if delay.denied_ns is None:
        return "never" if delay.trips_ns is None else "with the trip"
    return _after(delay.denied_ns)


def _trips(delay: Delay) -> str:
    if delay.latches:
        return "latches at once"
    if delay.trips_ns is None:
        return "never"
    counted = f"with {delay.trips_count} of them" if delay.trips_count > 1 else ""
    return ", ".join(filter(None, [_after(delay.trips_ns) if delay.trips_ns or not counted else "", counted]))


def _after(duration_ns: int) -> str:
    return f"after {seconds(duration_ns)}" if duration_ns else "at once"


def _delay(policy: MarketPolicy, delay: Delay) -> dict[str, object]:
    """Return a delay for a machine; null: that never comes of it."""
    return {
        "what": delay.what,
        "rule": delay.rule,
        "enforced": enforced(policy, delay.rule),
        "denied_after_s": None if delay.denied_ns is None else delay.denied_ns / SECOND_NS,
        "trips_after_s": None if delay.trips_ns is None else delay.trips_ns / SECOND_NS,
        "trips_count": delay.trips_count,
        "latches": delay.latches,
    }
