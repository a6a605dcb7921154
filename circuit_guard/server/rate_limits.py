"""How much one identity may ask for per second: a bucket for each kind of work."""

from __future__ import annotations

import time
from collections.abc import Callable

from circuit_guard.config.security import LimitSettings, Role
from circuit_guard.server.errors import RefusalError

RETRY_MIN_S = 0.01
_COUNTED = {
    Role.LIQUIDATOR: "checks and orders",
    Role.PUBLISHER: "observations and references",
    Role.VIEWER: "looks",
}


class Bucket:
    """Fills with `per_s` items per second, and holds one second's worth.

    A request takes what it needs if anything is left, and the bucket refills from below zero: a batch larger than one
    second's worth is not refused for ever.
    """

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._level = per_s
        self._at_s = now_s

    def take(self, items: int, now_s: float) -> float:
        """Take items and return 0; or take nothing and return after how many seconds there will be some."""
        self._level = min(self._per_s, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._level <= 0:
            return max(RETRY_MIN_S, -self._level / self._per_s)
        self._level -= items
        return 0.0


class Rates:
    """The buckets of every identity. There are as many as the settings name, whatever comes."""

    def __init__(self, limits: LimitSettings, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` is a clock that never goes back."""
        self._per_s = {
            Role.LIQUIDATOR: limits.checks_per_s,
            Role.PUBLISHER: limits.market_data_per_s,
            Role.VIEWER: limits.views_per_s,
        }
        self._now_s = now_s
        self._buckets: dict[tuple[str, Role], Bucket] = {}

    def charge(self, identity: str, role: Role | None, items: int) -> None:
        """Take what a request of an identity needs, by the role that its RPC needs. Raise RefusalError for too much.

        What operators do is never refused: an act too many is better than a halt too late.
        """
        if role is None or role is Role.OPERATOR:
            return
        per_s, now_s = self._per_s[role], self._now_s()
        bucket = self._buckets.get((identity, role))
        if bucket is None:
            bucket = self._buckets[identity, role] = Bucket(per_s, now_s)
        wait_s = bucket.take(items, now_s)
        if wait_s:
            message = (
                f"{identity} asked for more than {per_s} {_COUNTED[role]} per second: nothing of the request "
                f"took effect, ask again in {wait_s:.2f} s"
            )
            metadata = {"identity": identity, "per_s": str(per_s)}
            raise RefusalError("RATE_LIMITED", message, metadata, wait_s)
