"""The reasons: each is explained, belongs to a rule, and is seen in a scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circuit_guard.core import gates
from circuit_guard.core.reasons import REASONS, ask_again_ns, how_it_ends, lift, rule_of, sentence
from circuit_guard.core.rulebook import RULES
from circuit_guard.core.types import Finding, Lift, Severity

SCENARIOS = Path(__file__).parent / "scenarios"
EXPECTED = [
    line for path in SCENARIOS.glob("*.txt") for line in path.read_text().splitlines() if not line.startswith("#")
]
SOMEBODY_HAS_TO_ACT = {Lift.CALLER, Lift.OPERATOR}


@pytest.mark.parametrize("reason", list(REASONS))
def test_reason_when_released_then_a_scenario_shows_it(reason: str) -> None:
    shown = re.compile(rf"^\s+(denying )?{reason}: |(would: |for ).*\b{reason}\b")
    assert any(shown.search(line) for line in EXPECTED)


@pytest.mark.parametrize("reason", list(REASONS))
def test_reason_when_shown_then_it_reads_as_a_sentence(reason: str) -> None:
    info = REASONS[reason]
    assert re.fullmatch(r"[a-zG][A-Za-z ,:()'-]{15,90}[a-z)]", info.sentence), info.sentence
    finding = Finding(reason, Severity.DENY, "mark_price", "0", "> 0")
    if info.says is None:
        assert sentence(finding) == f"{info.sentence}: mark_price was 0, expected > 0"


@pytest.mark.parametrize("reason", list(REASONS))
def test_reason_when_it_denies_then_it_has_an_owner_and_an_end(reason: str) -> None:
    finding = Finding(reason, Severity.DENY, "subject", "observed", "limit")
    assert (ask_again_ns(finding) is None) == (lift(finding) in SOMEBODY_HAS_TO_ACT)


@pytest.mark.parametrize("reason", list(REASONS))
def test_reason_when_it_latches_then_only_an_operator_lifts_it(reason: str) -> None:
    finding = Finding(reason, Severity.LATCH, "subject", "observed", "limit")
    assert (lift(finding), ask_again_ns(finding)) == (Lift.OPERATOR, None)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (
            Finding(gates.BREAKER_OPEN, Severity.LATCH, "BTC", "OPEN (denying) for funding_jump", "a reset"),
            "the breaker is latched (funding_jump). An operator must reset the breaker; retrying will not help.",
        ),
        (
            Finding(gates.GLOBAL_BREAKER_OPEN, Severity.LATCH, "GLOBAL", "OPEN (denying) for x, y", "a reset"),
            "the GLOBAL breaker is latched (x, y). An operator must reset the breaker; retrying will not help.",
        ),
        (
            Finding(gates.BREAKER_OPEN, Severity.DENY, "BTC", "OPEN (denying) for mark_frozen", "the cooldown"),
            "the breaker is OPEN (denying) for mark_frozen. Good data must last for a while; ask again in 5 s.",
        ),
        (
            Finding(gates.OPERATOR_HALT, Severity.DENY, "GLOBAL", "halted by alice: drill", "a resume"),
            "closures in GLOBAL are halted by alice: drill. An operator must resume closures; retrying will not help.",
        ),
        (
            Finding(gates.WARMING, Severity.DENY, "their number", "1", "3 in a row"),
            (
                "it has shown 1 consistent observations and needs 3 in a row. "
                "Good data must last for a while; ask again in 5 s."
            ),
        ),
    ],
)
def test_gate_when_it_denies_then_it_says_what_to_do(finding: Finding, said: str) -> None:
    assert f"{sentence(finding)}. {how_it_ends(finding)}" == said


def test_reasons_when_listed_then_none_is_missing_and_every_rule_has_some() -> None:
    assert {rule_of(code) for code in REASONS} == {*RULES, "gate", "maintenance"}


def test_reasons_when_listed_then_every_code_is_a_word_that_stays() -> None:
    assert [reason for reason in REASONS if not re.fullmatch(r"[a-z]+(_[a-z]+)*", reason)] == []
