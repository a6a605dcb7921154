"""Bearer tokens: who is taken for whom, what is said of who is not known, and that no token is ever repeated."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest

from circuit_guard.config.security import IdentityTable, Role, SecuritySettings
from circuit_guard.server.security.tokens import PREFIX, new_token, owner, token_sha256
from circuit_guard.v1 import admin_pb2
from tests.driver import BTC, Driver, policy_of
from tests.security.identities import TOKENS, Start, as_, bearer, refusals
from tests.server import commands
from tests.server.harness import Harness, refused

STATUS = admin_pb2.GetStatusRequest()
UNKNOWN = "/circuit_guard.v1.AdminService/GetStatus needs the role viewer, and the caller is not known: "
NOTHING = "; nothing of the request took effect"


def test_token_when_made_then_it_is_long_random_and_recognizable() -> None:
    made = {new_token() for _ in range(100)}

    assert len(made) == 100
    assert all(token.startswith(PREFIX) and len(token) >= len(PREFIX) + 43 for token in made)


def test_owner_when_many_tokens_are_known_then_it_is_the_one_whose_token_it_is() -> None:
    hashes = [(token_sha256(f"token-{number}"), f"identity-{number}") for number in range(50)]

    assert owner("token-7", hashes) == "identity-7"
    assert owner("token-50", hashes) is None
    assert owner(hashes[0][0], hashes) is None, "the hash in the settings is no token"


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ((), f"{UNKNOWN}the request has no bearer token and no certificate came with it"),
        (bearer("cg_guessed"), f"{UNKNOWN}the bearer token is of no identity in the settings"),
        ((("authorization", "Basic YWxpY2U6c2VjcmV0"),), "authorization was something else, expected it once: Bearer"),
        ((("authorization", "Bearer"),), "authorization was something else, expected it once: Bearer"),
        (as_(Role.VIEWER) + as_(Role.OPERATOR), "authorization was something else, expected it once: Bearer"),
    ],
    ids=["none", "foreign", "basic", "empty", "two"],
)
async def test_request_when_the_caller_is_not_known_then_it_is_unauthenticated_and_says_why(
    guard: Harness, metadata: Any, why: str
) -> None:
    before = guard.state()

    code, info, message = await refused(guard.admin.GetStatus(STATUS, metadata=metadata))

    assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")
    assert message.startswith(why)
    assert message.endswith(NOTHING)
    assert refusals(guard, "not_authenticated") == 1
    assert guard.state() == before


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_request_when_the_scheme_is_written_otherwise_then_it_is_the_same(guard: Harness, scheme: str) -> None:
    metadata = (("authorization", f"{scheme} {TOKENS[Role.VIEWER]}"),)

    assert (await guard.admin.GetStatus(STATUS, metadata=metadata)).status.policy_revision


async def test_identity_when_its_token_is_being_replaced_then_both_are_taken(start: Start) -> None:
    hashes = (token_sha256("old"), token_sha256("new"))
    dashboard = IdentityTable.model_construct(roles=(Role.VIEWER,), token_sha256=hashes, certificates=(), sources=())
    driver = Driver(policy_of(BTC))
    guard = await start(driver, security=SecuritySettings.model_construct(identities={"dashboard": dashboard}))

    for token in ("old", "new"):
        await guard.admin.GetStatus(STATUS, metadata=bearer(token))


async def test_request_when_it_is_refused_then_no_token_is_in_any_log_line_or_message(
    guard: Harness, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    asked = [
        guard.admin.GetStatus(STATUS, metadata=bearer("cg_guessed-and-wrong")),
        guard.admin.Halt(commands.halt(), metadata=as_(Role.VIEWER)),
        guard.admin.GetStatus(STATUS, metadata=(("authorization", "Basic c2VjcmV0"),)),
    ]

    said = [message for _, _, message in [await refused(call) for call in asked]]

    everything = "\n".join([*said, *capsys.readouterr(), caplog.text])
    assert "rpc_refused" in everything
    for secret in ("cg_guessed-and-wrong", "c2VjcmV0", *TOKENS.values()):
        assert secret not in everything


async def test_guard_when_no_identity_is_configured_then_everybody_may_do_everything(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)))

    response = await guard.admin.Halt(commands.halt(), metadata=bearer("cg_any"))

    assert response.events[0].halt_changed.actor == "alice"
