"""AdminService.ReloadPolicy: all of a policy takes effect, or nothing; and what a client is told of a defect."""

from __future__ import annotations

import grpc
from structlog.testing import capture_logs

from circuit_guard.errors import PolicyError, Problem
from tests.driver import BTC, ETH, policy_of
from tests.server.commands import ACT, reload_policy
from tests.server.harness import Harness, refused


async def test_reload_when_the_policy_is_valid_then_it_says_what_changed(guard: Harness) -> None:
    before = guard.engine.policy.revision
    guard.next_policy = lambda: policy_of(BTC, "SOL-USD-PERP")  # type: ignore[method-assign]

    with capture_logs() as lines:
        response = await guard.admin.ReloadPolicy(reload_policy())

    assert (response.previous_revision, response.revision) == (before, guard.engine.policy.revision)
    assert response.revision != before
    assert (list(response.added), list(response.removed)) == (["SOL-USD-PERP"], [ETH])
    assert {"event": "policy_reload_requested", "log_level": "info", "identity": ""} | ACT in lines


async def test_reload_when_the_policy_is_not_valid_then_every_violation_is_told_and_the_old_one_stays(
    guard: Harness,
) -> None:
    before = guard.engine.policy
    problems = [Problem(f"classes.default.key_{number}", '"x"', "a number") for number in range(3)]
    guard.policy_problem = PolicyError("policy.toml", problems)

    code, info, message = await refused(guard.admin.ReloadPolicy(reload_policy()))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "POLICY_INVALID")
    assert dict(info.metadata) == {"origin": "policy.toml", "violations": "3"}
    assert all(str(problem) in message for problem in problems)
    assert guard.engine.policy is before


async def test_reload_when_there_are_very_many_violations_then_the_error_still_arrives(guard: Harness) -> None:
    problems = [Problem(f"markets.MARKET-{number}.class", "ünknown" * 9, "a class") for number in range(2000)]
    guard.policy_problem = PolicyError("policy.toml", problems)

    code, info, message = await refused(guard.admin.ReloadPolicy(reload_policy()))

    assert (code, info.metadata["violations"]) == (grpc.StatusCode.FAILED_PRECONDITION, "2000")
    assert message.endswith("...")


async def test_reload_when_something_unexpected_fails_then_it_is_logged_and_not_explained(guard: Harness) -> None:
    guard.policy_problem = RuntimeError("the password is swordfish")

    with capture_logs() as lines:
        code, info, message = await refused(guard.admin.ReloadPolicy(reload_policy()))

    assert (code, info.reason, dict(info.metadata)) == (grpc.StatusCode.INTERNAL, "INTERNAL", {})
    assert "swordfish" not in message
    [line] = [line for line in lines if line["event"] == "rpc_failed"]
    assert (line["log_level"], line["method"]) == ("error", "/circuit_guard.v1.AdminService/ReloadPolicy")
    assert line["exc_info"] is guard.policy_problem
