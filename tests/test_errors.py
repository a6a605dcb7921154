"""The errors: what their messages look like, and that they survive a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from circuit_guard.errors import (
    CircuitGuardError,
    PolicyError,
    Problem,
    RecordingError,
    SettingsError,
    WireError,
    shown,
)

VIOLATION = Problem("guard.shadow", "1", "true or false")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PolicyError("policy.toml", [VIOLATION]),
            "policy.toml: the policy has 1 problem\n  guard.shadow: was 1, expected true or false",
        ),
        (
            SettingsError("environment", [VIOLATION, VIOLATION]),
            (
                "environment: the settings document has 2 problems\n"
                "  guard.shadow: was 1, expected true or false\n"
                "  guard.shadow: was 1, expected true or false"
            ),
        ),
        (RecordingError("a.jsonl", 7, "at was 5, expected a time"), "a.jsonl:7: at was 5, expected a time"),
        (RecordingError("a.jsonl", 0, "cannot be read"), "a.jsonl: cannot be read"),
        (WireError("size", "0", "a size that is not zero"), 'size was "0", expected a size that is not zero'),
        (WireError("market", "", "a market"), "market was empty, expected a market"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_when_shown_then_it_names_the_field_the_value_and_what_was_expected(
    error: CircuitGuardError, message: str
) -> None:
    assert str(error) == message
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copied), str(copied)) == (type(error), message)


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ([Problem("file", "missing", "a readable TOML file")], "file: was missing, expected a readable TOML file"),
        ([Problem("limits.views_per_s", '"cg_secret"', "1 to 100000")], "limits.views_per_s: expected 1 to 100000"),
        ([VIOLATION] * 3, "guard.shadow: expected true or false; the first of 3 problems"),
    ],
)
def test_document_when_everybody_sees_what_is_wrong_then_no_value_of_it_is_shown(
    problems: list[Problem], said: str
) -> None:
    assert PolicyError("policy.toml", problems).in_brief() == f"policy.toml is refused ({said})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("a\nb\x1b[31m", '"a\\nb\\x1b[31m"'),
        ('say "no"', '"say \\"no\\""'),
        ("\ud800", '"\\ud800"'),
        ("x" * 81, '"' + "x" * 80 + '"... (81 characters)'),
    ],
    ids=["empty", "control characters", "quotes", "lone surrogate", "long"],
)
def test_text_from_outside_when_shown_then_it_is_short_and_harmless(text: str, expected: str) -> None:
    assert shown(text) == expected
