"""Text and back: exact for every value that a type can hold, and the same text for the same value."""

from __future__ import annotations

import gc
import json
import pickle
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Union, cast, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core.facts import Fact, HaltChanged, MarketWarm, Rebaselined
from circuit_guard.core.inputs import (
    Baseline,
    Basis,
    Check,
    HaltCommand,
    Input,
    OrdersCheck,
    PhaseCommand,
    PolicyCommand,
    RebaselineCommand,
    Reference,
    Tick,
)
from circuit_guard.core.market import MarketState
from circuit_guard.core.policy import MARKET_FIELDS, MarketPolicy, Policy
from circuit_guard.core.rulebook import GROUPS
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS, CheckKind, Phase
from circuit_guard.journal.checkpoint import Snapshot, copied
from circuit_guard.journal.codec import KNOWN, CodecError, decode, decode_as, encode, encoded_parts, sorter_of
from circuit_guard.journal.record import CheckpointContent
from tests.core import hostile, world

NUMBERS = st.one_of(hostile.numbers, st.sampled_from([Decimal("1e-999999999"), Decimal("9" * 40 + "." + "1" * 40)]))
TEXTS = st.text(max_size=20)
WHOLE = st.integers(-(2**80), 2**80)
BUILT: dict[Any, Any] = {Mapping: dict}


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for every value that a type can hold."""
    origin, arguments = get_origin(hint), get_args(hint)
    simple = {Decimal: NUMBERS, int: WHOLE, str: TEXTS, bool: st.booleans(), type(None): st.none()}
    if hint in simple:
        return simple[hint]
    if origin in (Union, UnionType):
        return st.one_of(*map(values, arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=3)
    if origin in (Mapping, dict, OrderedDict):
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2).map(BUILT.get(origin, origin))
    if origin in (set, deque):
        return st.lists(values(arguments[0]), max_size=3, unique=origin is set).map(origin)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if hint is MarketPolicy:
        drawn = st.fixed_dictionaries({group: values(cast("Any", group)) for group in GROUPS})
        groups = drawn.map(lambda given: {group: given[group] for group in GROUPS})
        own = {name: values(get_type_hints(MarketPolicy)[name]) for name in MARKET_FIELDS}
        return st.builds(MarketPolicy, groups=groups, **own)
    beside = {field.name for field in fields(hint) if not field.init} if is_dataclass(hint) else set()  # no part of it
    named = {name for name, part in get_type_hints(hint).items() if get_origin(part) is not ClassVar}
    parts = {name: values(part) for name, part in get_type_hints(hint).items() if name in named - beside}
    return st.builds(hint, **parts)


def exactly(value: Any) -> Any:
    """Return a value in a form in which only the same is equal: a NaN itself, 1.0 not 1.00, True not 1."""
    if isinstance(value, type):
        return value.__name__
    if is_dataclass(value) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        names = [field.name for field in fields(value) if field.init] if is_dataclass(value) else value._fields
        return type(value).__name__, [exactly(getattr(value, name)) for name in names]
    if isinstance(value, Mapping):
        return type(value).__name__, [(exactly(key), exactly(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(exactly, value))
    if isinstance(value, tuple | list | deque):
        return type(value).__name__, [exactly(item) for item in value]
    if isinstance(value, CheckKind):
        return "str", repr(str(value))  # where a field is declared as text, its members become text
    return type(value).__name__, repr(value)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KNOWN.values() if kind not in (GuardState, CheckpointContent)],
    ids=lambda kind: kind.__name__,
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_value_when_encoded_and_decoded_then_it_is_exactly_the_same(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    text = encode(value)
    assert text.isascii()
    assert b"".join(encoded_parts(value)).decode() == text
    assert exactly(decode(text)) == exactly(value)
    assert encode(decode(text)) == text


def test_types_when_listed_then_every_input_and_fact_is_among_them() -> None:
    expected = {*get_args(Input), *get_args(Fact), Check, OrdersCheck, GuardState, Policy}
    assert expected <= set(KNOWN.values())
    assert all(KNOWN[kind.__name__] is kind for kind in expected)


@pytest.mark.parametrize("text", hostile.STRANGE)
def test_decimal_when_strange_then_it_comes_back_digit_for_digit(text: str) -> None:
    reference = Reference(1, "m", "s", 1, Decimal(text))
    assert str(decode_as(Reference, encode(reference)).price) == str(Decimal(text))


def test_text_when_read_by_people_then_it_names_type_and_fields() -> None:
    assert encode(Tick(5)) == '{"Tick":{"at_ns":5}}'
    assert encode(PhaseCommand(5, Phase.OPEN, ("A",))) == (
        '{"PhaseCommand":{"at_ns":5,"phase":"OPEN","markets":["A"],"actor":"","reason":"","rollback":false,'
        '"identity":""}}'
    )


def test_record_when_older_than_a_field_then_it_has_the_default() -> None:
    old = '{"PhaseCommand":{"at_ns":5,"phase":"OPEN"}}'
    assert decode(old) == PhaseCommand(5, Phase.OPEN)


def test_rebaseline_when_recorded_before_there_were_factors_then_it_is_by_value() -> None:
    baseline = '{"market":"A","funding_index":"2.5","as_of_ns":4}'
    text = f'"baselines":[{baseline}],"actor":"alice","reason":"why","checkpoint":7,"repaired":["B"],"identity":""'

    asked = decode(f'{{"RebaselineCommand":{{"at_ns":5,{text}}}}}')
    told = decode(
        '{"Rebaselined":{"at_ns":5,"market":"A","before":null,"after":"2.5","actor":"","reason":"","checkpoint":7}}'
    )

    assert asked == RebaselineCommand(5, (Baseline("A", Decimal("2.5"), 4),), "alice", "why", 7, ("B",))
    assert told == Rebaselined(5, "A", None, Decimal("2.5"), "", "", 7)


def test_policy_when_recorded_before_remembered_allows_were_bounded_then_none_of_them_is() -> None:
    policy = world.policy()
    text = encode(policy)
    assert decode(text) == policy
    old = text.replace(',"remembered_allow_max_ns":60000000000', "")
    assert old != text
    assert decode_as(Policy, old).remembered_allow_max_ns is None


def _reference(price: str) -> str:
    return f'{{"Reference":{{"at_ns":1,"market":"","source":"","event_time_ns":1,"price":{price}}}}}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a payload was ''"),
        ("[]", "a payload was '[]'"),
        ("{}", "a payload was '{}'"),
        ('{"Tick":{"at_ns":1}} x', "a payload was"),
        ('{"Flood":{}}', "a payload was of type 'Flood', expected one of Observation"),
        ('{"Tick":{}}', "missing required field `at_ns`"),
        ('{"Tick":{"at_ns":1,"more":2}}', "Tick had the field more, expected one of at_ns"),
        ('{"Tick":{"at_ns":"1"}}', "Expected `int`, got `str` - at `$.at_ns`"),
        ('{"Tick":{"at_ns":true}}', "Expected `int`, got `bool` - at `$.at_ns`"),
        ('{"Tick":{"at_ns":1.0}}', "Expected `int`, got `float` - at `$.at_ns`"),
        ('{"Tick":[1]}', "Expected `object`, got `array`"),
        ('{"MarketWarm":{"at_ns":1,"market":null}}', "Expected `str`, got `null` - at `$.market`"),
        ('{"PhaseCommand":{"at_ns":1,"phase":"SHUT"}}', "Invalid enum value 'SHUT' - at `$.phase`"),
        ('{"PhaseCommand":{"at_ns":1,"phase":[]}}', "Expected `str`, got `array` - at `$.phase`"),
        ('{"HaltCommand":{"at_ns":1,"markets":"A","actor":"","reason":""}}', "got `str` - at `$.markets`"),
        (_reference('"one"'), "Invalid decimal string - at `$.price`"),
        (_reference("1"), 'Reference.price was 1, expected "1"'),
        (_reference("1.5"), 'Reference.price was 1.5, expected "1.5"'),
        ('{"GuardState":{"markets":[]}}', "a recorded GuardState was"),
        ('{"Snapshot":{}}', "a recorded Snapshot was"),
        ("[" * 100_000, "a payload was"),
    ],
)
def test_text_when_not_ours_then_the_error_says_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(CodecError) as refusal:
        decode(text)
    assert told in str(refusal.value)


def test_value_when_of_an_unknown_type_then_it_is_refused() -> None:
    with pytest.raises(CodecError, match="a value was of type int, expected one of Observation"):
        encode(5)
    with pytest.raises(CodecError, match="a payload was of type Tick, expected MarketWarm"):
        decode_as(MarketWarm, encode(Tick(1)))
    with pytest.raises(CodecError, match="a value was of type object"):
        encode(HaltCommand(1, (), object(), ""))  # type: ignore[arg-type]


def leaves(hint: Any) -> Iterator[Any]:
    """Return the types that a type is made of in the end."""
    if hint is MarketPolicy:
        parts = [get_type_hints(MarketPolicy)[name] for name in MARKET_FIELDS] + list(GROUPS)
    elif is_dataclass(hint):
        hints = get_type_hints(hint)
        parts = [hints[field.name] for field in fields(hint) if field.init]
    else:
        parts = list(get_type_hints(hint).values() if hasattr(hint, "_fields") else get_args(hint))
    if not parts:
        yield hint
    for part in parts:
        if part is not Ellipsis:
            yield from leaves(part)


@pytest.mark.parametrize("kind", KNOWN.values(), ids=lambda kind: kind.__name__)
def test_type_when_recorded_then_it_is_made_of_nothing_but_what_comes_back_exactly(kind: type) -> None:
    exact = {Decimal, int, str, bool, type(None)}
    assert [leaf for leaf in leaves(kind) if leaf not in exact and not issubclass(leaf, Enum)] == []


@dataclass
class _Odd:
    sets: tuple[set[str], ...]


def test_type_when_it_has_no_form_then_that_is_said() -> None:
    with pytest.raises(CodecError, match="has no form in the journal"):
        sorter_of(_Odd)


def test_text_when_of_any_character_then_it_is_escaped_as_json_escapes_it() -> None:
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10800)]))
    text = encode(MarketWarm(1, characters))
    assert text == '{"MarketWarm":{"at_ns":1,"market":' + json.dumps(characters) + "}}"
    assert decode(text) == MarketWarm(1, characters)


def test_text_when_it_is_no_unicode_then_it_is_refused() -> None:
    with pytest.raises(CodecError, match=r"a MarketWarm cannot be written: .*surrogates not allowed"):
        encode(MarketWarm(1, "\ud800"))


def lived_in() -> tuple[Policy, GuardState, dict[str, world.Feed], int]:
    """Return a guard that has seen everything: good and bad data, halts, trips, checks, orders."""
    policy, state, feeds = pickle.loads(hostile.WARM)  # noqa: S301  # our own bytes
    now_ns = state.now_ns
    for second, (mark, epoch) in enumerate([("92600", 1), ("NaN", 1), ("100000", 1), ("92600", 2), ("92600.10", 2)]):
        now_ns += SECOND_NS
        for feed in feeds.values():
            for quote in feed.quotes(now_ns):
                guard.step(state, quote, policy)
        published = feeds[world.BTC].observation(now_ns, mark_price=Decimal(mark), epoch=epoch)
        guard.step(state, published, policy)
        basis = Basis(feeds[world.BTC].mark, Decimal(0))
        asked = Check(now_ns, f"r{second}", "a", world.BTC, Decimal(-1), basis=basis)
        guard.decide(state, asked, policy)
    guard.step(state, feeds[world.ETH].observation(now_ns, funding_index=Decimal(0)), policy)
    guard.step(state, HaltCommand(now_ns, (), "alice", "a test"), policy)
    guard.step(state, HaltCommand(now_ns, (world.ETH,), "bob", "another"), policy)
    guard.step(state, PhaseCommand(now_ns, Phase.POST_ONLY, (world.BTC,), rollback=True), policy)
    return policy, state, feeds, now_ns


def before_halts_stood_side_by_side(text: str) -> str:
    """Return the text of a state as it was written when a scope had one halt at most."""
    plain = json.loads(text)
    whole = plain["GuardState"]
    del whole["other_global_halts"]
    for market in whole["markets"].values():
        del market["other_halts"]
    for halt in (whole["global_halt"], *(market["halt"] for market in whole["markets"].values())):
        if halt is not None:
            del halt["identity"]
    return json.dumps(plain, separators=(",", ":"))


def test_state_when_a_scope_had_one_halt_at_most_then_that_one_stands() -> None:
    policy, state, _, now_ns = lived_in()
    old = before_halts_stood_side_by_side(encode(state))

    opened = decode_as(GuardState, old)

    assert "other_" not in old
    assert exactly(opened) == exactly(state)
    assert [halt.actor for halt in opened.global_halts] == ["alice"]
    assert [halt.actor for halt in opened.markets[world.ETH].halts] == ["bob"]
    guard.step(opened, HaltCommand(now_ns, (world.ETH,), "carol", "too", now_ns + SECOND_NS), policy)
    assert [halt.actor for halt in opened.markets[world.ETH].halts] == ["bob", "carol"]


def test_halt_when_recorded_before_it_had_an_identity_then_it_is_of_the_actor_named() -> None:
    old = '{"HaltCommand":{"at_ns":5,"markets":[],"actor":"alice","reason":"odd","expires_ns":null}}'
    assert decode(old) == HaltCommand(5, (), "alice", "odd")
    old = '{"HaltChanged":{"at_ns":5,"scope":"A","halted":true,"actor":"alice","reason":"odd","expires_ns":null}}'
    assert decode(old) == HaltChanged(5, "A", True, "alice", "odd")


def texts(facts: list[Fact]) -> list[str]:
    return [encode(fact) for fact in facts]


def test_state_when_decoded_then_it_is_the_same_and_goes_on_the_same() -> None:
    policy, state, feeds, now_ns = lived_in()
    text = encode(state)
    assert b"".join(encoded_parts(state)).decode() == text
    copy = decode_as(GuardState, text)
    assert exactly(copy) == exactly(state)
    for second in range(1, 90):
        later_ns = now_ns + second * SECOND_NS
        inputs: list[Input] = [quote for feed in feeds.values() for quote in feed.quotes(later_ns)]
        inputs += [feed.observation(later_ns) for feed in feeds.values()]
        for input_ in [*inputs, Tick(later_ns)]:
            assert texts(guard.step(copy, input_, policy)) == texts(guard.step(state, input_, policy))
        # r1 is a request that was answered before the state was encoded.
        for request_id in ("r1", f"later{second}"):
            asked = Check(later_ns, request_id, "a", world.BTC, Decimal(-1))
            assert texts(guard.decide(copy, asked, policy)) == texts(guard.decide(state, asked, policy))
    assert encode(copy) == encode(state)


def test_state_when_equal_then_its_text_is_too_whatever_the_order_of_its_sets() -> None:
    _, state, _, _ = lived_in()
    market = state.markets[world.BTC]
    market.given = {"mark_price", "funding_index", "index_price", "funding_rate"}
    once = encode(state)
    market.given = {*sorted(market.given, reverse=True)}
    assert encode(state) == once


def test_copy_when_the_state_goes_on_then_it_does_not() -> None:
    policy, state, feeds, now_ns = lived_in()
    before = encode(state)
    taken = copied(state)
    assert exactly(taken) == exactly(state)
    for second in range(1, 40):
        later_ns = now_ns + second * SECOND_NS
        hostile.publish(state, policy, feeds, later_ns)
        guard.decide(state, Check(later_ns, f"s{second}", "a", world.BTC, Decimal(-1)), policy)
    assert encode(state) != before
    assert encode(taken) == before


def test_snapshot_when_the_state_goes_on_before_markets_are_copied_then_it_does_not() -> None:
    policy, state, feeds, now_ns = lived_in()
    before, order = encode(state), list(state.markets)
    snapshot = Snapshot(state)
    assert snapshot.copy_some(1)
    for second in range(1, 40):
        later_ns = now_ns + second * SECOND_NS
        hostile.publish(state, policy, feeds, later_ns)
        guard.decide(state, Check(later_ns, f"s{second}", "a", world.BTC, Decimal(-1)), policy)
        guard.step(state, Tick(later_ns), policy)
    taken = snapshot.whole()
    snapshot.close()

    assert encode(state) != before
    assert encode(taken) == before
    assert list(taken.markets) == order
    assert type(state.markets) is dict


def test_snapshot_when_markets_come_and_halts_reach_all_then_it_has_those_of_its_instant() -> None:
    policy, state, _, now_ns = lived_in()
    before, names = encode(state), list(state.markets)
    snapshot = Snapshot(state)
    guard.step(state, HaltCommand(now_ns + 1, tuple(policy.markets), "alice", "a test"), policy)
    more = replace(policy, markets={**policy.markets, "NEW-USD-PERP": policy.markets[world.BTC]})
    guard.step(state, PolicyCommand(now_ns + 2, "more"), more)
    taken = snapshot.whole()
    snapshot.close()

    assert encode(taken) == before
    assert list(state.markets) == [*names, "NEW-USD-PERP"]


def test_snapshot_when_it_is_done_with_then_its_copy_goes_without_anybody_looking_for_garbage() -> None:
    _, state, _, _ = lived_in()
    gc.disable()
    try:
        snapshot = Snapshot(state)
        market = snapshot.whole().markets[world.BTC]
        snapshot.close()
        del snapshot
        assert sys.getrefcount(market) == 2, "this test has it, and asks"
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "reach",
    [
        lambda markets: markets[world.BTC],
        lambda markets: markets.get(world.BTC),
        lambda markets: markets.pop(world.BTC),
        lambda markets: markets.setdefault(world.BTC),
        lambda markets: next(iter(markets.values())),
        lambda markets: next(iter(markets.items()))[1],
        lambda markets: next(iter(markets.copy().values())),
    ],
)
def test_snapshot_when_a_market_is_reached_in_any_way_then_it_was_copied_first(
    reach: Callable[[dict[str, MarketState]], MarketState],
) -> None:
    _, state, _, _ = lived_in()
    before = encode(state)
    snapshot = Snapshot(state)
    reach(state.markets).consistent_observations += 1

    assert encode(snapshot.whole()) == before
    snapshot.close()


def shareable(hint: Any, inside: Any) -> Iterator[str]:
    """Return what could change in a type that is shared."""
    origin = get_origin(hint)
    if origin in (dict, OrderedDict, list, set, deque) or (is_dataclass(hint) and not _frozen(hint)):
        yield f"{hint} in {inside}"
    parts = get_type_hints(hint).values() if is_dataclass(hint) or hasattr(hint, "_fields") else get_args(hint)
    for part in parts:
        yield from shareable(part, hint)


def _frozen(kind: Any) -> bool:
    return bool(kind.__dataclass_params__.frozen)


def changeable(value: Any, place: str = "state") -> Iterator[tuple[str, Any]]:
    """Return everything within a value that can change, with its place. Tuples and frozen dataclasses are values."""
    if is_dataclass(value) and not _frozen(type(value)):
        parts: Iterable[tuple[Any, Any]] = [(field.name, getattr(value, field.name)) for field in fields(value)]
    elif isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | set | deque):
        parts = enumerate(value)
    else:
        return
    yield place, value
    for name, part in parts:
        yield from changeable(part, f"{place}.{name}")


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Stage.explicit, Stage.reuse, Stage.generate],  # making a whole state smaller takes minutes
)
@given(state=values(GuardState))
def test_copy_when_of_any_state_then_it_is_the_same_and_nothing_that_can_change_is_shared(
    state: GuardState,
) -> None:
    taken = copied(state)
    assert exactly(taken) == exactly(state)
    own = {id(part) for _, part in changeable(state)}
    assert [place for place, part in changeable(taken) if id(part) in own] == []


def test_state_when_its_types_are_listed_then_what_a_copy_shares_cannot_change() -> None:
    unseen, shared = [GuardState], set()
    while unseen:
        hint: Any = unseen.pop()
        if is_dataclass(hint) and not _frozen(hint):
            hints = get_type_hints(hint)  # a copy begins without what is derived from the rest
            unseen += [hints[field.name] for field in fields(hint) if field.init]
        elif get_origin(hint) in (dict, OrderedDict, list, set, deque, Union, UnionType):
            unseen += get_args(hint)
        else:
            shared.add(hint)
    found = {text for hint in shared for text in shareable(hint, "the state")}
    # What was asked is a dict, which nobody changes: copying ten thousand of them would hold up the event loop.
    assert {text for text in found if not text.startswith("dict[str, str] in tuple[")} == set()
    assert len(shared) > 20
