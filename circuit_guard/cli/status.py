"""`status`, `watch`, `probe`: one screen that explains any halted market; the same live; whether the guard is up."""

from __future__ import annotations

import json as json_module
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import lines, options
from circuit_guard.cli.options import Guard
from circuit_guard.cli.output import CommandError, ExitCode, as_json, display, grid, print_json, screen, table
from circuit_guard.core import explain
from circuit_guard.core.envelope import Interval
from circuit_guard.core.explain import Explanation
from circuit_guard.core.formatting import breaker, counted, instant, lasting, rounded, scopes
from circuit_guard.core.status import GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, show, show_seconds
from circuit_guard.server.convert import received
from circuit_guard.v1 import event_pb2, status_pb2
from circuit_guard.web.presentation import Tone, closures_of

EXPLAINED_MAX = 5
"""Explanations that fit on one screen; further markets have their reasons in the table below."""
REASONS_MAX = 8
NOT_READY_SHOWN_MAX = 3
WIDE = 120
"""Columns of a terminal from which on there is room for the values."""
_STYLES = {Tone.BAD: "red", Tone.CARE: "yellow", Tone.GOOD: "green"}
_VALUE_COLUMNS = ("MARK", "REFERENCE", "MARK AGE", "ROOM LEFT")
REFRESH_S = 1.0
EVENTS_SHOWN_MIN = 5
_FRAME_LINES = 6
"""Lines of the live screen that are neither markets nor events."""


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
        known = [found.market for found in message.markets]
        if market not in known:
            expected = f"one that the policy names: {', '.join(known)}"
            raise CommandError(f"market was {market}, expected {expected}", ExitCode.BAD_INPUT)
        index = known.index(market)
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
    told = [*explain.notes(found), *(f"not ready: {reason}" for reason in not_ready[:NOT_READY_SHOWN_MAX])]
    if len(not_ready) > NOT_READY_SHOWN_MAX:
        told.append(f"not ready: and {len(not_ready) - NOT_READY_SHOWN_MAX} more reasons like these")
    return [Text(line, style="yellow") for line in told]


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
    rows = (
        (
            market.market,
            _closures(market),
            market.phase,
            _breaker(market),
            *((_held(found, market),) if held else ()),
            *(_value_cells(market) if wide else ()),
            *([_reasons(market, reasons_max)] if reasons_max else ()),
        )
        for market in explain.hardest_first(found.markets)
    )
    result = table(console, "MARKET", "CLOSURES", "PHASE", "BREAKER", *held, *values, *reasons, rows=rows)
    for column in result.columns[:2]:
        column.no_wrap = True
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


def _explanation(one: Explanation, at_ns: int) -> RenderableType:
    """Return one scope, or several alike: state, since when, why, how it ends."""
    title = Text(scopes(one.scopes), style="bold")
    title.append(f"   {one.state}", style="not bold red")
    body = grid()
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
    tone, words = closures_of(market)
    return Text(words, style=_STYLES[tone])


def _held(found: GuardStatus, market: MarketStatus) -> Text:
    """Return for how long closures have been held, and whether that is too long."""
    if market.held_since_ns is None:
        return Text()
    text = Text(lasting(found.at_ns - market.held_since_ns))
    return text.append(", OVERDUE", style="bold red") if market.overdue else text


def _value_cells(market: MarketStatus) -> tuple[str, ...]:
    """Return the values of a market, last the rule whose limit is nearest with how much of it is left."""
    reference = market.reference_price
    nearest = min(market.headroom, key=lambda rule: market.headroom[rule], default="")
    return (
        "none yet" if market.mark_price is None else str(market.mark_price),
        "none fresh" if reference is None else rounded(reference, market.mark_price),
        "" if market.mark_age_ns is None else show_seconds(market.mark_age_ns),
        f"{market.headroom[nearest]:.0%} {nearest}" if nearest else "",
    )


def _reasons(market: MarketStatus, reasons_max: int) -> Text:
    """Return the first reasons of a market, and how many more there are."""
    names = explain.reasons_of(market)
    more = f" +{len(names) - reasons_max}" if len(names) > reasons_max else ""
    return Text(", ".join(names[:reasons_max]) + more)


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
        "  may be": _interval(market.mark_limits) or "unknown: too few fresh references",
        "index price": "none yet" if market.index_price is None else str(market.index_price),
        "reference price": f"{market.reference_price or 'none'} from {market.reference_count} fresh references",
        "funding index": _aged(market.funding_index, market.funding_age_ns),
        "  can be": _interval(market.funding_envelope) or "unknown",
        "room left": ", ".join(f"{left:.0%} {rule}" for rule, left in market.headroom.items()) or "unknown",
    }
    if market.held_since_ns is not None:
        rows["held"] = f"since {instant(market.held_since_ns)}, for {_held(found, market).plain}"
    if market.next_change:
        rows["next change"] = market.next_change
    if market.ramp_share is not None:
        rows["ramp"] = f"closures go through at {market.ramp_share:.0%} of the full rate"
    if market.discarded:
        known = f"{counted(market.discarded, 'interval')} of wrong values"
        rows["  discarded"] = f"{known}: an account settled with one of them is denied"
    return table(console, "VALUE", "TRUSTED NOW", rows=((name, Text(value)) for name, value in rows.items()))


def _aged(value: Decimal | None, age_ns: int | None) -> str:
    return "none yet" if value is None else f"{value}, {show_seconds(age_ns or 0)} old"


def _interval(interval: Interval | None) -> str:
    return f"{show(interval.low)} to {show(interval.high)}" if interval else ""


def watch(
    include_allowed: Annotated[bool, typer.Option("--include-allowed", help="Show allowed decisions too.")] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Watch the guard until Ctrl-C.

    Shows a live table on a terminal. In a pipe, and with --json, prints one line per event.
    """
    console = screen()
    try:
        with Guard(address, timeout) as guard, guard.watching(include_allowed=include_allowed) as events:
            if console.is_terminal and not json:
                _watch_live(console, guard, events)
            else:
                for event in events:
                    if json:
                        sys.stdout.write(json_module.dumps(as_json(event), ensure_ascii=False) + "\n")
                    else:
                        console.print(lines.of_event(event))
                    sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit from None


class _Reader(threading.Thread):
    """Reads events beside the live table, and keeps the last ones."""

    def __init__(self, events: Iterator[event_pb2.Event], kept_max: int) -> None:
        super().__init__(name="events", daemon=True)
        self.lines: deque[Text] = deque(maxlen=kept_max)
        self.ended = threading.Event()
        self.failure: CommandError | None = None
        self._events = events

    def run(self) -> None:
        """Read until the stream ends."""
        try:
            for event in self._events:
                self.lines.append(lines.of_event(event))
        except CommandError as failure:
            self.failure = failure
        finally:
            self.ended.set()


def _watch_live(console: Console, guard: Guard, events: Iterator[event_pb2.Event]) -> None:
    reader = _Reader(events, console.height)
    reader.start()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while not reader.ended.is_set():
            live.update(live_screen(console, guard.status(), list(reader.lines)), refresh=True)
            reader.ended.wait(REFRESH_S)
    if reader.failure is not None:
        raise reader.failure


def live_screen(console: Console, message: status_pb2.GuardStatus, events: list[Text]) -> RenderableType:
    """Return the table of the markets with as many of the last events below it as there is room for."""
    status = received.guard(message)
    top = notes(status, message.not_ready_reasons)
    room = max(console.height - len(top) - len(status.markets) - _FRAME_LINES, EVENTS_SHOWN_MIN)
    shown = [line.copy() for line in events[-room:]] or [Text("nothing has happened yet", style="dim")]
    for line in shown:  # one line of the screen each, whatever its length
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(headline(status), *top, markets_table(console, status, reasons_max=1), *shown)
