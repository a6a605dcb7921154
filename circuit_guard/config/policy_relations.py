"""What has to hold between the values of a policy: each may be fine alone, and together they contradict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from operator import attrgetter, ge, gt, lt
from typing import NamedTuple

from circuit_guard.config.policy_document import CLASS_NAME, MARKET_NAME, ClassTable, MarketTable, PolicyDocument
from circuit_guard.config.policy_resolve import class_of, merged
from circuit_guard.config.toml import Judged, Key, dotted
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.errors import Violation, shown

MARKETS_MAX = 5000
CLASSES_SHOWN_MAX = 10
RESERVED_MARKETS = {
    GLOBAL_SCOPE: "that is the scope of the GLOBAL breaker",
    "other": "that is the metric label of all markets not in the policy",
}

_SHARE_IN_BPS = Decimal(10_000)
_BROKEN: dict[str, Callable[[Decimal, Decimal], bool]] = {"at most": gt, "at least": lt, "less than": ge}


class Conflict(NamedTuple):
    """A contradiction: the value to change, and the other values it was held against."""

    key: Key
    value: str
    expected: str
    others: tuple[Key, ...]


_AT_ONCE = "what trips at once must be outside what denies"
_OVERDUE = "a market that opens as soon as it may must not be overdue"
_BELIEVED = "what counts as diverging must not be believed"


class Order(NamedTuple):
    """One value of a class must not exceed (`at most`), fall below (`at least`) or reach (`less than`) another.

    Held against a `_bps`, the other value, a share, counts in basis points.
    """

    field: str
    bound: str
    other: str
    why: str


ORDERS = (
    Order("band.width_bps", "at most", "divergence.base", "a price inside the band must not count as diverging"),
    Order("band.agreement_bps", "at most", "divergence.base", "agreement must not include what counts as diverging"),
    Order("divergence.trip_at_once_base", "at least", "divergence.base", _AT_ONCE),
    Order("divergence.trip_at_once_hull_widths", "at least", "divergence.hull_widths", _AT_ONCE),
    Order("divergence.execution_base", "at least", "divergence.base", "closures at an honest mark price must execute"),
    Order("references.age_max_s", "at most", "divergence.window_s", "the hull must span all references that count"),
    Order("staleness.deny_after_s", "at most", "staleness.recovering_after_s", "denial comes before RECOVERING"),
    Order("references.quorum", "at most", "references.sources_max", "more sources are never taken in"),
    Order("reopening.deadline_s", "at least", "breaker.cooldown_s", _OVERDUE),
    Order("reopening.deadline_s", "at least", "breaker.healthy_s", _OVERDUE),
    Order("reopening.deadline_s", "at least", "band.post_only_min_s", _OVERDUE),
    Order("explained_loss.mark_share", "at most", "divergence.base", _BELIEVED),
    Order("explained_loss.hull_widths", "at most", "divergence.hull_widths", _BELIEVED),
    Order("explained_loss.trusted_age_max_s", "at least", "staleness.deny_after_s", "values that are not stale count"),
    Order("slow_walk.lag_s", "less than", "basis.window_s", "older mark prices are not kept"),
    Order("slow_walk.lag_s", "at most", "divergence.window_s", "the hull must span all the time since then"),
)


def violations_of(conflicts: Iterable[Conflict], judged: Judged[PolicyDocument]) -> list[Violation]:
    """Return the conflicts as violations. What was left out of the document contradicts nothing."""
    return [
        Violation(dotted(conflict.key), conflict.value, conflict.expected)
        for conflict in conflicts
        if judged.knows(conflict.key, *conflict.others)
    ]


def market_conflicts(document: PolicyDocument) -> Iterator[Conflict]:
    """Yield the contradictions in classes and markets; a market does not repeat what its class already has."""
    for name, table in document.classes.items():
        if not re.fullmatch(CLASS_NAME.pattern, name):
            yield Conflict(("classes", name), shown(name), CLASS_NAME.expected, ())
        yield from _placed(_class_conflicts(table), "classes", name)
    if len(document.markets) > MARKETS_MAX:
        yield Conflict(("markets",), f"{len(document.markets)} markets", f"at most {MARKETS_MAX}", ())
    for name, market in document.markets.items():
        yield from _name_conflicts(name)
        yield from _market_conflicts(document, name, market)


def guard_conflicts(judged: Judged[PolicyDocument]) -> Iterator[Conflict]:
    """Yield the contradictions of the guard's own tables with the rest."""
    document = judged.table
    default = document.guard.default_class
    if default not in document.classes:
        key = ("guard", "default_class")
        yield Conflict(key, shown(default), _known_class(document), (("classes", default),))
    count = len(document.markets) + sum(1 for key in judged.left_out if key[:-1] == ("markets",))
    latched = document.global_breaker.latched_markets_min
    if 0 < count < latched:
        expected = f"at most {count}, the number of markets: more can never latch"
        yield Conflict(("global_breaker", "latched_markets_min"), str(latched), expected, (("markets",),))
    acts = document.guard.two_actors
    for act in sorted({act for act in acts if acts.count(act) > 1}):
        yield Conflict(("guard", "two_actors"), f"{shown(act)} twice", "each act once", ())


def _name_conflicts(name: str) -> Iterator[Conflict]:
    if name in RESERVED_MARKETS:
        yield Conflict(("markets", name), shown(name), f"another name: {RESERVED_MARKETS[name]}", ())
    elif not re.fullmatch(MARKET_NAME.pattern, name):
        yield Conflict(("markets", name), shown(name), MARKET_NAME.expected, ())


def _market_conflicts(document: PolicyDocument, name: str, market: MarketTable) -> Iterator[Conflict]:
    class_name, key = class_of(document, market), ("markets", name, "class")
    below = document.classes.get(class_name)
    if below is not None:
        inherited = set(_class_conflicts(below))
        own = (conflict for conflict in _class_conflicts(merged(below, market)) if conflict not in inherited)
        yield from _placed(own, "markets", name, class_name)
    elif market.market_class is not None:
        yield Conflict(key, shown(class_name), _known_class(document), (("classes", class_name),))


def _known_class(document: PolicyDocument) -> str:
    names = sorted(document.classes)
    named = ", ".join(dotted([name]) for name in names[:CLASSES_SHOWN_MAX]) or "none is defined"
    return f"a class of this policy: {named}{', ...' if len(names) > CLASSES_SHOWN_MAX else ''}"


def _class_conflicts(table: ClassTable) -> Iterator[Conflict]:
    for order in ORDERS:
        value, other = attrgetter(order.field)(table), attrgetter(order.other)(table)
        named = order.other
        if order.field.endswith("_bps"):
            other, named = other * _SHARE_IN_BPS, f"{order.other} in bps"
        if _BROKEN[order.bound](value, other):
            wanted = f"{order.bound} {_plain(other)} ({named}): {order.why}"
            yield Conflict(_key(order.field), _plain(value), wanted, (_key(order.other),))
    yield from _source_conflicts(table)


def _source_conflicts(table: ClassTable) -> Iterator[Conflict]:
    sources, key = table.references.sources, ("references", "sources")
    named = len(set(sources))
    if sources and table.references.quorum > named:
        quorum, expected = table.references.quorum, f"at most {named}, the number of references.sources"
        yield Conflict(("references", "quorum"), str(quorum), expected, (key,))
    if len(sources) > table.references.sources_max:
        expected = f"at most {table.references.sources_max} (references.sources_max)"
        yield Conflict(key, f"{len(sources)} sources", expected, (("references", "sources_max"),))
    for source in sorted({source for source in sources if sources.count(source) > 1}):
        yield Conflict(key, f"{shown(source)} twice", "each source once: it counts once in the median", ())
    if table.observation_source in sources:
        expected = "references independent of observation_source: a source cannot confirm itself"
        yield Conflict(key, shown(table.observation_source), expected, (("observation_source",),))


def _placed(conflicts: Iterable[Conflict], top: str, name: str, below: str = "") -> Iterator[Conflict]:
    """Yield conflicts of one table as conflicts of the document; `below` is the class a market takes values from."""
    for conflict in conflicts:
        others = [(top, name, *other) for other in conflict.others]
        if below:
            others += [("markets", name, "class"), ("guard", "default_class")]
            others += [("classes", below, *key) for key in (conflict.key, *conflict.others)]
        yield Conflict((top, name, *conflict.key), conflict.value, conflict.expected, tuple(others))


def _key(field: str) -> Key:
    return tuple(field.split("."))


def _plain(value: Decimal | int) -> str:
    return format(Decimal(value).normalize(), "f")
