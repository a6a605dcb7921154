"""A small exchange for the rehearsal: it publishes its markets, restarts well or badly, and asks before it closes.

Its database is a JSON file. `new` makes one, `run` is the exchange itself, and `venues` are other exchanges, whose
prices are the references. `close` and `drain` are its liquidation engine, with one forced closure and with many.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.v1 import liquidation_pb2, types_pb2
from circuit_guard.v1 import market_data_pb2 as pb
from circuit_guard.v1.liquidation_pb2_grpc import LiquidationGuardServiceStub
from circuit_guard.v1.market_data_pb2_grpc import MarketDataServiceStub

PRICES = {"BTC-USD-PERP": "92600", "ETH-USD-PERP": "3200", "BERA-USD-PERP": "0.515", "PAXG-USD-PERP": "4670"}
INDICES = {"BTC-USD-PERP": "20511.93", "ETH-USD-PERP": "702.4", "BERA-USD-PERP": "-2.31", "PAXG-USD-PERP": "-61.29"}
VENUES = ("binance", "bybit", "okx")
PREMIUM_SHARE = Decimal("0.0001")
"""What a long pays in a funding period, as a share of the price."""
FUNDING_PERIOD_NS = 8 * 3600 * 10**9
INTERVAL_S = 0.2
DEADLINE_S = 5.0
PATIENCE_S = 40.0


class Exchange:
    """The markets as they stand in the database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._state: dict[str, Any] = json.loads(database.read_text())
        self.markets: dict[str, dict[str, str]] = self._state["markets"]

    def lose(self, markets: Sequence[str]) -> None:
        """Reset funding indices to zero: what the restart race of 19 January 2026 did."""
        for market in markets:
            self.markets[market]["funding_index"] = "0"

    def accrue(self) -> None:
        """Bring the funding indices up to now, and store them."""
        now_ns = time.time_ns()
        for values in self.markets.values():
            step = premium(values) * (now_ns - self._state["at_ns"]) / FUNDING_PERIOD_NS
            values["funding_index"] = str(round(Decimal(values["funding_index"]) + step, 9))
        self._state["at_ns"] = now_ns
        write(self._database, self._state)

    def dump(self, file: Path) -> None:
        """Write the state as `circuit-guard maintenance validate` reads it."""
        at = stamp(self._state["at_ns"]).ToJsonString()
        rows = [
            {
                "market": market,
                "event_time": at,
                "mark_price": values["price"],
                "index_price": values["price"],
                "funding_index": values["funding_index"],
            }
            for market, values in self.markets.items()
        ]
        write(file, {"markets": rows})

    def observations(self, epoch: int, sequence: int) -> list[pb.Observation]:
        """Return what is published of every market."""
        return [
            pb.Observation(
                market=market,
                source="exchange",
                epoch=epoch,
                feed_sequence=sequence,
                event_time=stamp(self._state["at_ns"]),
                mark_price=values["price"],
                index_price=values["price"],
                funding_index=values["funding_index"],
                funding_premium=str(premium(values)),
            )
            for market, values in self.markets.items()
        ]


def premium(values: dict[str, str]) -> Decimal:
    """Return what a long pays in a funding period, in quote currency per 1 base unit."""
    return Decimal(values["price"]) * PREMIUM_SHARE


def stamp(at_ns: int) -> Timestamp:
    """Return an instant as the contract has it."""
    return Timestamp(seconds=at_ns // 10**9, nanos=at_ns % 10**9)


def write(file: Path, content: object) -> None:
    """Write a JSON file whole: who reads it sees the old content or the new."""
    file.with_suffix(".new").write_text(json.dumps(content, indent=2) + "\n")
    file.with_suffix(".new").rename(file)


def new(options: argparse.Namespace) -> int:
    """Make the database."""
    markets = {market: {"price": price, "funding_index": INDICES[market]} for market, price in PRICES.items()}
    write(options.database, {"at_ns": time.time_ns(), "markets": markets})
    return 0


def run(options: argparse.Namespace) -> int:
    """Be the exchange until a signal ends it. Held, it writes a dump and publishes nothing before SIGUSR1."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    exchange = Exchange(options.database)
    exchange.lose(options.losing)
    exchange.accrue()
    if options.held:
        exchange.dump(options.held)
        signal.sigwait([signal.SIGUSR1])
    epoch, sequence = time.time_ns(), 0  # the epoch grows with each restart, as the guard asks
    with connected(options.address) as channel:
        guard = MarketDataServiceStub(channel)
        while True:
            exchange.accrue()
            sequence += 1
            publish(guard, exchange.observations(epoch, sequence))
            time.sleep(INTERVAL_S)


def publish(guard: MarketDataServiceStub, batch: Sequence[pb.Observation]) -> None:
    """Have the guard judge the observations; what it does not accept goes no further."""
    try:
        response = guard.PublishObservations(pb.PublishObservationsRequest(observations=batch), timeout=DEADLINE_S)
    except grpc.RpcError as error:
        print(f"HELD BACK everything: no answer from the guard: {error.code().name}", flush=True)
        return
    for observation, result in zip(batch, response.results, strict=True):
        if result.status != pb.PUBLISH_STATUS_ACCEPTED:
            why = result.error.message or "; ".join(found.sentence for found in result.findings)
            print(f"HELD BACK {observation.market}: {why}", flush=True)


def venues(options: argparse.Namespace) -> int:
    """Publish the prices of three other exchanges, which know of no maintenance, until a signal ends it."""
    with connected(options.address) as channel:
        guard = MarketDataServiceStub(channel)
        while True:
            now = stamp(time.time_ns())
            references = [
                pb.Reference(market=market, source=venue, event_time=now, price=price)
                for market, price in PRICES.items()
                for venue in VENUES
            ]
            try:
                guard.PublishReferences(pb.PublishReferencesRequest(references=references), timeout=DEADLINE_S)
            except grpc.RpcError as error:
                print(f"references not published: {error.code().name}", flush=True)
            time.sleep(INTERVAL_S)


def close(options: argparse.Namespace) -> int:
    """Ask about one forced closure. Return 0 where it may go ahead."""
    with connected(options.address) as channel:
        [decision] = ask(LiquidationGuardServiceStub(channel), options, count=1)
    print(decision.explanation)
    return 0 if decision.verdict == types_pb2.VERDICT_ALLOW else 1


def drain(options: argparse.Namespace) -> int:
    """Ask about many forced closures, again and again, until each may go ahead. Print each step of it."""
    left, told, began_s = options.count, "", time.monotonic()
    with connected(options.address) as channel:
        guard = LiquidationGuardServiceStub(channel)
        while left and time.monotonic() < began_s + PATIENCE_S:
            decisions = ask(guard, options, left)
            denied = [decision for decision in decisions if decision.verdict != types_pb2.VERDICT_ALLOW]
            left = len(denied)
            reasons = sorted({decision.findings[0].reason for decision in denied})
            progress = f"{options.count - left} ALLOW" + (f", {left} DENY for {', '.join(reasons)}" if left else "")
            if progress != told:
                print(f"{time.monotonic() - began_s:4.1f} s  {progress}", flush=True)
                told = progress
            time.sleep(INTERVAL_S)
    return 1 if left else 0


def ask(
    guard: LiquidationGuardServiceStub, options: argparse.Namespace, count: int
) -> list[liquidation_pb2.LiquidationDecision]:
    """Return the decisions on so many closures of longs, computed with what the exchange has in its database."""
    values = Exchange(options.database).markets[options.market]
    checks = [
        liquidation_pb2.LiquidationCheck(
            request_id=str(uuid.uuid4()),
            account_id=f"account-{number}",
            market=options.market,
            size="-0.1",
            execution_price=options.at or values["price"],
            basis=liquidation_pb2.Basis(mark_price=values["price"], funding_index=values["funding_index"]),
        )
        for number in range(count)
    ]
    response = guard.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=checks), timeout=DEADLINE_S)
    return [result.decision for result in response.results]


def connected(address: str) -> grpc.Channel:
    """Return a channel that is back soon after the guard is."""
    return grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 200)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=os.environ.get("CIRCUIT_GUARD_ADDRESS", "127.0.0.1:50051"))
    parser.add_argument("--database", type=Path, default=Path("exchange.json"))
    commands = parser.add_subparsers(required=True)
    commands.add_parser("new").set_defaults(command=new)
    commands.add_parser("venues").set_defaults(command=venues)
    running = commands.add_parser("run")
    running.add_argument("--losing", nargs="+", default=[], metavar="MARKET", help="reset its funding index to zero")
    running.add_argument("--held", type=Path, metavar="FILE", help="publish nothing yet: write a dump to this file")
    running.set_defaults(command=run)
    for name, command in (("close", close), ("drain", drain)):
        closures = commands.add_parser(name)
        closures.add_argument("market")
        closures.add_argument("--at", metavar="PRICE", help="what it executes at; without it, the mark price")
        closures.add_argument("--count", type=int, default=1)
        closures.set_defaults(command=command)
    options = parser.parse_args(arguments)
    code: int = options.command(options)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
