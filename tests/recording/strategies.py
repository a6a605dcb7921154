"""Recordings as hypothesis makes them up: any entries that the format can hold."""

from __future__ import annotations

from decimal import Decimal
from unicodedata import normalize

from hypothesis import strategies as st

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.inputs import Account, Basis, Check, Observation, PhaseCommand, Position, Reference
from circuit_guard.core.names import is_market
from circuit_guard.core.types import CheckKind, Phase
from circuit_guard.recording.format import Entry, Fault, Header, Label, LabelledCheck

TIME_NS_MAX = 9_000_000_000_000_000_000

names = st.text(min_size=1, max_size=128).filter(str.isprintable)
decimals = st.decimals(min_value=Decimal("-1e29"), max_value=Decimal("1e29"), allow_nan=False).filter(
    lambda value: abs(value.adjusted()) <= 30 and len(value.as_tuple().digits) <= 40 and len(str(value)) <= 80
)
sizes = decimals.filter(bool)
fractions = st.decimals(min_value=0, max_value=1, places=6)
counters = st.integers(min_value=0, max_value=2**63 - 1)
times = st.integers(min_value=0, max_value=TIME_NS_MAX)
optional = st.none() | decimals
market_names = names.map(lambda name: normalize("NFC", name)).filter(is_market)
markets = st.lists(market_names, max_size=3, unique=True).map(tuple)

observations = st.builds(Observation, times, market_names, names, counters, counters, times, *[optional] * 7)
references = st.builds(Reference, times, market_names, names, times, decimals)
phases = st.builds(
    PhaseCommand, times, st.sampled_from([phase for phase in Phase if phase is not Phase.RECOVERING]), markets
)
amounts = decimals.filter(lambda value: value > 0)
positions = st.builds(Position, market_names, sizes, decimals, decimals, fractions) | st.builds(
    Position, market_names, sizes, decimals, decimals, st.just(Decimal(0)), amounts
)
sides = st.lists(positions, max_size=3, unique_by=lambda held: (held.market, held.size > 0))
accounts = st.builds(Account, decimals, sides.map(tuple))
checks = st.builds(
    Check,
    at_ns=times,
    request_id=names,
    account_id=names,
    market=market_names,
    size=sizes,
    kind=st.sampled_from(CheckKind),
    execution_price=optional,
    basis=st.builds(Basis, optional, optional),
    account=st.none() | accounts,
    judge_anew=st.booleans(),
)
labelled = st.builds(LabelledCheck, checks, st.none() | st.sampled_from(Label))
faults = st.builds(Fault, times, names, markets, st.just(TIME_NS_MAX))
entries: st.SearchStrategy[Entry] = st.one_of(observations, references, phases, labelled, faults)
recordings = st.lists(entries, max_size=12).map(lambda made: sorted(made, key=lambda entry: entry.at_ns))
headers = st.builds(
    Header,
    st.text(max_size=100),
    st.none() | st.integers(min_value=1, max_value=31_622_400),
    st.none() | st.sampled_from(GapMode),
    st.dictionaries(market_names, st.none() | decimals.filter(lambda value: value > 0), max_size=3),
)
