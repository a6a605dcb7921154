"""Who may read over HTTP: the same identities, by their tokens."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from circuit_guard.config.security import Role
from circuit_guard.config.settings import Settings
from circuit_guard.config.settings_values import only_this_machine
from circuit_guard.server.security import tokens
from circuit_guard.server.security.access import Access, may

METRICS_PATH = "/metrics"
ALIVE_PATH = "/healthz"
"""It says that the process runs, and nothing else."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="circuit_guard: any name, and a token as the password", charset="UTF-8"'}

Response: TypeAlias = web.StreamResponse


def viewers_only(settings: Settings, access: Access | None = None) -> Middleware:
    """Return the middleware that admits viewers and operators by their token; everybody where there are no identities.

    Refusals are answered here and not raised: the page that explains what was raised shows the state of the guard.

    The token comes as `Authorization: Bearer TOKEN`, or as the password of basic authentication, which browsers ask
    for. The metrics are open to this machine, as Prometheus is often there, and beyond it they need a token as well.
    """
    access = access or Access(settings.security)
    metrics_open = only_this_machine(settings.http.listen)
    answering: dict[int, tuple[web.Request, str | None]] = {}

    def end_foreign() -> None:
        """Close the connections whose live updates a viewer was given who is none any more."""
        for request, token in answering.values():
            if not access.open and not _viewer(access, token) and request.transport is not None:
                request.transport.close()

    access.when_taken(end_foreign)

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> Response:
        if request.path == ALIVE_PATH or (metrics_open and request.path == METRICS_PATH):
            return await handler(request)
        token = _token(request.headers.getall("Authorization", []))
        if access.open or _viewer(access, token):
            answering[id(request)] = (request, token)
            try:
                return await handler(request)
            finally:
                del answering[id(request)]
        caller = None if token is None else access.known_by_token(token)
        if caller is None:
            said = "a token of a viewer is needed: as the password, or as `Authorization: Bearer TOKEN`\n"
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=said, headers=CHALLENGE)
        said = f"this needs the role viewer; the caller is {caller.name}\n"
        return web.Response(status=HTTPStatus.FORBIDDEN, text=said)

    return admit


def _viewer(access: Access, token: str | None) -> bool:
    caller = None if token is None else access.known_by_token(token)
    return caller is not None and may(caller.roles, Role.VIEWER)


def _token(given: list[str]) -> str | None:
    """Return the token of a header that is there once, None where it has none."""
    if len(given) != 1:
        return None
    match = tokens.BEARER.fullmatch(given[0])
    if match is not None:
        return match["token"]
    scheme, _, encoded = given[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password or None
