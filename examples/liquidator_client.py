"""Asks circuit_guard before each forced closure, and closes only what it allows.

Run it beside a guard (`circuit-guard serve`):  python examples/liquidator_client.py --market BTC-USD-PERP --size -0.5 \
    --mark 92610.0 --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from decimal import Decimal

from circuit_guard.client import Basis, Closure, GuardClient

DEADLINE_S = 0.25
"""No answer in time is a DENY, as is every other way to get no answer; the answer says which it was."""


def close(closure: Closure) -> None:
    """Close the position. Here the engine places its order."""
    print(f"closed {closure.account_id}: {closure.size} {closure.market}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and ask again while that can help. Return 0 where the position was closed, 1 where it was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--account", default="account-1")
    parser.add_argument("--market", default="BTC-USD-PERP")
    parser.add_argument("--size", type=Decimal, default="-0.5", help="the closing trade: negative closes a long")
    parser.add_argument("--mark", type=Decimal, required=True, help="the mark price the engine computed with")
    parser.add_argument("--funding-index", type=Decimal, required=True, help="the one the engine computed with")
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args(arguments)

    try:
        closure = Closure(
            account_id=options.account,
            market=options.market,
            size=options.size,
            execution_price=options.mark,
            basis=Basis(mark_price=options.mark, funding_index=options.funding_index),
        )
    except ValueError as error:
        print(f"the question is malformed: {error}")
        return 1
    with GuardClient(options.address, deadline_s=DEADLINE_S) as guard:
        for _ in range(options.tries):
            answer = guard.check(closure)  # without a request_id of its own each try is a new question
            print(answer.explanation)
            if answer.allowed:
                close(closure)
                return 0
            if answer.ask_again_after is None:
                break
            time.sleep(answer.ask_again_after.total_seconds())
    print(f"not closed {options.account}: tell whoever is on call, `circuit-guard status {options.market}` says why")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
