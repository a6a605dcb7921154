"""`policy check`, `show`, `explain` and `schema`: what is enforced, before it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from decimal import Context, Decimal
from difflib import get_close_matches
from pathlib import Path
from time import time_ns
from typing import Annotated, NamedTuple, cast

import typer
from rich.console import Console
from rich.table import Table

from circuit_guard.cli import options
from circuit_guard.cli.output import CommandError, ExitCode, bundled, display, print_json, screen, table
from circuit_guard.config.policy import PolicyFile, policy_json_schema, read_policy_file
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.coverage import delays, enforced, notes, passing, taken_in_an_hour
from circuit_guard.core.envelope import FundingAccrual, FundingParameters
from circuit_guard.core.hours import Closed, HoursParameters
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.references import HullParameters, ReferenceParameters, WithoutReferences
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rule import Delay
from circuit_guard.core.rulebook import MARKET_RULES
from circuit_guard.core.rules.band import BandParameters
from circuit_guard.core.rules.divergence import DivergenceParameters, mark_limits
from circuit_guard.core.rules.funding_continuity import funding_drift, funding_limits
from circuit_guard.core.rules.reference_quorum import wrong_references
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted, believed_within
from circuit_guard.core.status import changes
from circuit_guard.core.types import SECOND_NS, short_seconds, show_percent
from circuit_guard.errors import PolicyError
from circuit_guard.recording.format import parse_decimal

app = typer.Typer(help="Check a policy before it is enforced.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")]
Market = Annotated[str, typer.Argument(metavar="MARKET", help="A market of the policy.")]

_OWN_SECTION = {
    "Funding index": ("funding_continuity", "funding_rate"),
    "Mark price": ("divergence", "slow_walk"),
    "References": ("reference_quorum",),
}
"""The rules whose notes stand under a heading of their own."""
_TAKEN = [
    "The reference price stands still; a move of it adds what the tables below say.",
    "Funding is what a position pays too much in the hour.",
    "A wrongful closure takes the account's surplus, and by how much its price is off.",
    "`make test-system` searches for more, in every class, and fails if it finds more.",
]
_SPANS = {60: "1 min", 600: "10 min", 3600: "1 h", 28_800: "8 h"}
_PLACES = Decimal("1e-12")
_DIGITS = Context(prec=6)


@app.command("check")
def check(file: File, json: options.Json = False) -> None:
    """Load a policy as the guard would, and list everything that is wrong with it. Exit code 1: not valid.

    Warnings name what is valid and may not be meant: markets for which any source may publish references, and values of
    [classes.default] that other classes do not have. They do not change the exit code.
    """
    written = _read(file)
    if past := written.past_changes(time_ns()):
        raise CommandError(str(PolicyError(str(file), past)), ExitCode.DENIED)
    policy, warnings = written.policy(), written.warnings()
    if json:
        values = {name: dict(resolved(market)) for name, market in policy.markets.items()}
        acts, within_s = sorted(policy.two_actors), policy.two_actors_within_ns / SECOND_NS
        for_all = {"shadow": policy.shadow, "two_actors": acts, "two_actors_within_s": within_s}
        said = {"notes": list(_notes(policy)), "warnings": warnings}
        print_json({"file": str(file), "revision": policy.revision, **for_all, **said, "markets": values})
        return
    console = screen()
    console.print(f"{file}: valid, revision {policy.revision}", style="green")
    for name, market in policy.markets.items():
        for _, change in changes(market):
            console.print(f"{name} changes from {change}")
    for note in _notes(policy):
        console.print(note)
    for warning in warnings:
        console.print(f"WARNING: {warning}", style="yellow")
    limits = ("FUNDING CAP", "MARK TOLERANCE", "BAND", "QUORUM", "STALE AFTER", "RAMP", "SHADOW")
    rows = ((name, market.market_class, *_limits(market)) for name, market in policy.markets.items())
    display(table(console, "MARKET", "CLASS", *limits, rows=rows))


@app.command("show")
def show(file: File, market: Market) -> None:
    """Print every value that is enforced on one market, with class and defaults resolved."""
    console = screen()
    values = resolved(_market(_loaded(file), market))
    display(table(console, "KEY", "VALUE", rows=((key, _shown(value)) for key, value in values)))


@app.command("explain")
def explain(
    market: Market,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="POLICY", help="The policy file; the bundled one if not given.", show_default=False),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="A price of the market, to see amounts in quote currency as well."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print what the guard cannot see in one market, how large that can be, and how soon it sees the rest.

    The figures follow from the policy alone. They are shares of the price, and so of an account's notional.
    """
    at_price = None if price is None else parse_decimal(price)
    if price is not None and (at_price is None or at_price <= 0):
        raise typer.BadParameter(f"--price was {price}, expected a price above zero such as 92600.5")
    file = bundled("policy.toml") if file is None else file
    policy = _loaded(file)
    found = _market(policy, market)
    if json:
        named = {"market": market, "class": found.market_class, "file": str(file), "revision": policy.revision}
        coming = [said for _, said in changes(found)]
        print_json({**named, "shadow": policy.shadow, "changes": coming, **_unseen(found, at_price)})
        return
    console = screen()
    console.print(f"{market}: class {found.market_class} of {file}, revision {policy.revision}", style="bold")
    if policy.shadow:
        console.print("SHADOW: none of this is enforced")
    for _, change in changes(found):
        console.print(f"changes from {change}")
    for heading, rows, sentences in _sections(console, found, at_price):
        console.print(f"\n{heading}", style="bold")
        if rows is not None:
            display(rows)
        for sentence in sentences:
            console.print(f"- {sentence}")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the policy, for editors. It knows no relations between values; `check` does."""
    print_json(policy_json_schema())


def resolved(market: MarketPolicy) -> Iterator[tuple[str, object]]:
    """Yield what is enforced as key and value: durations in seconds, decimals as text, sets as lists."""
    for key, value in market.plain().items():
        if key == "changes":
            yield key, [said for _, said in changes(market)]
        elif isinstance(value, dict):
            for name, inner in value.items():
                if inner is None or is_dataclass(inner):
                    continue  # it follows from the rest
                yield _readable(f"{key}.{name}", inner)
        else:
            yield _readable(key, value)


def _readable(key: str, value: object) -> tuple[str, object]:
    if key.endswith("_ns"):
        return f"{key.removesuffix('_ns')}_s", cast("int", value) / SECOND_NS
    if isinstance(value, frozenset):
        return key, sorted(value)
    if isinstance(value, tuple):
        return key, [
            one if isinstance(one, str) else {name: str(fact) for name, fact in asdict(one).items()} for one in value
        ]
    return key, str(value) if isinstance(value, Decimal) else value


def _read(file: Path) -> PolicyFile:
    try:
        return read_policy_file(file)
    except PolicyError as error:
        raise CommandError(str(error), ExitCode.DENIED) from error


def _loaded(file: Path) -> Policy:
    return _read(file).policy()


def _market(policy: Policy, market: str) -> MarketPolicy:
    if market in policy.markets:
        return policy.markets[market]
    known = ", ".join(policy.markets) or "none"
    near = get_close_matches(market, policy.markets, n=1)
    meant = f" (is {near[0]} meant?)" if near else ""
    raise CommandError(f"market was {market}, expected one that the policy names: {known}{meant}", ExitCode.BAD_INPUT)


def _notes(policy: Policy) -> Iterator[str]:
    if policy.shadow:
        yield "SHADOW: everything is judged and recorded; only operators' halts are enforced"
    breaker = policy.global_breaker
    share, window_s = f"{breaker.latched_share_min:.0%}", breaker.window_ns / SECOND_NS
    shadow = " (in shadow)" if breaker.shadow else ""
    count = breaker.latched_markets_min
    yield f"GLOBAL latches when {count} markets and {share} of all latch within {window_s:g} s{shadow}"
    if policy.two_actors:
        acts, within_s = ", ".join(sorted(policy.two_actors)), policy.two_actors_within_ns / SECOND_NS
        yield f"needs two actors, the second within {within_s:g} s: {acts}"
    if waiting := [name for name, market in policy.markets.items() if market.first_sight is FirstSight.OPERATOR]:
        yield f"denied at first sight until an operator rebaselines them: {', '.join(waiting)}"
    rules = {name: market.of(ExplainedLossParameters) for name, market in policy.markets.items()}
    if allowed := [name for name, rule in rules.items() if rule.halted is Halted.ALLOW_EXPLAINED]:
        yield f"closures that trusted values justify go through an OPEN breaker: {', '.join(allowed)}"
    yield from _modes(policy)
    drifts: dict[str, list[str]] = {}
    for name, market in policy.markets.items():
        if market.of(FundingParameters).accrual is not FundingAccrual.CONTINUOUS:
            continue
        drifts.setdefault(show_percent(funding_drift(market).unpublished), []).append(name)
    for drift, names in drifts.items():
        yield (
            f"publish the funding premium: without it a wrong funding index can drift by {drift} of the price per hour "
            f"before it is seen: {', '.join(names)}"
        )


def _modes(policy: Policy) -> Iterator[str]:
    """Yield what is judged otherwise than by independent references, and when."""
    references = {name: market.of(ReferenceParameters) for name, market in policy.markets.items()}
    if alone := [name for name, rule in references.items() if rule.without is WithoutReferences.OWN_PRICE]:
        yield (
            "without references they are judged by their own average price: a wrong mark price that comes slowly "
            f"passes at any size, and nothing independent of the exchange sees it: {', '.join(alone)}"
        )
    hours: dict[str, list[str]] = {}
    for name, market in policy.markets.items():
        if (rule := market.of(HoursParameters)).calendar is not None:
            then = "denied" if rule.closed is Closed.DENIED else "judged by their own average price"
            hours.setdefault(f"{', '.join(rule.sessions)} ({rule.zone}) closures are {then}", []).append(name)
    for said, names in hours.items():
        yield f"outside {said}: {', '.join(names)}"


def _limits(market: MarketPolicy) -> tuple[str, ...]:
    funding, ramp = market.of(FundingParameters), market.of(ReopeningParameters)
    rates = f"{ramp.closures_per_s:f}/s, {ramp.notional_per_s:f}/s from {_percent(ramp.start_share)}"
    return (
        f"{_percent(funding.rate_max)} in {funding.period_ns / SECOND_NS / 3600:g} h",
        _percent(market.of(DivergenceParameters).base),
        f"{float(market.of(BandParameters).share) * 10_000:g} bps",
        str(market.of(ReferenceParameters).quorum),
        short_seconds(market.of(StalenessParameters).deny_after_ns),
        f"{rates} in {short_seconds(market.of(BreakerParameters).half_open_ns)}",
        ", ".join(sorted(market.shadow_rules)) or "no rule",
    )


def _percent(share: Decimal) -> str:
    return f"{float(share) * 100:g} %"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Scale(NamedTuple):
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


def _unseen(policy: MarketPolicy, price: Decimal | None) -> dict[str, object]:
    """Return everything as one JSON document."""
    scale, drift = _Scale(price), funding_drift(policy)
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
        "taken_in_an_hour": {one.what: scale.entry(one.share) for one in taken_in_an_hour(policy)},
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


def _sections(
    console: Console, policy: MarketPolicy, price: Decimal | None
) -> Iterator[tuple[str, Table | None, list[str]]]:
    """Yield what to print, part by part: a heading, a table, and what it takes to read it."""
    scale = _Scale(price)
    amounts = " (and in quote currency per 1 base unit)" if price is not None else ""
    headed = {name for names in _OWN_SECTION.values() for name in names}
    others = [name for name in MARKET_RULES if name not in headed]
    heading = f"What passes unseen, in % of the price{amounts}"
    yield heading, _what_passes(console, policy, scale), [*_general_notes(policy), *notes(policy, *others)]
    heading = f"What that can take from an account within an hour, in % of its notional{amounts}"
    yield heading, _taken(console, policy, scale), _TAKEN
    funding = None if policy.of(FundingParameters).rates_only else _funding(console, policy, scale)
    tables = {"Funding index": funding, "Mark price": _mark(console, policy, scale)}
    for title, names in _OWN_SECTION.items():
        yield title, tables.get(title), list(notes(policy, *names))
    yield "How soon the rest is seen", _how_soon(console, policy), list(_time_notes(policy))


def _what_passes(console: Console, policy: MarketPolicy, scale: _Scale) -> Table:
    columns = ("WHAT IS WRONG", "CHECK WITHOUT ITS ACCOUNT", "CHECK WITH ITS ACCOUNT")
    rows = ((one.label, scale.cell(one.without_account), scale.cell(one.with_account)) for one in passing(policy))
    return table(console, *columns, rows=rows)


def _taken(console: Console, policy: MarketPolicy, scale: _Scale) -> Table:
    rows = ((one.label, scale.cell(one.share)) for one in taken_in_an_hour(policy))
    return table(console, "WHAT IS TAKEN", "AT MOST", rows=rows)


def _funding(console: Console, policy: MarketPolicy, scale: _Scale) -> Table:
    rows = []
    for limit in funding_limits(policy):
        elapsed_s = limit.elapsed_ns // SECOND_NS
        unpredicted = "not predicted" if limit.unpredicted is None else scale.cell(limit.unpredicted)
        span = _SPANS.get(elapsed_s, f"{elapsed_s} s")
        rows.append((f"{span} ago", scale.cell(limit.step), scale.cell(limit.error), unpredicted))
    columns = ("A STEP IS A JUMP BEYOND", "A RESET IS SURELY SEEN BEYOND", "DENIED BEYOND, AT A PREMIUM OF ZERO")
    return table(console, "TRUSTED LAST", *columns, rows=rows)


def _mark(console: Console, policy: MarketPolicy, scale: _Scale) -> Table:
    rows = []
    for limit in mark_limits(policy):
        beyond = (limit.diverges, limit.trips_at_once, believed_within(policy, limit.moved))
        rows.append((show_percent(limit.moved), *map(scale.cell, beyond)))
    moves = f"THE REFERENCE PRICE MOVES IN {short_seconds(policy.of(HullParameters).window_ns)}"
    limits = ("DENIED BEYOND", "TRIPS AT ONCE BEYOND", "BELIEVED OF AN ACCOUNT WITHIN")
    return table(console, moves, *limits, rows=rows)


def _how_soon(console: Console, policy: MarketPolicy) -> Table:
    rows = []
    for rule, delay in delays(policy):
        when = (_denied(delay), _trips(delay)) if enforced(policy, rule) else ("in shadow: recorded only", "")
        rows.append((delay.what, rule, *when))
    return table(console, "WHAT IS WRONG", "RULE", "DENIED", "TRIPS", rows=rows)


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
        "No wrong funding index, mark price or sum closes an account whose true surplus is larger than the fraction "
        "in this table, times its notional. A wrong index price makes the funding that accrues wrong by the same "
        "fraction."
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
        f"funding index was trusted within {short_seconds(rule.trusted_age_max_ns)}. None passes in an operator's "
        "halt, or in a phase without closures."
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
