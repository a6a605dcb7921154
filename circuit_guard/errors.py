"""Every error that circuit_guard raises on purpose.

    CircuitGuardError
    |-- DocumentError            a file that people write breaks its rules; lists every problem
    |   |-- PolicyError          the policy: what is enforced
    |   `-- SettingsError        the settings: how the process runs
    |-- RecordingError           a line of a recording cannot be used
    `-- WireError                a request is malformed: it is refused, not denied

Anything else that escapes is a defect of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHOWN_CHARACTERS_MAX = 80
"""How much of a value that somebody else wrote is repeated in a message."""


class Problem(NamedTuple):
    """One thing wrong in a document: where (`classes.default.band.width_bps`), what was there, what may be."""

    path: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: was {self.value}, expected {self.expected}"


class CircuitGuardError(Exception):
    """The base of all errors that circuit_guard raises on purpose."""


class DocumentError(CircuitGuardError):
    """A document is not valid. `origin` says which; `problems` lists all that is wrong."""

    kind = "document"

    def __init__(self, origin: str, problems: Sequence[Problem]) -> None:
        super().__init__(origin, tuple(problems))
        self.origin = origin
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        title = f"{self.origin}: the {self.kind} has {count} problem{'' if count == 1 else 's'}"
        return "\n".join([title, *(f"  {problem}" for problem in self.problems)])

    def in_brief(self) -> str:
        """Return what is wrong first, in one line that everybody may see: what stood there may be a secret."""
        first, count = self.problems[0], len(self.problems)
        said = str(first) if first.path == "file" else f"{first.path}: expected {first.expected}"
        return f"{self.origin} is refused ({said}{f'; the first of {count} problems' if count > 1 else ''})"


class PolicyError(DocumentError):
    """The policy is not valid; the one in force, if any, stays."""

    kind = "policy"


class SettingsError(DocumentError):
    """The settings are not valid; the process does not start."""

    kind = "settings document"


class RecordingError(CircuitGuardError):
    """A line of a recording cannot be used. Lines count from 1; line 0 means the file as a whole."""

    def __init__(self, file: str, line: int, problem: str) -> None:
        super().__init__(file, line, problem)
        self.file = file
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.problem}"


class WireError(CircuitGuardError):
    """A field of a request cannot be used: its path, what it was, what was expected."""

    def __init__(self, field: str, value: str, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.field} was {shown(self.value)}, expected {self.expected}"


def shown(text: str) -> str:
    """Return text from outside fit for a message: quoted, in printable ASCII, cut at `SHOWN_CHARACTERS_MAX`."""
    if not text:
        return "empty"
    cut = text[:SHOWN_CHARACTERS_MAX].encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{cut}"' if len(text) <= SHOWN_CHARACTERS_MAX else f'"{cut}"... ({len(text)} characters)'
