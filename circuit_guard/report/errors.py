"""Why there is no report."""

from __future__ import annotations

from circuit_guard.errors import CircuitGuardError


class NothingToReport(CircuitGuardError):
    """The journal has nothing of the window, or no longer enough; the text says what it has."""
