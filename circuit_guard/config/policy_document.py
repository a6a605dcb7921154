"""The policy as people write it. The tables of a market class are made from the parameters that the core declares."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, create_model

from circuit_guard.config.toml import Name, Number, Table, Whole, expected
from circuit_guard.core.names import NAME_CHARACTERS_MAX
from circuit_guard.core.parameters import Parameter, Parameters, Unit, parameters_of
from circuit_guard.core.policy import GlobalBreakerParameters, MarketPolicy, TwoActorAct
from circuit_guard.core.rulebook import GROUPS, MARKET_RULES, RULES

Text = Annotated[str, Name()]


class DerivedTable(Table):
    """The base of the tables made below. They have no source text in which pydantic could look for their docstrings,
    and looking for it was half of what it took to start a command.
    """

    model_config = ConfigDict(use_attribute_docstrings=False)


def _known_rule(name: object) -> str:
    """Return the name of a rule that can be in shadow, or raise the pydantic error that says which can."""
    if isinstance(name, str) and name in RULES and name not in MARKET_RULES:
        raise expected(f"a rule of a market; {name} is GLOBAL, put it in shadow with global_breaker.shadow")
    if not isinstance(name, str) or name not in MARKET_RULES:
        raise expected(f"a rule: {', '.join(sorted(MARKET_RULES))}")
    return name


def _instant(value: object) -> int:
    """Return a time of the document in ns since 1970, or raise the pydantic error that says what is expected."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise expected("a time with its offset, not in quotes, such as 2026-12-01T08:00:00Z")
    return (value - EPOCH) // timedelta(microseconds=1) * 1000


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Instant = Annotated[int, PlainValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
CHANGEABLE = ("funding", "references", "staleness")
"""The tables of which a change may say something: what exchanges announce."""
CLASS_NAME = Name(
    "a name of 1 to 32 lower-case letters, digits and _ that starts with a letter", "[a-z][a-z0-9_]{0,31}"
)
RuleName = Annotated[str, PlainValidator(_known_rule), WithJsonSchema({"enum": sorted(MARKET_RULES)})]
Act = Annotated[TwoActorAct, Field(strict=False)]


def tables() -> dict[str, list[type[Parameters]]]:
    """Return the groups of parameters by the table of the policy file that they share."""
    grouped: dict[str, list[type[Parameters]]] = {}
    for group in GROUPS:
        grouped.setdefault(group.TABLE, []).append(group)
    return grouped


def _type_of(parameter: Parameter) -> Any:
    """Return the pydantic type that reads one parameter."""
    declared = parameter.declared
    match declared.unit:
        case Unit.FLAG:
            return bool
        case Unit.CHOICE:
            return Annotated[declared.choices, Field(strict=False)]
        case Unit.NAME:
            return Text
        case Unit.NAMES:
            return Annotated[tuple[Text, ...], Field(strict=False, max_length=int(declared.most or 0))]
        case Unit.TABLES if declared.of is not None:
            most = int(declared.most or 0)
            table: Any = named_table(declared.of)  # type: ignore[arg-type]
            return Annotated[dict[Text, table], Field(max_length=most)]
        case Unit.TEXTS:
            text: Any = Annotated[str, Name(declared.expected, declared.pattern)]
            return Annotated[tuple[text, ...], Field(strict=False, max_length=int(declared.most or 0))]
        case Unit.COUNT:
            return Annotated[int, Whole(int(declared.least or 0), int(declared.most or 0))]
    places = 9 if declared.unit is Unit.SECONDS else 12
    return Annotated[Decimal, Number(declared.most or Decimal(0), declared.over, declared.least, places)]


def _fields(group: type[Any]) -> Iterator[tuple[str, Any]]:
    for one in parameters_of(group):
        yield one.key, (_type_of(one), Field(default=one.written_default, description=one.declared.meaning))


@cache
def named_table(group: type[Any]) -> type[Table]:
    """Return the table of a group of which there may be several, by name."""
    table = create_model(f"{group.__name__}Table", __base__=DerivedTable, __doc__=group.__doc__, **dict(_fields(group)))
    globals()[table.__name__] = table  # pickle finds it by name
    return table


def _table(name: str, groups: list[type[Parameters]]) -> type[Table]:
    fields = dict(field for group in groups for field in _fields(group))
    camel = name.title().replace("_", "")
    doc = " ".join((group.__doc__ or "").partition("\n\n")[0] for group in groups)
    return create_model(f"{camel}Table", __base__=DerivedTable, __doc__=doc, **fields)


if TYPE_CHECKING:  # a checker cannot know the types that are made below

    class GlobalBreakerTable(Table):
        """What the loader itself asks of the table."""

        latched_markets_min: int = 0

    class ChangeTable(Table):
        """What the loader itself asks of a change."""

        from_ns: int = 0

    class ClassTable(Table):
        """What the loader itself asks of a class."""

        observation_source: str = ""
        shadow_rules: tuple[str, ...] = ()
        references: Any = None
        price: Any = None
        hours: Any = None
        allow_negative_price: bool = False
        funding: Any = None
        changes: tuple[ChangeTable, ...] = ()

    class MarketTable(ClassTable):
        """And of a market."""

        market_class: str | None = None

else:
    GlobalBreakerTable = _table(GlobalBreakerParameters.TABLE, [GlobalBreakerParameters])
    _TABLES = {name: _table(name, groups) for name, groups in tables().items()}
    globals().update({table.__name__: table for table in _TABLES.values()})  # pickle finds them by name
    _SHADOW = "Rules that are evaluated, counted and shown, and enforce nothing."
    ChangeTable = create_model(
        "ChangeTable",
        __base__=DerivedTable,
        __doc__="What changes at a known second: from then on these keys have these values.",
        from_ns=(
            Instant,
            Field(alias="from", description="When: a time with its offset, such as 2026-12-01T08:00:00Z."),
        ),
        **{name: (_TABLES[name], _TABLES[name]()) for name in CHANGEABLE},
    )
    ClassTable = create_model(
        "ClassTable",
        __base__=DerivedTable,
        __doc__="A class of markets. A key that is not given has its default.",
        **dict(_fields(MarketPolicy)),
        shadow_rules=(
            Annotated[tuple[RuleName, ...], Field(strict=False, max_length=100)],
            Field(default=(), description=_SHADOW),
        ),
        changes=(
            Annotated[tuple[ChangeTable, ...], Field(strict=False, max_length=100)],
            Field(default=(), description="What changes when, the first first; each on top of those before it."),
        ),
        **{name: (table, table()) for name, table in _TABLES.items()},
    )
    MarketTable = create_model(
        "MarketTable",
        __base__=ClassTable,
        __doc__="A market: its class, and what differs from it. A list replaces the class's list.",
        market_class=(
            Text | None,
            Field(default=None, alias="class", description="The class; without one guard.default_class."),
        ),
    )


class GuardTable(Table):
    """What holds for the guard as a whole."""

    shadow: bool = False
    """Judge and record everything, enforce nothing but operator halts."""
    default_class: Text = "default"
    """The class of markets that name none, and of those that a recording brings along."""
    remembered_requests_max: Annotated[int, Whole(1, 1_000_000)] = 10_000
    """How many answered request_ids are remembered, so that asking again gets the same answer; at most 65,536, and
    64 MiB of them."""
    remembered_allow_max_s: Annotated[Decimal, Number(least=Decimal(0), most=Decimal(3600), places=9)] = Decimal(60)
    """Seconds for which a remembered ALLOW answers. After that, and once a halt, a breaker or a phase holds closures,
    the request is judged again. Longer: a slow caller closes on an older verdict. 0: each ALLOW is judged again."""
    two_actors: Annotated[tuple[Act, ...], Field(strict=False, max_length=len(TwoActorAct))] = ()
    """The acts that take effect only when a second actor asks for the same: resume, reset, rebaseline. No single
    mistake then opens anything; a market held without need waits for the second. Identities of the settings
    tell actors apart; without any, names as given do."""
    two_actors_within_s: Annotated[Decimal, Number(least=Decimal(1), most=Decimal(86_400), places=9)] = Decimal(600)
    """Seconds within which the second has to ask; after that both begin again. Long enough to wake somebody."""


class PolicyDocument(Table):
    """The policy of circuit_guard: what is enforced. Decimals are strings ("0.02") or integers, never floats."""

    guard: GuardTable = GuardTable()
    global_breaker: GlobalBreakerTable = GlobalBreakerTable()
    classes: dict[str, ClassTable] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"pattern": f"^{CLASS_NAME.pattern}$"}}
    )
    """Classes of markets by name. The default class has to be among them."""
    markets: dict[str, MarketTable] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": NAME_CHARACTERS_MAX}}
    )
    """The markets that are guarded. A closure in any other is denied."""
