"""The policy file: read, checked whole, and turned into what the core enforces.

    policy.toml -> toml -> policy_document + policy_schema -> policy_relations -> policy_resolve -> core.Policy

Either all of it is valid, or `PolicyError` lists every violation and nothing of it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from circuit_guard.config.policy_document import MarketTable, PolicyDocument
from circuit_guard.config.policy_relations import Conflict, guard_conflicts, market_conflicts, violations_of
from circuit_guard.config.policy_resolve import merged, resolved
from circuit_guard.config.toml import Judged, json_schema, judge, parse_toml, read_text
from circuit_guard.core.policy import GapMode, Policy
from circuit_guard.errors import PolicyError, Violation


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """What a recording says of one of its markets; None leaves it to the policy.

    `rate_max` is the cap on the funding rate, a fraction per `period_s` seconds.
    """

    rate_max: Decimal | None = None
    period_s: Decimal | int | None = None
    gap_mode: GapMode | None = None


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A valid policy document. `origin` is the file it came from, for messages."""

    origin: str
    document: PolicyDocument

    def policy(self) -> Policy:
        """Return what the document means, resolved for each market."""
        return resolved(self.document)

    def with_markets(self, facts: Mapping[str, MarketFacts]) -> Policy:
        """Return the policy with these markets beside its own, for a replay.

        A market that the policy lists keeps its class and overrides, any other gets the default class; both take the
        facts. Raise PolicyError where facts are out of bounds.
        """
        judged = judge(PolicyDocument, {"markets": {name: _written(fact) for name, fact in facts.items()}})
        markets = dict(self.document.markets)
        for name, market in judged.table.markets.items():
            markets[name] = merged(markets.get(name, MarketTable()), market)
        document = self.document.model_copy(update={"markets": markets})
        _refuse(
            f"{self.origin} with a recording's markets", replace(judged, table=document), market_conflicts(document)
        )
        return resolved(document)


def read_policy_file(path: Path) -> PolicyFile:
    """Read and check the policy at `path`. Raise PolicyError with every violation."""
    return parse_policy_file(read_text(path, PolicyError), str(path))


def parse_policy_file(text: str, origin: str) -> PolicyFile:
    """Check a policy that is at hand as text. Raise PolicyError with every violation."""
    return check_policy(parse_toml(text, origin, PolicyError), origin)


def check_policy(document: dict[str, Any], origin: str) -> PolicyFile:
    """Check a policy that is at hand as the values of a TOML document. Raise PolicyError with every violation."""
    if not document:
        raise PolicyError(origin, [Violation("file", "empty", "a policy, at least [classes.default]")])
    judged = judge(PolicyDocument, document)
    _refuse(origin, judged, [*guard_conflicts(judged), *market_conflicts(judged.table)])
    return PolicyFile(origin, judged.table)


def load_policy(path: Path) -> Policy:
    """Return the policy at `path`, resolved. Raise PolicyError with every violation."""
    return read_policy_file(path).policy()


def parse_policy(text: str, origin: str) -> Policy:
    """Return the policy in a text, resolved; `origin` is named in messages. Raise PolicyError with every violation."""
    return parse_policy_file(text, origin).policy()


def policy_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the policy, for editors. It knows no relations between values: the loader does."""
    return json_schema(PolicyDocument, "circuit_guard policy")


def _refuse(origin: str, judged: Judged[PolicyDocument], conflicts: Iterable[Conflict]) -> None:
    violations = [*judged.violations, *violations_of(conflicts, judged)]
    if violations:
        raise PolicyError(origin, violations)


def _written(facts: MarketFacts) -> dict[str, Any]:
    """Return the facts as a market's table would say them."""
    funding = {"rate_max": facts.rate_max, "period_s": facts.period_s, "gap_mode": facts.gap_mode}
    return {"funding": {key: value for key, value in funding.items() if value is not None}}
