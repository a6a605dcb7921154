"""Every reason a finding can carry, gathered from the rules and the gates that report them."""

from __future__ import annotations

from circuit_guard.core import gates
from circuit_guard.core.formatting import ending
from circuit_guard.core.rule import OPERATOR, Excuse, Reason
from circuit_guard.core.rulebook import RULES
from circuit_guard.core.types import Finding, Lift, Severity

REASONS: dict[str, Reason] = {
    **{code: reason for rule in RULES.values() for code, reason in rule.reasons.items()},
    **gates.REASONS,
}
"""By code, in the order of the rules."""
_RULE_OF = {
    **{code: rule.name for rule in RULES.values() for code in rule.reasons},
    **dict.fromkeys(gates.REASONS, "gate"),
    gates.STATE_NOT_CLEAN: "maintenance",
}
_UNKNOWN = Reason("this version does not know the reason", OPERATOR)
"""What a finding of a newer guard reads like."""

EXCUSABLE = frozenset(code for code, reason in REASONS.items() if reason.excuse is not Excuse.NEVER)
"""What denies unless the account's loss is explained: then it is a warning."""


def info_of(finding: Finding) -> Reason:
    """Return what the reason of a finding means."""
    return REASONS.get(finding.reason, _UNKNOWN)


def rule_of(code: str) -> str:
    """Return the rule that reports a reason: `gate` for the gates, `maintenance` for a dump; empty if it is unknown."""
    return _RULE_OF.get(code, "")


def lift(finding: Finding) -> Lift:
    """Return who or what ends the denial this finding causes: a latch is always an operator's."""
    return Lift.OPERATOR if finding.severity is Severity.LATCH else info_of(finding).ends[0]


def ask_again_ns(finding: Finding) -> int | None:
    """Return how long to wait before asking again can help, or None where somebody has to act first."""
    return None if finding.severity is Severity.LATCH else info_of(finding).ends[1]


def sentence(finding: Finding) -> str:
    """Return the finding as one sentence for a person."""
    info = info_of(finding)
    if info.says is not None:
        return info.says(finding)
    return f"{info.sentence}: {finding.subject} was {finding.observed}, expected {finding.limit}"


def how_it_ends(finding: Finding) -> str:
    """Return how the denial of a finding ends, as a sentence: who has to do what, and whether retrying helps."""
    return ending(lift(finding), ask_again_ns(finding), info_of(finding).act)
