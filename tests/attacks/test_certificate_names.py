"""Certificates of a trusted authority that try to be somebody else's: each is refused by name, and nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from circuit_guard.config.security import Role
from circuit_guard.v1 import admin_pb2_grpc
from tests.driver import BTC, Driver, policy_of
from tests.security.authority import Authority, Pair
from tests.security.identities import Start, as_, identity
from tests.server import commands
from tests.server.harness import Harness, refused

ENGINE = "spiffe://exchange.example/engine"
BASTION = "bastion.example"
ADDRESS = "192.0.2.7"


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    starting = Start()
    yield starting
    await starting.end()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def guard_of(start: Start, authority: Authority) -> Harness:
    """Start a guard to whom each kind of name is an operator."""
    identities = {
        "bastion": identity(Role.OPERATOR, certificates=(BASTION,)),
        "deploy": identity(Role.OPERATOR, certificates=(ENGINE,), token_sha256=()),
        "console": identity(Role.OPERATOR, certificates=(ADDRESS,), token_sha256=()),
    }
    return await start(Driver(policy_of(BTC)), security=authority.settings(identities=identities))


def dns(name: str) -> x509.GeneralName:
    """Return a DNS name as it is given, which no honest authority would sign."""
    return x509.DNSName._init_without_validation(name)


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier._init_without_validation(name)


def email(name: str) -> x509.GeneralName:
    return x509.RFC822Name._init_without_validation(name)


def raw(der: bytes) -> x509.ExtensionType:
    """Return the extension of alternative names with any content."""
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der)


FORGED: dict[str, tuple[tuple[x509.GeneralName, ...], str]] = {
    "a NUL in a DNS name": ((dns(f"{BASTION}\0.evil"),), 'the name "bastion.example\\x00.evil", expected'),
    "a NUL at its end": ((dns(f"{BASTION}\0"),), 'the name "bastion.example\\x00", expected'),
    "a NUL in a URI": ((uri(f"{ENGINE}\0/evil"),), "expected printable ASCII"),
    "a line feed in a DNS name": ((dns(f"{BASTION}\n"),), "expected printable ASCII"),
    "a NUL beside the right name": ((dns(BASTION), dns(f"{BASTION}\0.evil")), "expected printable ASCII"),
    "a NUL in an e-mail address": ((dns(BASTION), email(f"{BASTION}\0@evil")), "expected printable ASCII"),
    "a DNS name that is a URI": ((dns(ENGINE),), f'the DNS name "{ENGINE}", expected a host'),
    "a DNS name that is an address": ((dns(ADDRESS),), f"{ADDRESS} is of no identity"),
    "a URI that is a DNS name": ((uri(BASTION),), f"{BASTION} is of no identity"),
    "an e-mail address that is a DNS name": ((email(BASTION),), "no DNS name, URI or address"),
    "two SPIFFE ids": ((uri(ENGINE), uri("spiffe://evil.example/x")), "2 URIs, expected one: SPIFFE"),
    "a SPIFFE id and another URI": ((uri("https://evil.example"), uri(ENGINE)), "2 URIs, expected one: SPIFFE"),
    "another scheme's case": ((uri(ENGINE.replace("spiffe", "SPIFFE")),), "of no identity"),
    "a wildcard": ((dns("*.example"),), "*.example is of no identity"),
    "a dot at the end": ((dns(f"{BASTION}."),), "of no identity"),
    "a part of the name": ((dns(f"evil.{BASTION}"),), "of no identity"),
    "another address": ((x509.IPAddress(ip_address("192.0.2.8")),), "of no identity"),
    "an address within IPv6": ((x509.IPAddress(ip_address(f"::ffff:{ADDRESS}")),), "of no identity"),
    "two identities": ((dns(BASTION), uri(ENGINE)), "the certificate names bastion and deploy"),
}


@pytest.mark.parametrize("case", FORGED)
async def test_certificate_when_its_name_only_looks_like_an_identity_s_then_it_is_refused_by_name(
    start: Start, authority: Authority, case: str
) -> None:
    names, why = FORGED[case]

    assert why in await refusal(await guard_of(start, authority), authority, authority.issue(*names))


SAN_OF = b"\x30%c\x82%c"  # a sequence with one DNS name
UNREADABLE = {
    "no sequence": b"\x04\x03abc",
    "cut short": SAN_OF % (17, 15) + BASTION.encode()[:4],
    "a length that lies": SAN_OF % (3, 200) + b"b",
    "Latin-1 in a DNS name": SAN_OF % (17, 15) + b"b\xe4stion.example"[:14] + b"e",
    "a Kelvin sign in a DNS name": SAN_OF % (5, 3) + "\N{KELVIN SIGN}".encode(),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_certificate_when_its_names_cannot_be_read_then_nobody_is_taken_for_its_owner(
    start: Start, authority: Authority, case: str
) -> None:
    guard = await guard_of(start, authority)
    before = guard.state()
    async with authority.channel(guard.server.address, authority.issue_with(raw(UNREADABLE[case]))) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await halt(channel)

    assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)
    assert guard.state() == before


async def test_certificate_when_only_its_common_name_is_an_identity_s_then_it_is_refused(
    start: Start, authority: Authority
) -> None:
    bare = authority.issue_with(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), common_name=BASTION)

    said = await refusal(await guard_of(start, authority), authority, bare)

    assert "the certificate has no DNS name, URI or address as alternative name" in said


async def test_certificate_when_it_is_ambiguous_then_a_good_token_beside_it_does_not_help(
    start: Start, authority: Authority
) -> None:
    forged = authority.issue(dns(f"{BASTION}\0.evil"))

    said = await refusal(await guard_of(start, authority), authority, forged, metadata=as_(Role.OPERATOR))

    assert "expected printable ASCII" in said


HONEST = {
    "a DNS name in another case": ((dns("Bastion.EXAMPLE"),), "bastion"),
    "a SPIFFE id with a DNS name": ((uri(ENGINE), dns("pod-7.example")), "deploy"),
    "an address": ((x509.IPAddress(ip_address(ADDRESS)),), "console"),
}


@pytest.mark.parametrize("case", HONEST)
async def test_certificate_when_its_name_is_an_identity_s_then_the_caller_is_that_identity(
    start: Start, authority: Authority, case: str
) -> None:
    names, owner = HONEST[case]
    guard = await guard_of(start, authority)
    async with authority.channel(guard.server.address, authority.issue(*names)) as channel:
        halted = await halt(channel)

    assert halted.events[0].halt_changed.actor.startswith(owner)


async def halt(channel: grpc.aio.Channel, **options: Any) -> Any:
    return await admin_pb2_grpc.AdminServiceStub(channel).Halt(commands.halt(), **options)


async def refusal(guard: Harness, authority: Authority, pair: Pair, **options: Any) -> str:
    """Return what an operator's command is told that comes with this certificate; it must change nothing."""
    before = guard.state()
    async with authority.channel(guard.server.address, pair) as channel:
        code, info, message = await refused(halt(channel, **options))
    assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    assert guard.state() == before
    return message
