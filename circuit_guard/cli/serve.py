"""`serve`: run a guard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli.options import OWN_VARIABLES, SETTINGS_VARIABLE
from circuit_guard.cli.output import screen
from circuit_guard.config.settings import Settings, load_settings


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

    Exit code 1: the guard cannot listen on an address. 2: the settings or the policy are not valid.
    """
    from circuit_guard.runtime import app  # only this command and `demo` run a guard

    loaded = settings_in_force(settings, policy)
    _say_which(settings, loaded)
    raise typer.Exit(app.serve(loaded))


def settings_in_force(path: Path | None, policy: Path | None) -> Settings:
    """Return the settings of file and environment, with the policy's path replaced. Raise SettingsError."""
    environ = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    loaded = load_settings(path, environ)
    if policy is None:
        return loaded
    return loaded.model_copy(update={"policy": loaded.policy.model_copy(update={"path": policy})})


def _say_which(path: Path | None, loaded: Settings) -> None:
    """Say on standard error, in the format of the log that follows, what the guard runs with."""
    settings, policy = str(path or "built-in defaults"), str(loaded.policy.path)
    console = screen(stderr=True)
    if loaded.log.format == "json":
        console.print(json.dumps({"event": "starting", "level": "info", "settings": settings, "policy": policy}))
    else:
        console.print(f"circuit-guard: starting with settings {settings}, policy {policy}")
