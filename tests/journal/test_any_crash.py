"""What holds after any sequence of inputs, policy reloads and crashes, at any record: the journal gives the state back.

The same inputs as in `tests.core.test_invariants`, recorded in a real journal. A crash leaves some prefix of what was
recorded; whichever it is, what comes back is the state that the guard was in then, and it breaks no invariant.
"""

from __future__ import annotations

import asyncio
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from circuit_guard.core import inputs as i
from circuit_guard.core import invariants
from circuit_guard.core.facts import Fact
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Kind
from circuit_guard.journal.recovery import recover, rerun_from
from tests.core.test_invariants import AnySequence, plain


class AnyCrash(AnySequence):
    """Records every input, and remembers the state that each led to, by the sequence of its last record."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._directory = Path(self._folder.name)
        self._reached: dict[int, bytes] = {}
        self._open()

    def _open(self) -> None:
        self._journal = Journal(self._directory, self.now_ns, JournalOptions())
        asyncio.run(self._journal.checkpoint(self.state, self.policy))
        self._remember()

    def _remember(self) -> None:
        self._reached[self._journal.status().last_sequence] = pickle.dumps(self.state)

    def honest(self, passed_s: float) -> None:
        """Publish honest data as the base does, and record it; the base's `honest_again` calls this."""
        self.pass_time(passed_s)
        for feed in self.feeds.values():
            for quote in feed.quotes(self.now_ns):
                self.step(quote)
            self.step(feed.observation(self.now_ns))

    def tick(self, passed_s: float) -> None:
        """Do nothing: ticks are not recorded, because the next input does what they would have done."""
        self.pass_time(passed_s)

    def holds(self, input_: i.Input | i.Check | i.OrdersCheck, facts: Sequence[Fact]) -> None:
        """Record what happened, after holding it against the invariants."""
        super().holds(input_, facts)
        if isinstance(input_, i.PolicyCommand):
            self._journal.policy(self.policy, input_.at_ns)
        self._journal.record(input_, facts)
        self._remember()

    @rule(lost=st.integers(0, 40))
    def crash(self, lost: int) -> None:
        """Lose the process; look at what any prefix gives back; go on from what the whole gives back."""
        self._journal.close()
        kept = sorted(self._reached)[: -lost or None]
        if kept:
            self._gives_back(kept[-1])
        recovered = recover(self._directory)
        assert recovered is not None
        assert plain(recovered.state) == plain(self.state)
        self.state, self.policy = recovered.state, recovered.policy
        self._open()
        self.step(i.Restarted(self.now_ns))

    @rule(revision=st.sampled_from(("r3", "r4")))
    def reload(self, revision: str) -> None:
        """Load another policy; that of the base changes it."""
        self.policy = replace(self.policy, revision=revision, shadow=False)
        self.step(i.PolicyCommand(self.now_ns, revision))

    def teardown(self) -> None:
        """Give the directory back."""
        self._journal.close()
        self._folder.cleanup()

    def _gives_back(self, last: int) -> None:
        with JournalReader(self._directory) as reader:
            start = [it for it in reader.checkpoints() if it.covers <= last][-1]
            checkpoint = reader.checkpoint(start.sequence)
            assert checkpoint is not None
            rerun = rerun_from(checkpoint, self._directory)
            for record in reader.records(checkpoint.covers + 1, (Kind.INPUT, Kind.POLICY)):
                if record.sequence <= last:
                    rerun.take(record)
        assert plain(rerun.state) == plain(pickle.loads(self._reached[last]))  # noqa: S301
        assert invariants.broken_in(rerun.state) == []


TestAnyCrash = AnyCrash.TestCase
TestAnyCrash.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
