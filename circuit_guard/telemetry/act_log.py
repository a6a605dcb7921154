"""One log line for each act of a maintenance, each rebaseline, each proposal, and each market that re-opens."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog

from circuit_guard.core.facts import (
    ActProposed,
    Fact,
    MaintenanceBegan,
    MaintenanceEnded,
    MarketReopened,
    Rebaselined,
    StateValidated,
)
from circuit_guard.core.types import SECOND_NS, MarketOutcome, Outcome

Log = structlog.stdlib.BoundLogger

NOT_CLEAN_SHOWN_MAX = 20
"""So many markets that are not clean fit into one line; how many there are it says in any case."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def log_act(log: Log, fact: Fact) -> None:
    """Log an act; other facts were logged elsewhere, or were accepted, which the metrics count."""
    at = stamp(fact.at_ns)
    match fact:
        case MarketReopened():
            log.info("market_reopened", at=at, market=fact.market, held_s=fact.held_ns / SECOND_NS)
        case MaintenanceBegan():
            who = {"actor": fact.actor, "reason": fact.reason}
            log.warning("maintenance_began", at=at, **who, checkpoint=fact.checkpoint)
        case StateValidated():
            _state_validated(log, fact)
        case MaintenanceEnded():
            write = log.warning if fact.latched else log.info
            clean, latched = len(fact.clean), list(fact.latched)
            write("maintenance_ended", at=at, actor=fact.actor, reason=fact.reason, clean=clean, latched=latched)
        case Rebaselined():
            _rebaselined(log, fact)
        case ActProposed():
            who = {"actor": fact.actor, "reason": fact.reason, "expires_at": stamp(fact.expires_ns)}
            log.warning("act_proposed", at=at, act=fact.act, scopes=list(fact.scopes), **who)


def stamp(at_ns: int) -> str:
    """Return a time as RFC 3339 in UTC, to the microsecond."""
    return (EPOCH + timedelta(microseconds=at_ns // 1000)).isoformat()


def _state_validated(log: Log, fact: StateValidated) -> None:
    not_clean = [_sentence(found) for found in fact.outcomes if found.outcome is not Outcome.OK]
    (log.warning if not_clean else log.info)(
        "state_validated",
        at=stamp(fact.at_ns),
        actor=fact.actor,
        outcomes=dict(Counter(str(found.outcome) for found in fact.outcomes)),
        not_clean=not_clean[:NOT_CLEAN_SHOWN_MAX],
    )


def _sentence(found: MarketOutcome) -> str:
    swapped = f" with {found.swapped_with}" if found.swapped_with else ""
    what = f"{found.market} {found.outcome}{swapped}"
    return f"{what}: {found.subject} was {found.observed}, expected {found.limit}"


def _rebaselined(log: Log, fact: Rebaselined) -> None:
    log.warning(
        "rebaselined",
        at=stamp(fact.at_ns),
        market=fact.market,
        before=None if fact.before is None else str(fact.before),
        after=None if fact.after is None else str(fact.after),
        actor=fact.actor,
        reason=fact.reason,
        checkpoint=fact.checkpoint,
    )
