"""Asks circuit_guard before a forced closure, with the account, and before a batch of them.

Run it beside a guard (`circuit-guard serve`):  python examples/client_sync.py --mark 92610.0 \
    --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from decimal import Decimal

from circuit_guard.client import Account, Answer, Basis, Closure, GuardClient, Position

MARKET = "BTC-USD-PERP"


def closures(basis: Basis) -> list[Closure]:
    """Return what the engine wants to close: a long of 0.5, and a short of 2 of an account that it knows whole."""
    long = Closure(market=MARKET, account_id="account-1", size=Decimal("-0.5"), basis=basis)
    position = Position(
        market=MARKET,
        size=Decimal(-2),
        entry_price=Decimal(80_000),
        cached_funding_index=Decimal("20511.9"),
        maintenance_margin_fraction=Decimal("0.01"),
    )
    # With the account the guard can also say whether the loss is explained by values that can honestly be.
    account = Account(collateral=Decimal(20_000), positions=(position,))
    short = Closure(market=MARKET, account_id="account-2", size=Decimal(2), basis=basis, account=account)
    return [long, short]


def show(answer: Answer) -> None:
    """Print an answer as a person on call wants to read it."""
    print(answer.explanation)
    if answer.explained_loss is not None:
        loss = answer.explained_loss
        print(f"  the loss of {answer.account_id} is {loss.verdict}: a margin surplus of {loss.low} .. {loss.high}")
    if not answer.allowed:
        wait = answer.ask_again_after
        print(f"  ask again {'when somebody has acted' if wait is None else f'in {wait.total_seconds():g} s'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask. Return 0 where everything may be closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds; no answer within them is a DENY")
    parser.add_argument("--mark", type=Decimal, required=True)
    parser.add_argument("--funding-index", type=Decimal, required=True)
    options = parser.parse_args(arguments)

    basis = Basis(mark_price=options.mark, funding_index=options.funding_index)
    # One client for the whole process; its threads share it.
    with GuardClient(options.address, deadline_s=options.deadline) as guard:
        one, both = guard.check(closures(basis)[0]), guard.check_many(closures(basis))
    for answer in (one, *both):
        show(answer)
    return 0 if all(answer.allowed for answer in (one, *both)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
