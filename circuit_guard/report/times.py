"""Instants as people and file names have them, always in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from circuit_guard.core.types import SECOND_NS

MILLISECOND_NS = SECOND_NS // 1000


def clock(at_ns: int) -> str:
    """Return an instant as `2026-01-19 04:33:00.228`."""
    second, rest_ns = divmod(at_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}.{rest_ns // MILLISECOND_NS:03}"


def day(at_ns: int) -> str:
    """Return the day of an instant as `19 January 2026`."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, UTC)
    return f"{moment.day} {moment:%B %Y}"


def exact(at_ns: int) -> str:
    """Return an instant as RFC 3339, with as many decimals as it needs."""
    second, fraction_ns = divmod(at_ns, SECOND_NS)
    decimals = f"{fraction_ns:09d}".rstrip("0")
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}{'.' if decimals else ''}{decimals}Z"


def stamp(at_ns: int) -> str:
    """Return an instant to the second as file names have it: `20260119T043300Z`."""
    return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y%m%dT%H%M%SZ}"
