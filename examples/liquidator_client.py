"""Asks circuit_guard before each forced closure, and closes only what it allows.

Run it beside a guard (`circuit-guard serve`):  python examples/liquidator_client.py --market BTC-USD-PERP --size -0.5 \
    --mark 92610.0 --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence

import grpc

from circuit_guard.v1 import liquidation_pb2 as pb
from circuit_guard.v1 import types_pb2
from circuit_guard.v1.liquidation_pb2_grpc import LiquidationGuardServiceStub

DEADLINE_S = 0.25
"""Without a deadline a guard that hangs would hang the engine. No answer in time is a deny."""


def may_close(guard: LiquidationGuardServiceStub, check: pb.LiquidationCheck) -> tuple[bool, float | None]:
    """Return whether the closure may go ahead and, where not, after how many seconds to ask again (None: do not)."""
    try:
        response = guard.CheckLiquidation(pb.CheckLiquidationRequest(check=check), timeout=DEADLINE_S)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            print(f"DENY   the question is malformed, and asking it again will not help: {error.details()}")
            return False, None
        # Fail closed: the guard could not decide, so nobody has said that this closure is right.
        print(f"DENY   the guard could not decide: {error.code().name}")
        return False, 1.0
    decision = response.decision
    print(decision.explanation)
    if decision.verdict == types_pb2.VERDICT_ALLOW:
        return True, None
    if not decision.HasField("ask_again_after"):
        return False, None
    return False, decision.ask_again_after.ToTimedelta().total_seconds()


def close(check: pb.LiquidationCheck) -> None:
    """Close the position. Here the engine places its order."""
    print(f"closed {check.account_id}: {check.size} {check.market}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and ask again while that can help. Return 0 where the position was closed, 1 where it was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--account", default="account-1")
    parser.add_argument("--market", default="BTC-USD-PERP")
    parser.add_argument("--size", default="-0.5", help="the closing trade: negative closes a long")
    parser.add_argument("--mark", required=True, help="the mark price the engine computed with")
    parser.add_argument("--funding-index", required=True, help="the funding index the engine computed with")
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args(arguments)

    with grpc.insecure_channel(options.address, [("grpc.enable_http_proxy", 0)]) as channel:
        guard = LiquidationGuardServiceStub(channel)
        for _ in range(options.tries):
            check = pb.LiquidationCheck(
                request_id=str(uuid.uuid4()),  # a new try is a new question: the same id would get the same answer
                account_id=options.account,
                market=options.market,
                size=options.size,
                execution_price=options.mark,
                basis=pb.Basis(mark_price=options.mark, funding_index=options.funding_index),
            )
            allowed, ask_again_s = may_close(guard, check)
            if allowed:
                close(check)
                return 0
            if ask_again_s is None:
                break
            time.sleep(ask_again_s)
    print(f"not closed {options.account}: tell whoever is on call, `circuit-guard status {options.market}` says why")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
