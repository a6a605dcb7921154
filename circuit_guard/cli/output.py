"""Exit codes, failures, bundled files, and output that reads well on a screen and in a pipe."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from circuit_guard.errors import CircuitGuardError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

PIPED_WIDTH = 100_000
"""Characters a line may have where nobody's terminal would break it: nothing is wrapped or cut in a pipe."""

_PACKAGE = Path(__file__).resolve().parent.parent
_IN_CHECKOUT = {"incident.jsonl.gz": "examples", "policy.toml": "config"}


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    """Done; a check was answered ALLOW."""
    DENIED = 1
    """A check was answered DENY; a file did not pass its check; a command could change nothing."""
    BAD_INPUT = 2
    """The command line, a file or a value cannot be used."""
    NO_ANSWER = 3
    """The guard did not answer or could not decide. Treat it as a deny."""


class CommandError(CircuitGuardError):
    """A command cannot do what it was asked: the sentence for the person who asked, and the exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def bundled(name: str) -> Path:
    """Return the path of a file that comes with the program. Raise CommandError where the installation lacks it."""
    places = (_PACKAGE / "bundled" / name, _PACKAGE.parent / _IN_CHECKOUT[name] / name)
    for path in places:
        if path.is_file():
            return path
    raise CommandError(f"{name} is missing from this installation: expected it at {places[0]}", ExitCode.BAD_INPUT)


def screen(*, stderr: bool = False) -> Console:
    """Return standard output, or standard error: styled on a terminal, plain and unwrapped elsewhere."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        width=None if terminal else PIPED_WIDTH,
        color_system="auto" if terminal else None,
        soft_wrap=not terminal,
        markup=False,
        emoji=False,
        highlight=False,
    )


def table(console: Console, *columns: str, rows: Iterable[Iterable[RenderableType]]) -> Table:
    """Return a table with these columns; without lines where it goes into a pipe."""
    if console.is_terminal:
        made = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    else:
        made = Table(*columns, box=None, pad_edge=False, header_style="")
    for row in rows:
        made.add_row(*row)
    return made


def grid() -> Table:
    """Return a table without a heading: a narrow column for names, and one whose text may go on in further lines."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    return made


def display(renderable: RenderableType) -> None:
    """Print to standard output; in a pipe without the space that fills up cells."""
    console = screen()
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def progress(how_far: ProgressColumn | None = None) -> Progress:
    """Return a progress bar on standard error, where that is a terminal; `how_far` shows it, a share if not given."""
    # few commands show one, and all would import it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = screen(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), how_far or TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def print_json(value: object) -> None:
    """Write one JSON document to standard output, and nothing else; what its encoding lacks is escaped as in JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def escape_what_is_lacking() -> None:
    """Have letters that the terminal's encoding lacks, and halves of letters, printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def readable_arguments(given: list[str]) -> list[str]:
    """Return the command line with its text as UTF-8 where the terminal's encoding could not read it.

    The names of files stay as they are. Raise CommandError for text in another encoding.
    """
    return [one if _encodable(one) or os.sep in one or Path(one).exists() else _as_utf8(one) for one in given]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_utf8(argument: str) -> str:
    try:
        return os.fsencode(argument).decode()
    except ValueError:
        shown = argument.encode(errors="backslashreplace").decode()
        raise CommandError(f"an argument was {shown!r}, expected text in UTF-8", ExitCode.BAD_INPUT) from None


def as_json(message: Message) -> dict[str, object]:
    """Return a protobuf message as ProtoJSON with the field names of the contract; fields left empty are included."""
    fields: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields
