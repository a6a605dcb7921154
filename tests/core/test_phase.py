"""The phase of a market as a table: what is commanded, what the guard adds, what is in force."""

from __future__ import annotations

import pytest

from circuit_guard.core import phase as phases
from circuit_guard.core.facts import PhaseChanged
from circuit_guard.core.phase import PhaseState
from circuit_guard.core.types import Phase

COMMANDED = (Phase.OPEN, Phase.POST_ONLY, Phase.CANCEL_ONLY, Phase.MAINTENANCE)


@pytest.mark.parametrize("commanded", COMMANDED)
@pytest.mark.parametrize("recovering", [False, True])
def test_phase_when_the_guard_recovers_then_that_replaces_open_and_nothing_stricter(
    commanded: Phase, recovering: bool
) -> None:
    expected = Phase.RECOVERING if recovering and commanded is Phase.OPEN else commanded
    assert PhaseState(commanded, recovering).effective() is expected


def test_phase_when_a_market_is_new_then_it_is_recovering() -> None:
    assert PhaseState().effective() is Phase.RECOVERING


@pytest.mark.parametrize(
    ("commanded", "recovering", "to", "to_recovering", "before", "after"),
    [
        (Phase.OPEN, False, Phase.POST_ONLY, False, Phase.OPEN, Phase.POST_ONLY),
        (Phase.POST_ONLY, False, Phase.OPEN, True, Phase.POST_ONLY, Phase.RECOVERING),
        (Phase.OPEN, True, None, False, Phase.RECOVERING, Phase.OPEN),
        (Phase.OPEN, True, Phase.MAINTENANCE, True, Phase.RECOVERING, Phase.MAINTENANCE),
        (Phase.OPEN, False, Phase.OPEN, False, None, None),
        (Phase.MAINTENANCE, False, None, True, None, None),
        (Phase.POST_ONLY, True, None, False, None, None),
    ],
)
def test_transition_when_the_phase_in_force_changes_then_there_is_a_fact_and_else_none(
    commanded: Phase, recovering: bool, to: Phase | None, to_recovering: bool, before: Phase | None, after: Phase | None
) -> None:
    state = PhaseState(commanded, recovering, since_ns=1)
    fact = phases.transition(state, "M", 9, commanded=to, recovering=to_recovering, actor="alice", note="why")
    assert (state.commanded, state.recovering) == (to or commanded, to_recovering)
    if before is None or after is None:
        assert (fact, state.since_ns) == (None, 1)
    else:
        assert (fact, state.since_ns) == (PhaseChanged(9, "M", before, after, "alice", "why"), 9)
