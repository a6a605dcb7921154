"""What happens to a closure when the guard is silent: it is denied, unless its market may fail open for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from circuit_guard.client import arguments
from circuit_guard.client.answers import Answer, Source, Verdict

FOR_S_MAX = 3600.0

OF_EVERY_MARKET = frozenset({"global_breaker_open", "operator_halt"})
"""Reasons of a DENY that may hold for markets beside the one that was asked about."""

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class FailOpen:
    """Let the closures of a market through while the guard is silent, at most `for_s` seconds since it last answered.

    At most an hour. It never opens before the guard has allowed something in this market, nor after its last word on
    this market was anything else than ALLOW.
    """

    for_s: float

    def __post_init__(self) -> None:
        arguments.seconds("FailOpen.for_s", self.for_s, FOR_S_MAX)


class FailPolicy:
    """Remembers what the guard last said of the markets that may fail open. Times are of one monotonic clock, in s.

    An answer counts from when its question was asked: an ALLOW that overtakes a later DENY must not undo it.
    """

    def __init__(self, fail_open: Mapping[str, FailOpen]) -> None:
        for market, chosen in fail_open.items():
            arguments.name("fail_open", market)
            arguments.instance(f"fail_open[{market!r}]", chosen, FailOpen)
        self._fail_open = dict(fail_open)
        self._lock = threading.Lock()
        self._reached_at = NEVER
        self._allowed_at: dict[str, float] = {}
        self._denied_at: dict[str, float] = {}
        self._all_denied_at = NEVER

    def answered(self, answers: Iterable[Answer], asked_at: float, now: float) -> None:
        """Record what the guard said."""
        with self._lock:
            for answer in answers:
                market = answer.market
                if answer.source is Source.GUARD:
                    self._reached_at = max(self._reached_at, now)
                if not OF_EVERY_MARKET.isdisjoint(answer.reasons):
                    self._all_denied_at = now
                if market in self._fail_open and answer.verdict is Verdict.DENY:
                    self._denied_at[market] = now
                elif market in self._fail_open and not answer.repeated:
                    self._allowed_at[market] = max(self._allowed_at.get(market, NEVER), asked_at)

    def failed_loudly(self, now: float) -> None:
        """Record a response that is not an answer: nothing is open until the guard allows again."""
        with self._lock:
            self._all_denied_at = now

    def why_closed(self, market: str, now: float) -> str | None:
        """Return why closures of the market are denied while the guard is silent, in words; None if they may go on."""
        chosen = self._fail_open.get(market)
        if chosen is None:
            return f"the fail policy of {market} is closed"
        with self._lock:
            silent_s = now - self._reached_at
            allowed_at = self._allowed_at.get(market, NEVER)
            denied_at = max(self._denied_at.get(market, NEVER), self._all_denied_at)
        if silent_s == float("inf"):
            return f"{market} may fail open, but only after the guard was reached once"
        if silent_s > chosen.for_s:
            return f"{market} may fail open for {chosen.for_s:g} s, but the guard was last reached {silent_s:.1f} s ago"
        if allowed_at <= denied_at:
            return f"{market} may fail open, but only while the guard's last word on it was ALLOW"
        return None

    def silent_s(self, now: float) -> float:
        """Return for how long the guard has been silent."""
        with self._lock:
            return now - self._reached_at
