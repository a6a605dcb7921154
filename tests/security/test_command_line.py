"""A guard as somebody sets it up by docs/security.md, and the command line that talks to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.running import POLICY, run
from tests.security.authority import Authority

ROOT = Path(__file__).parent.parent.parent
HASH_LINE = "token_sha256 = "


class Process:
    """A guard in a process of its own, over mTLS, and what it has logged so far."""

    def __init__(self, started: subprocess.Popen[str], folder: Path, tokens: dict[str, str]) -> None:
        self.folder = folder
        self.tokens = tokens
        self.lines: list[str] = []
        self.address = self.http = ""
        self._started = started

    def wait(self) -> None:
        """Wait until it says where it listens, and who may come."""
        assert self._started.stderr is not None
        while not self.lines or '"event": "access_by_identity"' not in self.lines[-1]:
            self.lines.append(self._started.stderr.readline())
            assert self.lines[-1], self.lines
        [told] = [json.loads(line) for line in self.lines if '"event": "started"' in line]
        self.address, self.http = told["grpc"], told["http"]

    def end(self) -> None:
        """End it, and take the rest of its log."""
        if self._started.poll() is None:
            assert self._started.stderr is not None
            self._started.send_signal(signal.SIGTERM)
            self.lines += self._started.stderr.readlines()
            self._started.wait()


def made() -> tuple[str, str]:
    """Return a token and the line for the settings, as `token new` prints them."""
    result = run("token", "new")
    [line] = [line for line in result.stderr.splitlines() if line.startswith(HASH_LINE)]
    return result.stdout.strip(), line


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    authority = Authority(tmp_path)
    for name in ("bastion.example", "nobody.example"):
        pair = authority.issue(name)
        (tmp_path / f"{name}.pem").write_bytes(pair.certificate)
        (tmp_path / f"{name}-key.pem").write_bytes(pair.key)
    (viewer, viewer_line), (operator, operator_line) = made(), made()
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "settings.toml").write_text(f"""
[grpc]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[log]
level = "debug"
[security]
server_certificate = "{tmp_path}/server.pem"
server_key = "{tmp_path}/server-key.pem"
client_ca = "{tmp_path}/ca.pem"
[security.identities.bastion]
roles = ["operator"]
certificates = ["bastion.example"]
{operator_line}
[security.identities.dashboard]
roles = ["viewer"]
{viewer_line}
""")
    files = ("--settings", f"{tmp_path}/settings.toml", "--policy", f"{tmp_path}/policy.toml")
    command = [sys.executable, "-m", "circuit_guard", "serve", *files]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True) as started:
        process = Process(started, tmp_path, {"v": viewer, "o": operator})
        try:
            process.wait()
            yield process
        finally:
            process.end()
    everything = "".join(process.lines)
    assert all(line.startswith("{") for line in process.lines), "each line is JSON, whoever knocks"
    for secret in (viewer, operator, "PRIVATE KEY"):
        assert secret not in everything


def test_command_line_when_the_guard_wants_certificates_and_tokens_then_it_shows_them(process: Process) -> None:
    folder = process.folder
    at = ("--address", process.address)

    def as_(name: str, *arguments: str, token: str = "") -> tuple[int, str]:
        tls = ("--ca", f"{folder}/ca.pem", "--cert", f"{folder}/{name}.pem", "--key", f"{folder}/{name}-key.pem")
        result = run(*tls, *arguments, *at, env={"CIRCUIT_GUARD_TOKEN": token})
        return result.exit_code, result.stdout + result.stderr

    halt = ("halt", "--all", "--actor", "alice", "--reason", "a drill")
    (folder / "token").write_text(process.tokens["v"] + "\n")

    assert as_("nobody.example", "status")[0] == 3
    assert "is of no identity in the settings" in as_("nobody.example", "status")[1]
    assert as_("nobody.example", "status", token=process.tokens["v"])[0] == 0
    assert as_("nobody.example", "--token-file", f"{folder}/token", "status")[0] == 0
    code, said = as_("nobody.example", *halt, token=process.tokens["v"])
    assert code == 3
    assert f"the guard at {process.address} refused: " in said
    assert "needs the role operator; the caller is dashboard, viewer" in said
    code, said = as_("bastion.example", *halt)
    assert code == 0, said
    assert "bastion (as alice)" in said
    assert "bastion (as alice)" in as_("bastion.example", "status")[1]
    result = run("--ca", f"{folder}/ca.pem", "status", *at)
    assert result.exit_code == 3
    assert "Or it wants other certificates, or no TLS at all" in result.stderr
    assert run("status", *at).exit_code == 3


def test_log_when_callers_were_refused_then_it_says_so_once_for_all_alike(process: Process) -> None:
    folder = process.folder
    tls = ("--ca", f"{folder}/ca.pem", "--cert", f"{folder}/nobody.example.pem")
    for _ in range(3):
        run(*tls, "--key", f"{folder}/nobody.example-key.pem", "status", "--address", process.address)

    process.end()

    assert len([line for line in process.lines if "rpc_refused" in line]) == 1


def page(address: str, token: str = "") -> tuple[int, str]:
    """Return what the status page answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(f"http://{address}/", headers=headers)) as response:  # its own address
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_status_page_when_nobody_is_known_then_it_says_nothing_of_the_guard(process: Process) -> None:
    refused, said = page(process.http)
    shown, text = page(process.http, process.tokens["v"])
    run("status", "--address", process.address)

    assert (refused, shown) == (401, 200)
    assert "BTC" in text
    assert "BTC" not in said
    assert "READY" not in said


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (("--cert", "a.pem"), {}, "--ca was not given, expected it with --cert and --key"),
        (("--ca", "none.pem"), {}, "none.pem"),
        (("--ca", "none.pem", "--cert", "a.pem"), {}, "key"),
        (("--token-file", "none"), {}, "--token-file was none, expected a readable file with a token"),
        ((), {"CIRCUIT_GUARD_TOKEN": "two words"}, "token"),
    ],
)
def test_command_line_when_what_it_is_to_show_cannot_be_used_then_that_is_said_and_no_token(
    arguments: tuple[str, ...], env: dict[str, str], message: str
) -> None:
    result = run(*arguments, "status", env=env)

    assert result.exit_code == 2
    assert message in result.stderr
    assert "two words" not in result.stderr


def test_command_line_when_a_token_would_cross_the_network_in_plain_text_then_it_is_not_sent() -> None:
    result = run("status", "--address", "203.0.113.1:50051", env={"CIRCUIT_GUARD_TOKEN": "cg_secret"})

    assert result.exit_code == 2
    assert "TLS" in result.stderr
    assert "cg_secret" not in result.stderr
