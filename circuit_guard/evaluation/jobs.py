"""Evaluating guards: every kind of fault laid into honest recordings, by seeds, and every judge on each of them.

One job is a recording and a seed: a window of it, accounts on it, and each kind of fault laid into that same window, so
that kinds and judges are compared on the same market. What a job does follows from the recording's name, the kind and
the seed alone, so that neither the number of processes nor their order changes a figure.
"""

from __future__ import annotations

import gc
import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

from circuit_guard.config.policy import PolicyFile
from circuit_guard.core.policy import Policy
from circuit_guard.errors import RecordingError
from circuit_guard.evaluation.dispersion import Dispersion, dispersed
from circuit_guard.evaluation.faults import applicable, lay
from circuit_guard.evaluation.feed import Feed, window
from circuit_guard.evaluation.judge import GuardJudge, hidden_max
from circuit_guard.evaluation.outcome import Difference, Evaluation, GuardResult, PolicyUsed, Tally, total
from circuit_guard.evaluation.peers import peers
from circuit_guard.evaluation.population import Closure, accounts, closures
from circuit_guard.evaluation.trial import Limits, Run, Trial
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Header
from circuit_guard.recording.replay import policy_for

GUARD = "circuit_guard"
AGAINST = "circuit_guard_against"
ACCOUNTS = 100
"""Accounts on each window."""
GARBAGE_THRESHOLD = 200_000
"""A run makes millions of short-lived values and no cycles: looking for those more often only costs time."""

Progress = Callable[[int, int], None]
"""Told how many jobs are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate: recordings without a fault, kinds of faults, and seeds 0 to `seeds` - 1.

    `against` is a second policy to judge by, on the same runs; `jobs` the number of processes; `dispersion` how far
    venues part in the honest data that faults are laid into.
    """

    recordings: tuple[Path, ...]
    kinds: tuple[str, ...]
    seeds: int
    policy: PolicyFile
    against: PolicyFile | None = None
    jobs: int = 1
    dispersion: Dispersion = Dispersion.RECORDED


@dataclass(frozen=True, slots=True)
class Job:
    """One recording, one seed, every kind of fault."""

    recording: Path
    seed: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job counted, by guard and kind of fault, and by kind what the second policy would change."""

    tallies: dict[tuple[str, str], Tally]
    differences: dict[str, Difference]
    as_recorded: bool
    """Whether its venues are as recorded."""


def evaluate(plan: Plan, progress: Progress | None = None) -> Evaluation:
    """Run the plan. Raises RecordingError for a recording that cannot be used, PolicyError for its facts."""
    for path in plan.recordings:
        read_recording(path)
    jobs = [Job(path, seed, plan) for path in plan.recordings for seed in range(plan.seeds)]
    tallies: defaultdict[tuple[str, str], list[Tally]] = defaultdict(list)
    differences: defaultdict[str, list[Difference]] = defaultdict(list)
    as_recorded: dict[str, None] = {}
    for done, (job, outcome) in enumerate(zip(jobs, _outcomes(jobs, plan.jobs), strict=True), start=1):
        if outcome.as_recorded:
            as_recorded[job.recording.name] = None
        for key, tally in outcome.tallies.items():
            tallies[key].append(tally)
        for kind, difference in outcome.differences.items():
            differences[kind].append(difference)
        if progress is not None:
            progress(done, len(jobs))
    names = dict.fromkeys(guard for guard, _ in tallies)
    return Evaluation(
        recordings=tuple(path.name for path in plan.recordings),
        kinds=plan.kinds,
        seeds=plan.seeds,
        dispersion=plan.dispersion,
        as_recorded=tuple(as_recorded),
        policies=_policies(plan),
        guards=tuple(
            GuardResult(name, {kind: total(tallies[name, kind]) for kind in plan.kinds if (name, kind) in tallies})
            for name in names
        ),
        differences={kind: Difference.total(differences[kind]) for kind in plan.kinds if kind in differences},
    )


def run_job(job: Job) -> Outcome:
    """Lay every kind of fault into one window of one recording, and have every judge judge it.

    `references_split` parts the venues itself, so it is laid into the recorded window whatever the dispersion is.
    """
    plan = job.plan
    header, entries = _recording(job.recording)
    tallies: dict[tuple[str, str], Tally] = {}
    differences: dict[str, Difference] = {}
    name = job.recording.name
    try:
        recorded = window(entries, seed_of(name, job.seed))
    except RecordingError as error:
        raise RecordingError(str(job.recording), error.line, error.problem) from error
    feed = recorded if plan.dispersion is Dispersion.RECORDED else dispersed(recorded, seed_of(name, job.seed))
    policies = [_policy(header, file, feed) for file in (plan.policy, plan.against) if file is not None]
    population = accounts(feed, seed_of(name, job.seed), ACCOUNTS)
    for kind in plan.kinds:
        if not applicable(kind, feed):
            continue
        honest = recorded if kind == "references_split" else feed
        faulted = lay(kind, honest, seed_of(name, kind, job.seed))
        run = Run.of(name, job.seed, faulted, closures(faulted, population))
        trials = list(_trials(run, policies))
        tallies |= {(guard, kind): trial.tally for guard, trial in trials}
        if plan.against is not None:
            differences[kind] = trials[0][1].difference(trials[1][1])
    return Outcome(tallies, differences, as_recorded=feed is recorded)


def seed_of(*parts: object) -> int:
    """Return a seed that follows from the parts: the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, parts)).encode()).digest()[:8])


def _trials(run: Run, policies: Sequence[Policy]) -> Iterator[tuple[str, Trial]]:
    """Yield the trial of each judge, that of the guard under evaluation first: it measures the limits of all."""
    start_ns, down_ns = run.faulted.honest.start_ns, run.faulted.guard_down_ns
    limits: Limits = {}
    for name, policy in zip((GUARD, AGAINST), policies, strict=False):
        guard = GuardJudge(name, policy, start_ns, down_ns)
        trial = Trial(guard, run, limits, partial(hidden_surplus, guard, run))
        trial.play()
        yield name, trial
    for peer in peers(policies[0]):
        trial = Trial(peer, run, limits)
        trial.play()
        yield peer.name, trial


def hidden_surplus(guard: GuardJudge, run: Run, closure: Closure, at_ns: int) -> Decimal | None:
    """Return how large a surplus of a closure's account the guard cannot see, as its state is now."""
    account = closure.check.account
    held, truth = account or closure.account.account, run.faulted.truth
    return hidden_max(guard.state, held, guard.policy, at_ns, truth, carried=account is not None)


def _outcomes(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """Yield the outcome of each job in the order of the jobs, however many processes work on them."""
    if processes == 1:
        yield from map(run_job, jobs)
        return
    context = get_context("spawn")  # a forked process would inherit the threads of a progress bar, but not their work
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_prepare) as pool:
        try:
            yield from pool.map(run_job, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _prepare() -> None:
    """Make a process of the pool fit for jobs, and let it end with the one that started it, however that ends."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)


@lru_cache(maxsize=1)
def _recording(path: Path) -> tuple[Header, Sequence[Entry]]:
    """Read a whole recording; jobs come sorted by recording, so a process keeps the last one."""
    recording = read_recording(path)
    return recording.header, list(recording.entries())


def _policy(header: Header, policy_file: PolicyFile, feed: Feed) -> Policy:
    """Return the policy for the markets of a window: those it does not show would stay unknown, and dilute shares."""
    policy = policy_for(header, policy_file)
    return replace(policy, markets={market: policy.markets[market] for market in feed.markets})


def _policies(plan: Plan) -> tuple[PolicyUsed, ...]:
    used: Iterable[tuple[str, PolicyFile | None]] = ((GUARD, plan.policy), (AGAINST, plan.against))
    return tuple(PolicyUsed(name, file.origin, file.policy().revision) for name, file in used if file is not None)
