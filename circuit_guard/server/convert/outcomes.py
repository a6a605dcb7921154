"""What a dump of the exchange's state was found to be, as protobuf."""

from __future__ import annotations

from circuit_guard.core.types import MarketOutcome, Outcome
from circuit_guard.server.convert import enums
from circuit_guard.v1 import types_pb2

SENTENCES = {
    Outcome.OK: "the state goes on from what was last trusted",
    Outcome.FUNDING_JUMP: "the funding index is where funding cannot have moved it",
    Outcome.PRICE: "a price is neither near the references nor near the one that was last trusted",
    Outcome.SWAPPED: "the value of another market stands here",
    Outcome.INVALID: "a value is none that can be meant",
    Outcome.STALE: "the row is from before what was last trusted, as from an old backup",
    Outcome.MISSING: "something is missing from the dump",
    Outcome.EXTRA: "the policy does not name this market",
    Outcome.NO_BASELINE: "there is nothing to hold this market against",
}


def outcome(found: MarketOutcome) -> types_pb2.MarketOutcome:
    """Return one outcome with all that explains it."""
    return types_pb2.MarketOutcome(
        market=found.market,
        outcome=enums.OUTCOMES[found.outcome],
        subject=found.subject,
        observed=found.observed,
        limit=found.limit,
        swapped_with=found.swapped_with,
        sentence=_sentence(found),
    )


def _sentence(found: MarketOutcome) -> str:
    if found.outcome is Outcome.OK:
        return SENTENCES[found.outcome]
    meaning = f"the value of {found.swapped_with} stands here" if found.swapped_with else SENTENCES[found.outcome]
    return f"{meaning}: {found.subject} was {found.observed}, expected {found.limit}"
