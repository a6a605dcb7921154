"""An address to listen on means the same on every port: which families get through does not depend on what is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from circuit_guard.config.settings import load_settings
from circuit_guard.errors import SettingsError
from circuit_guard.runtime.app import running_app
from circuit_guard.server.transport import ListenError
from circuit_guard.web.listening import listening

FAMILIES = {"IPv4": "127.0.0.1", "IPv6": "::1"}
BOTH = {"IPv4", "IPv6"}


def settings(folder: Path, host: str) -> dict[str, str]:
    (folder / "policy.toml").write_text(
        "[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.BTC-USD-PERP]\n"
    )
    listen = f"{host}:0"
    return {
        "CIRCUIT_GUARD_GRPC__LISTEN": listen,
        "CIRCUIT_GUARD_GRPC__HEALTH_LISTEN": listen,
        "CIRCUIT_GUARD_HTTP__LISTEN": listen,
        "CIRCUIT_GUARD_HTTP__METRICS_LISTEN": listen,
        "CIRCUIT_GUARD_POLICY__PATH": str(folder / "policy.toml"),
        "CIRCUIT_GUARD_SECURITY__INSECURE_NETWORK": "true",
        "CIRCUIT_GUARD_LOG__LEVEL": "error",
    }


def families(address: str) -> set[str]:
    """Return the families over which somebody on this machine gets through to a port."""
    port, found = int(address.rpartition(":")[2]), set[str]()
    for name, host in FAMILIES.items():
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            continue
        found.add(name)
    return found


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("[::]", BOTH),
        ("0.0.0.0", BOTH),  # noqa: S104
        ("[0:0:0:0:0:0:0:0]", BOTH),
        ("127.0.0.1", {"IPv4"}),
        ("[::1]", {"IPv6"}),
    ],
)
async def test_address_when_it_is_given_to_every_port_then_all_are_reached_alike(
    tmp_path: Path, host: str, expected: set[str]
) -> None:
    async with running_app(load_settings(None, settings(tmp_path, host))) as app:
        reached = {
            "grpc": families(app.grpc_address),
            "health": families(app.health_address),
            "http": families(app.http_address),
            "metrics": families(app.metrics_address),
        }

    assert reached == dict.fromkeys(reached, expected)


async def test_address_when_it_is_a_name_then_all_ports_take_the_same_addresses_of_it(tmp_path: Path) -> None:
    async with running_app(load_settings(None, settings(tmp_path, "localhost"))) as app:
        addresses = (app.grpc_address, app.health_address, app.http_address, app.metrics_address)
        reached = [families(address) for address in addresses]

    assert reached == [reached[0]] * 4
    assert "IPv4" in reached[0]


@pytest.mark.parametrize("host", ["::1", "::", "[::1", "::1]", "[127.0.0.1]", "", "ho st", "[::1]]"])
def test_address_when_its_brackets_are_wrong_then_every_setting_is_refused_alike(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, settings(tmp_path, host))

    named = {problem.path for problem in caught.value.problems}
    assert len({name for name in named if name.endswith("LISTEN")}) == 4
    assert "[::1]:50051" in str(caught.value)


@pytest.mark.parametrize("port", ["GRPC__LISTEN", "GRPC__HEALTH_LISTEN", "HTTP__LISTEN", "HTTP__METRICS_LISTEN"])
@pytest.mark.parametrize("host", ["[2001:db8::1]", "192.0.2.1", "no-such-host.invalid"])
async def test_address_when_it_is_not_of_this_machine_then_the_error_names_setting_and_value(
    tmp_path: Path, port: str, host: str
) -> None:
    environ = settings(tmp_path, "127.0.0.1") | {f"CIRCUIT_GUARD_{port}": f"{host}:0"}

    with pytest.raises(ListenError) as caught:
        async with running_app(load_settings(None, environ)):
            pass

    assert f"{port.lower().replace('__', '.')} was {host}:0" in str(caught.value)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_sockets_when_the_port_is_taken_then_it_is_an_error_and_none_stays_open(taken: int) -> None:
    with pytest.raises(OSError, match="in use"):
        listening("127.0.0.1", taken)
