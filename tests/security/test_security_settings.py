"""The settings of identities and certificates: what is taken, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from circuit_guard.config.security import Role
from circuit_guard.config.settings import exposed, load_settings
from circuit_guard.errors import SettingsError
from circuit_guard.server.admission import announce
from circuit_guard.telemetry.admission import AdmissionMetrics
from circuit_guard.telemetry.families import Families

HASH = "0" * 64
FILES = 'server_certificate = "a.pem"\nserver_key = "b.pem"\n'
MUTUAL = f'{FILES}client_ca = "c.pem"\n'
ENGINE = '[security.identities.engine]\nroles = ["liquidator"]\n'
KNOWN_ENGINE = f'{ENGINE}token_sha256 = ["{HASH}"]\n'


def of_text(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_identities_when_written_then_they_are_read(tmp_path: Path) -> None:
    text = f"""
[security]
{MUTUAL}
[security.identities."engine-a"]
roles = ["liquidator", "viewer"]
certificates = ["spiffe://exchange.example/engine", "engine.exchange.example"]
[security.identities.feed]
roles = ["publisher"]
token_sha256 = ["{HASH}"]
sources = ["exchange"]
"""
    identities = load_settings(of_text(tmp_path, text), {}).security.identities

    assert identities["engine-a"].roles == (Role.LIQUIDATOR, Role.VIEWER)
    assert identities["engine-a"].certificates == ("spiffe://exchange.example/engine", "engine.exchange.example")
    assert (identities["feed"].sources, identities["feed"].token_sha256) == (("exchange",), (HASH,))


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (f"[security]\n{ENGINE}", "security.identities.engine", "nobody could be it"),
        (
            f'[security.identities.x]\ntoken_sha256 = ["{HASH}"]\n',
            "security.identities.x.roles",
            "at least one of liquidator, publisher, operator, viewer",
        ),
        (
            KNOWN_ENGINE.replace("liquidator", "admin"),
            "security.identities.engine.roles",
            "different roles: liquidator",
        ),
        (KNOWN_ENGINE.replace("liquidator", "publisher"), "security.identities.engine.sources", "may publish for"),
        (f'{KNOWN_ENGINE}sources = ["x"]\n', "security.identities.engine.sources", "none without the role publisher"),
        (
            f'{KNOWN_ENGINE}sources = "x"\n',
            "security.identities.engine.sources",
            "a list of 1 to 100 different sources",
        ),
        (KNOWN_ENGINE.replace(HASH, "cg_plain"), "security.identities.engine.token_sha256", "SHA-256 hashes"),
        (
            f'{KNOWN_ENGINE}certificates = ["a.example"]\n',
            "security.identities.engine.certificates",
            "security.client_ca beside it",
        ),
        (
            f'[security]\n{MUTUAL}{KNOWN_ENGINE}certificates = ["*.example"]\n',
            "security.identities.engine.certificates",
            "DNS names without wildcards",
        ),
        (
            f"{KNOWN_ENGINE}{KNOWN_ENGINE.replace('engine', 'other')}",
            "security.identities.*.token_sha256",
            "one identity alone",
        ),
        (KNOWN_ENGINE.replace("engine", '"a b"'), "security.identities", "a name of 1 to 64 letters"),
        ('[security]\nserver_certificate = "a.pem"\n', "security.server_key", "both server_certificate and server_key"),
        ('[security]\nserver_key = "a.pem"\n', "security.server_certificate", "both server_certificate and server_key"),
        ('[security]\nclient_ca = "a.pem"\n', "security.client_ca", "server_certificate and server_key beside it"),
        (
            "[grpc]\nconcurrent_rpcs_max = 100\n",
            "limits.checks_waiting_max",
            "less than 68 (grpc.concurrent_rpcs_max - grpc.watchers_max)",
        ),
    ],
)
def test_security_when_it_contradicts_itself_then_it_is_refused_where_it_does(
    tmp_path: Path, text: str, path: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(of_text(tmp_path, text), {})

    [problem] = caught.value.problems
    assert problem.path == path
    assert expected in problem.expected


FEED = f'[security.identities.venues]\nroles = ["publisher"]\ntoken_sha256 = ["{HASH}"]\nsources = ["a", "b"]\n'


def test_publisher_when_it_has_two_sources_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(of_text(tmp_path, FEED), {})

    [problem] = caught.value.problems
    assert (problem.path, problem.value) == ("security.identities.venues.sources", "2 sources")
    assert problem.expected.startswith("one source: a publisher with two of a market's three references decides")
    assert problem.expected.endswith("or set several_sources = true")


def test_publisher_when_several_sources_are_written_down_as_meant_then_it_has_them(tmp_path: Path) -> None:
    settings = load_settings(of_text(tmp_path, f"{FEED}several_sources = true\n"), {})

    assert settings.security.identities["venues"].sources == ("a", "b")
    with capture_logs() as lines:
        announce(settings, "127.0.0.1:50051", AdmissionMetrics(Families(CollectorRegistry())))
    [warning] = [line for line in lines if line["event"] == "several_sources"]
    assert (warning["log_level"], warning["identities"]) == ("warning", ["venues"]), "every start says which"


@pytest.mark.parametrize("what", ["token", "hash"])
def test_settings_when_a_plain_token_stands_there_then_the_message_does_not_repeat_it(
    tmp_path: Path, what: str
) -> None:
    secret = "cg_this-is-the-token-itself" if what == "token" else "f" * 63

    with pytest.raises(SettingsError) as caught:
        load_settings(of_text(tmp_path, KNOWN_ENGINE.replace(HASH, secret)), {})

    assert secret not in str(caught.value)


NETWORK = '[grpc]\nlisten = "0.0.0.0:50051"\n'


def test_network_when_there_is_mutual_tls_with_identities_then_it_may_be_listened_on(tmp_path: Path) -> None:
    settings = load_settings(of_text(tmp_path, f"{NETWORK}[security]\n{MUTUAL}{KNOWN_ENGINE}"), {})

    assert settings.grpc.listen == "0.0.0.0:50051"
    assert exposed(settings) == []


@pytest.mark.parametrize("security", ["", FILES, MUTUAL, f"{FILES}{KNOWN_ENGINE}"], ids=["none", "tls", "ca", "token"])
def test_network_when_anything_of_it_is_missing_then_it_is_refused_unless_that_is_overridden(
    tmp_path: Path, security: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(of_text(tmp_path, f"{NETWORK}[security]\n{security}"), {})
    overridden = load_settings(of_text(tmp_path, f"{NETWORK}[security]\ninsecure_network = true\n{security}"), {})

    [problem] = caught.value.problems
    assert problem.path == "grpc.listen"
    assert problem.expected.endswith("security.insecure_network = true overrides this")
    assert exposed(overridden) == ["grpc.listen"]
