"""`circuit-guard`: every command, and the one place where their failures become messages and exit codes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from circuit_guard import __version__
from circuit_guard.cli import options as shared
from circuit_guard.cli.options import IDENTIFICATION
from circuit_guard.cli.output import CommandError, ExitCode, escape_what_is_lacking, readable_arguments, screen
from circuit_guard.errors import DocumentError, RecordingError, WireError
from circuit_guard.journal.errors import JournalError

EXIT_CODES = (
    "Exit codes: 0 done, or ALLOW; 1 DENY, a file that does not pass, or nothing could be changed; "
    "2 a command line, file or value that cannot be used; 3 the guard gave no answer: treat it as a DENY."
)


class Commands(TyperGroup):
    """Ends a command that failed with one message on standard error and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        escape_what_is_lacking()
        try:
            return super().invoke(ctx)
        except CommandError as failure:
            _end(failure.message, failure.exit_code)
        except (DocumentError, JournalError, RecordingError) as error:
            _end(str(error), ExitCode.BAD_INPUT)
        except WireError as error:
            _end(f"the guard's answer cannot be read, it may be of another version: {error}", ExitCode.NO_ANSWER)


COMMANDS = {
    "serve": "serve.serve",
    "check": "check.check",
    "status": "status.status",
    "probe": "probe.probe",
    "watch": "status.watch",
    **{name: f"acts.{name}" for name in ("halt", "resume", "reset", "phase", "reload", "rebaseline")},
    "replay": "recording.replay",
    "evaluate": "evaluate.evaluate",
    "demo": "demo.demo",
    "maintenance": "acts.maintenance",
    "policy": "policy.app",
    "settings": "serve.settings",
    "recording": "recording.app",
    "journal": "journal.app",
    "checkpoint": "journal.checkpoint",
    "incident": "incident.app",
    "token": "serve.token",
}
"""Where each command, or group of commands, is defined."""


def command_line(*names: str) -> typer.Typer:
    """Return the command line with the commands named, or with all. Each is imported only then: all take a second."""
    app = typer.Typer(
        cls=Commands,
        name="circuit-guard",
        help="Ask, watch and operate the guard that stands between a liquidation engine and forced closures.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    for name in names or COMMANDS:
        module, _, attribute = COMMANDS[name].partition(".")
        command = getattr(import_module(f"circuit_guard.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        screen().print(f"circuit-guard {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    ca: shared.Ca = None,
    cert: shared.Cert = None,
    key: shared.Key = None,
    token_file: shared.TokenFile = None,
) -> None:
    """Take the options that stand before a command; `--version` has acted by now."""
    IDENTIFICATION.set(shared.identification(ca, cert, key, token_file))


def main() -> None:
    """Run the command line."""
    escape_what_is_lacking()
    try:
        arguments = readable_arguments(sys.argv[1:])
    except CommandError as failure:
        screen(stderr=True).print(f"circuit-guard: {failure.message}", style="red")
        sys.exit(failure.exit_code)
    named = arguments[:1]
    command_line(*(named if named and named[0] in COMMANDS else ()))(arguments, prog_name="circuit-guard")


def _end(message: str, code: ExitCode) -> None:
    screen(stderr=True).print(f"circuit-guard: {message}", style="red")
    raise typer.Exit(code)
