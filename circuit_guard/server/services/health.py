"""Health: what it answers, and a listener of its own for probes, which know no TLS and come from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from circuit_guard.core.types import LIVENESS, READINESS
from circuit_guard.server.interceptor import GuardedServer
from circuit_guard.server.transport import bind

PROBES_MAX = 100
"""Probes, and connections for them, at a time. Each takes well under a millisecond."""
_PROBE_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4096),
    ("grpc.max_concurrent_streams", PROBES_MAX),
    ("grpc.max_allowed_incoming_connections", PROBES_MAX),
    ("grpc.max_connection_idle_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
)

_STATES = health_pb2.HealthCheckResponse


class Health:
    """What grpc.health.v1 answers: NOT_SERVING until it is told otherwise, but for LIVENESS."""

    def __init__(self, services: Sequence[str], listen: str | None) -> None:
        """`listen` is grpc.health_listen. Raise ListenError where it cannot be bound."""
        self._servicer = health.aio.HealthServicer()
        self._readiness = (READINESS, *services)
        self._probes = None if listen is None else _probe_server(self._servicer)
        self.address = ""
        """Where probes are answered, with the port that was bound; empty without grpc.health_listen."""
        if self._probes is not None and listen is not None:
            self.address = bind(self._probes, listen, None, "grpc.health_listen")

    def add_to(self, server: GuardedServer) -> None:
        """Have another server answer for health as well."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Begin to answer: LIVENESS is SERVING, everything else is not yet."""
        await self.set_serving(False)
        await self._servicer.set(LIVENESS, _STATES.SERVING)
        if self._probes is not None:
            await self._probes.start()

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the state is the whole message
        """Report the guard and each of its services as SERVING or NOT_SERVING."""
        for service in self._readiness:
            await self._servicer.set(service, _STATES.SERVING if serving else _STATES.NOT_SERVING)

    async def drain(self) -> None:
        """Report NOT_SERVING from now on, under every name."""
        await self._servicer.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Stop answering probes."""
        if self._probes is not None:
            await self._probes.stop(None)


def _probe_server(servicer: health.aio.HealthServicer) -> aio.Server:
    """Return a server that answers Health/Check and nothing else.

    It has no Watch: streams that stay open would leave no room for the probes.
    """
    server = aio.server(options=_PROBE_OPTIONS, maximum_concurrent_rpcs=PROBES_MAX)
    check = grpc.unary_unary_rpc_method_handler(
        servicer.Check,
        request_deserializer=health_pb2.HealthCheckRequest.FromString,
        response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check}),))
    return server
