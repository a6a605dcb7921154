"""Blocks: what comes out is what was put in, character by character, and it is small."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated_feed import simulate
from circuit_guard.journal.block import pack, unpack
from circuit_guard.journal.record import Kind, Record, input_entry
from tests.journal.builders import mixed, recorded

numbers = st.one_of(
    st.integers(-(10**45), 10**45).map(str),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.from_regex(r"-?[0-9]{0,45}\.?[0-9]{0,45}", fullmatch=True),
    st.sampled_from(
        ("0", "-0", "00", "-0.0", "0.10", "-0.10", "007", "1e5", "1E-7", "-0." + "0" * 45 + "1", "1.2.3", "--5", "-.5")
    ),
)
times = st.integers(-(2**63), 2**63 - 1)

PACKED_BY_VERSION_1 = b64decode(
    "4AFRAMwDAABqMpyhIt4LAnDkAt0nJrK2UT8lZ2bvqI9Z625pTqqDPX8Q99iBmeyjsFQpTHVmOx23askTHMIhFBixSRHMj8JvM/8R"
    "glIDgM4ffgvY+lVGdtS3XpJ1ZeHUXdw9gq+C+MDZxPgctf7cu8RF8djroEbUyZNooH+iGwQ0qWGWFgcHoV5sWlP00ZuEjPlXXX4E"
    "8xc/QCJtFwauqXUbakMZBG2WexYRm4nN4uL8yFzl+6l7ZiQgtMGii2xHF7lMzyXgl0jib/l/4wQX1QAAAAA="
)


@st.composite
def payloads(draw: st.DrawFn) -> str:
    """Return a text with numbers in it, of which there are few different ones apart from the numbers."""
    form = draw(
        st.sampled_from(('{"a":"#","b":#}', "#", "##", "# and % of #", "no number", "", "é#\n\\u00e9", "#x" * 12))
    )
    for _ in range(form.count("#")):
        form = form.replace("#", draw(numbers), 1)
    return form


records = st.lists(
    st.tuples(st.sampled_from(Kind), times, st.sampled_from(("", "A", "B-2")), st.one_of(payloads(), st.text())),
    min_size=1,
    max_size=30,
).map(lambda rows: [Record(10 + 3 * number, *row) for number, row in enumerate(rows)])


@given(kept=records)
def test_block_when_unpacked_then_its_records_are_exactly_those_packed(kept: list[Record]) -> None:
    assert unpack(pack(kept)) == kept


@given(
    prices=st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), min_size=3, max_size=40),
    step_ns=st.integers(0, 10**10),
)
def test_series_of_prices_when_packed_then_every_digit_comes_back(prices: list[object], step_ns: int) -> None:
    kept = [
        Record(n + 1, Kind.INPUT, 10**18 + n * step_ns, "A", f'{{"at_ns":{10**18 + n * step_ns},"price":"{price}"}}')
        for n, price in enumerate(prices)
    ]
    assert unpack(pack(kept)) == kept


def test_block_of_the_version_before_when_unpacked_then_its_records_are_those_packed() -> None:
    texts = (
        '{"price":"1.50"}',
        '{"price":"2.50"}',
        "no number",
        '{"id":"7f3a"}',
        '{"price":"3.75"}',
        '{"price":"4.00"}',
    )
    kinds = (Kind.DECISION, Kind.INPUT, Kind.INPUT) * 2
    kept = [Record(5 + n, kind, 10**18 + n, "A", text) for n, (kind, text) in enumerate(zip(kinds, texts, strict=True))]
    assert unpack(PACKED_BY_VERSION_1) == kept


def test_journal_of_a_guard_when_packed_then_exact() -> None:
    kept = [recorded(number, entry) for number, entry in enumerate(mixed(400), start=1)]
    assert unpack(pack(kept)) == kept


def test_decisions_of_which_no_two_are_alike_when_packed_then_exact_and_small() -> None:
    ids = [sha256(str(number).encode()).hexdigest() for number in range(300)]
    kept = [
        Record(
            n + 1, Kind.DECISION, n, "A", f'{{"DecisionMade":{{"id":"{one}","account":"{one[:9]}","price":{n}.50}}}}'
        )
        for n, one in enumerate(ids)
    ]
    packed = pack(kept)
    assert unpack(packed) == kept
    assert len(packed) / len(kept) < 32 + 24, "a hash takes 32 bytes, whatever is done to it"


def test_a_minute_of_inputs_when_packed_then_a_day_of_them_is_within_the_budget() -> None:
    kept = [recorded(number, input_entry(input_)) for number, input_ in enumerate(simulate(20, 60), start=1)]
    packed = pack(kept)
    assert unpack(packed) == kept
    a_day_of_111_markets = 111 * 4 * 86_400
    assert len(packed) / len(kept) * a_day_of_111_markets < 500_000_000
