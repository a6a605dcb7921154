"""Answering Envoy is switched on in the settings, and needs an extra that nothing else needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc import aio

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.config.settings import GrpcSettings, Settings, load_settings
from circuit_guard.errors import SettingsError
from circuit_guard.server.build import create_server
from tests.driver import BTC, Driver, policy_of
from tests.envoy.guards import ENABLED, asked
from tests.server.harness import no_reload

PLACE = (
    'expected "header:" and the name of a header, or "json:" and up to 8 keys of the body with dots between them, '
    'e.g. "header:x-market" or "json:closure.market"'
)


async def test_guard_when_it_is_not_enabled_then_envoy_is_not_answered() -> None:
    async with asked(ExtAuthzSettings()) as guard:
        with pytest.raises(aio.AioRpcError) as caught:
            await guard.check()

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_guard_when_it_is_imported_then_the_extra_is_not() -> None:
    program = (
        "import sys, circuit_guard.runtime.app; "
        "print({name.partition('.')[0] for name in sys.modules} & {'envoy', 'udpa'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


async def test_guard_when_it_is_enabled_without_the_extra_then_it_does_not_start_and_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "envoy.service.auth.v3", None)
    settings = Settings(grpc=GrpcSettings(listen="127.0.0.1:0"), ext_authz=ENABLED)

    with pytest.raises(SettingsError) as caught:
        create_server(Driver(policy_of(BTC)).engine, settings, no_reload)

    assert str(caught.value) == (
        "settings: the settings document has 1 problem\n  ext_authz.enabled: was true, expected the extra beside it, "
        "envoy.service.auth.v3 is not installed: pip install 'circuit-guard[envoy]'"
    )


@pytest.mark.parametrize("place", ["header:X-Market", "header:x_market", "json:market", "json:a.b.c.d.e.f.g.h"])
def test_place_when_it_is_one_then_it_is_taken_and_headers_are_lower_case(place: str) -> None:
    taken = load_settings(None, {"CIRCUIT_GUARD_EXT_AUTHZ__MARKET": place}).ext_authz.market

    assert taken == (place.lower() if place.startswith("header:") else place)


@pytest.mark.parametrize(
    "place",
    ["", "market", "header:", "header:a b", "header::path", "json:", "json:a..b", "json:.a", "json:a.", "body:a"],
)
def test_place_when_it_is_none_then_the_form_is_named(place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"CIRCUIT_GUARD_EXT_AUTHZ__MARKET": place})

    [found] = caught.value.problems
    assert (found.path, str(found).endswith(PLACE)) == ("CIRCUIT_GUARD_EXT_AUTHZ__MARKET", True)


def test_place_when_it_is_too_deep_or_a_number_then_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[ext_authz]\nsize = 5\nkind = "json:a.b.c.d.e.f.g.h.i"\n')

    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})

    assert [found.path for found in caught.value.problems] == ["ext_authz.size", "ext_authz.kind"]
