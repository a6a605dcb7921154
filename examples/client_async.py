"""Asks circuit_guard about many closures at a time from one event loop, and may fail open in one market.

Run it beside a guard (`circuit-guard serve`):  python examples/client_async.py --mark 92610.0 \
    --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal

from circuit_guard.client import AsyncGuardClient, Basis, Closure, FailOpen

MARKET = "BTC-USD-PERP"
FAIL_OPEN = {MARKET: FailOpen(for_s=30)}
"""A decision of the risk team, not of the engine's: every market that is not named here stays closed."""


async def liquidate(guard: AsyncGuardClient, closure: Closure) -> bool:
    """Ask, and close where that is allowed."""
    answer = await guard.check(closure)
    if not answer.allowed:
        print(f"not closed {closure.account_id}: {answer.explanation}")
        return False
    # Here the engine places its order.
    print(f"closed {closure.account_id}" + (", and nobody has judged it: FAIL-OPEN" if answer.fail_open else ""))
    return True


async def run(address: str, deadline_s: float, basis: Basis, accounts: int) -> bool:
    """Ask about one closure an account, all at once."""
    # All of them go on one stream: that costs the guard less than a request each.
    async with AsyncGuardClient(address, deadline_s=deadline_s, fail_open=FAIL_OPEN, stream=True) as guard:
        asked = [
            Closure(market=MARKET, account_id=f"account-{number}", size=Decimal("-0.5"), basis=basis)
            for number in range(1, accounts + 1)
        ]
        return all(await asyncio.gather(*(liquidate(guard, closure) for closure in asked)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask. Return 0 where everything was closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds; no answer within them is a DENY")
    parser.add_argument("--mark", type=Decimal, required=True)
    parser.add_argument("--funding-index", type=Decimal, required=True)
    parser.add_argument("--accounts", type=int, default=3)
    options = parser.parse_args(arguments)

    logging.basicConfig()  # every fail-open is a WARNING of the logger circuit_guard.client
    basis = Basis(mark_price=options.mark, funding_index=options.funding_index)
    return 0 if asyncio.run(run(options.address, options.deadline, basis, options.accounts)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
