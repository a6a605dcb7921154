"""Calls with bytes instead of messages."""

from __future__ import annotations

from grpc import aio


def raw(channel: aio.Channel, method: str) -> aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """Return a method that takes and gives bytes."""
    return channel.unary_unary(method)
