"""divergence: a price outside what the references explain.

The hull of the reference price over 30 s, widened by a base, by the spread of the venues, and by its own width in the
direction of its move: in a crash it is wide and a leader is not held; in calm it is narrow and 1 % is seen. A leader
and a single venue's wick look alike until the others have moved or not, so the first doubtful observation denies, and
only what lasts, or is far outside, trips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import readable
from circuit_guard.core.parameters import Parameters, Relation, seconds, share, widths
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import TICKS, PriceParameters
from circuit_guard.core.references import (
    OWN_WIDENS_TIMES,
    Average,
    HullParameters,
    ReferenceParameters,
    WithoutReferences,
)
from circuit_guard.core.rule import CALLER, EVIDENCE, FRESH, Delay, Excuse, Judges, Permitted, Reason, Rule, Unseen
from circuit_guard.core.types import CheckKind, Finding, Severity, short_seconds, show, show_percent, show_seconds
from circuit_guard.core.view import MarketView

MARK_DIVERGENCE = "mark_divergence"
MARK_REVERTED = "mark_reverted"
INDEX_DIVERGENCE = "index_divergence"
EXECUTION_DIVERGENCE = "execution_divergence"

_AT_ONCE = "what trips at once must be outside what denies"


@dataclass(frozen=True, slots=True)
class DivergenceParameters(Parameters):
    """How far a price may be from the hull."""

    TABLE: ClassVar[str] = "divergence"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("divergence.trip_at_once_base", "at least", "divergence.base", _AT_ONCE),
        Relation("divergence.trip_at_once_hull_widths", "at least", "divergence.hull_widths", _AT_ONCE),
        Relation(
            "divergence.execution_base", "at least", "divergence.base", "closures at an honest mark price must execute"
        ),
    )

    base: Decimal = share(
        "0.01",
        "Tolerance round the hull for the mark price. Beyond it closures are denied at once. 1 % was enough in "
        "five recorded crashes.",
    )
    trip_after_ns: int = seconds(
        30,
        "A divergence trips once it has lasted this long (DESIGN 4). A shorter one is often a mark price "
        "that leads the references.",
    )
    trip_at_once_base: Decimal = share("0.20", "A divergence beyond this tolerance trips at once (DESIGN 4).")
    trip_at_once_hull_widths: Decimal = widths(3, "That tolerance grows by this many widths of the hull (DESIGN 4).")
    index_base: Decimal = share(
        "0.25", "Tolerance for the index price. It is a spot price, and references may be derivatives."
    )
    execution_base: Decimal = share(
        "0.10",
        "Tolerance for a closure's execution price. It is wider than that of "
        "the mark price, because execution in a book slips.",
    )
    unreferenced_share: Decimal = share(
        "0.20",
        "While no reference price can be formed, the guard believes a mark price within this of the last "
        "confirmed one. The room doubles within 10 min. No closure in this market passes meanwhile; the price is "
        "for accounts that also hold other markets.",
    )
    settle_ns: int = seconds(
        15,
        "Closures stay denied this long after a wrong mark price has gone, because closures computed with it are "
        "still on their way.",
        least=0,
    )


def mark_interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references allow the mark price to be; None without any."""
    return view.references.limits(policy.of(DivergenceParameters).base, policy.of(HullParameters).hull_widths)


def execution_interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references allow an execution price to be; None without any."""
    base = policy.of(DivergenceParameters).execution_base
    return view.references.limits_of_trades(base, policy.of(HullParameters).hull_widths)


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Judge a published mark and index price, or the mark and execution price of a closure. Two-sided."""
    closure = view.closure
    if closure is None:
        rule = policy.of(DivergenceParameters)
        mark, index = view.published.mark_price, view.published.index_price
        yield from _judge(view, policy, MARK_DIVERGENCE, "mark_price", mark, rule.base)
        yield from _judge(view, policy, INDEX_DIVERGENCE, "index_price", index, rule.index_base)
        return
    if view.state.reverted_ns is not None:
        yield from _still_settling(view, view.state.reverted_ns, policy)
    mark, execution = readable(closure.basis.mark_price), readable(closure.execution_price)
    if mark is not None and (limit := view.once(mark_interval)) is not None and mark not in limit:
        yield Finding(MARK_DIVERGENCE, Severity.DENY, "basis.mark_price", show(mark), str(limit))
    # a settlement is no trade: its price is the mark price, or what an average of the references has to be
    where = mark_interval if closure.kind is CheckKind.SETTLEMENT else execution_interval
    if execution is not None and (limit := view.once(where)) is not None and execution not in limit:
        yield Finding(EXECUTION_DIVERGENCE, Severity.DENY, "execution_price", show(execution), str(limit))


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    reverted_ns = view.state.reverted_ns
    if reverted_ns is not None and view.now_ns - reverted_ns < policy.of(DivergenceParameters).settle_ns:
        return None
    return Permitted(view.once(mark_interval), view.once(execution_interval))


def _judge(
    view: MarketView, policy: MarketPolicy, reason: str, subject: str, price: Decimal | None, base: Decimal
) -> Iterator[Finding]:
    rule, references = policy.of(DivergenceParameters), view.references
    widths, marks = policy.of(HullParameters).hull_widths, reason == MARK_DIVERGENCE
    limit = references.limits(base, widths) if marks else references.limits_of_trades(base, widths)
    own = policy.of(ReferenceParameters).without is WithoutReferences.OWN_PRICE  # at first sight and after a reset
    if limit is None and marks and not own:
        limit = view.state.trusted.unreferenced(rule.unreferenced_share, view.now_ns, references.prices)
    if price is None or limit is None or price in limit:
        return
    severity = Severity.DENY
    if references.quorum and not references.between(price):
        far_base, far_widths = max(base, rule.trip_at_once_base), rule.trip_at_once_hull_widths
        far = references.limits(far_base, far_widths) if marks else references.limits_of_trades(far_base, far_widths)
        known_ns = min(rule.trip_after_ns, policy.of(HullParameters).window_ns)
        if far is not None and price not in far:
            severity = Severity.TRIP
        elif view.now_ns - references.hull_since_ns >= known_ns:  # what lasted while there was no quorum does not count
            severity = view.lasting(reason, rule.trip_after_ns)
    yield Finding(reason, severity, subject, show(price), str(limit))


def _still_settling(view: MarketView, reverted_ns: int, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny for a moment after a wrong mark went away: closures computed with it are still on their way."""
    settle_ns = policy.of(DivergenceParameters).settle_ns
    if view.now_ns - reverted_ns < settle_ns:
        observed = f"back for {show_seconds(view.now_ns - reverted_ns)}"
        limit = f"back for {show_seconds(settle_ns)}"
        yield Finding(MARK_REVERTED, Severity.DENY, "mark_price", observed, limit)


MOVES = tuple(map(Decimal, ("0", "0.001", "0.003", "0.01", "0.03", "0.1")))
"""How far the reference price moves within the hull's window, as a fraction: calm to crash."""


@dataclass(frozen=True, slots=True)
class MarkLimit:
    """How far a mark price may be from the nearest price that the reference has had within the window, as fractions."""

    moved: Decimal
    """How far the reference price has moved within the window."""
    diverges: Decimal
    """Beyond it the mark price is denied."""
    trips_at_once: Decimal


def mark_limits(policy: MarketPolicy) -> list[MarkLimit]:
    """Return how far a mark price may be off, for each of MOVES."""
    rule, hull_widths = policy.of(DivergenceParameters), policy.of(HullParameters).hull_widths
    far = max(rule.base, rule.trip_at_once_base)
    return [
        MarkLimit(moved, rule.base + hull_widths * moved, far + rule.trip_at_once_hull_widths * moved)
        for moved in MOVES
    ]


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    rule, still = policy.of(DivergenceParameters), "while the reference price stands still"
    own = policy.of(ReferenceParameters).without is WithoutReferences.OWN_PRICE
    yield Unseen("mark_price", None if own else rule.base, label=f"the mark price, {still}")
    yield Unseen("index_price", rule.index_base, label=f"the index price, {still}")
    yield Unseen("execution_price", rule.execution_base, label="the execution price of the closure")
    yield Unseen("execution_price_in_post_only", rule.execution_base, label="the same in POST_ONLY")
    yield Unseen("execution_price_in_recovering", rule.execution_base, label="the same in RECOVERING")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule, own = policy.of(DivergenceParameters), f"{policy.of(HullParameters).hull_widths:f} widths away"
    for price, base in (("a mark price", rule.base), ("an index price", rule.index_base)):
        yield Delay(f"{price} more than {show_percent(base)} and {own}", 0, rule.trip_after_ns)
        far = show_percent(max(base, rule.trip_at_once_base))
        yield Delay(f"{price} more than {far} and {rule.trip_at_once_hull_widths:f} widths away", 0, 0)
    yield Delay(f"an execution price more than {show_percent(rule.execution_base)} away", 0)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule = policy.of(ReferenceParameters)
    if rule.without is WithoutReferences.OWN_PRICE:
        at_once = show_percent(rule.own_share + policy.of(DivergenceParameters).base)
        slowly = f"{show_percent(rule.own_share)} per {short_seconds(rule.own_average_ns)}"
        later = f"{(OWN_WIDENS_TIMES - 1) * 10} min if it is within {show_percent(OWN_WIDENS_TIMES * rule.own_share)}"
        yield (
            "Without a quorum of references the market is judged by the average of its own accepted mark prices. A "
            f"wrong mark price passes within {at_once} of that at once, and at any size if it moves by {slowly} or "
            f"less. One that stays wrong is believed after {later}. Nothing here is independent of the exchange: "
            "accounts and funding are judged at that price as well."
        )
    window = short_seconds(policy.of(HullParameters).window_ns)
    yield (
        "In the direction in which the reference price moved, the limit counts from the nearest price it has had "
        f"in those {window}. In the other direction it is the limit of a reference price that stands still. Where "
        f"venues really split, {policy.of(HullParameters).spread_widths:f} times their spread is added on both "
        "sides."
    )
    split_max = show_percent(policy.of(HullParameters).split_max)
    yield (
        "A source that has been away from the reference price for most of the last 10 min widens the limit on "
        f"its side by its distance, up to {split_max}. So a single lying source gains that room after 5 min, for "
        "mark prices and for accounts. A mark price between the lowest and the highest fresh reference never "
        "trips."
    )
    if smoothing_ns := policy.of(HullParameters).smoothing_ns:
        yield (
            f"The average over {short_seconds(smoothing_ns)} needs a quorum. With fewer references a mark price is "
            "compared with their latest prices, so while prices fall or rise fast, closures are held until the average "
            f"has caught up: about {short_seconds(3 * smoothing_ns)} after the move."
        )
    if policy.of(ReferenceParameters).average is not Average.NONE:
        over = "since the change" if rule.average is Average.GROWING else f"over {short_seconds(rule.average_ns)}"
        yield (
            f"The mark price is an average of the index {over}, and is held against the same average of the reference "
            "price. A guard that starts without its journal in that time does not know what came before, and denies "
            "if prices have moved. Index and execution prices may be near the average or near what the references say "
            "now; a settlement has to be at the average."
        )
    prices = policy.of(PriceParameters)
    if prices.tick or prices.scale or prices.min_change:
        yield (
            f"Every fraction of a price is of at least {show(prices.scale)} in quote currency, and is wider by "
            f"{show_percent(prices.min_change)} and by {TICKS} ticks of {show(prices.tick)}: a wrong price passes by "
            "that much more."
        )


RULE = Rule(
    name="divergence",
    rank=60,
    catches="A mark price (or a caller's) outside what the references explain: the hull of the **median** of the "
    "fresh references, widened by a base, by the spread of the venues, and by its own width in the "
    "direction of its move. The hull is not that of all references, because a single venue's wick would "
    "widen it (Deribit 2019, BitMEX 2019). Denies at once. Trips when it lasts, and at once when the "
    "price is far outside.",
    judges=Judges.BOTH,
    parameters=DivergenceParameters,
    reasons={
        MARK_DIVERGENCE: Reason(
            "the mark price is outside the range that the references explain", FRESH, Excuse.KNOWN_PRICE
        ),
        MARK_REVERTED: Reason(
            "a diverging mark price came back although the references never moved: it was wrong",
            EVIDENCE,
            Excuse.KNOWN_PRICE,
        ),
        INDEX_DIVERGENCE: Reason("the index price is outside the range that the references explain", FRESH),
        EXECUTION_DIVERGENCE: Reason("the execution price is outside the range that the references explain", CALLER),
    },
    evaluate=evaluate,
    permits=_permits,
    judged_again=True,
    unseen=_unseen,
    delays=_delays,
    notes=_notes,
)
