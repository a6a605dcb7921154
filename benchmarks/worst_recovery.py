"""How long the worst recovery takes, and in how much memory: `python -m benchmarks.worst_recovery [--checks 4000]`.

It writes the journal that a liquidator leaves who sends as much as a guard can judge between two checkpoints: names of
128 characters of which each takes twelve bytes in a record, accounts with 100 positions, numbers of 40 digits. Before
that, all that a state remembers of checks is filled up to its bounds, in 111 markets. No row is in a block yet. Then a
process with the memory limit of `deploy/` for its data (RLIMIT_DATA) opens the journal and recovers. Exits 1 where it
cannot, or leads to another state. The default of 4,000 checks is what a guard judges in a minute, the shipped
`journal.checkpoint_interval_s`.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time

from benchmarks.recorded_day import digest, simulated_policy
from benchmarks.simulated_feed import START_NS
from circuit_guard.core import remembered
from circuit_guard.core.evidence import ACCOUNTS_IN_ALL, ACCOUNTS_MAX
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.guard import decide, new_state
from circuit_guard.core.inputs import Account, Basis, Check, Position
from circuit_guard.core.names import NAME_CHARACTERS_MAX
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import ASK_REMEMBERED_NS
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import DIGITS_MAX
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import MIB, JournalOptions
from circuit_guard.journal.record import Start
from circuit_guard.journal.recovery import recover

SHIPPED_BYTES = 1024 * MIB
"""The memory limit of deploy/kubernetes and deploy/systemd."""
KEPT_AS_ROWS = JournalOptions(rows_bytes_max=10**15, block_records=10**9)
POSITIONS = 100
LONGEST = "\N{CJK UNIFIED IDEOGRAPH-20000}" * (NAME_CHARACTERS_MAX - 10)


def name(number: int) -> str:
    """Return one of the longest names."""
    return f"{LONGEST}{number:010}"


def account(market: str = "") -> Account:
    """Return an account with the longest names, or with those of a market."""
    digits = Decimal("1." + "1" * (DIGITS_MAX - 1))
    names = (market or name(place) for place in range(POSITIONS))
    held = (Position(one, digits, digits, digits, digits / 100) for one in names)
    return Account(digits, tuple(held))


def check(number: int, market: str, at_ns: int) -> Check:
    """Return a check with the longest names."""
    who = name(number)
    return Check(at_ns, who, who, market, Decimal(-1), basis=Basis(), account=account())


def fill(state: GuardState, policy: Policy) -> None:
    """Fill what a state remembers of checks up to its bounds."""
    markets, healthy = list(policy.markets), account(next(iter(policy.markets)))
    for number in range(min(ACCOUNTS_IN_ALL, ACCOUNTS_MAX * len(markets))):
        state.markets[markets[number % len(markets)]].asked.note(name(number), START_NS, ASK_REMEMBERED_NS)
    for number in range(remembered.UNCONFIRMED_BYTES_MAX // remembered.account_bytes(healthy) - 1):
        remembered.keep(state, state.markets[markets[number % len(markets)]], f"{number}", START_NS, healthy)
    asked = check(0, markets[0], START_NS)
    [first] = [fact.decision for fact in decide(state, asked, policy) if isinstance(fact, DecisionMade)]
    for number in range(remembered.ANSWERS_BYTES_MAX // remembered.answer_bytes(first)):
        asked = replace(asked, request_id=f"filled-{number}-{LONGEST}"[:NAME_CHARACTERS_MAX])
        remembered.remember(state, asked, replace(first, request_id=asked.request_id), policy.remembered_requests_max)


async def write(directory: Path, checks: int) -> str:
    """Write the journal, and return what tells the state that it leads to."""
    policy = simulated_policy()
    state, market = new_state(policy, START_NS), next(iter(policy.markets))
    with Journal(directory, START_NS, KEPT_AS_ROWS) as journal:
        journal.start(Start(START_NS, "benchmark", "localhost", 1))
        journal.policy(policy, START_NS)
        fill(state, policy)
        await journal.checkpoint(state, policy)
        for number in range(1, checks + 1):
            await journal.room()
            asked = check(number, market, START_NS + number)
            journal.record(asked, decide(state, asked, policy))
        await journal.durable()
    return digest(state)


def recovered(directory: Path, told: Connection) -> None:
    """Recover within the shipped memory limit, and tell how long it took, what memory, and where it led to."""
    resource.setrlimit(resource.RLIMIT_DATA, (SHIPPED_BYTES, SHIPPED_BYTES))
    started, started_cpu = monotonic(), process_time()
    with Journal(directory, START_NS, JournalOptions()):
        opened = monotonic()
        rerun = recover(directory)
        done, cpu_s = monotonic(), process_time() - started_cpu
    assert rerun is not None  # noqa: S101  # there is a checkpoint
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told.send((opened - started, done - opened, cpu_s, rerun.inputs, peak, digest(rerun.state)))


def main(arguments: Sequence[str]) -> int:
    """Write, recover and print; return the exit code."""
    parser = ArgumentParser(prog="python -m benchmarks.worst_recovery")
    parser.add_argument("--checks", type=int, default=4_000, help="since the last checkpoint")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        directory = Path(folder, "state")
        led_to = asyncio.run(write(directory, given.checks))
        megabytes = sum(path.stat().st_size for path in directory.iterdir()) / 1e6
        print(f"{given.checks} checks of {POSITIONS} positions with the longest names: {megabytes:.0f} MB of journal")
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=recovered, args=(directory, theirs))
        process.start()
        theirs.close()
        try:
            opened_s, rerun_s, cpu_s, inputs, peak, found = ours.recv()
        except EOFError:
            print(f"no recovery within {SHIPPED_BYTES / MIB:.0f} MiB")
            return 1
        process.join()
    print(
        f"opened and proved in {opened_s:.1f} s, {inputs} inputs run again in {rerun_s:.1f} s"
        f" ({cpu_s:.1f} s of CPU time in all)"
    )
    print(f"at most {peak / MIB:.0f} MiB of memory (limit {SHIPPED_BYTES / MIB:.0f} MiB)")
    same = found == led_to
    print("the state is the one that was written" if same else "the state is another than the one that was written")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
