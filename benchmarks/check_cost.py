"""What a check costs inside the process: the margin test alone, and the whole decision, by positions in the account.

    python -m benchmarks.check_cost [--checks N]

Prints microseconds a check, the best of five rounds. No network, no journal.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from time import perf_counter_ns

from circuit_guard.core import guard, margin
from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.policy_file import parse_policy

MARKETS = [f"M{number}-USD-PERP" for number in range(20)]
START_NS = 1_768_800_000 * SECOND_NS
PRICE, INDEX = Decimal("92600.12"), Decimal("20511.930812345678")
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=2_000, help="checks a round")
    checks: int = parser.parse_args().checks
    document = "[classes.default]\n" + "".join(f"[markets.{name}]\n" for name in MARKETS)
    policy = parse_policy(document, "20 markets with every default")
    state, now_ns = warm(policy)
    print(f"{'':28}{'margin test':>14}{'whole check':>14}")
    for positions in (0, 1, 5, 20):
        account = account_of(positions) if positions else None
        tested = "" if account is None else f"{best(margin_test(state, policy, account, now_ns), checks):11.1f} us"
        decided = best(decision(state, policy, account, now_ns), checks)
        print(f"{positions:>4} positions{'':15}{tested:>14}{decided:11.1f} us")


def warm(policy: Policy) -> tuple[guard.GuardState, int]:
    """Return a guard that has seen a minute of honest data in every market."""
    state = guard.new_state(policy, START_NS)
    for second in range(60):
        now_ns = START_NS + second * SECOND_NS
        for name in MARKETS:
            price = PRICE + Decimal(second % 7) / 10
            for venue in ("binance", "bybit", "okx"):
                guard.step(state, Reference(now_ns, name, venue, now_ns, price), policy)
            guard.step(state, observation(name, second, now_ns, price), policy)
    return state, now_ns


def observation(name: str, sequence: int, now_ns: int, price: Decimal) -> Observation:
    """Return what an exchange publishes."""
    return Observation(
        now_ns, name, "exchange", 1, sequence, now_ns, mark_price=price, index_price=price, funding_index=INDEX
    )


def account_of(positions: int) -> Account:
    """Return an account under water, with a position in so many markets."""
    entry = PRICE * Decimal("1.1")
    held = [Position(name, Decimal("0.5"), entry, INDEX, Decimal("0.01")) for name in MARKETS[:positions]]
    return Account(Decimal("1000.50"), tuple(held))


def margin_test(state: guard.GuardState, policy: Policy, account: Account, now_ns: int) -> Callable[[int], object]:
    """Return the margin test over worlds that are known."""
    worlds: dict[str, margin.World | None] = {}
    for position in account.positions:
        market_policy = policy.markets[position.market]
        view = view_of(state.markets[position.market], market_policy, now_ns)
        marks, funding = view.references.limits(Decimal("0.002"), Decimal(1)), view.funding_envelope(market_policy)
        worlds[position.market] = margin.World(marks, funding) if marks and funding else None
    return lambda _: margin.explain(account, worlds)


def decision(state: guard.GuardState, policy: Policy, account: Account | None, now_ns: int) -> Callable[[int], object]:
    """Return the whole decision, each time about another account."""
    name = MARKETS[0]
    basis = Basis(state.markets[name].trusted.mark_price, INDEX)
    asked = Check(now_ns, "", "", name, Decimal("-0.5"), basis=basis, account=account)
    held = 0 if account is None else len(account.positions)

    def ask(number: int) -> object:
        """Ask about another account each time: a request_id that is known would only be looked up."""
        check = replace(asked, request_id=f"{held} {number}", account_id=str(number))
        return guard.decide(state, check, policy)

    return ask


def best(ask: Callable[[int], object], checks: int) -> float:
    """Return the microseconds of one call, the best of a few rounds."""
    rounds = []
    with localcontext(ARITHMETIC):
        for number in range(ROUNDS):
            numbers = range(number * checks, (number + 1) * checks)
            started_ns = perf_counter_ns()
            for which in numbers:
                ask(which)
            rounds.append((perf_counter_ns() - started_ns) / checks / 1000)
    return min(rounds)


if __name__ == "__main__":
    main()
