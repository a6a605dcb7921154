"""How much one identity may ask for: a bucket for each kind of work, one for bytes, and one for what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from circuit_guard.config.security import LimitSettings, Role
from circuit_guard.server.errors import RefusalError

RETRY_MIN_S = 0.01
DAY_S = 86_400
BYTES_PER_S, JOURNAL_BYTES_PER_DAY = BYTE_LIMITS = ("limits.bytes_per_s", "limits.journal_bytes_per_day")
"""The settings that bound an identity's bytes."""
_COUNTED = {
    Role.LIQUIDATOR: "checks and orders",
    Role.PUBLISHER: "observations and references",
    Role.VIEWER: "looks",
}


class Bucket:
    """Fills with `per_s` items per second, and holds `most`: without it one second's worth.

    A request takes what it needs if anything is left, and the bucket refills from below zero: a batch larger than one
    second's worth is not refused for ever.
    """

    def __init__(self, per_s: float, now_s: float, most: float | None = None) -> None:
        self._per_s = per_s
        self._level = self._most = per_s if most is None else most
        self._at_s = now_s

    def take(self, items: int, now_s: float) -> float:
        """Take items and return 0; or take nothing and return after how many seconds there will be some."""
        self._level = min(self._most, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._level <= 0:
            return max(RETRY_MIN_S, -self._level / self._per_s)
        self._level -= items
        return 0.0


class Rates:
    """The buckets of every identity. There are as many as the settings name, whatever comes."""

    def __init__(
        self,
        limits: LimitSettings,
        now_s: Callable[[], float] = time.monotonic,
        journal_full: Callable[[], bool] = lambda: True,
    ) -> None:
        """`now_s` is a clock that never goes back. `journal_full` says whether the journal has outgrown its budget."""
        self._per_s = {
            Role.LIQUIDATOR: limits.checks_per_s,
            Role.PUBLISHER: limits.market_data_per_s,
            Role.VIEWER: limits.views_per_s,
        }
        self._bytes_per_s = limits.bytes_per_s
        self._journal_bytes_per_day = limits.journal_bytes_per_day
        self._now_s = now_s
        self._journal_full = journal_full
        self._buckets: dict[tuple[str, Role], Bucket] = {}
        self._bytes: dict[str, Bucket] = {}
        self._recorded: dict[str, Bucket] = {}

    def charge(self, identity: str, role: Role | None, items: int, size: int = 0) -> None:
        """Take what a request of an identity needs, by the role that its RPC needs. Raise RefusalError for too much.

        `size` is the request's length in bytes.

        What operators do is never refused: an act too many is better than a halt too late.
        """
        if role is None or role is Role.OPERATOR:
            return
        self._charge_bytes(identity, role, size)
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

    def _charge_bytes(self, identity: str, role: Role, size: int) -> None:
        per_s, now_s = self._bytes_per_s, self._now_s()
        bucket = self._bytes.get(identity)
        if bucket is None:
            bucket = self._bytes[identity] = Bucket(per_s, now_s)
        wait_s = bucket.take(size, now_s)
        if wait_s:
            raise _too_long(identity, BYTES_PER_S, per_s, "per second", wait_s)
        if role is not Role.LIQUIDATOR:
            return
        per_day = self._journal_bytes_per_day
        recorded = self._recorded.get(identity)
        if recorded is None:
            recorded = self._recorded[identity] = Bucket(per_day / DAY_S, now_s, per_day)
        wait_s = recorded.take(size, now_s)
        if wait_s and self._journal_full():
            raise _too_long(identity, JOURNAL_BYTES_PER_DAY, per_day, "to be recorded per day", wait_s)


def _too_long(identity: str, setting: str, most: int, what: str, wait_s: float) -> RefusalError:
    message = (
        f"{identity} sent more than {most} bytes {what} ({setting}): nothing of the request took effect, "
        f"treat this as a deny, ask again in {wait_s:.2f} s"
    )
    return RefusalError("RATE_LIMITED", message, {"identity": identity, "limit": setting, "most": str(most)}, wait_s)
