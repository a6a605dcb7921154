"""A gRPC liquidation service that exists already, made to ask circuit_guard by one interceptor, its code untouched.

Run it beside a guard (`circuit-guard serve`):  python examples/guarded_service.py --mark 92610.0 \
    --funding-index 20511.934207715
It serves, calls itself once as an engine would, and ends. The messages are JSON to keep this to one file; with your
own generated stubs nothing changes but the names.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, TypeAlias

import grpc

from circuit_guard.client import Basis, Closure, GuardClient
from circuit_guard.client.server_interceptor import GuardServerInterceptor

SERVICE = "exchange.LiquidationEngine"
CLOSE = f"/{SERVICE}/Close"

Close: TypeAlias = "grpc.UnaryUnaryMultiCallable[Mapping[str, str], Mapping[str, str]]"


class LiquidationEngine:
    """The service as it was: it closes what it is told to, and knows no guard."""

    def close(self, request: Mapping[str, str], context: grpc.ServicerContext) -> Mapping[str, str]:
        """Close a position."""
        print(f"closed {request['account']}: {request['size']} {request['market']}")
        return {"closed": request["account"]}


def mapping(method: str, request: Mapping[str, str]) -> Closure | None:
    """Say what a request closes. It is called for every method; None lets a call through without asking."""
    if method != CLOSE:
        return None
    return Closure(
        market=request["market"],
        account_id=request["account"],
        size=Decimal(request["size"]),
        basis=Basis(mark_price=Decimal(request["mark"]), funding_index=Decimal(request["funding_index"])),
    )


def server(guard: GuardClient) -> grpc.Server:
    """Return the service behind the guard. The interceptor is all that is new."""
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Close": grpc.unary_unary_rpc_method_handler(
            LiquidationEngine().close,
            request_deserializer=json.loads,
            response_serializer=lambda message: json.dumps(message).encode(),
        )
    }
    return grpc.server(
        ThreadPoolExecutor(8),
        handlers=[grpc.method_handlers_generic_handler(SERVICE, methods)],
        interceptors=[GuardServerInterceptor(guard, mapping)],
    )


def call(address: str, request: Mapping[str, str]) -> int:
    """Call the service as an engine does, and say what came of it."""
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        close: Close = channel.unary_unary(CLOSE, lambda message: json.dumps(message).encode(), json.loads)
        try:
            close(request, timeout=5)
        except grpc.RpcError as error:
            print(f"{error.code().name}: {error.details()}")
            return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, and call. Return 0 where the position was closed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051", help="where the guard listens")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds; no answer within them is a DENY")
    parser.add_argument("--mark", required=True)
    parser.add_argument("--funding-index", required=True)
    parser.add_argument("--size", default="-0.5")
    options = parser.parse_args(arguments)

    request = {
        "account": "account-1",
        "market": "BTC-USD-PERP",
        "size": options.size,
        "mark": options.mark,
        "funding_index": options.funding_index,
    }
    with GuardClient(options.address, deadline_s=options.deadline) as guard:
        engine = server(guard)
        port = engine.add_insecure_port("127.0.0.1:0")
        engine.start()
        try:
            return call(f"127.0.0.1:{port}", request)
        finally:
            engine.stop(None).wait()


if __name__ == "__main__":
    raise SystemExit(main())
