"""`probe`: is a guard ready, or live? It runs every few seconds, so it imports little."""

from __future__ import annotations

from typing import Annotated

import typer
from grpc_health.v1 import health_pb2

from circuit_guard.cli import options
from circuit_guard.cli.options import Guard
from circuit_guard.cli.output import CommandError, ExitCode, screen
from circuit_guard.core.types import LIVENESS, READINESS


def probe(
    live: Annotated[
        bool, typer.Option("--live", help="Ask whether it is live, regardless of market data: whether to restart it.")
    ] = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Say in one line whether a guard is ready, or with --live whether it is live.

    The address can be that of grpc.listen or of grpc.health_listen.

    Exit code 1: it is not. 3: no answer.
    """
    request = health_pb2.HealthCheckRequest(service=LIVENESS if live else READINESS)
    with Guard(address, timeout) as guard:
        answer: health_pb2.HealthCheckResponse = guard.call(guard.health.Check, request)
    asked = "live" if live else "ready"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        why = "it is draining" if live else "circuit-guard status says why"
        raise CommandError(f"the guard at {address} is not {asked}: {why}", ExitCode.DENIED)
    screen().print(f"the guard at {address} is {asked}")
