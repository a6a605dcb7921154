"""A recording run through the core and written to a journal: what a guard would have kept that had been there."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from circuit_guard import __version__
from circuit_guard.config.policy import PolicyFile
from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import Check, Input
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import Start
from circuit_guard.journal.recorder import Recorder
from circuit_guard.recording.reader import read_recording
from circuit_guard.recording.replayer import RETRY_FOR_S, Replay, policy_for
from circuit_guard.recording.result import ReplayResult

CHECKPOINT_INTERVAL_NS = 60 * SECOND_NS
"""In the time of the recording; as a guard does by default."""
ENTRIES_PER_BATCH = 1024
HOST = "recording"
"""Stands in the place of a host in the START record: the same recording makes the same journal everywhere."""


class _RecordedReplay(Replay):
    """A replay that records what it feeds to the core, and what comes of it."""

    def __init__(self, policy: Policy, scored: tuple[str, ...], start_ns: int, retry_for_s: int, to: Recorder) -> None:
        super().__init__(policy, scored, start_ns, retry_for_s)
        self._recorder = to

    def _take_facts(self, input_: Input | Check, facts: list[Fact]) -> None:
        super()._take_facts(input_, facts)
        self._recorder.record(input_, facts)

    async def checkpoint(self) -> None:
        """Record the state as it is now."""
        await self._recorder.checkpoint(self._state, self._policy, "")


async def record_replay(
    path: Path, policy_file: PolicyFile, directory: Path, retry_for_s: int = RETRY_FOR_S
) -> ReplayResult:
    """Run one recording as `replay_file` does, and leave the journal of it in a directory that has none yet.

    Raise RecordingError for a recording that cannot be used, JournalUnusable for a directory that cannot be.
    """
    recording = read_recording(path)
    policy = policy_for(recording.header, policy_file)
    entries = recording.entries()
    batch = list(islice(entries, ENTRIES_PER_BATCH))
    if not batch:
        raise RecordingError(str(path), 0, "holds nothing but its header, expected at least one entry")
    if (directory / JOURNAL_NAME).exists():
        raise JournalUnusable(directory / JOURNAL_NAME, "there is a journal already", "name another directory")
    start_ns = batch[0].at_ns
    with Journal(directory, start_ns, JournalOptions()) as journal:
        recorder = Recorder(journal)
        replay = _RecordedReplay(
            policy, tuple(recording.header.markets or policy.markets), start_ns, retry_for_s, recorder
        )
        recorder.start(Start(start_ns, __version__, HOST, 0))
        await replay.checkpoint()
        due_ns = start_ns + CHECKPOINT_INTERVAL_NS
        while batch:
            for entry in batch:
                if entry.at_ns >= due_ns:
                    await replay.checkpoint()
                    due_ns += CHECKPOINT_INTERVAL_NS * ((entry.at_ns - due_ns) // CHECKPOINT_INTERVAL_NS + 1)
                replay.take(entry)
            await recorder.room()
            batch = list(islice(entries, ENTRIES_PER_BATCH))
        result = replay.finish()
        await replay.checkpoint()
    return result
