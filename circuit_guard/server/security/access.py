"""Who is asking, and may they? Matches a caller to an identity of the settings, and an RPC to its roles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from grpc import aio

from circuit_guard.config.security import Role, SecuritySettings
from circuit_guard.core import inputs
from circuit_guard.errors import shown
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.security import tokens
from circuit_guard.server.security.peers import Peer, PeerCertificateError, expected_name, peer_of

PLAIN_ACTOR = re.compile(r"[^\s()\"'\\]+")
"""What an actor's name looks like that needs no quotes."""
NOTHING_DONE = "nothing of the request took effect"
PEM_PROPERTY = "x509_pem_cert"
"""Where gRPC has the certificate that the client has shown, without its chain."""

Context = aio.ServicerContext[Any, Any]

Act = TypeVar(
    "Act",
    inputs.HaltCommand,
    inputs.ResumeCommand,
    inputs.ResetCommand,
    inputs.PhaseCommand,
    inputs.RebaselineCommand,
    inputs.BeginMaintenance,
    inputs.ValidateState,
    inputs.EndMaintenance,
)

_LIQUIDATOR, _PUBLISHER, _OPERATOR, _VIEWER = Role.LIQUIDATOR, Role.PUBLISHER, Role.OPERATOR, Role.VIEWER
_REFLECTION: dict[str, Role | None] = {"ServerReflectionInfo": _VIEWER}

_SERVICES: dict[str, dict[str, Role | None]] = {
    "circuit_guard.v1.LiquidationGuardService": {
        "CheckLiquidation": _LIQUIDATOR,
        "CheckLiquidations": _LIQUIDATOR,
        "CheckLiquidationStream": _LIQUIDATOR,
    },
    "circuit_guard.v1.OrderGuardService": {"CheckOrders": _LIQUIDATOR},
    "circuit_guard.v1.MarketDataService": {"PublishObservations": _PUBLISHER, "PublishReferences": _PUBLISHER},
    "circuit_guard.v1.AdminService": {
        "Halt": _OPERATOR,
        "Resume": _OPERATOR,
        "ResetBreaker": _OPERATOR,
        "SetPhase": _OPERATOR,
        "ReloadPolicy": _OPERATOR,
        "GetStatus": _VIEWER,
        "WatchEvents": _VIEWER,
    },
    "circuit_guard.v1.MaintenanceService": {
        "BeginMaintenance": _OPERATOR,
        "ValidateState": _OPERATOR,
        "EndMaintenance": _OPERATOR,
        "Rebaseline": _OPERATOR,
    },
    "envoy.service.auth.v3.Authorization": {"Check": _LIQUIDATOR},
    "grpc.health.v1.Health": {"Check": None, "List": None, "Watch": None},
    "grpc.reflection.v1alpha.ServerReflection": _REFLECTION,
}

ROLES = {f"/{service}/{rpc}": role for service, rpcs in _SERVICES.items() for rpc, role in rpcs.items()}
"""The role that each RPC needs; None: none, as the answer says nothing but whether the guard serves."""

INCLUDED = {Role.OPERATOR: frozenset({Role.VIEWER})}
"""Roles that a role includes: an operator who halts has to see."""


def may(roles: Collection[Role], needed: Role) -> bool:
    """Return whether somebody with these roles has the one that is needed."""
    return any(needed is role or needed in INCLUDED.get(role, ()) for role in roles)


@dataclass(frozen=True, slots=True)
class Caller:
    """An identity of the settings that has shown a certificate or a token of its own."""

    name: str
    roles: tuple[Role, ...]
    sources: frozenset[str]


CALLER: ContextVar[Caller | None] = ContextVar("CALLER", default=None)
"""Who asks in the RPC that is being served: each is served in a context of its own. None: nobody was authenticated."""


class Access:
    """Knows every identity. Without any, everybody may do everything and no caller is identified."""

    def __init__(self, security: SecuritySettings) -> None:
        self._mutual = security.mutual
        """Whether clients show certificates: as the listener was bound."""
        self._told: list[Callable[[], None]] = []
        self.take(security)

    def take(self, security: SecuritySettings) -> None:
        """Put these identities and revocations into force, for open connections and streams as well."""
        identities = security.identities
        self._callers = {
            name: Caller(name, table.roles, frozenset(table.sources)) for name, table in identities.items()
        }
        self._hashes = [(known, name) for name, table in identities.items() for known in table.token_sha256]
        self._subjects = {
            expected_name(entry): name for name, table in identities.items() for entry in table.certificates
        }
        self._revoked = frozenset(security.revoked_certificates)
        for tell in self._told:
            tell()

    def when_taken(self, tell: Callable[[], None]) -> None:
        """Have a function called whenever other identities are in force."""
        self._told.append(tell)

    @property
    def identities(self) -> tuple[str, ...]:
        """The names of those who are known."""
        return tuple(self._callers)

    @property
    def open(self) -> bool:
        """Whether everybody who can connect may do everything."""
        return not self._callers

    def needs_nobody(self, method: str) -> bool:
        """Return whether an RPC is for everybody, known or not."""
        return method in ROLES and ROLES[method] is None

    def admit(self, method: str, context: Context) -> Caller | None:
        """Return who asks, None where everybody may. Raise RefusalError if the caller is not known, or may not."""
        if self.open or self.needs_nobody(method):
            return None
        return self._with_role(self._known(_token(context), self._peer(context, method), method), method)

    def known_by_token(self, token: str) -> Caller | None:
        """Return the caller with this token, None if there is none."""
        name = tokens.owner(token, self._hashes)
        return None if name is None else self._callers[name]

    def _known(self, token: str | None, peer: Peer | None, method: str) -> Caller:
        names = () if peer is None else peer.names
        certified = {self._subjects[name] for name in names if name in self._subjects}
        if len(certified) > 1:
            both = " and ".join(sorted(certified))
            raise _unknown(method, f"the certificate names {both}, and one caller is only one of them")
        if token is not None:
            caller = self.known_by_token(token)
            if caller is None:
                raise _unknown(method, "the bearer token is of no identity in the settings")
            if certified and caller.name not in certified:
                raise _unknown(method, f"the certificate is of {certified.pop()} and the bearer token of {caller.name}")
            return caller
        if certified:
            return self._callers[certified.pop()]
        if names:
            shown_names = _list(name.value for name in names)
            raise _unknown(method, f"the certificate for {shown_names} is of no identity in the settings")
        if peer is not None:
            raise _unknown(method, "the certificate has no DNS name, URI or address as alternative name")
        raise _unknown(method, "the request has no bearer token and no certificate came with it")

    def _with_role(self, caller: Caller, method: str) -> Caller:
        needed = ROLES.get(method)
        if needed is not None and may(caller.roles, needed):
            return caller
        wanted = f"needs the role {needed}" if needed is not None else "is in no role's table"
        message = f"{method} {wanted}; the caller is {caller.name}, {_list(caller.roles)}; {NOTHING_DONE}"
        metadata = {"method": method, "identity": caller.name, "role": needed or ""}
        raise RefusalError("ROLE_MISSING", message, metadata)

    def _peer(self, context: Context, method: str) -> Peer | None:
        """Return what the client's certificate says, which gRPC has verified; None where none is asked for."""
        pem = b"".join(context.auth_context().get(PEM_PROPERTY, ())) if self._mutual else b""
        if not pem:
            return None
        try:
            peer = peer_of(pem)
        except PeerCertificateError as error:
            raise _unknown(method, str(error)) from error
        if peer.sha256 in self._revoked:
            raise _unknown(method, f"the certificate with SHA-256 {peer.sha256} is revoked in the settings")
        return peer


def permit_sources(sources: Iterable[str]) -> None:
    """Raise RefusalError where the caller may not publish for one of these sources."""
    caller = CALLER.get()
    if caller is None:
        return
    foreign = sorted(set(sources) - caller.sources)
    if not foreign:
        return
    allowed = _list(sorted(caller.sources))
    message = f"source was {shown(foreign[0])}, expected one that {caller.name} may publish for: {allowed}"
    metadata = {"identity": caller.name, "source": foreign[0], "expected": allowed}
    raise RefusalError("SOURCE_NOT_PERMITTED", f"{message}; {NOTHING_DONE}", metadata)


def recorded(actor: str) -> str:
    """Return who is recorded for an act: the identity that was proven, then the person that the request names.

    A name of more than one word, or with parentheses or quotes, is quoted: no text can look like two people.
    """
    caller = CALLER.get()
    if caller is None or caller.name == actor:
        return actor
    claimed = actor if PLAIN_ACTOR.fullmatch(actor) else json.dumps(actor, ensure_ascii=False)
    return f"{caller.name} (as {claimed})"


def proven() -> str:
    """Return the identity that the caller has proven; empty where nobody is authenticated."""
    caller = CALLER.get()
    return "" if caller is None else caller.name


def signed(act: Act) -> Act:
    """Return an act of the caller's with the name that is recorded for it, and the identity by itself."""
    identity = proven()
    return replace(act, actor=recorded(act.actor), identity=identity) if identity else act


def _token(context: Context) -> str | None:
    """Return the bearer token, None if there is none. Raise RefusalError for a malformed header."""
    metadata: Iterable[tuple[str, str | bytes]] = context.invocation_metadata() or ()
    given = [value for key, value in metadata if key == "authorization"]
    if not given:
        return None
    match = tokens.BEARER.fullmatch(given[0]) if len(given) == 1 and isinstance(given[0], str) else None
    if match is None:
        raise _unauthenticated("authorization was something else, expected it once: Bearer and a token")
    return match["token"]


def _unknown(method: str, why: str) -> RefusalError:
    needed: Role | None = ROLES.get(method)
    wanted = f"{method} needs the role {needed}" if needed else f"{method} is in no role's table"
    return _unauthenticated(f"{wanted}, and the caller is not known: {why}")


def _unauthenticated(sentence: str) -> RefusalError:
    return RefusalError("NOT_AUTHENTICATED", f"{sentence}; {NOTHING_DONE}", {"expected": "a known caller"})


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
