"""What every request passes before a handler sees it, and what every answer carries.

The page has no password: it trusts everybody who can connect on this machine. Any web site can make a browser connect,
so names that a site could point here are not answered, nor are requests from another site's page.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

REQUESTS_MAX = 32
"""Requests answered at a time, live updates not counted; further ones are told to come again."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.SERVER: "circuit-guard",
}

_log = structlog.stdlib.get_logger(__name__)


def _is_defect(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


LIBRARY_LOG = logging.getLogger("aiohttp.server.defects")
"""Where aiohttp logs. A request that is no HTTP gets its 400 and no line: anybody who can connect could fill the disk,
and the line would quote what was sent, a token as well."""
LIBRARY_LOG.addFilter(_is_defect)

Explain = Callable[[web.Request, int, str], Awaitable[web.Response]]
"""Make an answer out of a status and the sentence that explains it."""


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add to an answer what all answers carry."""
    response.headers.update(HEADERS)


def explaining(explain: Explain) -> Middleware:
    """Return a middleware that gives every refusal a sentence."""

    @web.middleware
    async def explaining_(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refused:
            if refused.status < web.HTTPBadRequest.status_code:
                raise
            told = refused.text or refused.reason
            if told == f"{refused.status}: {refused.reason}":
                told = f"There is nothing at {request.path[:80]!r}."
            response = await explain(request, refused.status, told)
            response.headers.update({name: refused.headers[name] for name in (hdrs.ALLOW,) if name in refused.headers})
            return response
        except Exception:  # noqa: BLE001  # whatever it is, people get a sentence
            _log.exception("page_failed", path=request.path)
            told = "This page could not be built; the log says why. Checks are still judged: run circuit-guard status."
            return await explain(request, web.HTTPInternalServerError.status_code, told)

    return explaining_


@web.middleware
async def only_reads(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse everything that could be meant to change something: this page cannot."""
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        sentence = f"The method was {request.method}, expected GET or HEAD: this page only reads."
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_GET, hdrs.METH_HEAD], text=sentence)
    return await handler(request)


def known_host(listen_host: str) -> Middleware:
    """Return a middleware that answers only to names of this machine and to the one that is listened on."""

    @web.middleware
    async def known_host_(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(hdrs.HOST, "")
        if not is_known(given, listen_host):
            raise Misdirected(
                text=f"The Host was {given[:80]!r}, expected localhost, a loopback address or {listen_host}: a web "
                "site that wants to read this page could point other names here."
            )
        return await handler(request)

    return known_host_


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what the page of another origin requests; a link from there that somebody follows is answered."""
    origin, mode = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Sec-Fetch-Mode", "")
    if origin not in ("none", "same-origin") and mode != "navigate":
        raise web.HTTPForbidden(text="Another site's page requested this, expected this page itself or a person.")
    return await handler(request)


class Bounded:
    """Counts the requests that are being answered."""

    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        self._requests_max = requests_max
        self._running = 0

    @property
    def middleware(self) -> Middleware:
        """The middleware that refuses a request when there are too many, live updates excepted."""

        @web.middleware
        async def bounded_(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/events/"):
                return await handler(request)
            if self._running >= self._requests_max:
                sentence = f"{self._running} requests are running, and the limit is {self._requests_max}. Try again."
                raise web.HTTPServiceUnavailable(text=sentence)
            self._running += 1
            try:
                return await handler(request)
            finally:
                self._running -= 1

        return bounded_


class Misdirected(web.HTTPClientError):
    """The request was meant for another host (RFC 9110, 15.5.20)."""

    status_code = 421


def is_known(given: str, listen_host: str) -> bool:
    """Tell whether a Host header names this machine. An address, unlike a name, cannot be pointed elsewhere."""
    host, listened = _host_of(given), listen_host.strip("[]").lower()
    if host in ("localhost", listened):
        return True
    address, listened_address = _address_of(host), _address_of(listened)
    if address is None:
        return False
    return address.is_loopback or (listened_address is not None and listened_address.is_unspecified)


def _host_of(given: str) -> str:
    try:
        return urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return ""


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
