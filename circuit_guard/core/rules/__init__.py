"""The rules: each is a pure function over one market's view, in a file of its name. All run, all findings are returned.

To add one: write `evaluate(view, policy)` in a file here, give its reasons to `reasons.py`, and add it to RULES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rules import (
    band,
    basis,
    divergence,
    funding_continuity,
    funding_rate,
    ordering,
    reference_quorum,
    slow_walk,
    staleness,
    unexplained_burst,
    unexplained_loss,
    validity,
)
from circuit_guard.core.types import Finding
from circuit_guard.core.view import MarketView

Rule = Callable[[MarketView, MarketPolicy], Iterator[Finding]]

RULES: dict[str, Rule] = {
    "validity": validity.evaluate,
    "ordering": ordering.evaluate,
    "staleness": staleness.evaluate,
    "funding_continuity": funding_continuity.evaluate,
    "funding_rate": funding_rate.evaluate,
    "divergence": divergence.evaluate,
    "reference_quorum": reference_quorum.evaluate,
    "band": band.evaluate,
    "basis": basis.evaluate,
    "unexplained_loss": unexplained_loss.evaluate,
    "unexplained_burst": unexplained_burst.evaluate,
    "slow_walk": slow_walk.evaluate,
}

OF_DATA = frozenset({"ordering", "funding_continuity", "funding_rate", "slow_walk"})
"""The rules that have nothing to say of a closure, ..."""
OF_CLOSURES = frozenset({"reference_quorum", "band", "basis", "unexplained_loss", "unexplained_burst"})
"""... and those that have nothing to say of an observation: they need not be asked. All others judge both."""
_FOR_DATA = tuple((name, rule) for name, rule in RULES.items() if name not in OF_CLOSURES)
_FOR_CLOSURES = tuple((name, rule) for name, rule in RULES.items() if name not in OF_DATA)


def evaluate_all(view: MarketView, policy: MarketPolicy) -> list[Finding]:
    """Run every rule and return every finding. A shadow rule's findings are marked; it never hides another's."""
    findings: list[Finding] = []
    shadow = policy.shadow_rules
    for name, evaluate in _FOR_DATA if view.closure is None else _FOR_CLOSURES:
        found = evaluate(view, policy)
        if shadow and name in shadow:
            findings.extend(replace(finding, shadow=True) for finding in found)
        else:
            findings.extend(found)
    return findings
