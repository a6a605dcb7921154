"""`policy explain`: what the policy of a market cannot see, how large that can be, and how soon the rest is seen."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from circuit_guard.cli.output import table
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.coverage import delays, enforced, notes, passing
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.references import HullParameters, ReferenceParameters
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rule import Delay
from circuit_guard.core.rulebook import MARKET_RULES
from circuit_guard.core.rules.divergence import mark_limits
from circuit_guard.core.rules.funding_continuity import funding_drift, funding_limits
from circuit_guard.core.rules.reference_quorum import wrong_references
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted, believed_within
from circuit_guard.core.types import SECOND_NS, short_seconds, show_percent

_OWN_SECTION = {
    "Funding index": ("funding_continuity", "funding_rate"),
    "Mark price": ("divergence", "slow_walk"),
    "References": ("reference_quorum",),
}
"""The rules whose notes stand under a heading of their own."""
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
        return show_percent(share) + (f" ({self._amount(share)})" if self.price is not None else "")

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
            for limit in passing(policy)
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
            "premium_wrong_too": scale.entry(drift.premium_wrong_too),
        },
        "mark": [
            {
                "moved": str(limit.moved),
                "denied_beyond": scale.entry(limit.diverges),
                "trips_at_once_beyond": scale.entry(limit.trips_at_once),
                "believed_within": scale.entry(believed_within(policy, limit.moved)),
            }
            for limit in mark_limits(policy)
        ],
        "references": {
            "quorum": policy.of(ReferenceParameters).quorum,
            "wrong_alike_that_decide": wrong_references(policy),
        },
        "delays": [_delay(policy, rule, delay) for rule, delay in delays(policy)],
        "notes": [*_general_notes(policy), *notes(policy), *_time_notes(policy)],
    }


def sections(
    console: Console, policy: MarketPolicy, price: Decimal | None
) -> Iterator[tuple[str, Table | None, list[str]]]:
    """Yield what to print, part by part: a heading, a table, and what it takes to read it."""
    scale = Scale(price)
    amounts = " (and in quote currency per 1 base unit)" if price is not None else ""
    headed = {name for names in _OWN_SECTION.values() for name in names}
    others = [name for name in MARKET_RULES if name not in headed]
    heading = f"What passes unseen, in % of the price{amounts}"
    yield heading, _what_passes(console, policy, scale), [*_general_notes(policy), *notes(policy, *others)]
    tables = {"Funding index": _funding(console, policy, scale), "Mark price": _mark(console, policy, scale)}
    for title, names in _OWN_SECTION.items():
        yield title, tables.get(title), list(notes(policy, *names))
    yield "How soon the rest is seen", _how_soon(console, policy), list(_time_notes(policy))


def _what_passes(console: Console, policy: MarketPolicy, scale: Scale) -> Table:
    rows = table(console, "WHAT IS WRONG", "CHECK WITHOUT ITS ACCOUNT", "CHECK WITH ITS ACCOUNT")
    for limit in passing(policy):
        rows.add_row(limit.label, scale.cell(limit.without_account), scale.cell(limit.with_account))
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
    moves = f"THE REFERENCE PRICE MOVES IN {short_seconds(policy.of(HullParameters).window_ns)}"
    rows = table(console, moves, "DENIED BEYOND", "TRIPS AT ONCE BEYOND", "BELIEVED OF AN ACCOUNT WITHIN")
    for limit in mark_limits(policy):
        beyond = (limit.diverges, limit.trips_at_once, believed_within(policy, limit.moved))
        rows.add_row(show_percent(limit.moved), *map(scale.cell, beyond))
    return rows


def _how_soon(console: Console, policy: MarketPolicy) -> Table:
    rows = table(console, "WHAT IS WRONG", "RULE", "DENIED", "TRIPS")
    for rule, delay in delays(policy):
        if enforced(policy, rule):
            rows.add_row(delay.what, rule, _denied(delay), _trips(delay))
        else:
            rows.add_row(delay.what, rule, "in shadow: recorded only", "")
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
    return f"after {short_seconds(duration_ns)}" if duration_ns else "at once"


def _delay(policy: MarketPolicy, rule: str, delay: Delay) -> dict[str, object]:
    """Return a delay for a machine; null: that never comes of it."""
    return {
        "what": delay.what,
        "rule": rule,
        "enforced": enforced(policy, rule),
        "denied_after_s": None if delay.denied_ns is None else delay.denied_ns / SECOND_NS,
        "trips_after_s": None if delay.trips_ns is None else delay.trips_ns / SECOND_NS,
        "trips_count": delay.trips_count,
        "latches": delay.latches,
    }


def _general_notes(policy: MarketPolicy) -> Iterator[str]:
    """Yield what belongs to no single rule."""
    if policy.shadow_rules:
        yield f"In shadow, so recorded and not enforced: {', '.join(sorted(policy.shadow_rules))}."
    yield (
        "A wrong funding index, mark price or sum closes no account whose true surplus is larger than that fraction "
        "of its notional. A wrong index price means wrong funding, by the same fraction of what accrues."
    )
    rule, ramp = policy.of(ExplainedLossParameters), policy.of(ReopeningParameters)
    if rule.halted is Halted.DENY_ALL:
        yield "In an OPEN (denying) breaker nothing passes, whatever explains an account's loss."
        return
    start, end = ramp.start_share * ramp.closures_per_s, ramp.closures_per_s
    rising = short_seconds(policy.of(BreakerParameters).half_open_ns)
    yield (
        "In an OPEN (denying) breaker a closure passes if its check carries the account and every admissible value "
        f"justifies it: {start.normalize():f} per second at first, {end.normalize():f} after {rising}, as long as the "
        f"funding index was trusted within {short_seconds(rule.trusted_age_max_ns)}. Never in an operator's halt or a "
        "phase without closures."
    )


def _time_notes(policy: MarketPolicy) -> Iterator[str]:
    """Yield what the delays mean, and how trips and latches end."""
    rule = policy.of(BreakerParameters)
    yield "At once: at the first observation that shows it, or in the answer to the check that does."
    yield (
        f"A trip ends by itself after {short_seconds(rule.cooldown_ns)} and {short_seconds(rule.healthy_ns)} of "
        f"healthy data; closures then flow at a rising rate for {short_seconds(rule.half_open_ns)}. A latch ends when "
        "an operator resets it."
    )
