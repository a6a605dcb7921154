"""A guard's journal of some hours, written as fast as it can be: what 111 markets publish at 1 Hz, and some checks.

In the last hour every input goes through the core, what came of it is recorded as the engine records it, and
checkpoints are made as often as the settings say, the last of them one interval before the end. The hours before that
are recorded without being judged, which takes half the time: what reads the journal cannot tell, and nothing that the
core remembers of market data is as old.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from sqlite3 import connect
from threading import Event
from time import monotonic

from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.config.policy import parse_policy
from circuit_guard.core.facts import DecisionMade, ObservationJudged, ReferenceJudged
from circuit_guard.core.guard import decide, new_state, step
from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Verdict
from circuit_guard.journal.codec import encode
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import Start, input_entry

MARKETS = 111
PER_SECOND = MARKETS * 4
JUDGED_S = 3600
BURST_S, BURST_CHECKS = 60, 10_000
"""When everything has been warm for a while, as many checks as are remembered; otherwise one a second."""
PROGRESS_S = 3600
PACE_S = 30
"""So often, in simulated seconds, the writing waits until the journal has made its blocks."""

ROWS = """
    SELECT chain, count(*) FROM record
    WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM block WHERE block.chain = record.chain) GROUP BY chain
"""

JUDGED = (ObservationJudged, ReferenceJudged)


@dataclass(frozen=True, slots=True)
class Written:
    """What the process that wrote the journal knew when it was killed."""

    inputs: int
    """Observations and references."""
    judged_s: int
    rejected: int
    """How many of the judged ones the core did not trust."""
    checks: int
    allowed: int
    state_digest: str


def digest(state: GuardState) -> str:
    """Return what tells one state from any other."""
    return sha256(encode(state).encode()).hexdigest()


def plain_rows(directory: Path) -> dict[str, int]:
    """Return how many records of each chain are not in a block yet."""
    connection = connect(f"file:{directory / JOURNAL_NAME}?mode=ro", uri=True)
    try:
        return dict(connection.execute(ROWS).fetchall())
    finally:
        connection.close()


def record(directory: Path, seconds: int, checkpoint_interval_s: int, told: Connection) -> None:
    """Write the journal, say what it must lead to, and wait for the kill."""
    asyncio.run(_record(directory, seconds, checkpoint_interval_s, told))


async def _record(directory: Path, seconds: int, checkpoint_interval_s: int, told: Connection) -> None:
    with Journal(directory, START_NS, JournalOptions()) as journal:
        guard = RecordedGuard(journal)
        started = monotonic()
        feed = simulate(MARKETS, seconds)
        for left in range(seconds - 1, -1, -1):
            await guard.second(list(islice(feed, PER_SECOND)), judged=left < JUDGED_S)
            if left % checkpoint_interval_s == 0 and 0 < left < JUDGED_S:
                await journal.checkpoint(guard.state, guard.policy)
            if left % PACE_S == 0:
                await _blocks_made(directory)
            if left % PROGRESS_S == 0:
                print(f"  {(seconds - left) / 3600:g} h written in {monotonic() - started:.0f} s", flush=True)
        await journal.durable()
        await _blocks_made(directory)
        told.send(guard.written())
        Event().wait()


async def _blocks_made(directory: Path) -> None:
    """Return once the journal keeps up, as it does at the real rate: it has a minute for each block then."""
    while max(plain_rows(directory).values(), default=0) >= JournalOptions().block_records:  # noqa: ASYNC110
        await asyncio.sleep(0.25)  # the journal tells nobody, and counting takes a while itself


def simulated_policy(markets: int = MARKETS) -> Policy:
    """Return a policy of the simulated markets, with every default."""
    names = dict.fromkeys(input_.market for input_ in islice(simulate(markets, 1), markets * 4))
    tables = "\n".join(f"[markets.{name}]" for name in names)
    return parse_policy(f"[classes.default]\n{tables}\n", "policy.toml")


class RecordedGuard:
    """A guard without its edges: the core, and the journal of what happens to it."""

    def __init__(self, journal: Journal, markets: int = MARKETS) -> None:
        self.policy = policy = simulated_policy(markets)
        self.state = new_state(policy, START_NS)
        self.journal = journal
        self._markets = list(policy.markets)
        self._inputs = self._judged_s = self._rejected = self._allowed = 0
        self.journal.start(Start(START_NS, "benchmark", "localhost", 1))
        self.journal.policy(policy, START_NS)

    async def second(self, inputs: list[Observation | Reference], *, judged: bool = True) -> None:
        """Take what is published in one second, then ask; or only record it."""
        await self.journal.room()
        self._inputs += len(inputs)
        if not judged:
            self.journal.append(map(input_entry, inputs))
            return
        for input_ in inputs:
            facts = step(self.state, input_, self.policy)
            self.journal.record(input_, facts)
            self._rejected += any(isinstance(fact, JUDGED) and not fact.accepted for fact in facts)
        self._judged_s += 1
        for number in range(BURST_CHECKS if self._judged_s == BURST_S else 1):
            self._ask(f"{self._judged_s}-{number}", self._markets[(self._judged_s + number) % len(self._markets)])

    def written(self) -> Written:
        """Return what is known at the end."""
        counts = self._inputs, self._judged_s, self._rejected, self.state.decisions, self._allowed
        return Written(*counts, digest(self.state))

    def _ask(self, request_id: str, market: str) -> None:
        trusted = self.state.markets[market].trusted
        if trusted.mark_price is None or trusted.funding_index is None:
            return
        entry_price = trusted.mark_price * Decimal("1.2")  # a tenth of the mark price lost
        position = Position(market, Decimal("0.5"), entry_price, trusted.funding_index, Decimal("0.01"))
        check = Check(
            at_ns=self.state.now_ns,
            request_id=request_id,
            account_id=f"account-{request_id}",
            market=market,
            size=Decimal("-0.5"),
            execution_price=trusted.mark_price,
            basis=Basis(trusted.mark_price, trusted.funding_index),
            account=Account(trusted.mark_price * Decimal("0.05"), (position,)),
        )
        facts = decide(self.state, check, self.policy)
        self.journal.record(check, facts)
        self._allowed += any(
            isinstance(fact, DecisionMade) and fact.decision.verdict is Verdict.ALLOW for fact in facts
        )
