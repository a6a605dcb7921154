"""The settings: defaults, file, environment, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.config.settings import PolicySettings, Settings, load_settings
from circuit_guard.errors import SettingsError

SHIPPED = Path(__file__).parents[2] / "config" / "settings.toml"


def problems(path: Path | None, environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ)
    return [str(problem) for problem in caught.value.problems]


def of_text(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_when_nothing_is_given_then_the_defaults_hold() -> None:
    settings = load_settings(None, {"HOME": "/", "PATH": "/bin"})
    assert settings == Settings()
    assert settings.grpc.listen == "127.0.0.1:50051"
    assert settings.http.listen == "127.0.0.1:9464"
    assert settings.grpc.batch_max == 1000
    assert settings.engine.tick_interval_ms == 1000
    assert (settings.policy.watch, settings.policy.watch_interval_ms) == (True, 2000)


def test_shipped_settings_are_the_defaults_all_written_out() -> None:
    assert load_settings(SHIPPED, {}) == Settings()
    written = load_settings(SHIPPED, {})
    given = {f"{name}.{key}" for name, table in written for key in table.model_fields_set}
    known = {f"{name}.{key}" for name, table in written for key in type(table).model_fields}
    files = {f"security.{key}" for key in ("server_certificate", "server_key", "client_ca", "revoked_certificates")}
    listeners = {"grpc.health_listen", "http.metrics_listen"}
    without_default = {"journal.directory", "security.identities", *files, *listeners}
    assert known - given == without_default


def test_settings_when_the_environment_says_otherwise_then_it_wins_over_the_file(tmp_path: Path) -> None:
    path = of_text(tmp_path, '[grpc]\nlisten = "[::1]:1"\nbatch_max = 5\n[log]\nlevel = "debug"\n')
    environ = {
        "CIRCUIT_GUARD_GRPC__LISTEN": "unix:/run/guard.sock",
        "CIRCUIT_GUARD_GRPC__WATCHERS_MAX": "7",
        "CIRCUIT_GUARD_POLICY__PATH": "/etc/policy.toml",
        "CIRCUIT_GUARD_POLICY__WATCH": "false",
        "CIRCUIT_GUARD_POLICY__WATCH_INTERVAL_MS": "60000",
        "CIRCUIT_GUARD_LOG__FORMAT": "console",
    }
    settings = load_settings(path, environ)
    assert (settings.grpc.listen, settings.grpc.batch_max, settings.grpc.watchers_max) == ("unix:/run/guard.sock", 5, 7)
    assert settings.policy == PolicySettings(path=Path("/etc/policy.toml"), watch=False, watch_interval_ms=60_000)
    assert (settings.log.level, settings.log.format) == ("debug", "console")


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:0", "127.8.0.1:65535", "localhost:50051", "[::1]:50051", "unix:guard.sock", "unix:///run/guard.sock"],
)
def test_grpc_address_when_only_this_machine_can_reach_it_then_it_is_taken(listen: str) -> None:
    assert load_settings(None, {"CIRCUIT_GUARD_GRPC__LISTEN": listen}).grpc.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:50051", "10.0.0.7:50051", "[::]:50051", "guard.example.com:50051"])
@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            "grpc",
            (
                "a loopback address or unix:path, or else security.server_certificate, server_key, client_ca and "
                "identities: mTLS, so that it is known who comes"
            ),
        ),
        ("http", "a loopback address: HTTP has no mTLS"),
    ],
)
def test_address_when_others_can_reach_it_then_it_is_refused_with_the_reason(
    section: str, expected: str, listen: str
) -> None:
    variable = f"CIRCUIT_GUARD_{section.upper()}__LISTEN"
    whole = f"{expected}; security.insecure_network = true overrides this"
    assert problems(None, {variable: listen}) == [f'{variable}: was "{listen}", expected {whole}']


@pytest.mark.parametrize(
    "listen", ["", "50051", ":50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:5", "a b:1"]
)
def test_address_when_it_is_none_then_the_form_is_named(listen: str) -> None:
    [found] = problems(None, {"CIRCUIT_GUARD_GRPC__LISTEN": listen})
    assert found.endswith(
        'expected host:port with a port from 0 (any free one) to 65535, e.g. "127.0.0.1:50051" or "[::1]:50051"'
    )


@pytest.mark.parametrize("listen", ["unix:", "unix:/" + "x" * 107, "unix:/" + "\u00fc" * 54])
def test_unix_socket_when_the_kernel_could_not_bind_it_then_it_is_refused(listen: str) -> None:
    [found] = problems(None, {"CIRCUIT_GUARD_GRPC__LISTEN": listen})
    assert found.endswith("expected unix: and a path of 1 to 107 bytes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[grpc]\nlisen = 1\n", "grpc.lisen: was 1, expected no key of this name (is listen meant?)"),
        ("[grcp]\n", "grcp: was a table, expected no key of this name (is grpc meant?)"),
        ("grpc = 5\n", "grpc: was 5, expected a table"),
        (
            "[grpc]\nlisten = 50051\n",
            (
                "grpc.listen: was 50051, expected host:port with a port from 0 (any free one) to "
                '65535, e.g. "127.0.0.1:50051" or "[::1]:50051"'
            ),
        ),
        ("[grpc]\nbatch_max = 0\n", "grpc.batch_max: was 0, expected a whole number from 1 to 1000"),
        ("[grpc]\nbatch_max = 1001\n", "grpc.batch_max: was 1001, expected a whole number from 1 to 1000"),
        ("[grpc]\nbatch_max = true\n", "grpc.batch_max: was true, expected a whole number from 1 to 1000"),
        ("[grpc]\nbatch_max = 10.0\n", "grpc.batch_max: was 10.0 (a float), expected a whole number from 1 to 1000"),
        (
            "[grpc]\nmessage_bytes_max = 5\n",
            "grpc.message_bytes_max: was 5, expected a whole number from 65536 to 67108864",
        ),
        ("[grpc]\ndrain_grace_s = -1\n", "grpc.drain_grace_s: was -1, expected a whole number from 0 to 300"),
        (
            "[grpc]\nwatchers_max = 50\nconcurrent_rpcs_max = 50\n",
            (
                "grpc.watchers_max: was 50, expected less than 50 "
                "(grpc.concurrent_rpcs_max): watchers would leave no room for checks"
            ),
        ),
        (
            '[http]\nlisten = "127.0.0.1:50051"\n',
            'http.listen: was "127.0.0.1:50051", expected another address than grpc.listen',
        ),
        (
            '[http]\nlisten = "unix:/run/http.sock"\n',
            (
                'http.listen: was "unix:/run/http.sock", expected '
                'host:port with a port from 0 (any free one) to 65535, e.g. "127.0.0.1:50051" or "[::1]:50051"'
            ),
        ),
        ('[policy]\npath = ""\n', "policy.path: was empty, expected the path of a file"),
        ("[policy]\nwatch = 1\n", "policy.watch: was 1, expected true or false"),
        ('[policy]\nwatch = "yes"\n', 'policy.watch: was "yes", expected true or false'),
        (
            "[policy]\nwatch_interval_ms = 9\n",
            "policy.watch_interval_ms: was 9, expected a whole number from 10 to 60000",
        ),
        ("[policy]\npath = 5\n", "policy.path: was 5, expected the path of a file"),
        ('[log]\nlevel = "verbose"\n', 'log.level: was "verbose", expected "debug", "info", "warning" or "error"'),
        ('[log]\nformat = "xml"\n', 'log.format: was "xml", expected "json" or "console"'),
        (
            "[engine]\ntick_interval_ms = 0\n",
            "engine.tick_interval_ms: was 0, expected a whole number from 10 to 60000",
        ),
        ("[engine]\nwatch_queue_max = 0\n", "engine.watch_queue_max: was 0, expected a whole number from 1 to 1000000"),
        ("[grpc]\n[grpc]\n", 'line 2: was "[grpc]", expected each key and table once'),
    ],
)
def test_settings_when_one_thing_is_broken_then_the_message_says_exactly_that(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = of_text(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert str(caught.value) == f"{path}: the settings document has 1 problem\n  {expected}"


def test_settings_when_both_ports_are_any_free_one_then_they_do_not_collide() -> None:
    environ = {"CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0", "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0"}
    assert load_settings(None, environ).http.listen == "127.0.0.1:0"


def test_settings_when_much_is_broken_then_all_of_it_is_listed_at_once_and_by_where_it_was_written(
    tmp_path: Path,
) -> None:
    path = of_text(tmp_path, '[grpc]\nbatch_max = 0\n[log]\nlevel = "debug"\ncolour = true\n')
    environ = {"CIRCUIT_GUARD_LOG__LEVEL": "verbose", "CIRCUIT_GUARD_ENGINE__TICK_INTERVAL_MS": "1s"}
    assert problems(path, environ) == [
        "grpc.batch_max: was 0, expected a whole number from 1 to 1000",
        'CIRCUIT_GUARD_LOG__LEVEL: was "verbose", expected "debug", "info", "warning" or "error"',
        "log.colour: was true, expected no key of this name",
        'CIRCUIT_GUARD_ENGINE__TICK_INTERVAL_MS: was "1s", expected a whole number from 10 to 60000',
    ]


def test_environment_when_a_variable_is_almost_ours_then_the_near_miss_is_named() -> None:
    assert problems(None, {"CIRCUIT_GUARD_GRPC_LISTEN": "x", "CIRCUIT_GUARD_TELEPHONE__X": "5"}) == [
        'CIRCUIT_GUARD_GRPC_LISTEN: was "x", expected no key of this name (is CIRCUIT_GUARD_GRPC__LISTEN meant?)',
        'CIRCUIT_GUARD_TELEPHONE__X: was "5", expected no key of this name',
    ]


def test_environment_when_kubernetes_describes_a_service_of_our_name_then_that_is_not_ours() -> None:
    links = {
        "CIRCUIT_GUARD_SERVICE_HOST": "10.0.0.1",
        "CIRCUIT_GUARD_SERVICE_PORT": "50051",
        "CIRCUIT_GUARD_PORT": "tcp://10.0.0.1:50051",
        "CIRCUIT_GUARD_PORT_50051_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(None, links) == Settings()
    assert problems(None, {"CIRCUIT_GUARD_PORT": "50051"})


def test_settings_when_the_file_is_missing_then_that_is_said(tmp_path: Path) -> None:
    expected = "file: was missing, expected a readable TOML file (settings document)"
    assert problems(tmp_path / "settings.toml", {}) == [expected]


VARIABLES = sorted(f"CIRCUIT_GUARD_{section}__{key}".upper() for section, table in Settings() for key, _ in table)
WRITABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=130)


@given(st.dictionaries(st.sampled_from(VARIABLES), WRITABLE | st.integers().map(str), max_size=3))
def test_environment_when_it_says_anything_then_it_is_taken_or_refused(environ: dict[str, str]) -> None:
    with suppress(SettingsError):
        assert isinstance(load_settings(None, environ), Settings)
