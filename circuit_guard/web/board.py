"""What pages show: the guard as it was at the last tick, put together once and never changed, whoever looks at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from circuit_guard.core.status import GuardStatus, MarketStatus


@dataclass(frozen=True, slots=True)
class View:
    """One look at the guard. `status` is None where it has nothing to show, because it refuses or has just started."""

    at_ns: int
    not_ready: tuple[str, ...]
    """Why it is not ready, one sentence each; empty where it is."""
    failed: bool
    """Whether the engine answers nothing any more. What `status` says is then what was known when it stopped."""
    status: GuardStatus | None
    outdated: bool = False
    """Whether this could not be brought up to date, so that it is older than it should be."""


class Board:
    """The last view, and those who wait for the next."""

    def __init__(self, at_ns: int) -> None:
        self.view = View(at_ns, ("the guard is starting",), failed=False, status=None)
        self.version = 0
        """Counts the views."""
        self.changes = 0
        """Counts the views in which more than ages and prices differed from the one before."""
        self.closed = False
        self._state = _state_of(self.view)
        self._markets: dict[str, MarketStatus] = {}
        self._updated = asyncio.Event()

    def show(self, view: View) -> None:
        """Show a view to everybody, and wake those who wait."""
        self.view = view
        self.version += 1
        state = _state_of(view)
        self.changes += state != self._state
        self._state = state
        self._markets = {market.market: market for market in view.status.markets} if view.status else {}
        self._wake()

    def market(self, name: str) -> MarketStatus | None:
        """Return what is known of a market; None where the view has none of this name."""
        return self._markets.get(name)

    def close(self) -> None:
        """Wake those who wait for the last time: nothing will be shown any more."""
        self.closed = True
        self._wake()

    async def updated(self, timeout_s: float) -> None:
        """Return once there is a new view, or after so many seconds without one, or when the board is closed."""
        waited = self._updated
        try:
            await asyncio.wait_for(waited.wait(), timeout_s)
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._updated.set()
        self._updated = asyncio.Event()


def _state_of(view: View) -> object:
    """Return what people want to be told of at once: everything but ages, prices and headroom."""
    status = view.status
    if status is None:
        return (view.not_ready, view.failed)
    markets = tuple(
        (market.market, market.phase, market.breaker.generation, market.halt, tuple(f.reason for f in market.denying))
        for market in status.markets
    )
    whole = (status.policy_revision, status.shadow, status.global_breaker.generation, status.global_halt)
    return (view.not_ready, view.failed, view.outdated, *whole, status.maintenance, status.proposals, markets)
