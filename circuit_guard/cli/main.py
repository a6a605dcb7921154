"""`circuit-guard`: every command, and the one place where their failures become messages and exit codes."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from circuit_guard import __version__
from circuit_guard.cli import acts, check, demo, evaluate, incident, journal, policy, recording, serve, status
from circuit_guard.cli import options as shared
from circuit_guard.cli.options import IDENTIFICATION
from circuit_guard.cli.output import CommandError, ExitCode, screen
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
        try:
            return super().invoke(ctx)
        except CommandError as failure:
            _end(failure.message, failure.exit_code)
        except (DocumentError, JournalError, RecordingError) as error:
            _end(str(error), ExitCode.BAD_INPUT)
        except WireError as error:
            _end(f"the guard's answer cannot be read, it may be of another version: {error}", ExitCode.NO_ANSWER)


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
for command in (
    *(serve.serve, check.check, status.status, status.probe, status.watch),
    *(acts.halt, acts.resume, acts.reset, acts.phase, acts.reload, acts.rebaseline),
    *(recording.replay, evaluate.evaluate, demo.demo),
):
    app.command()(command)
app.add_typer(acts.maintenance, name="maintenance")
app.add_typer(policy.app, name="policy")
app.add_typer(serve.settings, name="settings")
app.add_typer(recording.app, name="recording")
app.add_typer(journal.app, name="journal")
app.add_typer(journal.checkpoint, name="checkpoint")
app.add_typer(incident.app, name="incident")
app.add_typer(serve.token, name="token")


def _print_version(asked: bool) -> None:
    if asked:
        screen().print(f"circuit-guard {__version__}")
        raise typer.Exit


@app.callback()
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
    app(prog_name="circuit-guard")


def _end(message: str, code: ExitCode) -> None:
    screen(stderr=True).print(f"circuit-guard: {message}", style="red")
    raise typer.Exit(code)
