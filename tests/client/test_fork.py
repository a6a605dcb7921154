"""A service that forks: each process has an answer or a clear error within the deadline, and the parent works on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cli.running import Guard, running
from tests.client.guards import PATIENT_S

HANGS_S = 40.0
WHOLE = partial(pytest.param, marks=pytest.mark.system)
"""Each is three more processes: the other combinations."""

PROGRAM = """
import asyncio, os, sys
from decimal import Decimal
from circuit_guard.client import AsyncGuardClient, Basis, Closure, GuardClient

address, deadline_s, made, asked, used = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
closure = Closure(market="BTC-USD-PERP", account_id="a", size=Decimal("-0.5"), basis=Basis())
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
run = loop.run_until_complete

async def new(kind):
    client = AsyncGuardClient if "async" in kind else GuardClient
    return client(address, deadline_s=deadline_s, stream="stream" in kind)

def ask(client):
    answer = client.check(closure)
    answer = answer if isinstance(client, GuardClient) else run(answer)
    return f"{answer.source} {answer.explanation}"

client = run(new(made))
if asked == "asked":
    print("before:", ask(client), flush=True)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        child = client if used == "same" else run(new(used))
        print("child:", ask(child), flush=True)
        child.close() if isinstance(child, GuardClient) else run(child.close())
        os._exit(0)
    os.waitpid(pid, 0)
print("after:", ask(client), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with running(tmp_path_factory.mktemp("guard")) as guard:
        yield guard


def forking(guard: Guard, support: str | None, *how: str) -> dict[str, list[str]]:
    """Run a service that forks two workers, and return what parent and children say; a hang fails the test."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    environment |= {} if support is None else {"GRPC_ENABLE_FORK_SUPPORT": support}
    command = [sys.executable, "-c", PROGRAM, guard.address, str(PATIENT_S), *how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS_S, check=True)
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        who, _, what = line.partition(": ")
        said.setdefault(who, []).append(what)
    return said


@pytest.mark.parametrize("asked", ["asked", WHOLE("made")])
@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("sync", "same"),
        WHOLE("sync", "sync"),
        ("sync stream", "same"),
        WHOLE("sync stream", "sync stream"),
    ],
)
@pytest.mark.parametrize("support", [WHOLE("1"), None])
def test_client_when_grpc_supports_forks_then_parent_and_children_are_answered(
    guard: Guard, support: str | None, made: str, used: str, asked: str
) -> None:
    said = forking(guard, support, made, asked, used)

    assert [one.split()[0] for one in said["child"]] == ["guard", "guard"]
    assert [one.split()[0] for one in said["after"]] == ["guard"]


@pytest.mark.parametrize("asked", ["asked", WHOLE("made")])
@pytest.mark.parametrize(
    ("support", "made", "used"),
    [
        ("0", "sync", "same"),
        ("0", "sync", "sync"),
        ("0", "sync stream", "same"),
        WHOLE("0", "sync stream", "sync stream"),
        WHOLE("0", "async stream", "same"),
        WHOLE("0", "sync", "async"),
        WHOLE("0", "async", "same"),
        ("1", "async", "same"),
        WHOLE("1", "async", "async"),
        WHOLE("false", "sync", "same"),
    ],
)
def test_client_when_grpc_would_hang_in_a_fork_then_the_child_is_told_at_once_and_the_parent_is_answered(
    guard: Guard, support: str, made: str, used: str, asked: str
) -> None:
    said = forking(guard, support, made, asked, used)

    for answer in said["child"]:
        assert answer.startswith("no_answer DENY BTC-USD-PERP: ")
        assert "make clients after the fork only" in answer
    assert len(said["child"]) == 2
    assert [one.split()[0] for one in said["after"]] == ["guard"]
