"""Who may do what changes while a guard runs: in force within a second, also on open connections and open streams."""

from __future__ import annotations

import asyncio
import shutil
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc import aio

from circuit_guard.config.identities import SettingsFile
from circuit_guard.config.settings import load_settings
from circuit_guard.runtime.app import App, running_app
from circuit_guard.server.security.tokens import token_sha256
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc
from tests.attacks.process import until
from tests.config.test_policy_watch import FIRST, SECOND, rename_over, scrape, swap_data, write_in_place
from tests.security.authority import Authority, Pair
from tests.server import commands
from tests.server.harness import refused

BASTION = "bastion.example"
OPERATOR = f'[security.identities.bastion]\nroles = ["operator"]\ncertificates = ["{BASTION}"]\n'
VIEWER = f'[security.identities.board]\nroles = ["viewer"]\ntoken_sha256 = ["{token_sha256("cg_old")}"]\n'
NEW_VIEWER = f'[security.identities.board]\nroles = ["viewer"]\ntoken_sha256 = ["{token_sha256("cg_new")}"]\n'
SETTINGS = "circuit_guard_identities_last_reload_successful"
IN_FORCE_S = 1.0

Replace = Callable[[Path, str], None]


class Guard:
    """A guard that runs on a settings file, mounted as Kubernetes does, with a connection of each kind of caller."""

    def __init__(self, app: App, path: Path, base: str, authority: Authority, operator: Pair) -> None:
        self.app = app
        self.path = path
        self.base = base
        self.authority = authority
        self.operator_certificate = operator.certificate
        self.channel = authority.channel(app.grpc_address, operator)
        self.viewers = authority.channel(app.grpc_address, authority.issue("nobody.example"))

    def write(self, identities: str, replace: Replace = rename_over) -> None:
        replace(self.path, self.base + identities)

    async def halt(self) -> Any:
        return await admin_pb2_grpc.AdminServiceStub(self.channel).Halt(commands.halt())

    async def status(self, token: str) -> Any:
        stub = admin_pb2_grpc.AdminServiceStub(self.viewers)
        return await stub.GetStatus(admin_pb2.GetStatusRequest(), metadata=bearer(token))

    async def refused_files(self) -> list[str]:
        """Return what the status says of files that are not in force."""
        response = await admin_pb2_grpc.AdminServiceStub(self.channel).GetStatus(admin_pb2.GetStatusRequest())
        return list(response.status.refused_files)

    async def watch(self, channel: aio.Channel, **options: Any) -> Any:
        stream = admin_pb2_grpc.AdminServiceStub(channel).WatchEvents(admin_pb2.WatchEventsRequest(), **options)
        await stream.initial_metadata()
        return stream

    def gauge(self, name: str) -> float | None:
        return scrape(self.app.http_address).get(name)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest_asyncio.fixture
async def guard(tmp_path: Path) -> AsyncIterator[Guard]:
    authority = Authority(tmp_path)
    mount = tmp_path / "mount"
    (mount / "..2026_1").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026_1")
    path = mount / "settings.toml"
    path.symlink_to("..data/settings.toml")
    (tmp_path / "policy.toml").write_text(FIRST)
    base = (
        'grpc = { listen = "127.0.0.1:0" }\nhttp = { listen = "127.0.0.1:0" }\n'
        f'policy = {{ path = "{tmp_path / "policy.toml"}", watch = false }}\n[security]\n'
        + "".join(
            f'{key} = "{tmp_path / name}"\n'
            for key, name in (
                ("server_certificate", "server.pem"),
                ("server_key", "server-key.pem"),
                ("client_ca", "ca.pem"),
            )
        )
    )
    path.write_text(base + OPERATOR + VIEWER)
    async with running_app(load_settings(path, {}), SettingsFile(path, {})) as app:
        guard = Guard(app, path, base, authority, authority.issue(BASTION))
        async with guard.channel, guard.viewers:
            yield guard


async def within_a_second(refusing: Callable[[], Any]) -> str:
    """Return why a call is refused, once it is, which has to be soon."""
    until_s = time.monotonic() + IN_FORCE_S
    while True:
        try:
            await refusing()
        except aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        assert time.monotonic() < until_s, "it goes on"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("replace", [rename_over, swap_data, write_in_place])
async def test_identity_when_it_is_removed_then_its_open_connection_gets_nothing_more(
    guard: Guard, replace: Replace
) -> None:
    await guard.halt()
    guard.write(VIEWER, replace)

    assert f"the certificate for {BASTION} is of no identity" in await within_a_second(guard.halt)
    assert (await guard.status("cg_old")).status.policy_revision


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (VIEWER, "UNAUTHENTICATED"),
        (OPERATOR.replace("operator", "liquidator") + VIEWER, "PERMISSION_DENIED"),
    ],
    ids=["removed", "another role"],
)
async def test_stream_when_its_caller_may_not_watch_any_more_then_it_ends_within_a_second(
    guard: Guard, left: str, why: str
) -> None:
    ending = await guard.watch(guard.channel)
    staying = await guard.watch(guard.viewers, metadata=bearer("cg_old"))
    guard.write(left)

    with pytest.raises(aio.AioRpcError) as caught:
        await asyncio.wait_for(ending.read(), IN_FORCE_S)

    assert caught.value.code().name == why
    assert not staying.done()


async def test_certificate_when_it_is_revoked_then_it_is_refused_and_another_of_the_same_name_is_not(
    guard: Guard,
) -> None:
    der = x509.load_pem_x509_certificate(guard.operator_certificate).public_bytes(Encoding.DER)
    shown = sha256(der).hexdigest().upper()
    stream = await guard.watch(guard.channel)
    guard.write(f'revoked_certificates = ["{":".join(shown[at : at + 2] for at in range(0, 64, 2))}"]\n{OPERATOR}')

    assert f"SHA-256 {shown.lower()} is revoked" in await within_a_second(guard.halt)
    assert await ended(stream)
    async with guard.authority.channel(guard.app.grpc_address, guard.authority.issue(BASTION)) as channel:
        assert await admin_pb2_grpc.AdminServiceStub(channel).Halt(commands.halt())


async def test_token_when_it_is_replaced_then_the_new_one_is_known_and_the_old_one_is_not(guard: Guard) -> None:
    stream = await guard.watch(guard.viewers, metadata=bearer("cg_old"))
    guard.write(OPERATOR + NEW_VIEWER)

    assert "the bearer token is of no identity" in await within_a_second(lambda: guard.status("cg_old"))
    assert (await guard.status("cg_new")).status.policy_revision
    assert await ended(stream)


async def test_status_page_when_the_token_of_its_live_updates_is_removed_then_they_end(guard: Guard) -> None:
    request = urllib.request.Request(
        f"http://{guard.app.http_address}/events/status", headers={"Authorization": "Bearer cg_old"}
    )
    page = await asyncio.to_thread(urllib.request.urlopen, request, timeout=5)
    guard.write(OPERATOR)

    async with asyncio.timeout(IN_FORCE_S):
        with pytest.raises(IncompleteRead):
            await asyncio.to_thread(page.read)


BROKEN = {
    "no TOML": ("[security", "end of file: was not TOML"),
    "an unknown role": (OPERATOR.replace("operator", "root"), "security.identities.bastion.roles"),
    "nobody at all": ("", "security.identities: was none, expected at least one identity"),
    "one token for two": (VIEWER + VIEWER.replace("board", "other"), "security.identities.*.token_sha256"),
    "a fingerprint cut short": (f'revoked_certificates = ["ab:cd"]\n{OPERATOR}', "security.revoked_certificates"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_file_when_it_is_broken_then_the_old_identities_stay_and_it_is_said_until_it_is_mended(
    guard: Guard, case: str
) -> None:
    written, named = BROKEN[case]
    with structlog.testing.capture_logs() as logs:
        guard.write(written)
        await until(lambda: bool(guard.app.identities_watch.problem))
    [refused_line] = [line for line in logs if line["event"] == "identities_refused"]
    await guard.halt()
    page = await asyncio.to_thread(guard.gauge, SETTINGS)
    reload = admin_pb2_grpc.AdminServiceStub(guard.channel).ReloadPolicy(commands.reload_policy())
    code, info, message = await refused(reload)
    shown = await guard.refused_files()
    guard.write(OPERATOR)
    await until(lambda: not guard.app.identities_watch.problem)

    place = named.partition(": was")[0]
    assert [place in text and text.endswith("The identities before it stay.") for text in shown] == [True]
    assert await guard.refused_files() == []
    assert named in " ".join(refused_line["violations"])
    assert page == 0
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SETTINGS_INVALID")
    assert named in message
    assert await asyncio.to_thread(guard.gauge, SETTINGS) == 1


async def test_file_when_a_token_stands_where_its_hash_belongs_then_the_status_does_not_show_it(guard: Guard) -> None:
    guard.write(OPERATOR + '[security.identities.board]\nroles = ["viewer"]\ntoken_sha256 = ["cg_secret"]\n')
    await until(lambda: bool(guard.app.identities_watch.problem))

    [shown] = await guard.refused_files()
    assert "security.identities.board.token_sha256" in shown
    assert "cg_secret" not in shown


async def test_file_when_it_is_gone_then_the_old_identities_stay(guard: Guard) -> None:
    shutil.rmtree(guard.path.parent)
    await until(lambda: bool(guard.app.identities_watch.problem))

    await guard.halt()
    assert "missing" in guard.app.identities_watch.problem


async def test_reload_when_an_operator_asks_then_identities_and_policy_are_taken_at_once(
    guard: Guard, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(SECOND)
    guard.write(OPERATOR + NEW_VIEWER)
    await admin_pb2_grpc.AdminServiceStub(guard.channel).ReloadPolicy(commands.reload_policy())

    assert (await guard.status("cg_new")).status.policy_revision
    assert "ETH-USD-PERP" in guard.app.engine.policy.markets


async def test_settings_when_another_than_identities_has_changed_then_the_log_says_that_it_takes_a_restart(
    guard: Guard,
) -> None:
    with structlog.testing.capture_logs() as logs:
        write = guard.base.replace('"127.0.0.1:0" }\nhttp', '"127.0.0.1:0", batch_max = 7 }\nhttp')
        rename_over(guard.path, write + OPERATOR + VIEWER)
        await until(lambda: any(line["event"] == "settings_need_restart" for line in logs))

    assert [line["changed"] for line in logs if line["event"] == "settings_need_restart"] == [["grpc.batch_max"]]


async def ended(stream: Any) -> bool:
    """Read a stream until it is ended with an error."""
    with pytest.raises(aio.AioRpcError):
        async for _ in stream:
            pass
    return True
