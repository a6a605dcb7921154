"""Facts of single sources in the policy: read, merged by source, refused by name, recorded in the journal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.config.policy import parse_policy, parse_policy_file
from circuit_guard.core.policy import Policy
from circuit_guard.core.references import ReferenceParameters, SourceFacts, WithoutReferences
from circuit_guard.errors import PolicyError
from circuit_guard.journal import codec

GIVEN = """
[classes.default.references]
sources = ["a", "b", "c", "d"]
facts.a = { quoted_in = "COIN-USD", min_change = "0.005", heartbeat_s = 60 }
facts.b = { origin = "pyth" }
[markets.COIN-USD]
references.facts.a = {}
[markets.A]
references.facts.b = { multiplier = 1000 }
[markets.B]
"""


def facts(policy: Policy, market: str) -> dict[str, SourceFacts]:
    return {one.source: one for one in policy.markets[market].of(ReferenceParameters).facts}


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as refused:
        parse_policy_file(text, "policy.toml")
    return [str(problem) for problem in refused.value.problems]


def test_facts_when_a_market_says_more_of_a_source_then_it_takes_the_place_of_what_its_class_says_of_that_source() -> (
    None
):
    policy = parse_policy(GIVEN, "policy.toml")

    assert facts(policy, "B") == {
        "a": SourceFacts("a", quoted_in="COIN-USD", min_change=Decimal("0.005"), heartbeat_ns=60_000_000_000),
        "b": SourceFacts("b", origin="pyth"),
    }
    assert facts(policy, "A")["b"] == SourceFacts("b", multiplier=Decimal(1000))
    assert facts(policy, "A")["a"].quoted_in == "COIN-USD"


def test_facts_when_a_policy_has_them_then_the_journal_gives_the_same_policy_back() -> None:
    policy = parse_policy(GIVEN, "policy.toml")

    assert codec.decode(codec.encode(policy)) == policy


def test_facts_when_a_policy_names_none_then_its_revision_is_that_of_one_that_spells_out_the_defaults() -> None:
    bare = '[classes.default]\nreferences.sources = ["a", "b", "c"]\n[markets.A]\n[markets.B]\n[markets.C]\n'
    spelt = bare + '[markets.A.references]\nwithout = "denied"\n[markets.A.price]\ntick = 0\n'

    assert parse_policy(bare, "a").revision == parse_policy(spelt.replace("[markets.A]\n", "", 1), "b").revision


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ('references.facts.x.origin = "o"', "markets.B.references.facts.x", "a source that references.sources names"),
        ('references.facts.c.quoted_in = "EUR-USD"', "markets.B.references.facts.c.quoted_in", "a market of this"),
        ('references.facts.c.quoted_in = "B"', "markets.B.references.facts.c.quoted_in", "another market"),
        ('references.facts.c.quoted_in = "A"', "markets.B.references.facts.c.quoted_in", "need no conversion"),
        ("references.facts.c.multiplier = 0", "markets.B.references.facts.c.multiplier", "more than 0"),
        ("references.facts.c.multiplyer = 2", "markets.B.references.facts.c.multiplyer", "is multiplier meant?"),
        ("references.facts.c = 2", "markets.B.references.facts.c", "a table"),
        (
            'references.facts = { c = { origin = "pyth" }, d = { origin = "pyth" } }',
            "markets.B.references.quorum",
            "at most 2, the number of origins",
        ),
        ('references.without = "own"', "markets.B.references.without", '"denied" or "own_price"'),
        ('price.tick = "-0.01"', "markets.B.price.tick", "0"),
    ],
)
def test_facts_when_they_contradict_the_policy_then_the_key_is_named(line: str, field: str, expected: str) -> None:
    told = problems(f"{GIVEN}{line}\n")

    assert any(field in one and expected in one for one in told), told


def test_own_price_when_a_policy_says_so_then_the_market_has_it() -> None:
    policy = parse_policy(GIVEN + 'references.without = "own_price"\n', "policy.toml")

    assert policy.markets["B"].of(ReferenceParameters).without is WithoutReferences.OWN_PRICE
    assert policy.markets["A"].of(ReferenceParameters).without is WithoutReferences.DENIED


HOURS = """
[classes.default.hours]
zone = "America/New_York"
sessions = ["mon-fri 09:30-16:00"]
holidays = ["2026-12-25", "2026-11-27 09:30-13:00"]
[markets.A]
[markets.B]
[markets.C]
"""


def test_hours_when_a_policy_has_them_then_the_journal_gives_the_same_hours_back() -> None:
    policy = parse_policy(HOURS, "policy.toml")

    assert codec.decode(codec.encode(policy)) == policy


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "America/New_York",
            "America/Gotham",
            'classes.default.hours.zone: was "America/Gotham", expected a time zone',
        ),
        ("mon-fri 09:30", "mon-fri 9:30", 'hours.sessions[0]: was "mon-fri 9:30-16:00", expected a session such as'),
        ("2026-12-25", "2026-02-30", 'hours.holidays: was "2026-02-30", expected a day of the calendar'),
        ("09:30-13:00", "13:00-09:30", 'hours.holidays: was "2026-11-27 13:00-09:30", expected a day of the calendar'),
        ('sessions = ["mon-fri 09:30-16:00"]', "", "hours.holidays: was 2 days, expected hours.sessions beside them"),
    ],
)
def test_hours_when_they_mean_nothing_then_the_key_is_named(before: str, after: str, told: str) -> None:
    assert any(told in one for one in problems(HOURS.replace(before, after))), problems(HOURS.replace(before, after))
