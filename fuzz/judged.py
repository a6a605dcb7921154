"""What happens to an input once it was converted: judged, recorded, answered and shown. None of it may fail."""

from __future__ import annotations

from collections.abc import Iterable

from circuit_guard.core.facts import (
    DecisionMade,
    Fact,
    ObservationJudged,
    OrderJudged,
    ReferenceJudged,
    StateValidated,
)
from circuit_guard.core.inputs import Check, Input, OrdersCheck
from circuit_guard.core.invariants import broken_by, broken_in
from circuit_guard.core.status import guard_status
from circuit_guard.journal.checkpoint import copied
from circuit_guard.journal.codec import decode, encode
from circuit_guard.journal.recovery import apply
from circuit_guard.server.convert import answers, events, status
from fuzz import story

TRAILERS_BYTES_MAX = 8192
"""What gRPC clients take by default: a refusal that is larger reaches nobody."""


def judged(inputs: Iterable[Input | Check | OrdersCheck]) -> None:
    """Feed inputs to a warm guard, one after the other. Raise AssertionError for what must never be."""
    policy, state = story.policy(), copied(story.warm())
    for input_ in inputs:
        recorded(input_)
        before = copied(state)
        facts = apply(state, input_, policy)
        if broken := [*broken_in(state), *broken_by(input_, before, facts, policy)]:
            raise AssertionError("; ".join(broken))
        for fact in facts:
            recorded(fact)
            told(fact)
    status.guard(guard_status(state, policy, state.now_ns), []).SerializeToString()
    decode(encode(state))


def recorded(value: object) -> None:
    """Have the journal keep a value and give it back."""
    text = encode(value)
    if encode(decode(text)) != text:
        raise AssertionError(f"the journal does not give back {text[:500]}")


def told(fact: Fact) -> None:
    """Have a fact answered and shown."""
    match fact:
        case DecisionMade():
            answers.decision(fact).SerializeToString()
        case OrderJudged():
            answers.judgement(fact).SerializeToString()
        case ObservationJudged() | ReferenceJudged():
            answers.published(fact)
        case StateValidated():
            for found in fact.outcomes:
                answers.outcome(found).SerializeToString()
        case _:
            pass
    if events.watched(fact, include_allowed=True):
        events.event(fact).SerializeToString()
