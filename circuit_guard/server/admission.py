"""What every RPC passes before its service: who asks, may they, is there room, and is it still wanted?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog

from circuit_guard.config.security import Role
from circuit_guard.config.settings import Settings, exposed
from circuit_guard.server.batch_queue import BatchQueue
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.rate_limits import BYTE_LIMITS, Rates
from circuit_guard.server.security.access import CALLER, ROLES, Access, Caller, Context
from circuit_guard.telemetry.admission import AdmissionMetrics, Refused

LIBRARY_PREFIX = "/grpc."
"""Health and reflection: services of gRPC's own."""
GIVEN_UP_S = 0.1
"""A cancellation with less than this left counts as an expired deadline: it can arrive a little early."""
OPEN_MAX = 64
"""Health and reflection RPCs at a time: they are open to everybody and must not take room from checks and data."""
RETRY_S = 0.25
"""When to ask again where there was no room."""
LOG_EVERY_S = 10.0
"""All refusals of one kind within this time make one line: refused callers must not be able to flood the log."""

_ITEMS = {
    "CheckLiquidations": "checks",
    "CheckOrders": "orders",
    "PublishObservations": "observations",
    "PublishReferences": "references",
}
"""Where a request has its items; all others are one."""

_log = structlog.stdlib.get_logger(__name__)


class Admission:
    """Admits RPCs, or refuses, counts and logs them."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        metrics: AdmissionMetrics,
        now_s: Callable[[], float] = time.monotonic,
        journal_full: Callable[[], bool] = lambda: True,
    ) -> None:
        """`now_s` is a clock that never goes back. `journal_full` says whether the journal has outgrown its budget."""
        self._access = access
        self._streams = _Streams(access)
        self._rates = Rates(settings.limits, now_s, journal_full)
        self._metrics = metrics
        self._now_s = now_s
        self._batches = BatchQueue(now_s)
        self._checks = _Room("limits.checks_waiting_max", settings.limits.checks_waiting_max)
        left = settings.grpc.concurrent_rpcs_max - settings.grpc.watchers_max - settings.limits.checks_waiting_max
        streams_max = min(settings.limits.check_streams_max, max(left // 2, 1))
        self._check_streams = _Room("limits.check_streams_max", streams_max, "streams of checks are open")
        self._open = _Room("health and reflection RPCs", OPEN_MAX)
        metrics.waiting(lambda: self._checks.taken)
        self._logged_s: dict[tuple[str, str, str], float] = {}

    @contextmanager
    def admitted(self, method: str, context: Context, *, streaming: bool = False) -> Iterator[Caller | None]:
        """Admit an RPC for as long as the context lasts. Raise RefusalError if it is not admitted.

        A stream ends with RefusalError as soon as its caller would not be admitted any more.

        It yields the caller, who is also the `CALLER` of the RPC's asyncio context; None where nobody has to be known.
        """
        if ROLES.get(method) is Role.LIQUIDATOR:
            _still_wanted(context)
        caller = self._access.admit(method, context)
        CALLER.set(caller)
        room = self._room(method, streaming=streaming)
        with room, self._streams.watched(method, context) if streaming else nullcontext():
            yield caller

    def turn(
        self, caller: Caller | None, method: str, request: Any, context: Context
    ) -> AbstractAsyncContextManager[None]:
        """Charge a request to its identity's rate, and return the context in which it has its turn.

        Raise RefusalError if the rate is exceeded; entering the context raises it if the turn would come too late.
        """
        items = self.charge(caller, method, request)
        if items > 1 and ROLES.get(method) is Role.LIQUIDATOR:
            return self._batches.turn(items, context.time_remaining())
        return nullcontext()

    def charge(self, caller: Caller | None, method: str, request: Any) -> int:
        """Charge a request to its identity's rate, and return how many items it has. Raise RefusalError."""
        name = _ITEMS.get(method.rpartition("/")[2])
        items = len(getattr(request, name)) if name else 1
        if caller is not None:
            self._rates.charge(caller.name, ROLES.get(method), items, request.ByteSize())
        return items

    def cancelled(self, context: Context) -> None:
        """Count a request that was cancelled while it ran, if its caller's deadline is the reason."""
        if _expired(context, GIVEN_UP_S):
            self._metrics.refused(Refused.EXPIRED)

    def refused(self, refusal: RefusalError, method: str, context: Context) -> None:
        """Count and log a refusal, if it is one that admission gives."""
        reason = _reason(refusal)
        if reason is None:
            return
        self._metrics.refused(reason)
        identity = refusal.metadata.get("identity", "")
        now_s, key = self._now_s(), (method, reason, identity)
        if now_s - self._logged_s.get(key, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_s[key] = now_s
            _log.warning("rpc_refused", method=method, why=reason, said=refusal.message, peer=context.peer())

    def _room(self, method: str, *, streaming: bool) -> AbstractContextManager[None]:
        role = ROLES.get(method)
        if role is Role.LIQUIDATOR:  # in a stream of checks one at a time is read, and answered before the next
            return self._check_streams if streaming else self._checks
        return self._open if method.startswith(LIBRARY_PREFIX) else nullcontext()


class _Streams:
    """The streams that are open: each is ended when other identities are in force and its caller may not have it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._open: dict[asyncio.Task[Any], tuple[str, Context]] = {}
        self._refusals: dict[asyncio.Task[Any], RefusalError] = {}
        access.when_taken(self._look)

    @contextmanager
    def watched(self, method: str, context: Context) -> Iterator[None]:
        """Watch the stream that the running task serves, for as long as the context lasts. Raise RefusalError."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # RPCs are served by tasks
        self._open[task] = (method, context)
        try:
            yield
        except asyncio.CancelledError:
            refusal = self._refusals.pop(task, None)
            if refusal is None:
                raise
            task.uncancel()
            raise refusal from None
        finally:
            del self._open[task]
            self._refusals.pop(task, None)

    def _look(self) -> None:
        for task, (method, context) in self._open.items():
            try:
                self._access.admit(method, context)
            except RefusalError as refusal:
                self._refusals[task] = refusal
                task.cancel()


class _Room(AbstractContextManager[None]):
    """Limits how many RPCs run at a time. Use it in `with`."""

    def __init__(self, name: str, at_most: int, what: str = "requests are waiting") -> None:
        self.taken = 0
        self._name = name
        self._at_most = at_most
        self._what = what

    def __enter__(self) -> None:
        if self.taken >= self._at_most:
            message = f"{self.taken} {self._what} already ({self._name}): nothing was decided, treat this as a deny"
            metadata = {"waiting": str(self.taken)}
            raise RefusalError("OVERLOADED", message, metadata, RETRY_S)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


def _reason(refusal: RefusalError) -> Refused | None:
    """Return as what a refusal is counted; None if it is not one of admission's."""
    if refusal.metadata.get("limit") in BYTE_LIMITS:
        return Refused.BYTES_USED_UP
    return Refused.__members__.get(refusal.reason)


def _still_wanted(context: Context) -> None:
    """Raise RefusalError if the caller's deadline has passed: deciding for nobody would only delay the others."""
    if _expired(context):
        message = "the caller's deadline passed before its turn: nothing was decided, treat this as a deny"
        raise RefusalError("EXPIRED", message)


def _expired(context: Context, within_s: float = 0) -> bool:
    remaining_s: float | None = context.time_remaining()  # the stubs forget None: no deadline
    return remaining_s is not None and remaining_s <= within_s


def announce(settings: Settings, address: str, metrics: AdmissionMetrics) -> None:
    """Log and show at the start who may connect to `address`, and what they may do."""
    security, insecure = settings.security, exposed(settings)
    metrics.started(len(security.identities), [path.partition(".")[0] for path in insecure])
    if insecure:
        means = "anyone on the network who reaches this machine can use these listeners without proving who they are"
        _log.critical("insecure_network", listeners=insecure, means=means, override="security.insecure_network")
    if security.identities:
        _log.info("access_by_identity", identities=sorted(security.identities), mutual_tls=security.mutual)
        if several := sorted(name for name, identity in security.identities.items() if len(identity.sources) > 1):
            means = "each of them is more than one voice: two of a market's three references decide their median"
            _log.warning("several_sources", identities=several, means=means, lifted_by="one identity for each source")
    else:
        means = (
            f"anyone who can connect to {address} may do everything, and the actor that a request names is not verified"
        )
        _log.warning("access_open", means=means, lifted_by="security.identities in the settings")
