"""Requests as Envoy describes them: any headers and any body become a check, or WireError says what cannot be meant.

The input is lines of `name: value`, an empty line, and the body. Fields are taken from headers, then from the body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from envoy.service.auth.v3.attribute_context_pb2 import AttributeContext

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import WireError
from circuit_guard.recording.format import LabelledCheck
from circuit_guard.server.convert import requests
from circuit_guard.server.envoy.mapping import Mapping
from fuzz import story
from fuzz.judged import judged
from fuzz.targets.convert import refused

END_OF_HEADERS = b"\n\n"
HEADERS = ExtAuthzSettings()
BODY = ExtAuthzSettings(
    market="json:closure.market",
    account_id="json:account",
    size="json:closure.size",
    request_id="json:id",
    kind="json:kind",
    execution_price="json:price",
    basis_mark_price="json:basis.mark",
    basis_funding_index="json:basis.funding",
)


def seeds() -> Iterator[bytes]:
    """Return a recorded closure as headers, and as a body."""
    check = next(entry.check for entry in story.entries(story.CLOSURES_S) if isinstance(entry, LabelledCheck))
    values = {
        HEADERS.market: check.market,
        HEADERS.account_id: check.account_id,
        HEADERS.size: check.size,
        HEADERS.request_id: check.request_id,
        HEADERS.kind: "TRIGGER",
        HEADERS.execution_price: check.execution_price,
        HEADERS.basis_mark_price: check.basis.mark_price,
        HEADERS.basis_funding_index: check.basis.funding_index,
    }
    yield "\n".join(f"{place.partition(':')[2]}: {value}" for place, value in values.items()).encode()
    body = {
        "id": check.request_id,
        "account": check.account_id,
        "closure": {"market": check.market, "size": float(check.size)},
        "basis": {"mark": str(check.basis.mark_price), "funding": 21},
    }
    yield b"content-type: application/json" + END_OF_HEADERS + json.dumps(body).encode()


def feed(data: bytes) -> None:
    """Read the bytes as a request, and have the closure judged."""
    head, _, body = data.partition(END_OF_HEADERS)
    lines = (line.partition(":") for line in head.decode(errors="replace").split("\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    http = AttributeContext.HttpRequest(method="POST", path="/", headers=headers, raw_body=body)
    for settings in (HEADERS, BODY):
        try:
            check = requests.check(Mapping(settings).check(http), "check", story.warm().now_ns + SECOND_NS)
        except WireError as error:
            refused(error)
        else:
            judged([check])
