"""Write what is derived from the rules into config/policy.toml and docs/design.md. `--check` only compares.

The default class of the policy, and the design's table of rules, stand between two lines that say so; the rest of both
files is written by hand.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path

from circuit_guard.config.policy_document import tables
from circuit_guard.core.parameters import Parameter, parameters_of
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rulebook import RULES

ROOT = Path(__file__).parent.parent
POLICY, DESIGN = ROOT / "config" / "policy.toml", ROOT / "docs" / "design.md"
WIDTH = 110


def default_class() -> str:
    """Return the tables of the default class, every parameter with its meaning and its default."""
    lines = ["[classes.default]"]
    for one in parameters_of(MarketPolicy):
        lines += _written(one)
    lines += ['# Rules to record without enforcing, e.g. ["divergence"].', "shadow_rules = []"]
    for name, groups in tables().items():
        about = " ".join(" ".join((group.__doc__ or "").split()) for group in groups)
        lines += ["", *_comment(about), f"[classes.default.{name}]"]
        for group in groups:
            for one in parameters_of(group):
                lines += _written(one)
    return "\n".join(lines)


def rules_table() -> str:
    """Return the design's table: each rule and what it catches."""
    rows = [f"| {rule.name} | {rule.catches} | {rule.judges.value} |" for rule in RULES.values()]
    return "\n".join(["| rule | catches, and what it does | judges |", "| --- | --- | --- |", *rows])


def _written(one: Parameter) -> Iterator[str]:
    yield from _comment(re.sub(r" \(DESIGN \d\)", "", one.declared.meaning))
    if one.declared.of is not None:  # a table that is written twice is refused, so these stay comments
        for fact in parameters_of(one.declared.of):
            yield from _comment(f"{fact.key} = {_toml(fact.written_default)}: {fact.declared.meaning}")
        return
    yield f"{one.key} = {_toml(one.written_default)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Decimal() if value == value.to_integral_value():
            return f"{value:f}"
        case int():
            return str(value)
        case Enum():
            return f'"{value.value}"'
        case tuple():
            return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"'


def placed(text: str, name: str, generated: str) -> str:
    """Return a text with what stands between its two marking lines replaced."""
    first, last = (f"{edge} of what scripts/generate_policy.py writes: {name}" for edge in ("begin", "end"))
    lines = text.split("\n")
    start = next(number for number, line in enumerate(lines) if first in line)
    end = next(number for number, line in enumerate(lines) if last in line)
    return "\n".join([*lines[: start + 1], generated, *lines[end:]])


def main() -> int:
    """Write both files, or with --check say whether they are up to date."""
    wanted = {
        POLICY: placed(POLICY.read_text(), "the default class", default_class()),
        DESIGN: placed(DESIGN.read_text(), "the rules", rules_table()),
    }
    stale = [path for path, text in wanted.items() if path.read_text() != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is out of date: run `make policy`")
        else:
            path.write_text(wanted[path])
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
