"""A file of the guard's becomes a FIFO, a device, a directory, or endless: it is refused by name, and nothing waits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from grpc import aio

from circuit_guard.config.policy import load_policy
from circuit_guard.config.settings import load_settings
from circuit_guard.config.watch import read_content
from circuit_guard.errors import PolicyError, SettingsError
from circuit_guard.server.security.certificates import PEM_BYTES_MAX, CertificateError, _bytes
from circuit_guard.v1 import admin_pb2
from tests.attacks.files_in_the_way import IN_THE_WAY, fifo, fifo_behind_links
from tests.attacks.process import ENDS_WITHIN_S, AttackedGuard, attacked
from tests.crash.client import Client

RELOAD = admin_pb2.ReloadPolicyRequest(actor="alice", reason="drill")
WATCHED = {"watch": "true"}


@pytest.mark.parametrize("put", IN_THE_WAY)
def test_file_when_it_is_no_regular_one_then_every_reader_says_what_it_is(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    put(path)
    with pytest.raises(PolicyError, match=IN_THE_WAY[put]):
        load_policy(path)
    with pytest.raises(SettingsError, match=IN_THE_WAY[put]):
        load_settings(path, {})
    with pytest.raises(CertificateError, match=IN_THE_WAY[put]):
        _bytes("server_key", path)
    assert not isinstance(read_content(path).found, str)


def test_certificate_when_it_is_larger_than_any_then_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"-" * (PEM_BYTES_MAX + 1))
    with pytest.raises(CertificateError, match=f"expected at most {PEM_BYTES_MAX} bytes"):
        _bytes("client_ca", path)


async def by_rpc(guard: AttackedGuard, client: Client) -> str:
    with pytest.raises(aio.AioRpcError) as refused:
        await client.admin.ReloadPolicy(RELOAD, timeout=10)
    return refused.value.details() or ""


async def by_signal(guard: AttackedGuard, client: Client) -> str:
    guard.process.send_signal(signal.SIGHUP)
    return await refused_in(guard)


async def by_watch(guard: AttackedGuard, client: Client) -> str:
    return await refused_in(guard)


async def refused_in(guard: AttackedGuard) -> str:
    await guard.logged("policy_refused")
    return guard.log


@pytest.mark.system
@pytest.mark.parametrize("put", [fifo, fifo_behind_links])
@pytest.mark.parametrize("asked", [by_rpc, by_signal, by_watch])
async def test_policy_when_it_becomes_a_fifo_then_the_guard_serves_on_and_ends_when_told(
    tmp_path: Path, asked: Callable[[AttackedGuard, Client], object], put: Callable[[Path], None]
) -> None:
    async with attacked(tmp_path, policy=WATCHED if asked is by_watch else {}) as (guard, client):
        lagging = await guard.lagging()
        guard.policy.unlink()
        put(guard.policy)
        assert IN_THE_WAY[put] in await asked(guard, client)  # type: ignore[misc]
        assert (await client.status()).policy_revision
        assert await guard.lagging() == lagging
        assert await guard.end() < ENDS_WITHIN_S
        assert guard.process.returncode == 0


async def test_start_when_the_policy_is_a_fifo_then_it_ends_at_once_and_says_so(tmp_path: Path) -> None:
    fifo(tmp_path / "policy.toml")
    guard = AttackedGuard(tmp_path)
    try:
        assert await asyncio.to_thread(guard.process.wait, 20) == 2
        assert IN_THE_WAY[fifo] in guard.log
    finally:
        guard.kill()
