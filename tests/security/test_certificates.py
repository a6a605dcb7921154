"""mTLS: whose certificate is whose, which certificates get nowhere, and how the guard's own is replaced."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard.config.security import Role
from circuit_guard.server.security.certificates import CertificateError
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc, liquidation_pb2, liquidation_pb2_grpc
from tests.driver import BTC, Driver, policy_of
from tests.security.authority import Authority, Pair, Signer
from tests.security.identities import Start, as_, identity
from tests.server import commands
from tests.server.harness import Harness, check, refused

ENGINE = "spiffe://exchange.example/engine"
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def mutual(start: Start, authority: Authority, **changes: Any) -> Harness:
    """Start a guard that asks for certificates, and knows an engine by a URI and an operator by a DNS name."""
    identities = {
        "engine": identity(Role.LIQUIDATOR, certificates=(ENGINE,), token_sha256=()),
        "bastion": identity(Role.OPERATOR, certificates=("bastion.exchange.example",)),
    }
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    return await start(driver, security=authority.settings(identities=identities, **changes))


async def decide(channel: aio.Channel, **options: Any) -> Any:
    stub = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
    return await stub.CheckLiquidation(liquidation_pb2.CheckLiquidationRequest(check=check()), **options)


async def status_of(channel: aio.Channel, **options: Any) -> Any:
    return await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest(), **options)


@pytest.mark.parametrize("name", [ENGINE, "Bastion.Exchange.Example"])
async def test_certificate_when_its_name_is_in_the_settings_then_the_caller_is_that_identity(
    start: Start, authority: Authority, name: str
) -> None:
    guard = await mutual(start, authority)
    async with authority.channel(guard.server.address, authority.issue(name)) as channel:
        if name == ENGINE:
            assert (await decide(channel)).decision.request_id == "request-1"
            code, _, message = await refused(status_of(channel))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "the caller is engine, liquidator" in message
        else:
            halted = await admin_pb2_grpc.AdminServiceStub(channel).Halt(commands.halt())
            assert halted.events[0].halt_changed.actor == "bastion (as alice)"


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("engine.exchange.example",), "the certificate for engine.exchange.example is of no identity in the settings"),
        (("spiffe://exchange.example/Engine",), "spiffe://exchange.example/Engine is of no identity"),
        ((ENGINE, "bastion.exchange.example"), "the certificate names bastion and engine, and one caller is only one"),
    ],
    ids=["unknown", "other case", "two"],
)
async def test_certificate_when_its_names_are_not_one_identity_then_the_caller_is_not_known(
    start: Start, authority: Authority, names: tuple[str, ...], why: str
) -> None:
    guard = await mutual(start, authority)
    before = guard.state()
    async with authority.channel(guard.server.address, authority.issue(*names)) as channel:
        code, info, message = await refused(decide(channel))

    assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    assert why in message
    assert guard.state() == before


async def test_certificate_when_a_token_of_another_identity_comes_with_it_then_it_is_neither(
    start: Start, authority: Authority
) -> None:
    guard = await mutual(start, authority)
    async with authority.channel(guard.server.address, authority.issue(ENGINE)) as channel:
        code, _, message = await refused(status_of(channel, metadata=as_(Role.OPERATOR)))
    async with authority.channel(guard.server.address, authority.issue("somebody.example")) as channel:
        taken = await status_of(channel, metadata=as_(Role.OPERATOR))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "the certificate is of engine and the bearer token of bastion" in message
    assert taken.status.policy_revision


def foreign(authority: Authority) -> Pair:
    return Signer().issue(ENGINE)


def expired(authority: Authority) -> Pair:
    return authority.issue(ENGINE, until=LONG_AGO)


def none(authority: Authority) -> None:
    return None


@pytest.mark.parametrize("make", [foreign, expired, none])
async def test_connection_when_its_certificate_is_not_good_then_it_gets_nowhere(
    start: Start, authority: Authority, make: Any
) -> None:
    guard = await mutual(start, authority)
    before = guard.state()
    async with authority.channel(guard.server.address, make(authority)) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await decide(channel, timeout=5)
        with pytest.raises(aio.AioRpcError) as health:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)

    assert {caught.value.code(), health.value.code()} == {grpc.StatusCode.UNAVAILABLE}
    assert guard.state() == before


async def test_connection_when_it_is_in_plain_text_then_it_gets_nowhere(start: Start, authority: Authority) -> None:
    guard = await mutual(start, authority)

    with pytest.raises(aio.AioRpcError) as caught:
        await guard.decide(check())

    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_guard_when_it_has_a_certificate_and_asks_for_none_then_tokens_say_who_it_is(
    start: Start, authority: Authority
) -> None:
    security = authority.settings(mutual=False, identities={"dashboard": identity(Role.VIEWER)})
    guard = await start(Driver(policy_of(BTC)), security=security)
    async with authority.channel(guard.server.address) as channel:
        code, _, _ = await refused(status_of(channel))
        known = await status_of(channel, metadata=as_(Role.VIEWER))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert known.status.policy_revision


def expiry(guard: Harness) -> float | None:
    return guard.registry.get_sample_value("circuit_guard_certificate_expiry_timestamp_seconds")


def reloaded(guard: Harness) -> float | None:
    return guard.registry.get_sample_value("circuit_guard_certificate_reload_successful")


async def served_until(authority: Authority, address: str) -> datetime:
    """Return when the certificate expires that a new connection is shown."""
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=client_context(authority))
    seen = writer.get_extra_info("peercert")["notAfter"]
    writer.close()
    return datetime.strptime(seen, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)


def client_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    pair, file = authority.issue(ENGINE), authority.folder / "client.pem"
    file.write_bytes(pair.key + pair.certificate)
    context.load_cert_chain(file)
    return context


async def test_server_certificate_when_it_is_replaced_then_new_connections_see_it_and_old_ones_go_on(
    start: Start, authority: Authority
) -> None:
    first, second = (datetime(year, 1, 1, tzinfo=UTC) for year in (2087, 2088))
    authority.write_server(authority.issue("localhost", "127.0.0.1", until=first))
    guard = await mutual(start, authority)
    certificates = guard.server.certificates
    assert certificates is not None
    async with authority.channel(guard.server.address, authority.issue(ENGINE)) as channel:
        await decide(channel)
        at_first = await served_until(authority, guard.server.address), expiry(guard)
        authority.write_server(authority.issue("localhost", "127.0.0.1", until=second))

        certificates.look()

        assert at_first == (first, first.timestamp())
        assert (await served_until(authority, guard.server.address), expiry(guard)) == (second, second.timestamp())
        assert (await decide(channel)).decision.repeated


def no_pem(authority: Authority) -> None:
    (authority.folder / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")


def missing(authority: Authority) -> None:
    (authority.folder / "server-key.pem").unlink()


def other_key(authority: Authority) -> None:
    (authority.folder / "server-key.pem").write_bytes(authority.issue("localhost").key)


def too_old(authority: Authority) -> None:
    authority.write_server(authority.issue("localhost", until=LONG_AGO))


def no_ca(authority: Authority) -> None:
    (authority.folder / "ca.pem").write_text("")


BREAKS = [
    (no_pem, "security.server_certificate was unreadable, expected certificates in PEM"),
    (missing, "server-key.pem was missing, expected a readable file"),
    (other_key, "security.server_key was the key of another certificate than server_certificate"),
    (too_old, "security.server_certificate was expired since 2020-01-02 00:00:00+00:00, expected a valid one"),
    (no_ca, "security.client_ca was unreadable, expected certificates in PEM"),
]


@pytest.mark.parametrize(("break_it", "problem"), BREAKS)
async def test_server_certificate_when_the_new_pair_is_broken_then_the_old_one_stays_and_that_is_said_once(
    start: Start, authority: Authority, break_it: Any, problem: str
) -> None:
    guard = await mutual(start, authority)
    certificates = guard.server.certificates
    assert certificates is not None
    until = expiry(guard)
    kept = {file: file.read_bytes() for file in authority.folder.iterdir()}
    break_it(authority)

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            certificates.look()
        broken = reloaded(guard)
        async with authority.channel(guard.server.address, authority.issue(ENGINE)) as channel:
            await decide(channel)
        for file, content in kept.items():
            file.write_bytes(content)
        certificates.look()

    assert (broken, reloaded(guard), expiry(guard)) == (0, 1, until)
    assert [line["event"] for line in lines] == ["certificate_refused", "certificate_taken_up"]
    assert problem in lines[0]["problem"]


@pytest.mark.parametrize(("break_it", "problem"), BREAKS)
async def test_guard_when_its_certificate_is_broken_at_the_start_then_it_does_not_start(
    start: Start, authority: Authority, break_it: Any, problem: str
) -> None:
    break_it(authority)

    with pytest.raises(CertificateError) as caught:
        await mutual(start, authority)

    assert problem in str(caught.value)


async def test_certificates_when_the_guard_runs_then_it_looks_at_them_by_itself(
    start: Start, authority: Authority
) -> None:
    guard = await mutual(start, authority, certificate_interval_s=0.01)
    until = datetime(2089, 1, 1, tzinfo=UTC)

    authority.write_server(authority.issue("localhost", "127.0.0.1", until=until))

    async with asyncio.timeout(10):
        while expiry(guard) != until.timestamp():  # noqa: ASYNC110  # a thread of the guard's own looks
            await asyncio.sleep(0.01)
