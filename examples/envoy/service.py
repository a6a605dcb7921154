"""A liquidation service that knows no guard: it closes whatever arrives. Envoy stands in front of it.

Run it behind examples/envoy/envoy.yaml:  python examples/envoy/service.py
It takes what to close from the very headers that the guard judges. A service that took it from elsewhere would close
something that nobody has judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "exchange.Liquidations"


def close(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Close a position. Here the engine places its order."""
    headers = {key: str(value) for key, value in context.invocation_metadata()}
    account, market = headers["x-circuit-guard-account-id"], headers["x-circuit-guard-market"]
    closed = f"closed {account}: {headers['x-circuit-guard-size']} {market}"
    print(f"{closed}, as decision {headers['x-circuit-guard-decision']} allows", flush=True)
    return closed.encode()


def server(address: str) -> grpc.Server:
    """Return the service at an address, started."""
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(close)
    handlers = [grpc.method_handlers_generic_handler(SERVICE, {"Close": handler})]
    serving = grpc.server(ThreadPoolExecutor(4), handlers=handlers, options=[("grpc.so_reuseport", 0)])
    serving.add_insecure_port(address)
    serving.start()
    return serving


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50061")
    server(parser.parse_args(arguments).address).wait_for_termination()


if __name__ == "__main__":
    main()
