"""Calls the liquidation service through Envoy, and says why where it may not close.

Run it in front of examples/envoy/envoy.yaml:  python examples/envoy/caller.py --size=-0.5 \
    --mark 92610.0 --funding-index 20511.934207715
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

METHOD = "/exchange.Liquidations/Close"
DEADLINE_S = 1.0


def explained(error: grpc.RpcError) -> str:
    """Return what is known about a call that did not get through."""
    trailing: dict[str, Any] = {one.key: one.value for one in error.trailing_metadata()}
    lines = [f"NOT CLOSED  {error.code().name}: {(error.details() or '').strip()}"]
    lines += [f"  {key}: {trailing[key]}" for key in ("x-circuit-guard-reasons", "retry-after") if key in trailing]
    info = ErrorInfo()
    for detail in Status.FromString(trailing.get("grpc-status-details-bin", b"")).details:
        if detail.Unpack(info) and "lifted_by" in info.metadata:
            lines.append(f"  lifted by: {info.metadata['lifted_by']}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask for one closure. Return 0 where the position was closed, 1 where it was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:10000")
    parser.add_argument("--account", default="account-1")
    parser.add_argument("--market", default="BTC-USD-PERP")
    parser.add_argument("--size", default="-0.5", help="the closing trade: negative closes a long")
    parser.add_argument("--mark", required=True, help="the mark price the engine computed with")
    parser.add_argument("--funding-index", required=True, help="the funding index the engine computed with")
    options = parser.parse_args(arguments)

    metadata = (
        ("x-request-id", str(uuid.uuid4())),  # a new try is a new question: the same id would get the same answer
        ("x-circuit-guard-market", options.market),
        ("x-circuit-guard-account-id", options.account),
        ("x-circuit-guard-size", options.size),
        ("x-circuit-guard-execution-price", options.mark),
        ("x-circuit-guard-mark-price", options.mark),
        ("x-circuit-guard-funding-index", options.funding_index),
    )
    with grpc.insecure_channel(options.address, [("grpc.enable_http_proxy", 0)]) as channel:
        close: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        try:
            closed, call = close.with_call(b"", timeout=DEADLINE_S, metadata=metadata)
        except grpc.RpcError as error:
            print(explained(error))
            return 1
    decision = next(str(value) for key, value in call.initial_metadata() if key == "x-circuit-guard-decision")
    print(f"{closed.decode()} (decision {decision})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
