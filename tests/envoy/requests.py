"""Requests as Envoy describes them."""

from __future__ import annotations

import json
from typing import Any

from envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from circuit_guard.config.envoy import ExtAuthzSettings
from tests.driver import BTC

GRPC = {"content-type": "application/grpc"}
HEADERS = {
    "x-request-id": "request-1",
    "x-circuit-guard-market": BTC,
    "x-circuit-guard-account-id": "account-1",
    "x-circuit-guard-size": "-0.5",
    "x-circuit-guard-execution-price": "92600",
    "x-circuit-guard-mark-price": "92600",
    "x-circuit-guard-funding-index": "20511",
}
"""An honest question about a warm market."""

BODY = {
    "id": "request-1",
    "account": 17,
    "closure": {"market": BTC, "size": -0.5, "price": "92600"},
    "computed_with": {"mark": 92600, "funding": 20511},
}
IN_BODY = ExtAuthzSettings(
    enabled=True,
    market="json:closure.market",
    account_id="json:account",
    size="json:closure.size",
    request_id="json:id",
    kind="json:closure.kind",
    execution_price="json:closure.price",
    basis_mark_price="json:computed_with.mark",
    basis_funding_index="json:computed_with.funding",
)


def http(headers: dict[str, str] | None = None, body: object = b"") -> Any:
    """Return an HTTP request; a body that is no text and no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return AttributeContext.HttpRequest(method="POST", path="/", headers=headers or {}, raw_body=raw)


def request(headers: dict[str, str] | None = None, body: object = b"") -> CheckRequest:
    """Return what Envoy asks about such a request."""
    described = CheckRequest()
    described.attributes.request.http.CopyFrom(http(headers, body))
    return described
