"""Every benchmark that the documentation names runs, with its shortest settings, and prints its figures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "Makefile", *sorted((ROOT / "docs").glob("*.md"))]
CALM = "genuine-calm-2026-01-07.jsonl.gz"

QUICK = {
    "check_cost": ("--rounds 1 --markets 11", [r"20 positions +[\d.]+ us, \d+ turns +[\d.]+ us, \d+ turns"]),
    "journal_latency": ("1", [r"append until durable: p50 [\d.]+ ms", r"event loop late by: p50 [\d.]+ ms"]),
}
LONGER = {
    "burst": (
        "--closures 200 --markets 5",
        [r"\| one by one \| [\d,]+ \|", r"\| on streams \| ", r": all 200 answered in batches: [\d.]+ s, 0 denied"],
    ),
    "dispersion": ("{recording}", [r"genuine-calm-2026-01-07 \| 78 \| \d\.\d\d%, \d\.\d\d% \| "]),
    "flood": ("3 2", [r"market data, flooded +p50 \d+ ms", r"a halt in the middle +\d+ ms; allowed after it: 0"]),
    "journal_budget": ("1", [r"blocks: [\d.]+ bytes an input, \d+ MB a day", r"ok True"]),
    "load.market_data": (
        "--quick --items",
        [r"RPC that does nothing: [\d.]+ us of CPU time", r"observations: [\d.]+ us each, [\d.]+ \("],
    ),
    "load.profiling": ("--seconds 1", [r"\d+ us of CPU time a decision, by thread", r"\d\.\d%  "]),
    "recovery_time": ("--hours 0.01 --interval 70 --times 1", [r"slowest [\d.]+ s"]),
    "sensitivity": (
        "{recording} --only band --kinds none",
        [r"\| as shipped \| 0 \| 0 \|", r"variants change nothing"],
    ),
    "worst_recovery": (
        "--checks 20",
        [r"20 inputs run again in [\d.]+ s", r"at most \d+ MiB", r"is the one that was written"],
    ),
    "soak": ("0.5", [r"answered +.*checks [\d,]+", r"journal +proved, [\d,]+ records", r"problems +none"]),
}
"""What starts a whole guard, or writes minutes of market data."""

AT_ONCE = 4

ROWS = (
    "guard, one check",
    "floor, one check",
    "guard, one check on a stream",
    "floor, one check on a stream",
    "guard, batch of 1,000",
    "floor, batch of 1,000",
    "core, a check",
    "observations taken",
    "corrupt observation to the first denial",
)
TARGETS = 14


def output_of(benchmark: str, *arguments: str) -> str:
    """Return what a benchmark prints. How good its figures are is nothing that a busy machine could say."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def assert_printed(figures: list[str], output: str) -> None:
    missing = [figure for figure in figures if not re.search(figure, output)]
    assert not missing, f"{missing} are missing:\n{output}"


def test_benchmarks_when_documented_then_each_is_run_here() -> None:
    named = {name for page in PAGES for name in re.findall(r"python -m benchmarks\.([\w.]*\w)", page.read_text())}
    assert named == {*QUICK, *LONGER, "load"}


@pytest.mark.system
@pytest.mark.parametrize("benchmark", QUICK)
def test_benchmark_when_quick_then_it_prints_its_figures(benchmark: str) -> None:
    arguments, figures = QUICK[benchmark]
    assert_printed(figures, output_of(benchmark, *arguments.split()))


@pytest.fixture(scope="module")
def longer(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[dict[str, Future[str]]]:
    """Return what the longer benchmarks that are to be tested print. They mostly wait, so several run at a time."""
    wanted = [one for one in LONGER if any(f"[{one}]" in item.name for item in request.session.items)]
    recording = str(shared_data / "recordings" / CALM)
    with ThreadPoolExecutor(AT_ONCE) as running:
        yield {
            one: running.submit(output_of, one, *LONGER[one][0].format(recording=recording).split()) for one in wanted
        }
        running.shutdown(cancel_futures=True)


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize("benchmark", LONGER)
def test_benchmark_when_it_starts_a_whole_guard_then_it_prints_its_figures(
    benchmark: str, longer: dict[str, Future[str]]
) -> None:
    assert_printed(LONGER[benchmark][1], longer[benchmark].result())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_benchmark_when_quick_then_it_measures_everything_and_judges_every_target() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    for row in ROWS:
        assert any(line.startswith(f"| {row}") for line in table), f"{row} is missing:\n{done.stdout}"
    judged = [line for line in done.stdout.splitlines() if line.startswith(("- reached: ", "- MISSED: "))]
    assert len(judged) == TARGETS
    assert any(line.startswith("- reached: a corrupt observation denies the very next check") for line in judged)
