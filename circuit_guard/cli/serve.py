"""`serve` runs a guard; `settings` checks how it is to run, and `token` makes the tokens of its identities."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli.options import OWN_VARIABLES, SETTINGS_VARIABLE
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen, table
from circuit_guard.config.identities import SettingsFile
from circuit_guard.config.settings import Settings, load_settings, settings_json_schema
from circuit_guard.errors import SettingsError
from circuit_guard.server.security.tokens import new_token, token_sha256

settings = typer.Typer(help="Check the settings: how the process runs.", no_args_is_help=True)
token = typer.Typer(help="Make bearer tokens.", no_args_is_help=True)


def serve(
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", envvar=SETTINGS_VARIABLE, help="The settings file; without it, the built-in defaults."
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The policy file, instead of policy.path in the settings.")
    ] = None,
) -> None:
    """Run a guard until SIGTERM or Ctrl-C, then drain.

    Exit code 1: the guard cannot listen on an address. 2: the settings or the policy are not valid. 3: it was told to
    end, did not within grpc.drain_grace_s + 5 s, and was cut short.
    """
    from circuit_guard.runtime import app  # only this command and `demo` run a guard

    loaded = settings_in_force(settings, policy)
    _say_which(settings, loaded)
    raise typer.Exit(app.serve(loaded, None if settings is None else SettingsFile(settings, _environment())))


def settings_in_force(path: Path | None, policy: Path | None) -> Settings:
    """Return the settings of file and environment, with the policy's path replaced. Raise SettingsError."""
    loaded = load_settings(path, _environment())
    if policy is None:
        return loaded
    return loaded.model_copy(update={"policy": loaded.policy.model_copy(update={"path": policy})})


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}


def _say_which(path: Path | None, loaded: Settings) -> None:
    """Say on standard error, in the format of the log that follows, what the guard runs with."""
    settings, policy = str(path or "built-in defaults"), str(loaded.policy.path)
    console = screen(stderr=True)
    if loaded.log.format == "json":
        console.print(json.dumps({"event": "starting", "level": "info", "settings": settings, "policy": policy}))
    else:
        console.print(f"circuit-guard: starting with settings {settings}, policy {policy}")


@settings.command("check")
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file.")]) -> None:
    """Check a settings file together with the CIRCUIT_GUARD_ variables of this environment. Exit code 1: not valid."""
    try:
        loaded = settings_in_force(file, None)
    except SettingsError as error:
        raise CommandError(str(error), ExitCode.DENIED) from error
    console = screen()
    console.print(f"{file}: valid", style="green")
    rows = [
        (f"{section}.{key}", (", ".join(value) or "none") if isinstance(value, dict) else str(value))
        for section, group in loaded
        for key, value in group
    ]
    display(table(console, "SETTING", "VALUE", rows=rows))


@settings.command("schema")
def schema() -> None:
    """Print the JSON Schema of the settings, for editors."""
    print_json(settings_json_schema())


@token.callback()
def tokens() -> None:
    """Make bearer tokens."""


@token.command()
def new() -> None:
    """Make a token.

    Prints the token once, to standard output; nobody can print it again. Prints the line for its identity in the
    settings, which holds only the hash, to standard error.
    """
    made = new_token()
    console = screen(stderr=True)
    console.print("Put this line into the identity in the settings (security.identities.NAME), of a running guard too:")
    console.print(f'token_sha256 = ["{token_sha256(made)}"]')
    console.print("Give the token to the identity's holder, in a file only they can read. It is not shown again:")
    sys.stdout.write(f"{made}\n")
