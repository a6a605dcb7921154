"""The settings of Envoy's external authorization: whether it is answered, and where a request has each field."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from circuit_guard.config.settings_values import Switch
from circuit_guard.config.toml import Table, expected

HEADER = "header"
JSON = "json"

_PLACE = rf"{HEADER}:[A-Za-z0-9_-]{{1,64}}|{JSON}:[A-Za-z0-9_-]{{1,64}}(\.[A-Za-z0-9_-]{{1,64}}){{0,7}}"


def _place(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_PLACE, value):
        raise expected(
            f'"{HEADER}:" and the name of a header, or "{JSON}:" and up to 8 keys of the body with dots between them, '
            f'e.g. "{HEADER}:x-market" or "{JSON}:closure.market"'
        )
    kind, _, name = value.partition(":")
    return f"{kind}:{name.lower() if kind == HEADER else name}"


Place = Annotated[str, PlainValidator(_place), WithJsonSchema({"type": "string", "pattern": f"^({_PLACE})$"})]
"""Where a request has a field: `header:NAME`, or `json:KEY.KEY` in its body."""


class ExtAuthzSettings(Table):
    """Envoy's external authorization. A place is "header:NAME", or "json:KEY.KEY" in the body that Envoy sends."""

    enabled: Switch = False
    """Answer envoy.service.auth.v3.Authorization/Check. Needs the extra: pip install circuit-guard[envoy]."""
    market: Place = "header:x-circuit-guard-market"
    """Where a request has the market. Required in each request."""
    account_id: Place = "header:x-circuit-guard-account-id"
    """Where it has the account to be closed. Required in each request."""
    size: Place = "header:x-circuit-guard-size"
    """Where it has the closing trade in base units, signed. Required in each request."""
    request_id: Place = "header:x-request-id"
    """Where it has its id; the same id with the same content gets the same decision. Required in each request."""
    kind: Place = "header:x-circuit-guard-kind"
    """Where it has the kind of closure: LIQUIDATION (taken where it has none), AUTO_DELEVERAGE, INSURANCE_TRANSFER,
    TRIGGER or SETTLEMENT."""
    execution_price: Place = "header:x-circuit-guard-execution-price"
    """Where it has the price that the closure will execute at; where it has none the mark is judged."""
    basis_mark_price: Place = "header:x-circuit-guard-mark-price"
    """Where it has the mark price that the caller computed with."""
    basis_funding_index: Place = "header:x-circuit-guard-funding-index"
    """Where it has the funding index that the caller computed with."""
