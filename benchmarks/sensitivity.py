"""What halving and doubling each threshold does: `python -m benchmarks.sensitivity RECORDINGS`.

Each number of the shipped policy is halved and doubled, one at a time and in every market, and judged on the same runs
as the policy itself, by the method of docs/evaluation.md. Numbers that are facts of the exchange are left out, and so
are those that only bound memory. Printed are the variants that change anything; takes half an hour and more, or less
with `--only TABLE` and `--kinds KIND ...`.
"""

from __future__ import annotations

import gc
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from circuit_guard.cli.output import bundled
from circuit_guard.config.policy import read_policy_file
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.evaluation.faults import applicable, lay
from circuit_guard.evaluation.feed import window
from circuit_guard.evaluation.jobs import ACCOUNTS, GARBAGE_THRESHOLD, hidden_surplus, seed_of
from circuit_guard.evaluation.judge import GuardJudge
from circuit_guard.evaluation.outcome import Tally, total
from circuit_guard.evaluation.population import accounts, closures
from circuit_guard.evaluation.trial import Limits, Run, Trial
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.replay import policy_for

SHIPPED = "as shipped"
HONEST = ("none", "references_corrupt_x10", "references_silent", "references_late_10s")
KINDS = (
    *HONEST,
    *("reset", "reset_then_growth", "restore_jump", "stale_restore", "rate_over_cap", "mark_bias", "slow_walk"),
    *("single_venue_wick_followed", "thin_post_only_book", "freeze", "partial_write", "stale_stamps"),
    *("guard_restart", "caller_corrupt", "caller_stale"),
)
"""Without the kinds that any threshold within a factor of two catches: swaps, zeros, scales, epochs."""
FACTS = frozenset(
    {
        *("funding.period_ns", "funding.rate_max", "references.sources_max"),
        *("references.quorum", "warm_observations", "reopening.deadline_ns"),
    }
)
"""Facts of the exchange, counts of sources, and what only reports."""
FACTORS = (("half", Decimal("0.5")), ("double", Decimal(2)))


@dataclass(frozen=True, slots=True)
class Job:
    """One window of one recording."""

    recording: Path
    seed: int
    only: str
    """The table whose numbers are varied, or nothing for all."""
    kinds: tuple[str, ...]


def thresholds(market: MarketPolicy) -> Iterator[tuple[str, str]]:
    """Yield each number of a market's policy as its table and name; none of those that are off."""
    for table in fields(market):
        value = getattr(market, table.name)
        if not is_dataclass(value):
            continue
        for each in fields(value):
            number = getattr(value, each.name)
            is_number = isinstance(number, Decimal | int) and not isinstance(number, bool)
            if is_number and number and f"{table.name}.{each.name}" not in FACTS:
                yield table.name, each.name


def variant(policy: Policy, table: str, name: str, factor: Decimal) -> Policy:
    """Return the policy with one number of every market multiplied."""

    def changed(market: MarketPolicy) -> MarketPolicy:
        old = getattr(market, table)
        number = getattr(old, name)
        new = number * factor if isinstance(number, Decimal) else max(int(number * factor), 1)
        return replace(market, **{table: replace(old, **{name: new})})

    return replace(policy, markets={each: changed(market) for each, market in policy.markets.items()})


def variants(policy: Policy, only: str) -> Iterator[tuple[str, Policy]]:
    """Yield the policy as it is, then each variant with its name; `only` names a table, or nothing for all."""
    yield SHIPPED, policy
    for table, name in thresholds(next(iter(policy.markets.values()))):
        if only not in ("", table):
            continue
        for word, factor in FACTORS:
            yield f"{table}.{name} {word}", variant(policy, table, name, factor)


def run_job(job: Job) -> Mapping[tuple[str, bool], Tally]:
    """Judge one window by every variant; return the counts by variant, and whether the data were honest."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    recording = read_recording(job.recording)
    feed = window(list(recording.entries()), seed_of(job.recording.name, job.seed))
    policy = policy_for(recording.header, read_policy_file(bundled("policy.toml")))
    policy = replace(policy, markets={market: policy.markets[market] for market in feed.markets})
    population = accounts(feed, seed_of(job.recording.name, job.seed), ACCOUNTS)
    counted: defaultdict[tuple[str, bool], list[Tally]] = defaultdict(list)
    for kind in job.kinds:
        if not applicable(kind, feed):
            continue
        faulted = lay(kind, feed, seed_of(job.recording.name, kind, job.seed))
        run = Run.of(job.recording.name, job.seed, faulted, closures(faulted, population))
        limits: Limits = {}
        for name, judged_by in variants(policy, job.only):
            judge = GuardJudge(name, judged_by, faulted.honest.start_ns, faulted.guard_down_ns)
            trial = Trial(judge, run, limits, partial(hidden_surplus, judge, run) if name == SHIPPED else None)
            trial.play()
            counted[name, kind in HONEST].append(trial.tally)
    return {key: total(tallies) for key, tallies in counted.items()}


def row(name: str, honest: Tally, faulty: Tally) -> tuple[str, ...]:
    """Return a line of the table."""
    share = 100 * honest.genuine_at_once / honest.genuine if honest.genuine else 0
    return (
        name,
        f"{faulty.wrongful_outside:,}",
        f"{faulty.wrongful_inside:,}",
        f"{len(faulty.observations_before):,} of {faulty.faults:,}",
        f"{share:.2f} %",
        f"{honest.genuine_denied:,}",
        f"{honest.honest_trips + faulty.honest_trips:,}",
        f"{faulty.genuine_denied:,}",
        f"{faulty.halted_market_ns / 10**9:,.0f}",
    )


HEAD = (
    *("threshold", "wrongful allowed outside the limit", "inside it", "faults noticed"),
    *("genuine at once, honest data", "held after 12 s, honest data", "trips on honest data"),
    *("genuine held after 12 s, faults", "market-seconds halted, faults"),
)


def main() -> None:
    """Judge every variant on every window, and print the table in Markdown."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TABLE", help="vary the numbers of one table of the policy")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="faults to lay into the recordings")
    given = parser.parse_args()
    jobs = [Job(path, seed, given.only, tuple(given.kinds)) for path in given.recordings for seed in range(given.seeds)]
    counted: defaultdict[tuple[str, bool], list[Tally]] = defaultdict(list)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        for result in pool.map(run_job, jobs):
            for key, tally in result.items():
                counted[key].append(tally)
    summed = {key: total(tallies) for key, tallies in counted.items()}
    names = list(dict.fromkeys(name for name, _ in summed))
    rows = {name: row(name, summed.get((name, True), Tally()), summed.get((name, False), Tally())) for name in names}
    shipped = rows[SHIPPED]
    changed = [line for line in rows.values() if line[1:] != shipped[1:]]
    for line in (HEAD, ("---",) * len(HEAD), shipped, *changed):
        print("| " + " | ".join(line) + " |")
    same = [name for name, line in rows.items() if line[1:] == shipped[1:] and name != SHIPPED]
    print(f"\n{len(same)} variants change nothing here: {', '.join(same) or 'none'}.")


if __name__ == "__main__":
    main()
