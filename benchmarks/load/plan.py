"""How much is measured: everything, or a little of everything to see that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes and times of one run."""

    rounds: int
    """How often each pair is measured, in turn."""
    round_s: float
    latency_s: float
    """How long the open loop asks."""
    markets: tuple[int, int, int]
    decisions: int
    """How many are decided before memory and cost are looked at again."""
    core_checks: int


FULL = Plan(5, 2.5, 10.0, (10, 100, 1000), 1_000_000, 10_000)
QUICK = Plan(1, 0.5, 1.0, (10, 20, 50), 20_000, 500)
