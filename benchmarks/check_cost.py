"""What a check costs inside the process: the margin test alone, and the whole decision, by positions in the account.

    python -m benchmarks.check_cost [--rounds N] [--markets N]

Every rule is on, every check is about another account or request, and each is allowed. Times are the shortest of many
short rounds, in microseconds, and in turns of a fixed loop of plain Python that runs between them: on a machine that
does other work too, only the latter can be compared with another run. No network, no journal.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from itertools import count as counted
from itertools import islice
from time import perf_counter_ns
from typing import NamedTuple

from circuit_guard.config.policy import parse_policy
from circuit_guard.core import guard, margin
from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, Verdict

START_NS = 1_768_800_000 * SECOND_NS
PRICE, INDEX = Decimal("92600.12"), Decimal("20511.930812345678")
POSITIONS, POSITIONS_MORE = (0, 1, 5, 20), (100, 1_000)
"""Positions of the account, each in a market of its own; more where there are so many markets."""
ACCOUNTS = 50
"""So many ask in turn: fewer than are a burst."""
ROUND_US = 2_000
"""A round is over before the machine gives the core to somebody else."""
TURNS = 2_000
FEW, MANY = 10, 1_000
Ask = Callable[[Check], object]


class World(NamedTuple):
    """A warm guard of so many markets."""

    markets: list[str]
    policy: Policy
    state: guard.GuardState
    now_ns: int


class Best(NamedTuple):
    """The shortest time of one call, and in turns of the loop that ran beside it."""

    us: float
    turns: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="rounds of each measurement")
    parser.add_argument("--markets", type=int, default=MANY, help="markets to hold against ten")
    given = parser.parse_args()
    sizes = POSITIONS + tuple(more for more in POSITIONS_MORE if more <= given.markets)
    world = warm(max(sizes))
    print(f"{'':16}{'margin test':>26}{'whole check':>26}")
    for positions in sizes:
        account = account_of(world, positions) if positions else None
        checks = checks_of(world, world.markets[:1], account)
        tested = "" if account is None else shown(best(margin_test(world, account), checks, given.rounds))
        decided = best(decision(world), checks, given.rounds)
        print(f"{positions:>4} positions{'':2}{tested:>26}{shown(decided):>26}")
    found = {}
    for count in (FEW, given.markets):
        world = warm(count)
        found[count] = best(decision(world), checks_of(world, world.markets, None), given.rounds)
        print(f"{count:>6} markets, asked in turn {shown(found[count]):>41}")
    share = found[FEW].turns / found[given.markets].turns
    print(f"decisions a second in {given.markets} markets: {share:.2f} of those in {FEW}")


def shown(found: Best) -> str:
    """Return a time for the table."""
    return f"{found.us:.1f} us, {found.turns:.0f} turns"


def warm(count: int) -> World:
    """Return a guard that has seen a minute of honest data in every market."""
    markets = [f"M{number}-USD-PERP" for number in range(count)]
    document = "[classes.default]\n" + "".join(f"[markets.{name}]\n" for name in markets)
    policy = parse_policy(document, f"{count} markets with every default")
    state = guard.new_state(policy, START_NS)
    for second in range(60):
        now_ns = START_NS + second * SECOND_NS
        price = PRICE + Decimal(second % 7) / 10
        for name in markets:
            for venue in ("binance", "bybit", "okx"):
                guard.step(state, Reference(now_ns, name, venue, now_ns, price), policy)
            guard.step(state, observation(name, second, now_ns, price), policy)
    return World(markets, policy, state, now_ns)


def observation(name: str, sequence: int, now_ns: int, price: Decimal) -> Observation:
    """Return what an exchange publishes."""
    return Observation(
        now_ns, name, "exchange", 1, sequence, now_ns, mark_price=price, index_price=price, funding_index=INDEX
    )


def account_of(world: World, positions: int) -> Account:
    """Return an account under water, with a position in so many markets."""
    entry = PRICE * Decimal("1.1")
    held = [Position(name, Decimal("0.5"), entry, INDEX, Decimal("0.01")) for name in world.markets[:positions]]
    return Account(Decimal("1000.50"), tuple(held))


def margin_test(world: World, account: Account) -> Ask:
    """Return the margin test over worlds that are known."""
    worlds: dict[str, margin.World | None] = {}
    for position in account.positions:
        market_policy = world.policy.markets[position.market]
        view = view_of(world.state.markets[position.market], market_policy, world.now_ns)
        marks, funding = view.references.limits(Decimal("0.002"), Decimal(1)), view.funding_envelope(market_policy)
        worlds[position.market] = margin.World(marks, funding) if isinstance(marks, Interval) and funding else None
    return lambda _: margin.explain(account, worlds)


def decision(world: World) -> Ask:
    """Return the whole decision."""
    return lambda check: guard.decide(world.state, check, world.policy)


def checks_of(world: World, markets: list[str], account: Account | None) -> Iterator[Check]:
    """Return checks without end, a microsecond apart, of one market after the other. None asks what another asked."""
    basis = Basis(world.state.markets[markets[0]].trusted.mark_price, INDEX)
    started_ns = world.state.now_ns
    for number in counted(1):
        at_ns, market = started_ns + number * 1_000, markets[number % len(markets)]
        asking = str(number % ACCOUNTS)
        yield Check(at_ns, f"{at_ns}", asking, market, Decimal("-0.5"), basis=basis, account=account)


def best(ask: Ask, checks: Iterator[Check], rounds: int) -> Best:
    """Return the shortest time of one call; raise SystemExit where a closure was not allowed."""
    with localcontext(ARITHMETIC):
        length = max(ROUND_US // max(round(1e6 * _took_s(ask, list(islice(checks, 20)))), 1), 1)
        found_s = min(_took_s(ask, list(islice(checks, length))) for _ in range(rounds))
        turn_s = min(_turn_s() for _ in range(rounds))
        for fact in facts if isinstance(facts := ask(next(checks)), list) else ():
            if isinstance(fact, DecisionMade) and fact.decision.verdict is not Verdict.ALLOW:
                raise SystemExit(f"a closure was denied, expected all to be allowed: {fact.decision.findings}")
    return Best(found_s * 1e6, found_s / turn_s)


def _took_s(ask: Ask, checks: list[Check]) -> float:
    started_ns = perf_counter_ns()
    for check in checks:
        ask(check)
    return (perf_counter_ns() - started_ns) / len(checks) / SECOND_NS


def _turn_s() -> float:
    """Return what one turn of a loop takes that is the same on every machine and in every version of this program."""
    number, table = 1, dict[int, tuple[int, int]]()
    started_ns = perf_counter_ns()
    for turn in range(TURNS):
        number = (number * 31 + turn) % 1_000_003
        table[turn & 63] = (number, turn)
    return (perf_counter_ns() - started_ns) / TURNS / SECOND_NS


if __name__ == "__main__":
    main()
