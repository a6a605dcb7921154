"""The policy file: read, checked whole, and turned into what the core enforces.

Either all of it is valid, or `PolicyError` lists everything that is wrong and nothing of it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import date
from decimal import Decimal
from operator import attrgetter, ge, gt, lt
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from circuit_guard.config.hours import calendar_of, known_zone
from circuit_guard.config.policy_document import CLASS_NAME, ChangeTable, ClassTable, MarketTable, PolicyDocument
from circuit_guard.config.toml import Judged, Key, Table, dotted, json_schema, judge, parse_toml, read_text
from circuit_guard.core.envelope import FundingAccrual, GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.hours import Calendar, HoursParameters
from circuit_guard.core.names import EXPECTED_MARKET, is_market
from circuit_guard.core.parameters import Parameters, parameters_of
from circuit_guard.core.policy import REMEMBERED_ALLOW_MAX_NS, Change, GlobalBreakerParameters, MarketPolicy, Policy
from circuit_guard.core.remembered import ANSWERS_MAX
from circuit_guard.core.rulebook import GROUPS
from circuit_guard.core.types import ARITHMETIC, GLOBAL_SCOPE, SECOND_NS
from circuit_guard.errors import PolicyError, Problem, shown

MARKETS_MAX = 5000
DAY_S = 86_400
CLASSES_SHOWN_MAX = 10
RESERVED_MARKETS = {
    GLOBAL_SCOPE: "that is the scope of the GLOBAL breaker",
    "other": "that is the metric label of all markets not in the policy",
}

_SHARE_IN_BPS = Decimal(10_000)
_BROKEN: dict[str, Callable[[Decimal, Decimal], bool]] = {"at most": gt, "at least": lt, "less than": ge}
_REVISION_DIGITS = 12
FOUNDING = {
    "funding": "period_ns rate_max gap_mode gap_ns slack predicted_step_share bound_share premium_share trip_after_ns",
    "divergence": "base hull_widths window_ns trip_after_ns trip_at_once_base trip_at_once_hull_widths index_base "
    "execution_base settle_ns",
    "references": "sources sources_max age_max_ns quorum outlier_share",
    "staleness": "deny_after_ns recovering_after_ns future_skew_ns frozen_after_ns frozen_move_share "
    "frozen_trip_after_ns",
    "band": "share center_age_max_ns post_only_closures recovering_closures agreement_share agreement_ns "
    "post_only_min_ns",
    "basis": "required mark_share window_ns trip_after_ns trip_count_min",
    "breaker": "cooldown_ns healthy_ns half_open_ns",
    "reopening": "start_share closures_per_s notional_per_s deadline_ns",
    "explained_loss": "deny mark_share hull_widths trip_accounts window_ns trusted_age_max_ns halted",
    "burst": "accounts window_ns move_share",
    "slow_walk": "lag_ns trip_after_ns",
}
"""The parameters of version 0.2, which every revision counts. Add none: then a later parameter does not change the
revision of a policy that does not name it."""

T = TypeVar("T", bound=Table)
P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What a recording says of one of its markets; None leaves it to the policy.

    `rate_max` is the cap on the funding rate, a fraction per `period_s` seconds.
    """

    rate_max: Decimal | None = None
    period_s: Decimal | int | None = None
    gap_mode: GapMode | None = None


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A valid policy document. `origin` is the file it came from, for messages."""

    origin: str
    document: PolicyDocument

    def policy(self) -> Policy:
        """Return what the document means, resolved for each market."""
        return resolved(self.document)

    def warnings(self) -> list[str]:
        """Return what is valid and may not be what its author means, one sentence or two each."""
        return [*_open_references(self.document), *_near_zero(self.document), *_not_inherited(self.document)]

    def past_changes(self, now_ns: int) -> list[Problem]:
        """Return each change whose time is over: it is no change any more, and is to be written into its table."""
        tables = {("classes", name): table for name, table in self.document.classes.items()}
        tables |= {("markets", name): table for name, table in self.document.markets.items()}
        expected = (
            f"a time after now, {format_time(now_ns)}: write what has changed into the table, and take the change out"
        )
        return [
            Problem(dotted((*key, "changes", number, "from")), format_time(change.from_ns), expected)
            for key, table in tables.items()
            for number, change in enumerate(table.changes)
            if change.from_ns <= now_ns
        ]

    def with_markets(self, facts: Mapping[str, MarketFacts]) -> Policy:
        """Return the policy with these markets beside its own, for a replay.

        A market that the policy lists keeps its class and overrides, any other gets the default class; both take the
        facts. Raise PolicyError where facts are out of bounds.
        """
        judged = judge(PolicyDocument, {"markets": {name: _written(fact) for name, fact in facts.items()}})
        markets = dict(self.document.markets)
        for name, market in judged.table.markets.items():
            markets[name] = merged(markets.get(name, MarketTable()), market)
        document = self.document.model_copy(update={"markets": markets})
        _refuse(
            f"{self.origin} with a recording's markets", replace(judged, table=document), market_conflicts(document)
        )
        return resolved(document)


def read_policy_file(path: Path) -> PolicyFile:
    """Read and check the policy at `path`. Raise PolicyError with every problem."""
    return parse_policy_file(read_text(path, PolicyError), str(path))


def parse_policy_file(text: str, origin: str) -> PolicyFile:
    """Check a policy that is at hand as text. Raise PolicyError with every problem."""
    return check_policy(parse_toml(text, origin, PolicyError), origin)


def check_policy(document: dict[str, Any], origin: str) -> PolicyFile:
    """Check a policy that is at hand as the values of a TOML document. Raise PolicyError with every problem."""
    if not document:
        raise PolicyError(origin, [Problem("file", "empty", "a policy, at least [classes.default]")])
    judged = judge(PolicyDocument, document)
    _refuse(origin, judged, [*guard_conflicts(judged), *market_conflicts(judged.table)])
    return PolicyFile(origin, judged.table)


def load_policy(path: Path) -> Policy:
    """Return the policy at `path`, resolved. Raise PolicyError with every problem."""
    return read_policy_file(path).policy()


def parse_policy(text: str, origin: str) -> Policy:
    """Return the policy in a text, resolved; `origin` is named in messages. Raise PolicyError with every problem."""
    return parse_policy_file(text, origin).policy()


def policy_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the policy, for editors. It knows no relations between values: the loader does."""
    return json_schema(PolicyDocument, "circuit_guard policy")


def _refuse(origin: str, judged: Judged[PolicyDocument], conflicts: Iterable[Conflict]) -> None:
    problems = [*judged.problems, *problems_of(conflicts, judged)]
    if problems:
        raise PolicyError(origin, problems)


def _written(facts: MarketFacts) -> dict[str, Any]:
    """Return the facts as a market's table would say them."""
    funding = {"rate_max": facts.rate_max, "period_s": facts.period_s, "gap_mode": facts.gap_mode}
    return {"funding": {key: value for key, value in funding.items() if value is not None}}


def merged(base: T, over: Table) -> T:
    """Return `base` with what was written in `over`, table by table and name by name. A list replaces a list."""
    written: dict[str, object] = {}
    for name in over.model_fields_set & type(base).model_fields.keys():
        value = getattr(over, name)
        below = getattr(base, name)
        if isinstance(value, Table):
            written[name] = merged(below, value)
        else:
            written[name] = {**below, **value} if isinstance(value, dict) else value
    return base.model_copy(update=written)


def class_of(document: PolicyDocument, market: MarketTable) -> str:
    """Return the name of the market's class."""
    return market.market_class or document.guard.default_class


def _table_of(document: PolicyDocument, market: MarketTable) -> ClassTable:
    """Return the values of a market: its class's, and over them its own."""
    return merged(document.classes[class_of(document, market)], market)


def resolved(document: PolicyDocument) -> Policy:
    """Return the policy that a valid document means; equal meaning has an equal revision, whatever the wording."""
    markets: dict[str, MarketPolicy] = {}
    alike: dict[str, MarketPolicy] = {}  # equal values are shared: checks in many markets touch less memory
    for name, market in document.markets.items():
        own = _market(class_of(document, market), _table_of(document, market))
        markets[name] = alike.setdefault(_canonical(own.plain()), own)
    policy = Policy(
        revision="",
        shadow=document.guard.shadow,
        global_breaker=_group(GlobalBreakerParameters, document.global_breaker),
        remembered_requests_max=min(document.guard.remembered_requests_max, ANSWERS_MAX),
        markets=markets,
        two_actors=frozenset(document.guard.two_actors),
        two_actors_within_ns=_nanoseconds(document.guard.two_actors_within_s),
        remembered_allow_max_ns=_nanoseconds(document.guard.remembered_allow_max_s),
    )
    return replace(policy, revision=revision_of(policy))


def _open_references(document: PolicyDocument) -> Iterator[str]:
    tables = {name: _table_of(document, market) for name, market in document.markets.items()}
    if admitting := [name for name, table in tables.items() if not table.references.sources]:
        yield (
            f"references.sources is empty for {', '.join(admitting)}: any name may publish references. "
            "Name the sources that may."
        )


def _near_zero(document: PolicyDocument) -> Iterator[str]:
    tables = {name: _table_of(document, market) for name, market in document.markets.items()}
    bare = [
        name for name, one in tables.items() if one.allow_negative_price and not (one.price.tick or one.price.scale)
    ]
    if bare:
        yield (
            f"allow_negative_price is true for {', '.join(bare)}, but price.tick and price.scale are 0: near zero "
            "every fraction of a price is nothing, and a difference of one tick trips. Give both."
        )


def _not_inherited(document: PolicyDocument) -> Iterator[str]:
    """Warn for each class in use that keeps a built-in value where [classes.default] has another."""
    default = document.classes.get("default", ClassTable())
    built_in = dict(_values(ClassTable()))
    changed = {key: value for key, value in _values(default) if value != built_in[key]}
    users: dict[str, list[MarketTable]] = {}
    for market in document.markets.values():
        users.setdefault(class_of(document, market), []).append(market)
    users.pop("default", None)
    for name, markets in users.items():
        kept = [
            f"{dotted(key)} {_as_written(built_in[key])} (classes.default has {_as_written(value)})"
            for key, value in changed.items()
            if not _gives(document.classes[name], key) and not all(_gives(market, key) for market in markets)
        ]
        if kept:
            yield (
                f"{dotted(('classes', name))} does not inherit from classes.default and keeps built-in values: "
                f"{', '.join(kept)}. If its markets are meant too, write the keys into [{dotted(('classes', name))}]."
            )


def _values(table: Table) -> Iterator[tuple[Key, object]]:
    """Yield every value of a table and of the tables in it."""
    for name, value in table:
        if isinstance(value, Table):
            yield from (((name, *key), inner) for key, inner in _values(value))
        else:
            yield (name,), value


def _gives(table: Table, key: Key) -> bool:
    """Return whether a value was written in a table, and not left to its default."""
    first, *rest = key
    if first not in table.model_fields_set:
        return False
    return not rest or _gives(getattr(table, str(first)), tuple(rest))


def _as_written(value: object) -> str:
    if isinstance(value, dict):
        return f"of {', '.join(sorted(value)) or 'none'}"
    if isinstance(value, tuple) and any(isinstance(one, Table) for one in value):
        return f"with {len(value)} changes"
    return _plain(value) if isinstance(value, Decimal) else json.dumps(value)


def _nanoseconds(written: Decimal) -> int:
    return int(ARITHMETIC.multiply(written, Decimal(SECOND_NS)))


def _market(class_name: str, table: ClassTable) -> MarketPolicy:
    own = {one.name: one.to_core(getattr(table, one.key)) for one in parameters_of(MarketPolicy)}
    changes = tuple(Change(change.from_ns, _groups(stage)) for change, stage in _stages(table))
    return MarketPolicy(class_name, _groups(table), shadow_rules=frozenset(table.shadow_rules), changes=changes, **own)


def _groups(table: ClassTable) -> dict[type[Parameters], Parameters]:
    groups: dict[type[Parameters], Parameters] = {group: _group(group, getattr(table, group.TABLE)) for group in GROUPS}
    groups[HoursParameters] = replace(_group(HoursParameters, table.hours), calendar=_calendar(table))
    return groups


def _stages(table: ClassTable) -> Iterator[tuple[ChangeTable, ClassTable]]:
    """Yield each change with all that holds from then on."""
    for change in table.changes:
        table = merged(table, change)
        yield change, table


def _calendar(table: ClassTable) -> Calendar | None:
    return calendar_of(table.hours.zone, table.hours.sessions, table.hours.holidays)


def _hours_conflicts(table: ClassTable) -> Iterator[Conflict]:
    """Yield what is no time zone that this host knows, and no day of the calendar."""
    hours = table.hours
    try:
        known_zone(hours.zone)
    except ValueError:
        expected = "a time zone of the IANA database, such as America/New_York"
        yield Conflict(("hours", "zone"), shown(hours.zone), expected, ())
    for text in hours.holidays:
        day, _, session = text.partition(" ")
        start, _, end = session.partition("-")
        if not _is_day(day) or end < start:
            expected = "a day of the calendar, and a session that ends on that day"
            yield Conflict(("hours", "holidays"), shown(text), expected, ())
    if hours.holidays and not hours.sessions:
        yield Conflict(("hours", "holidays"), f"{len(hours.holidays)} days", "hours.sessions beside them", ())


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _group(group: type[P], table: Table) -> P:
    return group(**{one.name: one.to_core(getattr(table, one.key)) for one in parameters_of(group)})


def revision_of(policy: Policy) -> str:
    """Return the revision of a policy: a digest of what it means, of 12 hexadecimal digits."""
    values = {one.name: getattr(policy, one.name) for one in fields(policy) if one.init}
    if policy.remembered_allow_max_ns == REMEMBERED_ALLOW_MAX_NS:  # it came later: see FOUNDING
        del values["remembered_allow_max_ns"]
    values["global_breaker"] = asdict(policy.global_breaker)
    values["markets"] = {name: _counted(market) for name, market in policy.markets.items()}
    return hashlib.sha256(_canonical(values).encode()).hexdigest()[:_REVISION_DIGITS]


def _counted(market: MarketPolicy) -> dict[str, Any]:
    """Return what a revision counts: a parameter that came later only where it differs from its default."""
    values = market.plain()
    _leave_defaults(values, market.groups)
    for change, plain in zip(market.changes, values.get("changes", ()), strict=True):
        _leave_defaults(plain, change.groups)
    return values


def _leave_defaults(values: dict[str, Any], groups: Mapping[type[Parameters], Parameters]) -> None:
    for group, given in groups.items():
        table = values.get(group.TABLE, {})
        table.pop("calendar", None)  # it follows from the hours as written
        for one in parameters_of(group):
            if one.name not in FOUNDING.get(group.TABLE, "").split() and getattr(given, one.name) == one.default:
                table.pop(one.name, None)
    for name in {group.TABLE for group in groups}:
        if not values.get(name, True):
            del values[name]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_canonical_value)


def _canonical_value(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value.normalize(ARITHMETIC), "f")
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a policy holds no {type(value).__name__}")


Place = tuple[str | int, ...]
"""A key of the document; a number is that of an entry in a list."""


class Conflict(NamedTuple):
    """A contradiction: the value to change, and the other values it was held against."""

    key: Place
    value: str
    expected: str
    others: tuple[Place, ...]


def problems_of(conflicts: Iterable[Conflict], judged: Judged[PolicyDocument]) -> list[Problem]:
    """Return the conflicts as problems. What was left out of the document contradicts nothing."""
    return [
        Problem(dotted(conflict.key), conflict.value, conflict.expected)
        for conflict in conflicts
        if judged.knows(_tables_of(conflict.key), *map(_tables_of, conflict.others))
    ]


def _tables_of(place: Place) -> Key:
    """Return a place as what is left out of a document is named: without the numbers of a list's entries."""
    return tuple(key for key in place if isinstance(key, str))


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
    elif not is_market(name):
        yield Conflict(("markets", name), shown(name), EXPECTED_MARKET, ())


def _market_conflicts(document: PolicyDocument, name: str, market: MarketTable) -> Iterator[Conflict]:
    class_name, key = class_of(document, market), ("markets", name, "class")
    below = document.classes.get(class_name)
    if below is not None:
        inherited = set(_class_conflicts(below))
        own = (conflict for conflict in _class_conflicts(merged(below, market)) if conflict not in inherited)
        yield from _placed(own, "markets", name, class_name)
        yield from _conversion_conflicts(document, name, merged(below, market))
    elif market.market_class is not None:
        yield Conflict(key, shown(class_name), _known_class(document), (("classes", class_name),))


def _conversion_conflicts(document: PolicyDocument, name: str, table: ClassTable) -> Iterator[Conflict]:
    """Yield what is wrong with the markets that convert quote currencies: each has prices of its own, unconverted."""
    for source, facts in table.references.facts.items():
        by, expected = facts.quoted_in, ""
        if not by:
            continue
        if by not in document.markets:
            expected = "a market of this policy, whose references say what that currency is worth"
        elif by == name or _converts(document, document.markets[by]):
            expected = "another market, whose own references need no conversion"
        if expected:
            key = ("markets", name, "references", "facts", source, "quoted_in")
            yield Conflict(key, shown(by), expected, (("markets", by),))


def _converts(document: PolicyDocument, market: MarketTable) -> bool:
    known = class_of(document, market) in document.classes
    return known and any(one.quoted_in for one in _table_of(document, market).references.facts.values())


def _known_class(document: PolicyDocument) -> str:
    names = sorted(document.classes)
    named = ", ".join(dotted([name]) for name in names[:CLASSES_SHOWN_MAX]) or "none is defined"
    return f"a class of this policy: {named}{', ...' if len(names) > CLASSES_SHOWN_MAX else ''}"


def _class_conflicts(table: ClassTable) -> Iterator[Conflict]:
    yield from _conflicts_at_once(table)
    yield from _change_conflicts(table)


def _change_conflicts(table: ClassTable) -> Iterator[Conflict]:
    """Yield changes that are out of order or change nothing, and the contradictions that each brings about."""
    before, since_ns = table, None
    for number, (change, stage) in enumerate(_stages(table)):
        key = ("changes", number, "from")
        if since_ns is not None and change.from_ns <= since_ns:
            expected = f"after {format_time(since_ns)}, the change before it"
            yield Conflict(key, format_time(change.from_ns), expected, ())
        if dict(_values(stage)) == dict(_values(before)):
            yield Conflict(key[:-1], format_time(change.from_ns), "at least one value that is another one then", ())
        standing = set(_conflicts_at_once(before))
        for conflict in _conflicts_at_once(stage):
            if conflict not in standing:
                yield conflict._replace(key=("changes", number, *conflict.key), others=())
        before, since_ns = stage, change.from_ns


def _conflicts_at_once(table: ClassTable) -> Iterator[Conflict]:
    for relation in (relation for group in GROUPS for relation in group.RELATIONS):
        value, other = attrgetter(relation.key)(table), attrgetter(relation.other)(table)
        named = relation.other
        if relation.key.endswith("_bps"):
            other, named = other * _SHARE_IN_BPS, f"{relation.other} in bps"
        if _BROKEN[relation.bound](value, other):
            wanted = f"{relation.bound} {_plain(other)} ({named}): {relation.why}"
            yield Conflict(_key(relation.key), _plain(value), wanted, (_key(relation.other),))
    yield from _source_conflicts(table)
    yield from _hours_conflicts(table)
    yield from _settlement_conflicts(table)


def _settlement_conflicts(table: ClassTable) -> Iterator[Conflict]:
    """Yield what makes the instants of settlement ambiguous; where funding accrues all the time there are none."""
    funding, period = table.funding, ("funding", "period_s")
    if funding.accrual is not FundingAccrual.STEPWISE:
        return
    if DAY_S % funding.period_s:
        expected = "a period that fits into 24 h a whole number of times: settlements lie at the same times every day"
        yield Conflict(period, _plain(funding.period_s), expected, (("funding", "accrual"),))
    others = (period, ("funding", "accrual"))
    if funding.settle_offset_s >= funding.period_s:
        expected = f"less than {_plain(funding.period_s)} (funding.period_s)"
        yield Conflict(("funding", "settle_offset_s"), _plain(funding.settle_offset_s), expected, others)
    if 2 * funding.settle_tolerance_s >= funding.period_s:
        expected = f"less than half of {_plain(funding.period_s)} (funding.period_s): a step is one of one settlement"
        yield Conflict(("funding", "settle_tolerance_s"), _plain(funding.settle_tolerance_s), expected, others)


def _source_conflicts(table: ClassTable) -> Iterator[Conflict]:
    references, key = table.references, ("references", "sources")
    sources, named = references.sources, len(set(references.sources))
    facts, of_sources = references.facts, ("references", "facts")
    origins = {(facts[source].origin if source in facts else "") or source for source in sources}
    if sources and references.quorum > len(origins):
        quorum, expected = references.quorum, f"at most {named}, the number of references.sources"
        if len(origins) < named:
            expected = f"at most {len(origins)}, the number of origins of references.sources"
        yield Conflict(("references", "quorum"), str(quorum), expected, (key, of_sources))
    for source in facts if sources else ():
        if source not in sources:
            yield Conflict((*of_sources, source), shown(source), "a source that references.sources names", (key,))
    if len(sources) > references.sources_max:
        expected = f"at most {references.sources_max} (references.sources_max)"
        yield Conflict(key, f"{len(sources)} sources", expected, (("references", "sources_max"),))
    for source in sorted({source for source in sources if sources.count(source) > 1}):
        yield Conflict(key, f"{shown(source)} twice", "each source once: it counts once in the median", ())
    if table.observation_source in sources:
        expected = "references independent of observation_source: a source cannot confirm itself"
        yield Conflict(key, shown(table.observation_source), expected, (("observation_source",),))


def _placed(conflicts: Iterable[Conflict], top: str, name: str, below: str = "") -> Iterator[Conflict]:
    """Yield conflicts of one table as conflicts of the document; `below` is the class a market takes values from."""
    for conflict in conflicts:
        others: list[Place] = [(top, name, *other) for other in conflict.others]
        if below:
            others += [("markets", name, "class"), ("guard", "default_class")]
            others += [("classes", below, *key) for key in (conflict.key, *conflict.others)]
        yield Conflict((top, name, *conflict.key), conflict.value, conflict.expected, tuple(others))


def _key(field: str) -> Key:
    return tuple(field.split("."))


def _plain(value: Decimal | int) -> str:
    return format(Decimal(value).normalize(), "f")
