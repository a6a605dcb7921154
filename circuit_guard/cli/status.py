"""`status`: one screen that explains any halted market. What denies closures comes first, then every market."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import options
from circuit_guard.cli.output import CommandError, ExitCode, as_json, display, print_json, screen, table
from circuit_guard.cli.rpc import Guard
from circuit_guard.core import explain
from circuit_guard.core.envelope import Interval
from circuit_guard.core.explain import Explanation
from circuit_guard.core.formatting import breaker, counted, instant, lasting, rounded, scopes
from circuit_guard.core.references import Nowhere
from circuit_guard.core.status import GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, Phase, show, show_seconds
from circuit_guard.server.convert import received
from circuit_guard.v1 import status_pb2

EXPLAINED_MAX = 5
"""Explanations that fit on one screen; further markets have their reasons in the table below."""
REASONS_MAX = 8
NOT_READY_SHOWN_MAX = 3
WIDE = 120
"""Columns of a terminal from which on there is room for the values."""
_VALUE_COLUMNS = ("MARK", "REFERENCE", "MARK AGE", "ROOM LEFT")
_BANDED = (Phase.POST_ONLY, Phase.RECOVERING)


def status(
    market: Annotated[str | None, typer.Argument(help="One market, in full detail.", metavar="MARKET")] = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Explain what denies closures and how that ends.

    Shows since when and why, who can lift it, and the command to type. Markets that deny come first.

    Exit code 0, whether or not anything is halted. 2: the policy does not name this market. 3: no answer.
    """
    with Guard(address, timeout) as guard:
        message = guard.status()
    if market is not None:
        index = _index(message, market)
        if json:
            print_json(as_json(message.markets[index]))
        else:
            found = received.guard(message)
            display(market_detail(screen(), found, found.markets[index], message.not_ready_reasons))
    elif json:
        print_json(as_json(message))
    else:
        display(overview(screen(), received.guard(message), message.not_ready_reasons))


def overview(console: Console, found: GuardStatus, not_ready: Sequence[str] = ()) -> RenderableType:
    """Return the whole screen. `not_ready`: why the guard is not ready, in its own words."""
    explanations = explain.explanations(found)
    parts: list[RenderableType] = [headline(found), *notes(found, not_ready), Text()]
    for part in explained(explanations, found.at_ns):
        parts += [part, Text()]
    return Group(*parts, markets_table(console, found, REASONS_MAX if len(explanations) > EXPLAINED_MAX else 0))


def headline(found: GuardStatus) -> Text:
    """Return how many markets deny, at which instant, under which policy."""
    denied = any(market.denying for market in found.markets)
    text = Text(explain.headline(found), style="bold red" if denied else "bold green")
    return text.append(f"   {instant(found.at_ns)}   policy {found.policy_revision}", style="not bold default")


def notes(found: GuardStatus, not_ready: Sequence[str] = ()) -> list[Text]:
    """Return a line for everything unusual about the whole guard: shadow, maintenance, proposals, readiness."""
    return [Text(line, style="yellow") for line in (*explain.notes(found), *_readiness(not_ready))]


def explained(found: Sequence[Explanation], at_ns: int) -> list[RenderableType]:
    """Return as many explanations as fit on a screen, and where the others are."""
    parts: list[RenderableType] = [_explanation(one, at_ns) for one in found[:EXPLAINED_MAX]]
    if len(found) > EXPLAINED_MAX:
        more = len(found) - EXPLAINED_MAX
        parts.append(Text(f"and {more} more for other reasons; `circuit-guard status MARKET` explains one market"))
    return parts


def denying_in(found: GuardStatus, named: Sequence[str]) -> list[Explanation]:
    """Return what denies closures in these scopes."""
    explanations = explain.explanations(found)
    if GLOBAL_SCOPE in named:
        return explanations
    return [one for one in explanations if GLOBAL_SCOPE in one.scopes or {*one.scopes} & {*named}]


def markets_table(console: Console, found: GuardStatus, reasons_max: int) -> Table:
    """Return one line per market, the hardest to lift first, each with at most `reasons_max` of its reasons."""
    wide = not console.is_terminal or console.width >= WIDE
    values, reasons = _VALUE_COLUMNS if wide else (), ("REASONS",) if reasons_max else ()
    held = ("HELD",) if any(market.held_since_ns is not None for market in found.markets) else ()
    result = table(console, "MARKET", "CLOSURES", "PHASE", "BREAKER", *held, *values, *reasons)
    for column in result.columns[:2]:
        column.no_wrap = True
    for market in explain.hardest_first(found.markets):
        result.add_row(
            market.market,
            _closures(market),
            market.phase,
            _breaker(market),
            *((_held(found, market),) if held else ()),
            *(_value_cells(market) if wide else ()),
            *([_reasons(market, reasons_max)] if reasons_max else ()),
        )
    return result


def market_detail(
    console: Console, found: GuardStatus, market: MarketStatus, not_ready: Sequence[str] = ()
) -> RenderableType:
    """Return everything the guard knows of one market."""
    parts: list[RenderableType] = [*notes(found, not_ready)]
    if whole := explain.explain_global(found):
        parts += [_explanation(whole, found.at_ns), Text()]
    if market.denying:
        one = explain.explain_market(market, in_maintenance=found.maintenance is not None)
        parts.append(_explanation(one, found.at_ns))
    else:
        parts.append(Text(market.market, style="bold").append("   closures: ").append(_closures(market)))
    return Group(*parts, Text(), _values(console, found, market))


def _index(message: status_pb2.GuardStatus, market: str) -> int:
    known = [found.market for found in message.markets]
    if market not in known:
        expected = f"one that the policy names: {', '.join(known)}"
        raise CommandError(f"market was {market}, expected {expected}", ExitCode.BAD_INPUT)
    return known.index(market)


def _readiness(not_ready: Sequence[str]) -> Iterator[str]:
    for reason in not_ready[:NOT_READY_SHOWN_MAX]:
        yield f"not ready: {reason}"
    if len(not_ready) > NOT_READY_SHOWN_MAX:
        yield f"not ready: and {len(not_ready) - NOT_READY_SHOWN_MAX} more reasons like these"


def _explanation(one: Explanation, at_ns: int) -> RenderableType:
    """Return one scope, or several alike: state, since when, why, how it ends."""
    title = Text(scopes(one.scopes), style="bold")
    title.append(f"   {one.state}", style="not bold red")
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    example = f" ({one.scopes[0]})" if len(one.scopes) > 1 else ""
    if one.since_ns is not None:
        body.add_row("  since", f"{instant(one.since_ns)}, for {lasting(at_ns - one.since_ns)}")
    for number, line in enumerate(one.why):
        body.add_row("" if number else f"  why{example}", Text(line))
    for number, ending in enumerate(one.endings):
        body.add_row("" if number else "  next", Text(str(ending)))
    return Group(title, body)


def _breaker(market: MarketStatus) -> str:
    return breaker(market.breaker.state, latched=market.breaker.latched)


def _closures(market: MarketStatus) -> Text:
    """Return what happens to closures in a market."""
    if market.denying:
        return Text("DENIED", style="red")
    if market.phase in _BANDED:
        return Text("in the band", style="yellow")
    if market.ramp_share is not None:
        return Text(f"ramp, at {market.ramp_share:.0%}", style="yellow")
    return Text("allowed", style="green")


def _held(found: GuardStatus, market: MarketStatus) -> Text:
    """Return for how long closures have been held, and whether that is too long."""
    if market.held_since_ns is None:
        return Text()
    text = Text(lasting(found.at_ns - market.held_since_ns))
    return text.append(", OVERDUE", style="bold red") if market.overdue else text


def _value_cells(market: MarketStatus) -> tuple[str, ...]:
    reference = market.reference_price
    return (
        "none yet" if market.mark_price is None else str(market.mark_price),
        "none fresh" if reference is None else rounded(reference, market.mark_price),
        "" if market.mark_age_ns is None else show_seconds(market.mark_age_ns),
        _least_room(market.headroom),
    )


def _reasons(market: MarketStatus, reasons_max: int) -> Text:
    """Return the first reasons of a market, and how many more there are."""
    names = explain.reasons_of(market)
    more = f" +{len(names) - reasons_max}" if len(names) > reasons_max else ""
    return Text(", ".join(names[:reasons_max]) + more)


def _least_room(headroom: Mapping[str, Decimal]) -> str:
    """Return the rule whose limit is nearest, and how much of it is left."""
    rule = min(headroom, key=lambda one: headroom[one], default="")
    return f"{headroom[rule]:.0%} {rule}" if rule else ""


def _values(console: Console, found: GuardStatus, market: MarketStatus) -> Table:
    phase: str = market.phase
    if market.commanded_phase != market.phase:
        phase += f" on the way to {market.commanded_phase}"
    rows = {
        "class": f"{market.market_class}{', required' if market.required else ''}",
        "phase": f"{phase}, for {lasting(found.at_ns - market.phase_since_ns)}: {market.phase_note}",
        "breaker": _breaker(market),
        "warm": "yes" if market.warm else "no",
        "mark price": _aged(market.mark_price, market.mark_age_ns),
        "  may be": _interval(market.mark_limits) or "unknown: no fresh reference",
        "index price": "none yet" if market.index_price is None else str(market.index_price),
        "reference price": f"{market.reference_price or 'none'} from {market.reference_count} fresh references",
        "funding index": _aged(market.funding_index, market.funding_age_ns),
        "  can be": _interval(market.funding_envelope) or "unknown",
        "room left": ", ".join(f"{left:.0%} {rule}" for rule, left in market.headroom.items()) or "unknown",
    }
    if market.held_since_ns is not None:
        rows["held"] = f"since {instant(market.held_since_ns)}, for {_held(found, market).plain}"
    if market.ramp_share is not None:
        rows["ramp"] = f"closures go through at {market.ramp_share:.0%} of the full rate"
    if market.discarded:
        known = f"{counted(market.discarded, 'interval')} of wrong values"
        rows["  discarded"] = f"{known}: an account settled with one of them is denied"
    result = table(console, "VALUE", "TRUSTED NOW")
    for name, value in rows.items():
        result.add_row(name, Text(value))
    return result


def _aged(value: Decimal | None, age_ns: int | None) -> str:
    return "none yet" if value is None else f"{value}, {show_seconds(age_ns or 0)} old"


def _interval(interval: Interval | Nowhere | None) -> str:
    return f"{show(interval.low)} to {show(interval.high)}" if interval else ""
