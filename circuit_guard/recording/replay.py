"""Running a recording through the core: a cold start, one input after the other, and the score of the answers.

A replay is a function of the recording and the policy alone: it reads no clock, and equal runs have equal digests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path

from circuit_guard import __version__
from circuit_guard.config.policy import MarketFacts, PolicyFile
from circuit_guard.core.facts import CheckRefused, DecisionMade, Fact
from circuit_guard.core.guard import decide, new_state, step
from circuit_guard.core.inputs import Basis, Check, Input, Observation, Tick
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, Verdict
from circuit_guard.errors import RecordingError
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import Start
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Fault, Header, JsonObject, LabelledCheck
from circuit_guard.recording.score import Asked, ReplayResult, Score, enforced_reasons, total

RETRY_FOR_S = 12
RETRY_INTERVAL_NS = SECOND_NS
ENTRIES_PER_BATCH = 4096
"""Reading many and then judging many is a sixth faster than taking turns line by line: measured on 86,000 inputs."""
SILENT_TICKS_MAX = 3600
"""A gap in a recording is ticked through for an hour; after that, time alone changes nothing more."""

Progress = Callable[[Path, int, int], None]
"""Told now and then which file is being read, how many of its bytes have been, and how many there are."""


class Replay:
    """One run of the core over one recording."""

    def __init__(self, policy: Policy, scored: Collection[str], start_ns: int, retry_for_s: int) -> None:
        self.score = Score(scored, start_ns)
        self._policy = policy
        self._state = new_state(policy, start_ns)
        self._retries_max = retry_for_s * SECOND_NS // RETRY_INTERVAL_NS
        self._tick_ns = start_ns - start_ns % SECOND_NS + SECOND_NS
        self._due: deque[tuple[int, Asked]] = deque()
        """The checks to ask again, earliest first."""
        self._marks: dict[str, Decimal] = {}
        self._funding_indices: dict[str, Decimal] = {}
        """What was last published for each market, trusted or not: what an engine would compute a retry with."""

    def take(self, entry: Entry) -> None:
        """Feed the next entry, after everything that was due before it."""
        self._pass_time(entry.at_ns)
        if isinstance(entry, Fault):
            self.score.add_fault(entry)
            return
        self.score.result.inputs += 1
        if isinstance(entry, LabelledCheck):
            self.score.result.checks += 1
            self._ask(Asked(entry), entry.check)
            return
        if isinstance(entry, Observation):
            if entry.mark_price is not None:
                self._marks[entry.market] = entry.mark_price
            if entry.funding_index is not None:
                self._funding_indices[entry.market] = entry.funding_index
        self._take_facts(entry, step(self._state, entry, self._policy))

    def finish(self) -> ReplayResult:
        """Ask what is still due, and return the score as it stands at the end of the recording."""
        while self._due:
            self._ask_again()
        return self.score.finish(self._state.now_ns)

    def _take_facts(self, input_: Input | Check, facts: list[Fact]) -> None:
        """Take what came of an input. All that is fed to the core comes by here."""
        self.score.add_facts(facts)

    def _pass_time(self, until_ns: int) -> None:
        """Do the ticks up to this instant and the retries before it; retries due at this instant come after it."""
        while self._due and self._due[0][0] < until_ns:
            self._ask_again()
        self._tick_to(until_ns)

    def _tick_to(self, until_ns: int) -> None:
        """Tick at each whole second; of a long silence only its first hour and its last second."""
        if until_ns - self._tick_ns > SILENT_TICKS_MAX * SECOND_NS:
            for _ in range(SILENT_TICKS_MAX):
                self._tick()
            self._tick_ns = until_ns - until_ns % SECOND_NS
        while self._tick_ns <= until_ns:
            self._tick()

    def _tick(self) -> None:
        tick = Tick(self._tick_ns)
        self._take_facts(tick, step(self._state, tick, self._policy))
        self._tick_ns += SECOND_NS

    def _ask(self, asked: Asked, check: Check) -> None:
        facts = decide(self._state, check, self._policy)
        self._take_facts(check, facts)
        for fact in facts:
            if isinstance(fact, CheckRefused):
                self.score.result.checks_refused += 1
                self.score.add_outcome(asked, allowed=False)
            elif isinstance(fact, DecisionMade):
                self.score.add_decision(asked, fact.decision)
                self._follow_up(asked, check.at_ns, fact)

    def _follow_up(self, asked: Asked, at_ns: int, made: DecisionMade) -> None:
        """Settle an allowed check; have a denied one asked again while its time lasts."""
        if made.decision.verdict is Verdict.ALLOW:
            self.score.add_outcome(asked, allowed=True)
            return
        reasons = asked.first_reasons or enforced_reasons(made.decision.findings)
        asked = asked._replace(first_reasons=reasons)
        if asked.retries < self._retries_max:
            self._due.append((at_ns + RETRY_INTERVAL_NS, asked._replace(retries=asked.retries + 1)))
        else:
            self.score.add_outcome(asked, allowed=False)

    def _ask_again(self) -> None:
        """Ask the next due check once more, with what is published at its time."""
        at_ns, asked = self._due.popleft()
        self._tick_to(at_ns)
        check = asked.original.check
        mark_price = self._marks.get(check.market)
        again = replace(
            check,
            at_ns=at_ns,
            request_id=f"{check.request_id}#retry-{asked.retries}",
            execution_price=mark_price,
            basis=Basis(mark_price, self._funding_indices.get(check.market)),
        )
        self._ask(asked, again)


def replay_file(
    path: Path, policy_file: PolicyFile, retry_for_s: int = RETRY_FOR_S, progress: Progress | None = None
) -> ReplayResult:
    """Run one recording from a cold start, under the policy with the recording's own markets added to it.

    A denied check is asked again every second for `retry_for_s` seconds. Raises RecordingError.
    """
    policy, scored, batches = _opened(path, policy_file, ENTRIES_PER_BATCH, progress)
    replay: Replay | None = None
    for batch in batches:
        replay = replay or Replay(policy, scored, batch[0].at_ns, retry_for_s)
        for entry in batch:
            replay.take(entry)
    assert replay is not None  # noqa: S101  # no recording is without a batch
    return replay.finish()


def _opened(
    path: Path, policy_file: PolicyFile, per_batch: int, progress: Progress | None = None
) -> tuple[Policy, Collection[str], Iterator[list[Entry]]]:
    """Return a recording's policy, the markets to score, and its entries in batches, at least one."""
    recording = read_recording(path)
    policy = policy_for(recording.header, policy_file)
    size_bytes = path.stat().st_size
    entries = recording.entries(None if progress is None else lambda done: progress(path, done, size_bytes))

    def batches() -> Iterator[list[Entry]]:
        batch = list(islice(entries, per_batch))
        if not batch:
            raise RecordingError(str(path), 0, "holds nothing but its header, expected at least one entry")
        while batch:
            yield batch
            batch = list(islice(entries, per_batch))

    return policy, recording.header.markets or policy.markets, batches()


def replay_files(
    paths: Sequence[Path], policy_file: PolicyFile, retry_for_s: int = RETRY_FOR_S, progress: Progress | None = None
) -> JsonObject:
    """Run each recording on its own; return the JSON object of one, or `files` and `total` of several.

    Raises RecordingError at the first recording that cannot be used.
    """
    results = [replay_file(path, policy_file, retry_for_s, progress) for path in paths]
    if len(results) == 1:
        return {"file": str(paths[0]), **results[0].as_json()}
    files = [{"file": str(path), **result.as_json()} for path, result in zip(paths, results, strict=True)]
    return {"files": files, "total": total(results).as_json()}


def policy_for(header: Header, policy_file: PolicyFile) -> Policy:
    """Return the policy with the recording's markets added to it, each with the facts the header knows."""
    facts = {
        market: MarketFacts(rate_max, header.funding_period_s, header.funding_gap_mode)
        for market, rate_max in header.markets.items()
    }
    return policy_file.with_markets(facts)


CHECKPOINT_INTERVAL_NS = 60 * SECOND_NS
"""In the time of the recording; as a guard does by default."""
RECORDED_PER_BATCH = 1024
HOST = "recording"
"""Stands in the place of a host in the START record: the same recording makes the same journal everywhere."""


class _RecordedReplay(Replay):
    """A replay that records what it feeds to the core, and what comes of it."""

    def __init__(self, policy: Policy, scored: Collection[str], start_ns: int, retry_for_s: int, to: Journal) -> None:
        super().__init__(policy, scored, start_ns, retry_for_s)
        self._journal = to

    def _take_facts(self, input_: Input | Check, facts: list[Fact]) -> None:
        super()._take_facts(input_, facts)
        self._journal.record(input_, facts)

    async def checkpoint(self) -> None:
        await self._journal.checkpoint(self._state, self._policy)


async def record_replay(
    path: Path, policy_file: PolicyFile, directory: Path, retry_for_s: int = RETRY_FOR_S
) -> ReplayResult:
    """Run one recording as `replay_file` does, and leave the journal of it in a directory that has none yet.

    Raise RecordingError for a recording that cannot be used, JournalUnusable for a directory that cannot be.
    """
    policy, scored, batches = _opened(path, policy_file, RECORDED_PER_BATCH)
    first = next(batches)
    if (directory / JOURNAL_NAME).exists():
        raise JournalUnusable(directory / JOURNAL_NAME, "there is a journal already", "name another directory")
    start_ns = first[0].at_ns
    with Journal(directory, start_ns, JournalOptions()) as journal:
        replay = _RecordedReplay(policy, scored, start_ns, retry_for_s, journal)
        journal.start(Start(start_ns, __version__, HOST, 0))
        await replay.checkpoint()
        due_ns = start_ns + CHECKPOINT_INTERVAL_NS
        for batch in chain([first], batches):
            for entry in batch:
                if entry.at_ns >= due_ns:
                    await replay.checkpoint()
                    due_ns += CHECKPOINT_INTERVAL_NS * ((entry.at_ns - due_ns) // CHECKPOINT_INTERVAL_NS + 1)
                replay.take(entry)
            await journal.room()
        result = replay.finish()
        await replay.checkpoint()
    return result
