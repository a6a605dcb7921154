"""The phase of one market: what the exchange commanded, and whether the guard itself holds it in RECOVERING."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.facts import PhaseChanged
from circuit_guard.core.parameters import Parameters, Relation, basis_points, seconds
from circuit_guard.core.types import Phase

DENYING_PHASES = (Phase.CANCEL_ONLY, Phase.MAINTENANCE)
BANDED_PHASES = (Phase.POST_ONLY, Phase.RECOVERING)


@dataclass(frozen=True, slots=True)
class PhaseParameters(Parameters):
    """The restricted phases end on evidence that the mark price agrees with the references."""

    TABLE: ClassVar[str] = "band"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation(
            "band.agreement_bps", "at most", "divergence.base", "agreement must not include what counts as diverging"
        ),
    )

    agreement_share: Decimal = basis_points(
        50,
        "RECOVERING, and POST_ONLY after a maintenance, end when the mark price has been this near the "
        "references ... (DESIGN 5)",
        key="agreement_bps",
    )
    agreement_ns: int = seconds(30, "... for this long without a break (DESIGN 5).")
    post_only_min_ns: int = seconds(
        120,
        "POST_ONLY lasts at least this long after a maintenance, so that the book fills. Until then closures "
        "outside the band wait. The maintenance sequence that Paradex publishes has about 2 min of POST_ONLY. 0: "
        "agreement alone ends it.",
        least=0,
    )


@dataclass(slots=True)
class PhaseState:
    """`commanded` comes from the operator or the exchange; `recovering` from the guard: nobody has to remember it."""

    commanded: Phase = Phase.OPEN
    recovering: bool = True
    since_ns: int = 0
    note: str = "first sight of the market"
    opens_ns: int | None = None
    """After a maintenance: from when on evidence takes POST_ONLY to OPEN by itself. None: the exchange says when."""

    def effective(self) -> Phase:
        """Return the phase in force: RECOVERING takes the place of OPEN, and of nothing stricter."""
        return Phase.RECOVERING if self.recovering and self.commanded is Phase.OPEN else self.commanded


def transition(
    state: PhaseState,
    market: str,
    at_ns: int,
    *,
    commanded: Phase | None = None,
    recovering: bool,
    actor: str = "",
    note: str,
    identity: str = "",
) -> PhaseChanged | None:
    """Change the phase. The only place where it changes; None where the phase in force stays the same."""
    before = state.effective()
    if commanded is not None:
        state.commanded = commanded
    state.recovering, state.note = recovering, note
    after = state.effective()
    if after is before:
        return None
    state.since_ns = at_ns
    return PhaseChanged(at_ns, market, before, after, actor, note, identity)
