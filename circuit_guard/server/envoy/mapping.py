"""From a request that Envoy holds to a check."""

from __future__ import annotations

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.core.types import CheckKind
from circuit_guard.errors import WireError
from circuit_guard.server.convert import enums
from circuit_guard.server.envoy.places import Http, Places
from circuit_guard.v1 import liquidation_pb2

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

        Raise WireError, which says where the field is taken from, for what is no text or no kind of closure.
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
        )

    def named(self, field: str) -> str:
        """Return a field of a check as whoever sends requests or writes settings knows it."""
        return f"{SETTINGS[field]} ({self._places[field]})"


def _kind(text: str, field: str) -> liquidation_pb2.CheckKind:
    if not text:
        return liquidation_pb2.CHECK_KIND_UNSPECIFIED
    try:
        return enums.KINDS[CheckKind(text)]
    except ValueError:
        raise WireError(field, text, f"one of {', '.join(CheckKind)}") from None
