"""`settings check` and `settings schema`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli.options import OWN_VARIABLES
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen, table
from circuit_guard.config.settings import load_settings, settings_json_schema
from circuit_guard.errors import SettingsError

app = typer.Typer(help="Check the settings: how the process runs.", no_args_is_help=True)


@app.command("check")
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file.")]) -> None:
    """Check a settings file together with the CIRCUIT_GUARD_ variables of this environment. Exit code 1: not valid."""
    environ = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    try:
        loaded = load_settings(file, environ)
    except SettingsError as error:
        raise CommandError(str(error), ExitCode.DENIED) from error
    console = screen()
    console.print(f"{file}: valid", style="green")
    rows = table(console, "SETTING", "VALUE")
    for section, group in loaded:
        for key, value in group:
            rows.add_row(f"{section}.{key}", (", ".join(value) or "none") if isinstance(value, dict) else str(value))
    display(rows)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the settings, for editors."""
    print_json(settings_json_schema())
