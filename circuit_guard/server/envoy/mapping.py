"""From a request that Envoy holds to a check: each field is in a header, or in the JSON body.

A request that two readers could understand in two ways is refused: what the guard judges has to be what the service
behind Envoy acts on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from circuit_guard.config.envoy import HEADER, ExtAuthzSettings
from circuit_guard.core.types import CheckKind
from circuit_guard.errors import WireError
from circuit_guard.server.convert import enums
from circuit_guard.server.convert.fields import NOT_GIVEN
from circuit_guard.v1 import liquidation_pb2

BODY_BYTES_MAX = 65_536
"""A question about one closure is far smaller, and reading a large body would hold up everybody else's."""

PARTIAL_BODY = "x-envoy-auth-partial-body"
GRPC_CONTENT = "application/grpc"

_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

Http = Any
"""envoy.service.auth.v3.AttributeContext.HttpRequest: it comes from an extra, and without types."""

SETTINGS = {
    "check.market": "market",
    "check.account_id": "account_id",
    "check.size": "size",
    "check.request_id": "request_id",
    "check.kind": "kind",
    "check.execution_price": "execution_price",
    "check.basis.mark_price": "basis_mark_price",
    "check.basis.funding_index": "basis_funding_index",
}
"""The fields of a check and the keys of the settings that say where each is."""


class Mapping:
    """Where requests have their fields, as the settings say."""

    def __init__(self, settings: ExtAuthzSettings) -> None:
        self._places: dict[str, str] = {field: getattr(settings, key) for field, key in SETTINGS.items()}

    def check(self, http: Http) -> liquidation_pb2.LiquidationCheck:
        """Return the check that a request asks for; its values are not judged yet.

        Raise WireError, which says where the field is taken from, for a field that is not text or a kind of closure.
        """
        places = Places(http)
        found = {field: places.text(place, self.named(field)) for field, place in self._places.items()}
        return liquidation_pb2.LiquidationCheck(
            market=found["check.market"],
            account_id=found["check.account_id"],
            size=found["check.size"],
            request_id=found["check.request_id"],
            kind=_kind(found["check.kind"], self.named("check.kind")),
            execution_price=found["check.execution_price"],
            basis=liquidation_pb2.Basis(
                mark_price=found["check.basis.mark_price"],
                funding_index=found["check.basis.funding_index"],
            ),
            judge_anew=True,  # the answer itself lets the request through, and anyone may send its id again
        )

    def named(self, field: str) -> str:
        """Return a field of a check under the names that the settings and the sender know it by."""
        return f"{SETTINGS[field]} ({self._places[field]})"


def _kind(text: str, field: str) -> liquidation_pb2.CheckKind:
    if not text:
        return liquidation_pb2.CHECK_KIND_UNSPECIFIED
    try:
        return enums.KINDS[CheckKind(text)]
    except ValueError:
        raise WireError(field, text, f"one of {', '.join(CheckKind)}") from None


class Places:
    """One request, and how to take texts out of it. The body is read once, and only where a place is in it."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._document: dict[str, Any] | None = None

    def text(self, place: str, field: str) -> str:
        """Return the text at a place of the settings, empty where there is none.

        Raise WireError, which names the field, for a value that cannot be used.
        """
        kind, _, name = place.partition(":")
        value = self._header(name, field) if kind == HEADER else self._in_body(name, field)
        if not value.isprintable():
            raise WireError(field, _encodable(value), "printable characters")
        return value

    def _header(self, name: str, field: str) -> str:
        value: str = self._http.headers.get(name, NOT_GIVEN)
        if (twin := _twin(name, self._http.headers, _as_variable)) is not None:
            expected = f"no header {twin} beside {name}: some services take the two for one"
            raise WireError(field, self._http.headers[twin], expected)
        if "," in value:
            expected = "one value, with %2C for a comma in it: Envoy joins headers of one name with commas"
            raise WireError(field, value, expected)
        return _percent_decoded(value, field)

    def _in_body(self, path: str, field: str) -> str:
        if self._document is None:
            self._document = _document(self._http)
        value: Any = self._document
        for key in path.split("."):
            if not isinstance(value, dict):
                raise WireError(field, _encodable(value), f"a JSON object with the key {key}")
            if (twin := _twin(key, value, str.casefold)) is not None:
                raise WireError(
                    field, _encodable(twin), f"the key {key} and no other case of it: some readers ignore case"
                )
            value = value.get(key)
            if value is None:
                return NOT_GIVEN
        if not isinstance(value, str):
            raise WireError(field, _encodable(value), "a JSON string or number")
        return value


def _twin(name: str, names: Iterable[str], read: Callable[[str], str]) -> str | None:
    """Return another name that some services read as this one; None where there is none."""
    alike = read(name)
    return next((other for other in names if other != name and read(other) == alike), None)


def _as_variable(name: str) -> str:
    """Return the name of a header as CGI, WSGI and some proxies have it: with a dash and an underscore alike."""
    return name.lower().replace("-", "_")


def _percent_decoded(value: str, field: str) -> str:
    """Return the text of a header, whose `%XX` are bytes of UTF-8 (RFC 3986); a header can carry ASCII for certain."""
    if "%" not in value:
        return value
    expected = "text in UTF-8 with %XX for a byte, and %25 for a percent sign"
    if _NO_ESCAPE.search(value):
        raise WireError(field, value, expected)
    try:
        return unquote_to_bytes(value).decode()
    except ValueError:
        raise WireError(field, value, expected) from None


def is_grpc(http: Http) -> bool:
    """Return whether the request is a gRPC call to Envoy; it takes gRPC-Web and all else for plain HTTP."""
    content_type: str = http.headers.get("content-type", "")
    return content_type == GRPC_CONTENT or content_type.startswith(f"{GRPC_CONTENT}+")


def _document(http: Http) -> dict[str, Any]:
    """Return the JSON object that is the body, with numbers as the text they were written as."""
    body: bytes = http.raw_body or http.body.encode()
    if is_grpc(http):
        raise WireError("body", http.headers["content-type"], f"JSON: a gRPC call has its fields in {HEADER}:NAME only")
    if http.headers.get(PARTIAL_BODY) == "true":
        raise WireError("body", f"the first {len(body)} bytes", "all of it: raise max_request_bytes in Envoy")
    if not body:
        raise WireError("body", NOT_GIVEN, "a JSON object: Envoy sends it along with with_request_body")
    if len(body) > BODY_BYTES_MAX:
        raise WireError("body", f"{len(body)} bytes", f"at most {BODY_BYTES_MAX} bytes")
    try:
        document = json.loads(
            body.decode(),
            parse_int=str,
            parse_float=str,
            parse_constant=_no_constant,
            object_pairs_hook=_each_key_once,
        )
    except (ValueError, RecursionError) as error:
        raise WireError("body", body.decode(errors="backslashreplace"), f"a JSON object ({error})") from error
    if not isinstance(document, dict):
        raise WireError("body", _encodable(document), "a JSON object")
    return document


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, unless it has a key twice: some readers take the first of them, some the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"each key once, {key[:40]!r} is there again")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"no {name}, JSON has no such number")


def _encodable(value: object) -> str:
    """Return a value of a document as text for a message; JSON can have halves of characters, and protobuf cannot."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="backslashreplace").decode()
