"""The gRPC server: the services, health, reflection and limits, put together in one place."""

from __future__ import annotations

from dataclasses import dataclass

from grpc import aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.config.settings import Settings
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import Problem, SettingsError
from circuit_guard.server.admission import Admission
from circuit_guard.server.envoy.mapping import Mapping
from circuit_guard.server.interceptor import GuardedServer
from circuit_guard.server.security.access import Access
from circuit_guard.server.security.certificates import CertificateWatch
from circuit_guard.server.services.admin import AdminService, ReloadPolicy
from circuit_guard.server.services.health import Health
from circuit_guard.server.services.liquidation import LiquidationGuardService
from circuit_guard.server.services.maintenance import MaintenanceService
from circuit_guard.server.services.market_data import MarketDataService
from circuit_guard.server.services.order import OrderGuardService
from circuit_guard.server.transport import bind, server_options
from circuit_guard.telemetry.admission import AdmissionMetrics
from circuit_guard.telemetry.families import Families
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

SERVICES = tuple(
    service.full_name
    for contract in (liquidation_pb2, order_pb2, market_data_pb2, admin_pb2, maintenance_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class GuardServer:
    """A server that reports NOT_SERVING until it is told otherwise."""

    server: aio.Server
    health: Health
    engine: Engine
    liquidations: LiquidationGuardService
    address: str
    """Where it listens, with the port that was bound."""
    certificates: CertificateWatch | None
    """Watches the certificate's files; None without TLS."""

    @property
    def health_address(self) -> str:
        """Where probes are answered; empty without grpc.health_listen."""
        return self.health.address

    async def start(self) -> None:
        """Begin to answer."""
        await self.health.start()
        await self.server.start()
        if self.certificates is not None:
            self.certificates.start()

    async def set_serving(self, serving: bool) -> None:  # noqa: FBT001 - the state is the whole message
        """Report the guard and each of its services as SERVING or NOT_SERVING; they answer in both cases."""
        await self.health.set_serving(serving)

    async def drain(self, grace_s: float) -> None:
        """Stop: report NOT_SERVING, take no more requests, end the watches, and give running requests `grace_s`."""
        await self.health.drain()
        self.engine.end_watchers()
        self.liquidations.end_streams()
        if self.certificates is not None:
            await self.certificates.stop()
        await self.server.stop(grace_s)
        await self.health.stop()


def create_server(
    engine: Engine,
    settings: Settings,
    reload_policy: ReloadPolicy,
    metrics: AdmissionMetrics | None = None,
    access: Access | None = None,
) -> GuardServer:
    """Return a server bound to the address in the settings; without metrics what it refuses is counted nowhere.

    `access` knows the identities in force; without it those of the settings stay.

    Raise ListenError where it cannot be bound, CertificateError where its certificate cannot be used, SettingsError
    where they need an extra that is not installed.
    """
    limits = settings.grpc
    metrics = metrics or AdmissionMetrics(Families(CollectorRegistry()))
    encrypted = settings.security.server_certificate is not None
    certificates = CertificateWatch(settings.security, metrics.certificate) if encrypted else None
    server = aio.server(
        options=server_options(settings),
        maximum_concurrent_rpcs=limits.concurrent_rpcs_max,
    )
    access = access or Access(settings.security)
    admission = Admission(settings, access, metrics, journal_full=lambda: engine.journal_full)
    guarded = GuardedServer(server, admission)
    batch_max = limits.batch_max
    liquidations = LiquidationGuardService(engine, batch_max)
    liquidation_pb2_grpc.add_LiquidationGuardServiceServicer_to_server(liquidations, guarded)
    order_pb2_grpc.add_OrderGuardServiceServicer_to_server(OrderGuardService(engine, batch_max), guarded)
    market_data_pb2_grpc.add_MarketDataServiceServicer_to_server(MarketDataService(engine, batch_max), guarded)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(engine, reload_policy, batch_max), guarded)
    recorded = settings.journal.directory is not None
    maintenance_pb2_grpc.add_MaintenanceServiceServicer_to_server(
        MaintenanceService(engine, batch_max, recorded=recorded), guarded
    )
    services: tuple[str, ...] = SERVICES
    if settings.ext_authz.enabled:
        services = (*SERVICES, _add_authorization(guarded, liquidations, settings.ext_authz))
    answers_health = Health(services, limits.health_listen)
    answers_health.add_to(guarded)
    reflected = reflection.aio.ReflectionServicer((*services, health.SERVICE_NAME, reflection.SERVICE_NAME))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, guarded)
    address = bind(server, limits.listen, None if certificates is None else certificates.credentials())
    return GuardServer(server, answers_health, engine, liquidations, address, certificates)


def _add_authorization(server: GuardedServer, liquidations: LiquidationGuardService, settings: ExtAuthzSettings) -> str:
    """Have the server answer Envoy through the service for liquidations, and return the name of what it serves.

    Raise SettingsError where the extra is not installed.
    """
    try:
        from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
    except ModuleNotFoundError as error:
        expected = f"the extra beside it, {error.name} is not installed: pip install 'circuit-guard[envoy]'"
        raise SettingsError("settings", [Problem("ext_authz.enabled", "true", expected)]) from error
    from circuit_guard.server.envoy.authorization import AuthorizationService

    service = AuthorizationService(liquidations, Mapping(settings))
    external_auth_pb2_grpc.add_AuthorizationServicer_to_server(service, server)
    name: str = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"].full_name
    return name
