"""A real Envoy with the committed example, in front of a real liquidation service: nothing unjudged gets through."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from tests.cli.running import INDEX, PRICE
from tests.driver import BTC
from tests.envoy.mesh import ENVOY_TIMEOUT_S, GuardProcess, envoy, example, free_port, guard_process, unique

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

PATIENT_S = 10.0
"""The callers' own deadline, far beyond Envoy's: what comes earlier came from Envoy."""
DENIED_WITHIN_S = 2.0
"""Envoy's deadline for the guard, and a lot for a busy machine."""
IN_BODY = {
    "MARKET": "json:closure.market",
    "ACCOUNT_ID": "json:account",
    "SIZE": "json:closure.size",
    "REQUEST_ID": "json:id",
    "KIND": "json:closure.kind",
    "EXECUTION_PRICE": "json:closure.price",
    "BASIS_MARK_PRICE": "json:mark",
    "BASIS_FUNDING_INDEX": "json:funding",
}


@dataclass
class Outcome:
    """What a caller gets from Envoy."""

    code: grpc.StatusCode
    message: str
    headers: dict[str, Any]
    took_s: float


@dataclass
class Mesh:
    """A guard, and Envoy in front of a service that prints what it closes."""

    guard: GuardProcess
    port: int

    def close(self, **changes: str) -> Outcome:
        """Ask Envoy for an honest closure by gRPC, changed."""
        headers = {
            "x-request-id": unique(),
            "x-circuit-guard-market": BTC,
            "x-circuit-guard-account-id": "account-1",
            "x-circuit-guard-size": "-0.5",
            "x-circuit-guard-execution-price": PRICE,
            "x-circuit-guard-mark-price": PRICE,
            "x-circuit-guard-funding-index": INDEX,
        } | {key.replace("_", "-"): value for key, value in changes.items()}
        began_s = time.monotonic()
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/exchange.Liquidations/Close")
            try:
                answer, call = method.with_call(b"", timeout=PATIENT_S, metadata=tuple(headers.items()))
            except grpc.RpcError as error:
                took_s = time.monotonic() - began_s
                return Outcome(
                    error.code(),
                    error.details() or "",
                    {one.key: one.value for one in error.trailing_metadata()},
                    took_s,
                )
        took_s = time.monotonic() - began_s
        return Outcome(grpc.StatusCode.OK, answer.decode(), dict(call.initial_metadata()), took_s)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Run the example whole, with a guard that has seen honest data."""
    folder, service_port = tmp_path_factory.mktemp("mesh"), free_port()
    service = example("service").server(f"127.0.0.1:{service_port}")
    try:
        with guard_process(folder) as guard, envoy(folder, guard.port, service_port) as port:
            yield Mesh(guard, port)
    finally:
        service.stop(None).wait()


@pytest.fixture(autouse=True)
def _warm(mesh: Mesh) -> None:
    mesh.guard.warm()


def test_closure_when_the_guard_allows_then_the_service_closes(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = mesh.close()

    assert (outcome.code, outcome.message) == (grpc.StatusCode.OK, f"closed account-1: -0.5 {BTC}")
    decision_id = outcome.headers["x-circuit-guard-decision"]
    assert capsys.readouterr().out == f"closed account-1: -0.5 {BTC}, as decision {decision_id} allows\n"


def test_closure_when_the_guard_denies_then_it_does_not_reach_the_service_and_the_caller_reads_why(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = mesh.close(x_circuit_guard_funding_index="0")

    assert outcome.code is grpc.StatusCode.PERMISSION_DENIED
    assert outcome.message.startswith(f"DENY {BTC}: the caller computed with a funding index that cannot be true: ")
    assert outcome.headers["x-circuit-guard-reasons"] == "basis_funding"
    status, info = Status.FromString(outcome.headers["grpc-status-details-bin"]), ErrorInfo()
    assert (status.code, status.message) == (outcome.code.value[0], outcome.message)
    assert status.details[0].Unpack(info)
    assert info.metadata["decision_id"] == outcome.headers["x-circuit-guard-decision"]
    assert capsys.readouterr().out == ""


def test_closure_when_a_field_is_missing_then_it_is_denied_and_the_header_named(mesh: Mesh) -> None:
    outcome = mesh.close(x_circuit_guard_size="")

    assert outcome.code is grpc.StatusCode.PERMISSION_DENIED
    assert outcome.message.startswith("size (header:x-circuit-guard-size) was empty, expected a finite decimal")


def test_closure_when_a_caller_names_a_decision_himself_then_the_service_sees_the_guards(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = mesh.close(x_circuit_guard_decision="mine")

    assert outcome.headers["x-circuit-guard-decision"] != "mine"
    assert capsys.readouterr().out.endswith(f"decision {outcome.headers['x-circuit-guard-decision']} allows\n")


def test_closure_when_its_id_comes_again_then_it_is_judged_again_and_with_other_content_it_is_denied(
    mesh: Mesh,
) -> None:
    request_id = unique()
    first, again = mesh.close(x_request_id=request_id), mesh.close(x_request_id=request_id)
    other = mesh.close(x_request_id=request_id, x_circuit_guard_size="-0.7")

    assert first.headers["x-circuit-guard-decision"] != again.headers["x-circuit-guard-decision"]
    assert other.message.startswith(f'request_id (header:x-request-id) was "{request_id}", expected a new request_id')


def test_closure_when_the_guard_is_slow_then_it_is_denied_in_time_and_nothing_is_decided_later(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = unique()
    with mesh.guard.stopped():
        outcome = mesh.close(x_request_id=request_id)
    other = mesh.close(x_request_id=request_id, x_circuit_guard_size="-0.7")

    no_decision(outcome)
    assert outcome.took_s >= ENVOY_TIMEOUT_S * 0.9
    assert other.message == f"closed account-1: -0.7 {BTC}", "the id was taken: the first question was decided"
    assert capsys.readouterr().out.count("closed") == 1


def test_closure_when_the_guard_is_killed_then_it_is_denied_and_flows_again_once_it_is_back(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.guard.kill()
    dead = [mesh.close() for _ in range(3)]
    mesh.guard.restart()
    cold = mesh.close()
    mesh.guard.warm()
    warm = mesh.close()

    for outcome in dead:
        no_decision(outcome)
    assert cold.code is grpc.StatusCode.PERMISSION_DENIED
    assert "warming" in cold.headers["x-circuit-guard-reasons"].split(",")
    assert warm.code is grpc.StatusCode.OK
    assert capsys.readouterr().out.count("closed") == 1


def test_example_caller_when_it_closes_or_may_not_then_it_prints_so(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [f"--address=127.0.0.1:{mesh.port}", f"--mark={PRICE}"]

    assert example("caller").main([*call, f"--funding-index={INDEX}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"closed account-1: -0.5 {BTC} (decision ")

    assert example("caller").main([*call, "--funding-index=0"]) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"NOT CLOSED  PERMISSION_DENIED: DENY {BTC}: ")
    assert rest == ["  x-circuit-guard-reasons: basis_funding", "  lifted by: CALLER"]


def no_decision(outcome: Outcome) -> None:
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert outcome.message == "circuit_guard made no decision within 0.25 s, and no decision is a deny\n"
    assert outcome.headers["x-circuit-guard-reasons"] == "NO_ANSWER"
    assert outcome.took_s < DENIED_WITHIN_S


@contextmanager
def http_service() -> Iterator[tuple[int, list[Any]]]:
    """Run a service that takes what to close from its JSON body; give its port, and all that it has closed."""
    closed: list[Any] = []

    class Closing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            closed.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Closing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, closed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def posted(port: int, body: bytes) -> tuple[int, dict[str, str], str]:
    """Post a body to Envoy; return status, headers and what came back."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/liquidations", body, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENT_S) as response:
            return response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def test_http_closure_when_the_guard_reads_its_body_then_it_is_closed_denied_or_answered_for_a_dead_guard(
    tmp_path: Path,
) -> None:
    body = {"id": "1", "account": 17, "mark": 92610.0, "funding": INDEX, "closure": {"market": BTC, "size": -0.5}}
    other, corrupt = {**body, "id": "2"}, {**body, "id": "3", "funding": 0}
    environ = {f"CIRCUIT_GUARD_EXT_AUTHZ__{key}": place for key, place in IN_BODY.items()}
    with (
        http_service() as (service_port, closed),
        guard_process(tmp_path, **environ) as guard,
        envoy(tmp_path, guard.port, service_port, json_body=True) as port,
    ):
        cold = posted(port, json.dumps(other).encode())
        guard.warm()
        allowed = posted(port, json.dumps(body).encode())
        denied = posted(port, json.dumps(corrupt).encode())
        twice = posted(port, b'{"id": "4", "id": "5"}')
        huge = posted(port, json.dumps({**body, "padding": "x" * 70_000}).encode())
        guard.kill()
        dead = posted(port, json.dumps(other).encode())

    assert (cold[0], f'"{cold[1]["retry-after"]}s"' in cold[2]) == (403, True)
    assert (allowed[0], closed) == (204, [body])
    assert allowed[1]["x-circuit-guard-decision"]
    assert (denied[0], denied[1]["content-type"]) == (403, "application/json")
    decision = json.loads(denied[2])["decision"]
    assert [found["reason"] for found in decision["findings"]] == ["basis_funding"]
    assert decision["explanation"].startswith(f"DENY {BTC}: the caller computed with a funding index that cannot be ")
    assert (twice[0], "each key once" in json.loads(twice[2])["error"]["expected"]) == (403, True)
    assert huge[0] == 413
    assert (dead[0], dead[1]["x-circuit-guard-reasons"]) == (503, "NO_ANSWER")
    assert dead[2] == "circuit_guard made no decision within 0.25 s, and no decision is a deny\n"
