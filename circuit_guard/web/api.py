"""`/api/status` as JSON. Its fields are documented in docs/status_page.md and named as in the gRPC contract.

Instants are RFC 3339 in UTC, durations seconds, prices and indices decimals as text. null: not known, or not so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from typing import Any

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import Interval
from circuit_guard.core.formatting import rfc3339
from circuit_guard.core.halts import Halt
from circuit_guard.core.reasons import lift, sentence
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import SECOND_NS, Finding
from circuit_guard.web.board import View

Json = dict[str, Any]
AS_TEXT = Context(prec=18)
"""What was published stays as it was; what was computed has no more digits than anybody reads."""


def document(view: View, markets: Iterable[MarketStatus]) -> Iterator[str]:
    """Yield the whole document in pieces: a head, then one market at a time, in the order given."""
    status = view.status
    head: Json = {
        "at": rfc3339(view.at_ns),
        "ready": not view.not_ready,
        "not_ready_reasons": view.not_ready,
        "failed": view.failed,
        "outdated": view.outdated,
        **(_guard(status) if status else {}),
    }
    yield json.dumps(head)[:-1] + ', "markets": ['
    for number, market in enumerate(markets):
        yield (", " if number else "") + json.dumps(_market(market))
    yield "]}\n"


def _guard(status: GuardStatus) -> Json:
    running = status.maintenance
    return {
        "policy_revision": status.policy_revision,
        "shadow": status.shadow,
        "markets_denying": sum(bool(market.denying) for market in status.markets),
        "global_breaker": _breaker(status.global_breaker),
        "global_halt": _halt(status.global_halt),
        "other_global_halts": list(map(_halt, status.other_global_halts)),
        "maintenance": running
        and {
            "actor": running.actor,
            "identity": running.identity,
            "reason": running.reason,
            "since": rfc3339(running.since_ns),
            "checkpoint_name": running.checkpoint,
            "validated_at": _instant(running.validated.at_ns if running.validated else None),
        },
        "proposals": [
            {
                "act": proposal.act,
                "scopes": proposal.scopes,
                "actor": proposal.actor,
                "identity": proposal.identity,
                "reason": proposal.reason,
                "expires_at": rfc3339(proposal.expires_ns),
            }
            for proposal in status.proposals
        ],
        "refused_files": status.refused_files,
    }


def _market(status: MarketStatus) -> Json:
    return {
        "market": status.market,
        "market_class": status.market_class,
        "required": status.required,
        "warm": status.warm,
        "denied": bool(status.denying),
        "phase": status.phase,
        "commanded_phase": status.commanded_phase,
        "phase_since": rfc3339(status.phase_since_ns),
        "breaker": _breaker(status.breaker),
        "halt": _halt(status.halt),
        "other_halts": list(map(_halt, status.other_halts)),
        "denying": _findings(status.denying),
        "held_since": _instant(status.held_since_ns),
        "overdue": status.overdue,
        "next_change": status.next_change,
        "ramp_share": None if status.ramp_share is None else float(status.ramp_share),
        "mark_price": _text(status.mark_price),
        "mark_age_s": _seconds(status.mark_age_ns),
        "mark_limits": _interval(status.mark_limits),
        "reference_price": _text(status.reference_price),
        "references_fresh": status.reference_count,
        "hull": _interval(status.hull),
        "band": _interval(status.band),
        "index_price": _text(status.index_price),
        "funding_index": _text(status.funding_index),
        "funding_age_s": _seconds(status.funding_age_ns),
        "funding_envelope": _interval(status.funding_envelope),
        "headroom": {rule: float(left) for rule, left in sorted(status.headroom.items())},
        "discarded_intervals": status.discarded,
    }


def _breaker(breaker: Breaker | BreakerStatus) -> Json:
    return {
        "state": breaker.state,
        "latched": breaker.latched,
        "since": rfc3339(breaker.since_ns),
        "generation": breaker.generation,
        "findings": _findings(breaker.findings),
    }


def _halt(halt: Halt | None) -> Json | None:
    if halt is None:
        return None
    since, expires = rfc3339(halt.since_ns), _instant(halt.expires_ns)
    return {
        "actor": halt.actor,
        "identity": halt.identity,
        "reason": halt.reason,
        "since": since,
        "expires_at": expires,
    }


def _findings(findings: Iterable[Finding]) -> list[Json]:
    return [
        {
            "reason": found.reason,
            "severity": found.severity.name,
            "subject": found.subject,
            "observed": found.observed,
            "limit": found.limit,
            "sentence": sentence(found),
            "lifted_by": lift(found),
        }
        for found in findings
    ]


def _interval(interval: Interval | None) -> Json | None:
    return None if interval is None else {"low": _text(interval.low), "high": _text(interval.high)}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(AS_TEXT.plus(value), "f")


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else round(duration_ns / SECOND_NS, 3)


def _instant(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)
