"""Publishes market data to circuit_guard, and passes onward only what it trusts.

Run it beside a guard (`circuit-guard serve`):  python examples/publisher_client.py --seconds 60
It publishes one market at a steady price, with three independent venues; --funding-index 0 shows what a reset does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.v1 import market_data_pb2 as pb
from circuit_guard.v1.market_data_pb2_grpc import MarketDataServiceStub

DEADLINE_S = 0.5
VENUES = ("binance", "okx", "bybit")


def publish(guard: MarketDataServiceStub, observation: pb.Observation) -> bool:
    """Have the guard judge an observation before anybody else sees it. True: pass it onward."""
    try:
        response = guard.PublishObservations(
            pb.PublishObservationsRequest(observations=[observation]), timeout=DEADLINE_S
        )
    except grpc.RpcError as error:
        # No verdict: whoever consumes this feed must not act on values that nobody has judged.
        print(f"HELD BACK  no answer from the guard: {error.code().name}")
        return False
    (result,) = response.results
    if result.status == pb.PUBLISH_STATUS_ACCEPTED:
        return True
    why = result.error.message or "; ".join(finding.sentence for finding in result.findings)
    print(f"HELD BACK  {pb.PublishStatus.Name(result.status)}: {why}")
    return False


def refer(guard: MarketDataServiceStub, market: str, price: str) -> None:
    """Publish what independent venues say. In production: from their own feeds, never from the exchange's."""
    references = [pb.Reference(market=market, source=venue, event_time=now(), price=price) for venue in VENUES]
    try:
        guard.PublishReferences(pb.PublishReferencesRequest(references=references), timeout=DEADLINE_S)
    except grpc.RpcError as error:
        print(f"references not published: {error.code().name}")


def now() -> Timestamp:
    """Return the present instant."""
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish once a second. Return 0 where everything was trusted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--market", default="BTC-USD-PERP")
    parser.add_argument("--price", default="92610.0")
    parser.add_argument("--funding-index", default="20511.934207715")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between observations")
    options = parser.parse_args(arguments)

    epoch = time.time_ns()  # grows with each restart, as the guard asks: it tells two writers from one that restarted
    held_back = 0
    with grpc.insecure_channel(options.address, [("grpc.enable_http_proxy", 0)]) as channel:
        guard = MarketDataServiceStub(channel)
        for sequence in range(1, options.seconds + 1):
            refer(guard, options.market, options.price)
            observation = pb.Observation(
                market=options.market,
                source="exchange",
                epoch=epoch,
                feed_sequence=sequence,
                event_time=now(),
                mark_price=options.price,
                index_price=options.price,
                funding_index=options.funding_index,
            )
            if publish(guard, observation):
                print(f"PASSED ON  {options.market} mark {options.price}, funding index {options.funding_index}")
            else:
                held_back += 1
            time.sleep(options.interval)
    print(f"{options.seconds - held_back} passed on, {held_back} held back")
    return 1 if held_back else 0


if __name__ == "__main__":
    raise SystemExit(main())
