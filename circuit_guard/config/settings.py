"""The settings: how the process runs. What it enforces is the policy's business.

A TOML file, and over it environment variables CIRCUIT_GUARD_<SECTION>__<KEY>, e.g. CIRCUIT_GUARD_GRPC__LISTEN.
(pydantic-settings passes over unknown variables in silence, and its errors name the field and not the variable.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.config.security import LimitSettings, SecuritySettings, security_problems
from circuit_guard.config.settings_values import (
    FilePath,
    GrpcAddress,
    OptionalFilePath,
    OptionalTcpAddress,
    Switch,
    TcpAddress,
    only_this_machine,
)
from circuit_guard.config.toml import Judged, Table, Whole, json_schema, judge, no_such_key, parse_toml, read_text
from circuit_guard.errors import Problem, SettingsError, shown

PREFIX = "CIRCUIT_GUARD_"


class GrpcSettings(Table):
    """The gRPC server: where it listens and what it bounds."""

    listen: GrpcAddress = "127.0.0.1:50051"
    """A loopback host:port (port 0: any free one), or unix:path. Anything else needs mTLS and identities (security)."""
    health_listen: OptionalTcpAddress = None
    """A second host:port, in plain text and on any address, for probes that know no TLS: grpc.health.v1 and nothing
    else. Not given: there is none."""
    message_bytes_max: Annotated[int, Whole(65_536, 67_108_864, text=True)] = 4_194_304
    """The largest message accepted, bytes."""
    concurrent_rpcs_max: Annotated[int, Whole(1, 100_000, text=True)] = 1000
    """RPCs served at a time, watchers included; further ones get RESOURCE_EXHAUSTED."""
    batch_max: Annotated[int, Whole(1, 1000, text=True)] = 1000
    """Checks, orders, observations or references in one request."""
    watchers_max: Annotated[int, Whole(1, 10_000, text=True)] = 32
    """WatchEvents streams at a time."""
    drain_grace_s: Annotated[int, Whole(0, 300, text=True)] = 10
    """Seconds that running RPCs get to finish after SIGTERM, when health already says NOT_SERVING."""


class HttpSettings(Table):
    """The HTTP port: Prometheus metrics and the status page."""

    listen: TcpAddress = "127.0.0.1:9464"
    """A loopback host:port (port 0: any free one) for HTTP; beyond this machine only with security.insecure_network."""
    metrics_listen: OptionalTcpAddress = None
    """A second host:port, on any address, for a Prometheus elsewhere: /metrics and nothing else, which names
    markets and no accounts. Not given: there is none."""


class PolicySettings(Table):
    """Where the policy is, and whether it is watched."""

    path: FilePath = Path("config/policy.toml")
    """The policy file, relative to the working directory."""
    watch: Switch = True
    """Whether a changed file takes effect by itself. SIGHUP and `circuit-guard reload` always work."""
    watch_interval_ms: Annotated[int, Whole(10, 60_000, text=True)] = 2000
    """Milliseconds between two looks at the file; a change takes effect when two in a row have seen the same."""


class JournalSettings(Table):
    """Where the guard remembers across its own restart, and how much."""

    directory: OptionalFilePath = None
    """The state directory, for one guard alone. Not given: nothing is remembered, and that is logged at each start."""
    checkpoint_interval_s: Annotated[int, Whole(1, 3600, text=True)] = 60
    """Seconds between checkpoints. A restart runs again what came after the last one."""
    bytes_max: Annotated[int, Whole(10_000_000, 10**13, text=True)] = 2_000_000_000
    """Inputs older than 24 h are dropped, oldest first, while the journal is larger than this."""
    unwritten_max_s: Annotated[int, Whole(1, 60, text=True)] = 3
    """How long a record may wait for the disk. Beyond that nothing is answered until it is written: a deny."""
    overflow: Literal["block", "drop"] = "block"
    """What happens to decisions that the disk is too slow for: block keeps them queued, drop loses and counts them."""


class LogSettings(Table):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe records that are written."""
    format: Literal["json", "console"] = "json"
    """json for machines, console for people."""


class EngineSettings(Table):
    """The one writer."""

    tick_interval_ms: Annotated[int, Whole(10, 60_000, text=True)] = 1000
    """Milliseconds between ticks, which report what time alone changes. Decisions never depend on them."""
    watch_queue_max: Annotated[int, Whole(1, 1_000_000, text=True)] = 10_000
    """Events waiting for one watcher; a slower one is cut off and told how many it missed."""


class Settings(Table):
    """The settings of circuit_guard: how the process runs. Read once, at the start."""

    grpc: GrpcSettings = GrpcSettings()
    security: SecuritySettings = SecuritySettings()
    limits: LimitSettings = LimitSettings()
    ext_authz: ExtAuthzSettings = ExtAuthzSettings()
    http: HttpSettings = HttpSettings()
    policy: PolicySettings = PolicySettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()
    engine: EngineSettings = EngineSettings()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the file (None: the defaults), overridden by the environment.

    Raise SettingsError with every problem, unknown keys and CIRCUIT_GUARD_ variables among them.
    """
    if path is None:
        return parse_settings("", "environment", environ)
    return parse_settings(read_text(path, SettingsError), str(path), environ)


def parse_settings(text: str, origin: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings that a text means, overridden by the environment; `origin` says where it is from.

    Raise SettingsError with every problem.
    """
    document = parse_toml(text, origin, SettingsError)
    variables = _variables()
    given = {variable: key for variable, key in variables.items() if variable in environ}
    for variable, (section, key) in given.items():
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = environ[variable]
    judged = judge(Settings, document)
    named = {f"{section}.{key}": variable for variable, (section, key) in given.items()}
    problems = [
        Problem(named.get(found.path, found.path), found.value, found.expected)
        for found in (*judged.problems, *_contradictions(judged))
    ]
    problems += _unknown_variables(environ, list(variables))
    if problems:
        raise SettingsError(origin, problems)
    return judged.table


def settings_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings file, for editors."""
    return json_schema(Settings, "circuit_guard settings")


def _variables() -> dict[str, tuple[str, str]]:
    """Return the environment variable of every setting."""
    return {f"{PREFIX}{section}__{key}".upper(): (section, key) for section, table in Settings() for key, _ in table}


def _unknown_variables(environ: Mapping[str, str], known: list[str]) -> list[Problem]:
    """Return a problem for each variable that looks like ours and sets nothing: it would be ignored in silence."""
    # Kubernetes sets X_SERVICE_* and X_PORT* in every pod beside a Service x, whatever runs there.
    services = [name.removesuffix("SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST")]
    foreign = tuple(service + kind for service in services for kind in ("SERVICE_", "PORT"))
    return [
        Problem(name, shown(environ[name]), no_such_key(name, known, PREFIX))
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not name.startswith(foreign)
    ]


def exposed(settings: Settings) -> list[str]:
    """Return the settings of addresses that others than this machine can reach, and that do not know who comes."""
    security, found = settings.security, []
    if not only_this_machine(settings.grpc.listen) and not (security.mutual and security.identities):
        found.append("grpc.listen")
    if not only_this_machine(settings.http.listen):
        found.append("http.listen")
    return found


def _exposed(settings: Settings) -> Iterator[Problem]:
    mutual = "security.server_certificate, server_key, client_ca and identities: mTLS, so that it is known who comes"
    addresses = {
        "grpc.listen": (settings.grpc.listen, f"a loopback address or unix:path, or else {mutual}"),
        "http.listen": (settings.http.listen, "a loopback address: HTTP has no mTLS"),
    }
    for path in exposed(settings):
        listen, wanted = addresses[path]
        yield Problem(path, shown(listen), f"{wanted}; security.insecure_network = true overrides this")


def _contradictions(judged: Judged[Settings]) -> Iterator[Problem]:
    settings = judged.table
    if all(key[0] != "security" for key in judged.left_out):  # the rest of a broken table proves nothing
        yield from security_problems(settings.security)
        if not settings.security.insecure_network:
            yield from _exposed(settings)
    grpc = settings.grpc
    if grpc.watchers_max >= grpc.concurrent_rpcs_max:
        limit = (
            f"less than {grpc.concurrent_rpcs_max} (grpc.concurrent_rpcs_max): watchers would leave no room for checks"
        )
        yield Problem("grpc.watchers_max", str(grpc.watchers_max), limit)
    waiting_max, room = settings.limits.checks_waiting_max, grpc.concurrent_rpcs_max - grpc.watchers_max
    if waiting_max >= room > 0:
        kept = f"less than {room} (grpc.concurrent_rpcs_max - grpc.watchers_max): no room for operators and publishers"
        yield Problem("limits.checks_waiting_max", str(waiting_max), kept)
    if settings.http.listen == grpc.listen and not grpc.listen.endswith(":0"):
        yield Problem("http.listen", shown(grpc.listen), "another address than grpc.listen")
