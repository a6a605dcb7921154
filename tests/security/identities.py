"""One identity a role, known by a token each, and how a test calls as one of them."""

from __future__ import annotations

from typing import Any

from circuit_guard.config.security import IdentityTable, Role, SecuritySettings
from circuit_guard.server.security.tokens import token_sha256
from tests.driver import Driver
from tests.server.harness import Harness

TOKENS = {role: f"cg_token-of-the-{role}" for role in Role}
NAMES = {Role.LIQUIDATOR: "engine", Role.PUBLISHER: "feed", Role.OPERATOR: "bastion", Role.VIEWER: "dashboard"}
SOURCES = ("exchange", "binance")


def identity(role: Role, **changes: Any) -> IdentityTable:
    """Return the identity of a role, known by its token, changed."""
    sources = SOURCES if role is Role.PUBLISHER else ()
    fields: dict[str, Any] = {"roles": (role,), "token_sha256": (token_sha256(TOKENS[role]),)}
    fields["several_sources"] = len(sources) > 1
    return IdentityTable.model_construct(**({"certificates": (), "sources": sources} | fields | changes))


SECURITY = SecuritySettings.model_construct(identities={NAMES[role]: identity(role) for role in Role})


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def as_(role: Role | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a request of the role's identity; none for nobody."""
    return () if role is None else bearer(TOKENS[role])


class Start:
    """Starts servers, and drains them at the end."""

    def __init__(self) -> None:
        self._started: list[Harness] = []

    async def __call__(self, driver: Driver, **settings: Any) -> Harness:
        harness = Harness(driver, **settings)
        self._started.append(harness)
        await harness.server.start()
        return harness

    async def end(self) -> None:
        for harness in self._started:
            await harness.channel.close()
            await harness.server.drain(grace_s=0)


def refusals(guard: Harness, reason: str) -> float:
    """Return how many RPCs were refused for a reason."""
    return guard.registry.get_sample_value("circuit_guard_rpcs_refused_total", {"reason": reason}) or 0.0
