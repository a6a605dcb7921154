"""TLS, tokens, and a guard that asks for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from circuit_guard.client import AsyncGuardClient, Basis, GuardClient, Outcome, Tls, Verdict
from circuit_guard.client.connection import Connection
from circuit_guard.client.testing import FakeGuard
from circuit_guard.config.security import Role
from circuit_guard.v1 import liquidation_pb2_grpc
from tests.client.guards import PATIENT_S, closure
from tests.driver import BTC, INDEX, PRICE, Driver, policy_of
from tests.security.authority import Signer
from tests.security.identities import SECURITY, TOKENS, Start
from tests.server.harness import Harness

TOKEN = "cg_token-of-the-engine"  # noqa: S105 - of a test


class Files:
    """An authority with the certificates of a guard and of a client, in files."""

    def __init__(self, folder: Path) -> None:
        signer = Signer()
        self.server, client = signer.issue("127.0.0.1", "localhost"), signer.issue("engine.example")
        self.authority = signer.pem
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "client.pem", folder / "client-key.pem"
        self.ca.write_bytes(self.authority)
        self.certificate.write_bytes(client.certificate)
        self.key.write_bytes(client.key)

    @contextmanager
    def secured(self, address: str = "127.0.0.1:0") -> Iterator[tuple[FakeGuard, str]]:
        """Run a fake guard behind mTLS."""
        pair = (self.server.key, self.server.certificate)
        credentials = grpc.ssl_server_credentials([pair], self.authority, require_client_auth=True)
        server = grpc.server(ThreadPoolExecutor(2))
        with FakeGuard() as guard:
            liquidation_pb2_grpc.add_LiquidationGuardServiceServicer_to_server(guard, server)
            port = server.add_secure_port(address, credentials)
            server.start()
            try:
                yield guard, address if address.startswith("unix:") else f"127.0.0.1:{port}"
            finally:
                server.stop(None).wait()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


def test_client_when_it_shows_its_certificate_then_it_is_answered_and_its_token_is_sent(files: Files) -> None:
    tls = Tls(ca=files.ca, certificate=files.certificate, key=str(files.key))
    with files.secured() as (guard, address):
        guard.allow()
        with GuardClient(address, deadline_s=PATIENT_S, tls=tls, token=TOKEN) as client:
            assert client.check(closure()).allowed

    assert guard.tokens == [f"Bearer {TOKEN}"]


async def test_async_client_when_it_shows_its_certificate_on_a_unix_socket_then_it_is_answered(
    files: Files, tmp_path: Path
) -> None:
    tls = Tls(ca=files.ca, certificate=files.certificate, key=files.key)
    with files.secured(f"unix:{tmp_path}/guard.sock") as (guard, address):
        guard.allow()
        async with AsyncGuardClient(address, deadline_s=PATIENT_S, tls=tls) as client:
            assert (await client.check(closure())).allowed

    assert guard.tokens == [None]


def test_client_when_it_has_no_certificate_then_it_is_denied_and_says_that_nobody_answers(files: Files) -> None:
    with files.secured() as (guard, address):
        guard.allow()
        with GuardClient(address, deadline_s=PATIENT_S, tls=Tls(ca=files.ca)) as client:
            answer = client.check(closure())

    assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.UNAVAILABLE)
    assert guard.closures == []


def test_client_when_the_guard_is_of_another_authority_then_its_answer_is_not_asked_for(
    files: Files, tmp_path: Path
) -> None:
    foreign = Files(tmp_path)
    with files.secured() as (guard, address):
        guard.allow()
        tls = Tls(ca=foreign.ca, certificate=files.certificate, key=files.key)
        with GuardClient(address, deadline_s=PATIENT_S, tls=tls, token=TOKEN) as client:
            answer = client.check(closure())

    assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.UNAVAILABLE)
    assert guard.tokens == []


def test_client_when_the_guard_does_not_know_it_then_the_denial_says_that_asking_again_does_not_help() -> None:
    with FakeGuard() as guard, GuardClient(guard.address, deadline_s=PATIENT_S, token=TOKEN) as client:
        guard.fail(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is of no identity")
        answer = client.check(closure())

    assert "refuses this client (UNAUTHENTICATED): the bearer token is of no identity" in answer.explanation
    assert answer.ask_again_after is None
    assert TOKEN not in repr(answer)


def test_token_when_the_connection_is_shown_then_it_is_not() -> None:
    assert TOKEN not in repr(Connection("127.0.0.1:50051", None, TOKEN))


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.9:1", "[::1]:1", "unix:/run/guard.sock"])
def test_token_when_only_this_machine_can_read_it_then_it_needs_no_tls(address: str) -> None:
    with GuardClient(address, token=TOKEN):
        pass


@pytest_asyncio.fixture
async def known() -> AsyncIterator[Harness]:
    """Return a real guard that knows one identity a role by its token."""
    driver, start = Driver(policy_of(BTC)), Start()
    driver.run(40, BTC)
    yield await start(driver, security=SECURITY)
    await start.end()


async def test_real_guard_when_the_token_is_a_liquidators_then_it_answers(known: Harness) -> None:
    token = TOKENS[Role.LIQUIDATOR]
    async with AsyncGuardClient(known.server.address, deadline_s=PATIENT_S, token=token) as client:
        answer = await client.check(closure(basis=Basis(mark_price=PRICE, funding_index=INDEX), execution_price=None))

    assert answer.verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("token", "code"),
    [(None, "UNAUTHENTICATED"), ("cg_guessed", "UNAUTHENTICATED"), (TOKENS[Role.VIEWER], "PERMISSION_DENIED")],
    ids=["none", "guessed", "viewer"],
)
async def test_real_guard_when_the_token_is_no_liquidators_then_every_question_is_denied(
    known: Harness, token: str | None, code: str
) -> None:
    async with AsyncGuardClient(known.server.address, deadline_s=PATIENT_S, token=token) as client:
        answers = [await client.check(closure()), *await client.check_many([closure()])]

    for answer in answers:
        assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.ERROR)
        assert f"refuses this client ({code})" in answer.explanation
