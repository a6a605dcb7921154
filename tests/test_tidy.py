"""Style as a test: what the core must not call, how long a function may be.

Each failure names the offenders, one a line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "circuit_guard"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "v1" not in path.parts)
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

FUNCTION_LINES_MAX = 60

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

BANNED_IN_CORE = {
    r"\btime\.\w+\(": "time arrives inside the input, as at_ns",
    r"\bdatetime\b": "times are integers, nanoseconds",
    r"\b(?:now|utcnow|today)\(": "time arrives inside the input, as at_ns",
    r"\brandom\b": "equal inputs, equal facts",
    r"\buuid\d?\b": "equal inputs, equal facts",
    r"\bprint\(": "return a fact, the shell shows it",
    r"\blogging\b|\bstructlog\b": "return a fact, the shell logs it",
    r"\bfloat\(": "money is Decimal",
    r"\bos\.\w+|\bopen\(": "the core does no I/O",
    r"\bhash\(|\bid\(": "both differ from run to run",
}

CALENDAR = "circuit_guard/core/formatting.py"
"""The one module of the core that has instants as people read them, and so needs a calendar; no clock."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """Return a file as messages name it."""
    return path.relative_to(ROOT).as_posix()


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(parsed(path))
    return (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def public_definitions(path: Path) -> Iterator[tuple[str, Definition]]:
    """Return the public classes and functions, and the public methods of public classes that override nothing."""
    for node in parsed(path).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
        inherits = [base for base in bases if base.partition("[")[0] not in ("Protocol", "NamedTuple", "Exception")]
        if isinstance(node, ast.ClassDef) and not inherits:
            methods = (child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))
            yield from ((f"{node.name}.{child.name}", child) for child in methods if not child.name.startswith("_"))


@cache
def code_of(path: Path) -> str:
    """Return a file without its comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | Definition):
            node.body = [child for child in node.body if not is_prose(child)] or [ast.Pass()]
    return ast.unparse(tree)


def is_prose(node: ast.AST) -> bool:
    """Return whether a node is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize(("call", "instead"), BANNED_IN_CORE.items(), ids=list(BANNED_IN_CORE))
def test_core_when_it_computes_then_it_calls_nothing_impure(call: str, instead: str) -> None:
    offenders = []
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        if name_of(path) == CALENDAR and "datetime" in call:
            continue
        code = code_of(path)
        offenders += [f"{name_of(path)}: {found}: {instead}" for found in re.findall(call, code)]
    assert not offenders, "\n".join(offenders)


def test_functions_when_counted_then_each_fits_on_a_screen() -> None:
    offenders = [
        f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in FILES
        for node in functions_of(path)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not offenders, "\n".join(offenders)


def test_functions_when_counted_then_most_are_short() -> None:
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for path in FILES for node in functions_of(path))
    assert lengths[len(lengths) // 2] < 15


def test_public_names_when_defined_then_each_says_what_it_is() -> None:
    offenders = [
        f"{name_of(path)}:{node.lineno} {name}"
        for path in FILES
        for name, node in public_definitions(path)
        if not ast.get_docstring(node)
    ]
    assert not offenders, "\n".join(offenders)


def test_type_ignores_when_written_then_they_name_what_they_ignore() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[[\w-]+)|#\s*noqa(?!:)")
    offenders = [
        f"{name_of(path)}:{number} {line.strip()}"
        for path in (*FILES, *EXAMPLES)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if bare.search(line)
    ]
    assert not offenders, "\n".join(offenders)


def test_errors_when_caught_then_none_is_swallowed() -> None:
    offenders = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(child, ast.Pass) for child in node.body)
    ]
    assert not offenders, "\n".join(offenders)


def test_work_when_committed_then_none_is_left_to_do() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    offenders = [
        f"{name_of(path)}:{number}"
        for path in (*FILES, *EXAMPLES)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if left.search(line)
    ]
    assert not offenders, "\n".join(offenders)
