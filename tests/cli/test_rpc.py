"""Calls that fail: each becomes a sentence and an exit code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.cli.running import BTC, run

CHECK = ("check", "--market", BTC, "--size", "-1")


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Return an address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def foreign_address() -> Iterator[str]:
    """Return the address of a gRPC server that is no guard."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize("command", [CHECK, ("status",)])
def test_call_when_nothing_is_answered_in_time_then_it_is_no_answer(
    silent_address: str, command: tuple[str, ...]
) -> None:
    result = run(*command, "--address", silent_address, "--timeout", "0.2")

    assert result.exit_code == 3
    assert result.stderr == f"circuit-guard: the guard at {silent_address} did not answer within 0.2 s\n"


@pytest.mark.parametrize("command", [CHECK, ("status",), ("watch",)])
def test_call_when_another_server_answers_then_it_is_told_apart(foreign_address: str, command: tuple[str, ...]) -> None:
    result = run(*command, "--address", foreign_address)

    assert result.exit_code == 3
    assert f"the server at {foreign_address} is not circuit_guard, or is another version of it" in result.stderr
