"""An engine that calls a liquidation service it cannot change: its channel asks circuit_guard before each closure.

Run it beside a guard (`circuit-guard serve`):  python examples/client_interceptor.py --mark 92610.0 \
    --funding-index 20511.934207715
A stand-in for the service runs in this process; its messages are JSON to keep this to one file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypeAlias

import grpc

from circuit_guard.client import Basis, Closure, ClosureDenied, GuardClient
from circuit_guard.client.client_interceptor import GuardClientInterceptor

SERVICE = "exchange.LiquidationEngine"
CLOSE = f"/{SERVICE}/Close"

Close: TypeAlias = "grpc.UnaryUnaryMultiCallable[Mapping[str, str], Mapping[str, str]]"


def mapping(method: str, request: Mapping[str, str]) -> Closure | None:
    """Say what a call closes. It is called for every method; None lets a call through without asking."""
    if method != CLOSE:
        return None
    return Closure(
        market=request["market"],
        account_id=request["account"],
        size=Decimal(request["size"]),
        basis=Basis(mark_price=Decimal(request["mark"]), funding_index=Decimal(request["funding_index"])),
    )


def liquidate(address: str, guard: GuardClient, request: Mapping[str, str]) -> bool:
    """Call the service, which happens only after ALLOW."""
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as bare:
        channel = grpc.intercept_channel(bare, GuardClientInterceptor(guard, mapping))
        close: Close = channel.unary_unary(CLOSE, lambda message: json.dumps(message).encode(), json.loads)
        try:
            print(f"closed {close(request, timeout=5)['closed']}")
        except ClosureDenied as denied:  # a grpc.RpcError, as any other failed call
            print(f"not sent ({denied.code().name}): {denied}")
            return False
    return True


def service() -> grpc.Server:
    """Return the stand-in for somebody else's service: it closes whatever reaches it."""
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Close": grpc.unary_unary_rpc_method_handler(
            lambda request, context: {"closed": request["account"]},
            request_deserializer=json.loads,
            response_serializer=lambda message: json.dumps(message).encode(),
        )
    }
    return grpc.server(ThreadPoolExecutor(8), handlers=[grpc.method_handlers_generic_handler(SERVICE, methods)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Call the service once. Return 0 where the position was closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051", help="where the guard listens")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds; no answer within them is a DENY")
    parser.add_argument("--mark", required=True)
    parser.add_argument("--funding-index", required=True)
    options = parser.parse_args(arguments)

    request = {
        "account": "account-1",
        "market": "BTC-USD-PERP",
        "size": "-0.5",
        "mark": options.mark,
        "funding_index": options.funding_index,
    }
    server = service()
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with GuardClient(options.address, deadline_s=options.deadline) as guard:
            return 0 if liquidate(f"127.0.0.1:{port}", guard, request) else 1
    finally:
        server.stop(None).wait()


if __name__ == "__main__":
    raise SystemExit(main())
