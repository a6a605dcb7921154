"""`policy check`, `show`, `explain` and `schema`: what is enforced, before it is."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from circuit_guard.cli import options, policy_explain
from circuit_guard.cli.bundled import bundled
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen, table
from circuit_guard.config.policy import load_policy, policy_json_schema
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.references import ReferenceParameters
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rules.band import BandParameters
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import PolicyError
from circuit_guard.recording.format import parse_decimal

app = typer.Typer(help="Check the policy: what is enforced, before it is.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")]
Market = Annotated[str, typer.Argument(metavar="MARKET", help="A market of the policy.")]


@app.command("check")
def check(file: File, json: options.Json = False) -> None:
    """Load a policy as the guard would, and list everything that is wrong with it. Exit code 1: not valid."""
    policy = _loaded(file)
    if json:
        values = {name: dict(resolved(market)) for name, market in policy.markets.items()}
        acts, within_s = sorted(policy.two_actors), policy.two_actors_within_ns / SECOND_NS
        for_all = {"shadow": policy.shadow, "two_actors": acts, "two_actors_within_s": within_s}
        print_json({"file": str(file), "revision": policy.revision, **for_all, "markets": values})
        return
    console = screen()
    console.print(f"{file}: valid, revision {policy.revision}", style="green")
    for note in _notes(policy):
        console.print(note)
    display(_summary(console, policy))


@app.command("show")
def show(file: File, market: Market) -> None:
    """Print every value that is enforced on one market, with class and defaults resolved."""
    console = screen()
    rows = table(console, "KEY", "VALUE")
    for key, value in resolved(_market(_loaded(file), market)):
        rows.add_row(key, _shown(value))
    display(rows)


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

    It follows from the policy alone: shares of the price, which are shares of an account's notional.
    """
    at_price = None if price is None else _price(price)
    file = bundled("policy.toml") if file is None else file
    policy = _loaded(file)
    found = _market(policy, market)
    if json:
        named = {"market": market, "class": found.market_class, "file": str(file), "revision": policy.revision}
        print_json({**named, "shadow": policy.shadow, **policy_explain.document(found, at_price)})
        return
    console = screen()
    console.print(f"{market}: class {found.market_class} of {file}, revision {policy.revision}", style="bold")
    if policy.shadow:
        console.print("SHADOW: nothing of this is enforced")
    for heading, rows, sentences in policy_explain.sections(console, found, at_price):
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
        if isinstance(value, dict):
            for name, inner in value.items():
                yield _readable(f"{key}.{name}", inner)
        else:
            yield _readable(key, value)


def _readable(key: str, value: object) -> tuple[str, object]:
    if key.endswith("_ns"):
        return f"{key.removesuffix('_ns')}_s", cast("int", value) / SECOND_NS
    if isinstance(value, frozenset):
        return key, sorted(value)
    return key, str(value) if isinstance(value, Decimal) else value


def _loaded(file: Path) -> Policy:
    try:
        return load_policy(file)
    except PolicyError as error:
        raise CommandError(str(error), ExitCode.DENIED) from error


def _market(policy: Policy, market: str) -> MarketPolicy:
    if market in policy.markets:
        return policy.markets[market]
    known = ", ".join(policy.markets) or "none"
    near = get_close_matches(market, policy.markets, n=1)
    meant = f" (is {near[0]} meant?)" if near else ""
    raise CommandError(f"market was {market}, expected one that the policy names: {known}{meant}", ExitCode.BAD_INPUT)


def _price(text: str) -> Decimal:
    price = parse_decimal(text)
    if price is None or price <= 0:
        raise typer.BadParameter(f"--price was {text}, expected a price above zero such as 92600.5")
    return price


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
        yield f"takes two actors, the second within {within_s:g} s: {acts}"
    if waiting := [name for name, market in policy.markets.items() if market.first_sight is FirstSight.OPERATOR]:
        yield f"denied at first sight until an operator rebaselines them: {', '.join(waiting)}"
    if allowed := [name for name, market in policy.markets.items() if _allows_explained(market)]:
        yield f"closures that trusted values justify go through an OPEN breaker: {', '.join(allowed)}"


def _allows_explained(market: MarketPolicy) -> bool:
    return market.of(ExplainedLossParameters).halted is Halted.ALLOW_EXPLAINED


def _summary(console: Console, policy: Policy) -> Table:
    limits = ("FUNDING CAP", "MARK TOLERANCE", "BAND", "QUORUM", "STALE AFTER", "RAMP", "SHADOW")
    rows = table(console, "MARKET", "CLASS", *limits)
    for name, market in policy.markets.items():
        rows.add_row(name, market.market_class, *_limits(market))
    return rows


def _limits(market: MarketPolicy) -> tuple[str, ...]:
    period_h = market.of(FundingParameters).period_ns / SECOND_NS / 3600
    return (
        f"{_percent(market.of(FundingParameters).rate_max)} in {period_h:g} h",
        _percent(market.of(DivergenceParameters).base),
        f"{float(market.of(BandParameters).share) * 10_000:g} bps",
        str(market.of(ReferenceParameters).quorum),
        f"{market.of(StalenessParameters).deny_after_ns / SECOND_NS:g} s",
        _ramp(market),
        ", ".join(sorted(market.shadow_rules)) or "no rule",
    )


def _ramp(market: MarketPolicy) -> str:
    ramp, length_s = market.of(ReopeningParameters), market.of(BreakerParameters).half_open_ns / SECOND_NS
    rates = f"{ramp.closures_per_s:f}/s, {ramp.notional_per_s:f}/s"
    return f"{rates} from {_percent(ramp.start_share)} in {length_s:g} s"


def _percent(share: Decimal) -> str:
    return f"{float(share) * 100:g} %"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)
