"""The screen of `status`: what denies closures and why, then every market in one line, denying ones first."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import explain, status_notes, words
from circuit_guard.cli.explain import Explanation
from circuit_guard.cli.output import table
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.v1 import status_pb2, types_pb2

EXPLAINED_MAX = 5
"""So many explanations fit on one screen; further markets have their reasons in the table below."""
REASONS_MAX = 8
WIDE = 120
"""Columns of a terminal from which on there is room for the values."""
_VALUE_COLUMNS = ("MARK", "REFERENCE", "MARK AGE", "ROOM LEFT")
_BANDED = (types_pb2.PHASE_POST_ONLY, types_pb2.PHASE_RECOVERING)


def overview(console: Console, status: status_pb2.GuardStatus) -> RenderableType:
    """Return the whole screen."""
    found = explain.explanations(status)
    parts: list[RenderableType] = [headline(status), *status_notes.notes(status), Text()]
    for part in explained(found, status.at):
        parts += [part, Text()]
    return Group(*parts, markets_table(console, status, reasons_max=REASONS_MAX if len(found) > EXPLAINED_MAX else 0))


def headline(status: status_pb2.GuardStatus) -> Text:
    """Return how many markets deny, at which instant, under which policy."""
    denying = sum(bool(market.denying) for market in status.markets)
    count = len(status.markets)
    summary = (
        f"{denying} of {count} markets deny closures" if denying else f"closures go through in all {count} markets"
    )
    text = Text(summary, style="bold red" if denying else "bold green")
    return text.append(f"   {words.time(status.at)}   policy {status.policy_revision}", style="not bold default")


def explained(found: list[Explanation], at: Timestamp) -> list[RenderableType]:
    """Return as many explanations as fit on a screen, and where the others are."""
    parts: list[RenderableType] = [explanation(one, at) for one in found[:EXPLAINED_MAX]]
    if len(found) > EXPLAINED_MAX:
        more = len(found) - EXPLAINED_MAX
        parts.append(Text(f"and {more} more for other reasons; `circuit-guard status MARKET` explains one market"))
    return parts


def explanation(one: Explanation, at: Timestamp) -> RenderableType:
    """Return one scope, or several alike: state, since when, why, who lifts it."""
    title = Text(words.scopes(one.scopes), style="bold")
    title.append(f"   {one.state}", style="not bold red")
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    example = f" ({one.scopes[0]})" if len(one.scopes) > 1 else ""
    if one.since is not None:
        body.add_row("  since", f"{words.time(one.since)}, for {words.between(one.since, at)}")
    for number, line in enumerate(one.why):
        body.add_row("" if number else f"  why{example}", Text(line))
    for number, line in enumerate(one.lifting):
        body.add_row("" if number else "  lifted by", Text(line))
    return Group(title, body)


def denying_in(status: status_pb2.GuardStatus, scopes: list[str]) -> list[Explanation]:
    """Return what denies closures in these scopes."""
    found = explain.explanations(status)
    if GLOBAL_SCOPE in scopes:
        return found
    return [one for one in found if GLOBAL_SCOPE in one.scopes or {*one.scopes} & {*scopes}]


def markets_table(console: Console, status: status_pb2.GuardStatus, *, reasons_max: int) -> Table:
    """Return every market in one line, the hardest to lift first, each with at most so many of its reasons."""
    wide = not console.is_terminal or console.width >= WIDE
    values, reasons = _VALUE_COLUMNS if wide else (), ("REASONS",) if reasons_max else ()
    held = ("HELD",) if any(market.HasField("held_since") for market in status.markets) else ()
    result = table(console, "MARKET", "CLOSURES", "PHASE", "BREAKER", *held, *values, *reasons)
    for column in result.columns[:2]:
        column.no_wrap = True
    for market in sorted(status.markets, key=lambda market: -explain.hardest(market)):
        result.add_row(
            market.market,
            _closures(market),
            words.phase(market.phase),
            words.breaker(market.breaker).removeprefix("breaker "),
            *((_held(status, market),) if held else ()),
            *(_value_cells(market) if wide else ()),
            *([_reasons(market, reasons_max)] if reasons_max else ()),
        )
    return result


def market_detail(console: Console, status: status_pb2.GuardStatus, market: status_pb2.MarketStatus) -> RenderableType:
    """Return everything the guard knows of one market."""
    parts: list[RenderableType] = [*status_notes.notes(status)]
    if explain.denies_globally(status):
        parts += [explanation(explain.explain_global(status), status.at), Text()]
    if market.denying:
        in_maintenance = status.HasField("maintenance")
        found = explain.explain_market(market, in_full=True, in_maintenance=in_maintenance)
        parts.append(explanation(found, status.at))
    else:
        parts.append(Text(market.market, style="bold").append("   closures: ").append(_closures(market)))
    return Group(*parts, Text(), _values(console, status, market))


def _closures(market: status_pb2.MarketStatus) -> Text:
    """Return what happens to closures in a market."""
    if market.denying:
        return Text("DENIED", style="red")
    if market.phase in _BANDED:
        return Text("in the band", style="yellow")
    if market.HasField("ramp_share"):
        return Text(f"ramp, at {market.ramp_share:.0%}", style="yellow")
    return Text("allowed", style="green")


def _held(status: status_pb2.GuardStatus, market: status_pb2.MarketStatus) -> Text:
    """Return for how long closures have been held, and whether that is too long."""
    if not market.HasField("held_since"):
        return Text()
    text = Text(words.between(market.held_since, status.at))
    return text.append(", OVERDUE", style="bold red") if market.overdue else text


def _value_cells(market: status_pb2.MarketStatus) -> tuple[str, ...]:
    return (
        market.mark_price or "none yet",
        _rounded(market.reference_price, market.mark_price) or "none fresh",
        f"{words.seconds(market.mark_age):.1f} s" if market.HasField("mark_age") else "",
        _least_room(market.headroom),
    )


def _reasons(market: status_pb2.MarketStatus, reasons_max: int) -> Text:
    """Return the first reasons of a market, and how many more there are."""
    names = explain.reasons_of(market)
    more = f" +{len(names) - reasons_max}" if len(names) > reasons_max else ""
    return Text(", ".join(names[:reasons_max]) + more)


def _least_room(headroom: Iterable[status_pb2.Headroom]) -> str:
    """Return the rule whose limit is nearest, and how much of it is left."""
    nearest = min(headroom, key=lambda room: room.left_ratio, default=None)
    return f"{nearest.left_ratio:.0%} {nearest.rule}" if nearest else ""


def _values(console: Console, status: status_pb2.GuardStatus, market: status_pb2.MarketStatus) -> Table:
    phase = words.phase(market.phase)
    if market.commanded_phase != market.phase:
        phase += f" on the way to {words.phase(market.commanded_phase)}"
    rows = {
        "class": f"{market.market_class}{', required' if market.required else ''}",
        "phase": f"{phase}, for {words.between(market.phase_since, status.at)}: {market.phase_note}",
        "breaker": words.breaker(market.breaker).removeprefix("breaker "),
        "warm": "yes" if market.warm else "no",
        "mark price": _aged(market.mark_price, words.seconds(market.mark_age)),
        "  may be": _interval(market.mark_limits) if market.HasField("mark_limits") else "unknown: no fresh reference",
        "index price": market.index_price or "none yet",
        "reference price": f"{market.reference_price or 'none'} from {market.references_fresh} fresh references",
        "funding index": _aged(market.funding_index, words.seconds(market.funding_age)),
        "  can be": _interval(market.funding_envelope) if market.HasField("funding_envelope") else "unknown",
        "room left": ", ".join(f"{room.left_ratio:.0%} {room.rule}" for room in market.headroom) or "unknown",
    }
    if market.HasField("held_since"):
        rows["held"] = f"since {words.time(market.held_since)}, for {_held(status, market).plain}"
    if market.HasField("ramp_share"):
        rows["ramp"] = f"closures go through at {market.ramp_share:.0%} of the full rate"
    if market.discarded_intervals:
        count = market.discarded_intervals
        known = f"{count} interval{'' if count == 1 else 's'} of wrong values"
        rows["  discarded"] = f"{known}: an account that was settled with one is denied"
    result = table(console, "VALUE", "TRUSTED NOW")
    for name, value in rows.items():
        result.add_row(name, Text(value))
    return result


def _aged(value: str, age_s: float) -> str:
    return f"{value}, {age_s:.1f} s old" if value else "none yet"


def _interval(interval: status_pb2.Interval) -> str:
    return f"{Decimal(interval.low):.12g} to {Decimal(interval.high):.12g}"


def _rounded(value: str, like: str) -> str:
    """Return a computed price with the decimals of a published one: a median has more than anybody wants to read."""
    return str(Decimal(value).quantize(Decimal(like))) if value and like else value
