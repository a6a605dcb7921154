"""The options that several commands share, each written once, and the connection to a guard that they describe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self, TypeVar

import grpc
import typer
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from circuit_guard.cli.output import CommandError, ExitCode
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.connection import Connection, Tls
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    event_pb2,
    liquidation_pb2,
    liquidation_pb2_grpc,
    maintenance_pb2_grpc,
    status_pb2,
)

SETTINGS_VARIABLE = "CIRCUIT_GUARD_SETTINGS"
TOKEN_VARIABLE = "CIRCUIT_GUARD_TOKEN"  # noqa: S105  # the name of a variable
OWN_VARIABLES = frozenset(
    {SETTINGS_VARIABLE, TOKEN_VARIABLE}
    | {f"CIRCUIT_GUARD_{option}" for option in ("ADDRESS", "ACTOR", "CA", "CERT", "KEY", "TOKEN_FILE")}
)
"""The environment variables of the command line itself. They are not settings."""

Address = Annotated[
    str,
    typer.Option("--address", envvar="CIRCUIT_GUARD_ADDRESS", help="Where the guard listens: host:port or unix:path."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.001, max=600.0, help="Seconds to wait for an answer.", metavar="SECONDS")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for a machine.")]
Actor = Annotated[
    str, typer.Option("--actor", envvar="CIRCUIT_GUARD_ACTOR", help="Who does this: your name, for the audit.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="CIRCUIT_GUARD_CA", help="TLS: the CA that signed the guard's certificate, PEM."),
]
Cert = Annotated[Path | None, typer.Option("--cert", envvar="CIRCUIT_GUARD_CERT", help="mTLS: your certificate, PEM.")]
Key = Annotated[Path | None, typer.Option("--key", envvar="CIRCUIT_GUARD_KEY", help="mTLS: its key, PEM.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="CIRCUIT_GUARD_TOKEN_FILE",
        help=f"A file with your bearer token. Or set {TOKEN_VARIABLE} to the token.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why you do this, for the audit.")]
Markets = Annotated[list[str] | None, typer.Argument(metavar="MARKETS", help="Markets, for instance BTC-USD-PERP.")]
All = Annotated[bool, typer.Option("--all", help="Everything at once: the scope GLOBAL.")]

ADDRESS = "127.0.0.1:50051"
TIMEOUT_S = 5.0

CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 64 * 1024 * 1024))
"""A guard listens on this machine, so no proxy is asked; a status of very many markets is a large message."""

_DETAILS_KEY = "grpc-status-details-bin"
_SIGNS_OF_TLS = ("Socket closed", "handshake", "Connection reset")
"""What gRPC says where a guard wants TLS, or another certificate."""
_NOT_ALLOWED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_BAD_INPUT = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS)

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Identification:
    """How this command line shows the guard who it is. The token is never printed."""

    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)


NOBODY = Identification()
IDENTIFICATION: ContextVar[Identification] = ContextVar("IDENTIFICATION")
"""What the options before the command say, for every connection of this process."""


def scopes_of(markets: list[str] | None, everything: bool) -> list[str]:
    """Return the scopes that markets and --all name. Raise typer.BadParameter for none, and for both."""
    if everything and markets:
        raise typer.BadParameter(f"give markets or --all, not both: markets were {', '.join(markets)}")
    if not everything and not markets:
        raise typer.BadParameter("name at least one market, or give --all for everything")
    return [GLOBAL_SCOPE] if everything else list(markets or ())


def identification(ca: Path | None, cert: Path | None, key: Path | None, token_file: Path | None) -> Identification:
    """Return who asks. Raise CommandError for files that do not go together or cannot be read."""
    if ca is None and (cert or key):
        raise CommandError("--ca was not given, expected it with --cert and --key", ExitCode.BAD_INPUT)
    try:
        tls = None if ca is None else Tls(ca, cert, key)
    except ArgumentError as error:
        raise CommandError(str(error), ExitCode.BAD_INPUT) from error
    return Identification(tls, _token(token_file))


def _token(file: Path | None) -> str | None:
    """Return the token of the file, or of the environment; never of the command line, which others can read."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"--token-file was {file}, expected a readable file with a token"
        raise CommandError(sentence, ExitCode.BAD_INPUT) from error


class Guard:
    """A guard that other processes run. Use it in `with`. Every method raises CommandError where there is no answer."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect as IDENTIFICATION says. Raise CommandError where that cannot be."""
        self.address = address
        self.timeout_s = timeout_s
        shown = IDENTIFICATION.get(NOBODY)
        self._encrypted = shown.tls is not None
        try:
            self._metadata = () if shown.token is None else Connection(address, shown.tls, shown.token).metadata()
            credentials = None if shown.tls is None else shown.tls.credentials()
        except ArgumentError as error:
            raise CommandError(str(error), ExitCode.BAD_INPUT) from error
        self._channel = (
            grpc.insecure_channel(address, CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)
        )
        self._liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(self._channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self._channel)
        self.maintenance = maintenance_pb2_grpc.MaintenanceServiceStub(self._channel)
        self.health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def check(self, check: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.LiquidationDecision:
        """Ask about one forced closure."""
        request = liquidation_pb2.CheckLiquidationRequest(check=check)
        response: liquidation_pb2.CheckLiquidationResponse = self.call(self._liquidations.CheckLiquidation, request)
        return response.decision

    def status(self) -> status_pb2.GuardStatus:
        """Return the state of the guard and of every market."""
        response: admin_pb2.GetStatusResponse = self.call(self.admin.GetStatus, admin_pb2.GetStatusRequest())
        return response.status

    @contextmanager
    def watching(self, *, include_allowed: bool) -> Iterator[Iterator[event_pb2.Event]]:
        """Give the events from now on, without a deadline; leaving the context ends the watch."""
        request = admin_pb2.WatchEventsRequest(include_allowed=include_allowed)
        stream = self.admin.WatchEvents(request, metadata=self._metadata)
        try:
            yield self._events(stream)
        finally:
            stream.cancel()

    def call(self, method: Callable[..., Response], request: Message) -> Response:
        """Call one method with the deadline."""
        try:
            return method(request, timeout=self.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def _events(self, stream: Iterator[admin_pb2.WatchEventsResponse]) -> Iterator[event_pb2.Event]:
        try:
            for response in stream:
                yield response.event
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.CANCELLED:
                return
            raise self._failure(error) from error

    def _failure(self, error: grpc.RpcError) -> CommandError:
        """Return what a person is told of an RPC that failed."""
        if not isinstance(error, grpc.Call):
            raise error
        code, details = error.code(), error.details() or ""
        answered = any(key == _DETAILS_KEY for key, _ in error.trailing_metadata() or ())
        if code in _BAD_INPUT:
            return CommandError(details, ExitCode.BAD_INPUT)
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            return CommandError(details, ExitCode.DENIED)
        if code is grpc.StatusCode.UNAVAILABLE and not answered:
            sentence = f"no guard answers at {self.address}: is `circuit-guard serve` running?"
            if "refused" not in details and (self._encrypted or any(sign in details for sign in _SIGNS_OF_TLS)):
                sentence += f" Or it wants other certificates, or no TLS at all ({details})"
        elif code in _NOT_ALLOWED:
            sentence = f"the guard at {self.address} refused: {details}"
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            sentence = f"the guard at {self.address} did not answer within {self.timeout_s:g} s"
        elif code is grpc.StatusCode.UNIMPLEMENTED:
            sentence = f"the server at {self.address} is not circuit_guard, or is another version of it: {details}"
        else:
            sentence = f"the guard at {self.address} gave no answer ({code.name}): {details}"
        return CommandError(sentence, ExitCode.NO_ANSWER)
