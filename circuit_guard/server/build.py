"""The gRPC server: the services, health, reflection and limits, put together in one place."""

from __future__ import annotations

import socket

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from circuit_guard.engine import Engine
from circuit_guard.errors import CircuitGuardError
from circuit_guard.server.admin import AdminService, ReloadPolicy
from circuit_guard.server.interceptor import ErrorInterceptor
from circuit_guard.server.liquidation import LiquidationGuardService
from circuit_guard.server.maintenance import MaintenanceService
from circuit_guard.server.market_data import MarketDataService
from circuit_guard.server.order import OrderGuardService
from circuit_guard.settings import Settings
from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    liquidation_pb2,
    liquidation_pb2_grpc,
    maintenance_pb2,
    maintenance_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
)

SERVICES = (
    liquidation_pb2.DESCRIPTOR.services_by_name["LiquidationGuardService"].full_name,
    order_pb2.DESCRIPTOR.services_by_name["OrderGuardService"].full_name,
    market_data_pb2.DESCRIPTOR.services_by_name["MarketDataService"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
    maintenance_pb2.DESCRIPTOR.services_by_name["MaintenanceService"].full_name,
)


UNIX_PREFIX = "unix:"


class ListenError(CircuitGuardError):
    """An address to listen on cannot be had: another process listens there, or it is none of this machine."""


class GuardServer:
    """A server that reports NOT_SERVING until it is told otherwise."""

    def __init__(
        self, server: aio.Server, health_servicer: health.aio.HealthServicer, engine: Engine, listen: str
    ) -> None:
        self._server = server
        self._health = health_servicer
        self._engine = engine
        self.address = bind(server, listen)
        """Where it listens, with the port that was bound."""

    async def start(self) -> None:
        """Begin to answer."""
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the state is the whole message
        """Report the guard and each of its services as SERVING or NOT_SERVING; they answer in both cases."""
        states = health_pb2.HealthCheckResponse
        for service in ("", *SERVICES):
            await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def drain(self, grace_s: float) -> None:
        """Stop: report NOT_SERVING, take no more requests, end the watches, and give running requests `grace_s`."""
        await self._health.enter_graceful_shutdown()
        self._engine.end_watchers()
        await self._server.stop(grace_s)


def create_server(engine: Engine, settings: Settings, reload_policy: ReloadPolicy) -> GuardServer:
    """Return a server bound to the address in the settings. Raises ListenError where that cannot be."""
    limits = settings.grpc
    server = aio.server(
        interceptors=(ErrorInterceptor(),),
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limits.message_bytes_max),
        ),
        maximum_concurrent_rpcs=limits.concurrent_rpcs_max,
    )
    batch_max = limits.batch_max
    liquidation_pb2_grpc.add_LiquidationGuardServiceServicer_to_server(
        LiquidationGuardService(engine, batch_max), server
    )
    order_pb2_grpc.add_OrderGuardServiceServicer_to_server(OrderGuardService(engine, batch_max), server)
    market_data_pb2_grpc.add_MarketDataServiceServicer_to_server(MarketDataService(engine, batch_max), server)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(engine, reload_policy, batch_max), server)
    recorded = settings.journal.directory is not None
    maintenance_pb2_grpc.add_MaintenanceServiceServicer_to_server(
        MaintenanceService(engine, batch_max, recorded=recorded), server
    )
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return GuardServer(server, health_servicer, engine, limits.listen)


def bind(server: aio.Server, listen: str) -> str:
    """Bind the server and return where, with the port that was bound. Raises ListenError."""
    if listen.startswith(UNIX_PREFIX):
        _refuse_live_socket(listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise _taken(listen) from error
    return listen if listen.startswith(UNIX_PREFIX) else f"{listen.rpartition(':')[0]}:{port}"


def _refuse_live_socket(listen: str) -> None:
    """Refuse a socket on which somebody answers: gRPC would take it away from them without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(listen.removeprefix(UNIX_PREFIX))
        except OSError:
            return
    raise _taken(listen)


def _taken(listen: str) -> ListenError:
    expected = "an address of this machine, host:port or unix:path, that no other process listens on"
    return ListenError(f"grpc.listen was {listen}, expected {expected}")
