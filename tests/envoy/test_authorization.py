"""envoy.service.auth.v3.Authorization over real gRPC, asked as Envoy asks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from envoy.config.core.v3.base_pb2 import HeaderValueOption
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard.config.security import Role
from circuit_guard.core.inputs import HaltCommand
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, types_pb2
from tests.driver import BTC
from tests.envoy.guards import Asked, asked, denied, headers_of, result
from tests.envoy.requests import BODY, GRPC, HEADERS, IN_BODY
from tests.security.identities import SECURITY, as_
from tests.server.harness import check

CORRUPT = HEADERS | {"x-circuit-guard-funding-index": "0"}


@pytest_asyncio.fixture
async def guard() -> AsyncIterator[Asked]:
    async with asked() as guard:
        yield guard


async def test_request_when_the_closure_is_allowed_then_service_and_caller_get_the_decision(guard: Asked) -> None:
    response = await guard.check()

    assert response.status.code == 0
    to_service, to_caller = response.ok_response.headers, response.ok_response.response_headers_to_add
    assert headers_of(to_service) == headers_of(to_caller)
    assert list(headers_of(to_service)) == ["x-circuit-guard-decision", "x-circuit-guard-decided-at"]
    assert headers_of(to_service)["x-circuit-guard-decision"]
    assert to_service[0].append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


async def test_request_when_the_closure_is_denied_then_the_caller_gets_the_whole_decision(guard: Asked) -> None:
    response = await guard.check(CORRUPT)

    _, headers, body = denied(response)
    decision = json.loads(body)["decision"]
    assert decision["verdict"] == "VERDICT_DENY"
    assert [found["reason"] for found in decision["findings"]] == ["basis_funding"]
    assert headers["x-circuit-guard-decision"] == decision["decision_id"]
    assert headers["x-circuit-guard-reasons"] == "basis_funding"
    assert "retry-after" not in headers
    assert response.status.message == decision["explanation"]
    assert result(response)["decision"]["market"] == BTC


async def test_request_when_asking_again_can_help_then_the_caller_is_told_when(guard: Asked) -> None:
    guard.driver.clock.advance(20)

    http, call = await guard.check(), await guard.check({**HEADERS, **GRPC, "x-request-id": "request-2"})

    assert denied(http)[1]["retry-after"] == denied(call)[1]["retry-after"] == "1"
    assert "data_stale" in denied(http)[1]["x-circuit-guard-reasons"].split(",")
    retry = RetryInfo()
    details = Status.FromString(base64.b64decode(denied(call)[1]["grpc-status-details-bin"])).details
    assert details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 1


async def test_grpc_call_when_it_is_denied_then_its_status_says_why(guard: Asked) -> None:
    status, headers, body = denied(await guard.check(CORRUPT | GRPC))

    assert status == 403
    assert body.startswith(f"DENY {BTC}: the caller computed with a funding index that cannot be true: ")
    told, info = Status.FromString(base64.b64decode(headers["grpc-status-details-bin"])), ErrorInfo()
    assert (told.code, told.message) == (grpc.StatusCode.PERMISSION_DENIED.value[0], body)
    assert told.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("circuit_guard", "CLOSURE_DENIED")
    assert dict(info.metadata) == {
        "market": BTC,
        "request_id": "request-1",
        "decision_id": headers["x-circuit-guard-decision"],
        "reasons": "basis_funding",
        "lifted_by": "CALLER",
    }


async def test_request_when_a_halt_says_anything_then_the_headers_stay_headers(guard: Asked) -> None:
    now_ns = guard.driver.engine.now_ns()
    guard.driver.engine.step(HaltCommand(now_ns, (BTC,), "alice", "caf\u00e9 \u2192 \U0001f525", None))

    http, call = await guard.check(), await guard.check({**HEADERS, **GRPC, "x-request-id": "request-2"})

    assert "\u2192" in result(http)["decision"]["explanation"]
    for response in (http, call):
        assert all(value.isascii() and value.isprintable() for value in denied(response)[1].values())
    assert denied(call)[2].isascii()


@pytest.mark.parametrize("name", ["market", "account-id", "size"])
async def test_request_when_a_required_field_is_missing_then_it_is_denied_and_the_field_named(
    guard: Asked, name: str
) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != f"x-circuit-guard-{name}"}

    error = result(await guard.check(headers))["error"]

    assert error["reason"] == "MALFORMED_REQUEST"
    assert error["field"] == f"{name.replace('-', '_')} (header:x-circuit-guard-{name})"
    assert error["message"] == f"{error['field']} was empty, expected {error['expected']}"


async def test_request_when_it_has_no_id_then_it_is_denied(guard: Asked) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != "x-request-id"}

    assert result(await guard.check(headers))["error"]["field"] == "request_id (header:x-request-id)"


@pytest.mark.parametrize(
    ("header", "value", "sentence"),
    [
        ("size", "much", 'size (header:x-circuit-guard-size) was "much", expected a decimal of at most 40 digits, '),
        ("size", "0", 'size (header:x-circuit-guard-size) was "0", expected a size other than zero, in base units'),
        ("size", "nan", 'size (header:x-circuit-guard-size) was "nan", expected a finite decimal of at most 40 '),
        (
            "mark-price",
            "1e99",
            'basis_mark_price (header:x-circuit-guard-mark-price) was "1e99", expected a finite decimal of at most 40 ',
        ),
        (
            "market",
            "x" * 200,
            f'market (header:x-circuit-guard-market) was "{"x" * 80}"... (200 characters), expected 1 to 128 ',
        ),
        ("kind", "\u00e9", 'kind (header:x-circuit-guard-kind) was "\\xe9", expected one of LIQUIDATION, '),
    ],
)
async def test_request_when_a_field_is_malformed_then_the_sentence_names_field_value_and_what_was_expected(
    guard: Asked, header: str, value: str, sentence: str
) -> None:
    headers = HEADERS | {f"x-circuit-guard-{header}": value}

    http, call = await guard.check(headers), await guard.check(headers | GRPC)

    assert result(http)["error"]["message"].startswith(sentence)
    assert denied(call)[2].startswith(sentence)
    assert denied(call)[1]["x-circuit-guard-reasons"] == "MALFORMED_REQUEST"


async def test_request_when_nothing_in_it_is_a_closure_then_it_is_denied(guard: Asked) -> None:
    assert result(await guard.check({}))["error"]["reason"] == "MALFORMED_REQUEST"


async def test_request_when_its_body_has_half_a_character_then_it_is_denied() -> None:
    async with asked(IN_BODY) as guard:
        error = result(await guard.check({}, {**BODY, "account": "\ud800"}))["error"]

    assert error["message"] == 'account_id (json:account) was "\\\\ud800", expected printable characters'


async def test_request_when_all_is_in_its_body_then_that_is_judged() -> None:
    async with asked(IN_BODY) as guard:
        allowed = await guard.check({}, BODY)
        corrupt = await guard.check({}, {**BODY, "id": "request-2", "computed_with": {"mark": 92600, "funding": 0}})

    assert allowed.HasField("ok_response")
    assert denied(corrupt)[1]["x-circuit-guard-reasons"] == "basis_funding"


async def test_request_when_its_id_comes_again_then_it_is_judged_again_and_with_other_content_it_is_denied(
    guard: Asked,
) -> None:
    first, again = await guard.check(), await guard.check()
    other = await guard.check(HEADERS | {"x-circuit-guard-size": "-0.7"})

    decided = [headers_of(one.ok_response.headers)["x-circuit-guard-decision"] for one in (first, again)]
    assert decided[0] != decided[1]
    error = result(other)["error"]
    assert (error["reason"], error["field"]) == ("REQUEST_ID_CONFLICT", "request_id (header:x-request-id)")
    assert error["message"].startswith('request_id (header:x-request-id) was "request-1", expected a new request_id')


async def test_request_when_it_asks_what_an_engine_asks_then_it_is_the_same_question(guard: Asked) -> None:
    stub = liquidation_pb2_grpc.LiquidationGuardServiceStub(guard.channel)
    asked_by_an_engine = check()
    asked_by_an_engine.ClearField("account")

    through_envoy = await guard.check()
    direct = await stub.CheckLiquidation(liquidation_pb2.CheckLiquidationRequest(check=asked_by_an_engine))

    assert direct.decision.repeated
    assert direct.decision.verdict == types_pb2.VERDICT_ALLOW
    assert headers_of(through_envoy.ok_response.headers) == {
        "x-circuit-guard-decision": direct.decision.decision_id,
        "x-circuit-guard-decided-at": direct.decision.decided_at.ToJsonString(),
    }


async def test_request_when_the_guard_is_in_shadow_then_it_goes_on() -> None:
    async with asked(guard="shadow = true") as guard:
        assert (await guard.check(CORRUPT)).HasField("ok_response")


async def test_request_when_callers_have_roles_then_envoy_needs_the_one_of_liquidators() -> None:
    async with asked(security=SECURITY) as guard:
        assert (await guard.check(metadata=as_(Role.LIQUIDATOR))).HasField("ok_response")
        for role, code in (
            (Role.PUBLISHER, grpc.StatusCode.PERMISSION_DENIED),
            (Role.OPERATOR, grpc.StatusCode.PERMISSION_DENIED),
            (None, grpc.StatusCode.UNAUTHENTICATED),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await guard.check(metadata=as_(role))
            assert caught.value.code() is code


async def test_health_when_envoy_is_answered_then_that_service_has_one(guard: Asked) -> None:
    name = "envoy.service.auth.v3.Authorization"
    health = await health_pb2_grpc.HealthStub(guard.channel).Check(health_pb2.HealthCheckRequest(service=name))

    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
