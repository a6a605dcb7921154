"""A plain function that closes positions, made to ask circuit_guard by a decorator.

Run it beside a guard (`circuit-guard serve`):  python examples/decorator.py --mark 92610.0 \
    --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from decimal import Decimal

from circuit_guard.client import Basis, Closure, ClosureDenied, GuardClient, guarded

MARKET = "BTC-USD-PERP"


def mapping(account: str, size: Decimal, basis: Basis) -> Closure:
    """Say what the function is about to close: it takes what the function takes."""
    return Closure(market=MARKET, account_id=account, size=size, basis=basis)


def guarded_close(guard: GuardClient) -> Callable[[str, Decimal, Basis], None]:
    """Return the engine's own function, behind the guard."""

    @guarded(guard, mapping)
    def close(account: str, size: Decimal, basis: Basis) -> None:
        """Close a position."""
        print(f"closed {account}: {size} {MARKET} at {basis.mark_price}")

    return close


def main(arguments: Sequence[str] | None = None) -> int:
    """Close a position. Return 0 where that was allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds; no answer within them is a DENY")
    parser.add_argument("--mark", type=Decimal, required=True)
    parser.add_argument("--funding-index", type=Decimal, required=True)
    options = parser.parse_args(arguments)

    with GuardClient(options.address, deadline_s=options.deadline) as guard:
        close = guarded_close(guard)
        try:
            close("account-1", Decimal("-0.5"), Basis(mark_price=options.mark, funding_index=options.funding_index))
        except ClosureDenied as denied:
            print(f"not closed: {denied}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
