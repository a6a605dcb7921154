"""Builds recordings second by second: honest market data, and whatever a test adds to it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from circuit_guard.core.inputs import Basis, Check, Observation, PhaseCommand, Reference
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, Fault, Header, Label, LabelledCheck

BTC = "BTC-USD-PERP"
ETH = "ETH-USD-PERP"
START_NS = 1_768_797_000 * SECOND_NS
PRICE = Decimal(92_600)
INDEX = Decimal("20511.5")
VENUES = ("binance", "okx", "bybit")


class Feed:
    """A recording in the making; `now_ns` is the second that comes next."""

    def __init__(self, *markets: str) -> None:
        self.markets = markets or (BTC,)
        self.entries: list[Entry] = []
        self.now_ns = START_NS
        self.sequence = 0

    def run(self, seconds: int, **values: Decimal) -> Feed:
        """Publish honest data every second, with some values replaced."""
        for _ in range(seconds):
            self.sequence += 1
            for market in self.markets:
                self.entries += [Reference(self.now_ns, market, venue, self.now_ns, PRICE) for venue in VENUES]
                observed = Observation(
                    self.now_ns, market, "exchange", 1, self.sequence, self.now_ns, PRICE, PRICE, INDEX
                )
                self.entries.append(replace(observed, **values))  # type: ignore[arg-type]
            self.now_ns += SECOND_NS
        return self

    def check(self, request_id: str, label: Label | None = None, market: str = BTC, **values: object) -> Feed:
        """Ask for a closure half a second before the next data."""
        asked = Check(
            self.now_ns - SECOND_NS // 2,
            request_id,
            f"account of {request_id}",
            market,
            Decimal("-0.5"),
            execution_price=PRICE,
            basis=Basis(PRICE, INDEX),
        )
        self.entries.append(LabelledCheck(replace(asked, **values), label))  # type: ignore[arg-type]
        return self

    def phase(self, phase: Phase) -> Feed:
        """Enter a phase half a second before the next data."""
        self.entries.append(PhaseCommand(self.now_ns - SECOND_NS // 2, phase))
        return self

    def fault(self, kind: str, seconds: int, *markets: str) -> Feed:
        """Begin a fault, just before the next data."""
        at_ns = self.now_ns - 1
        self.entries.append(Fault(at_ns, kind, markets or self.markets, at_ns + seconds * SECOND_NS))
        return self

    def write(self, folder: Path, name: str = "recording.jsonl") -> Path:
        """Write the recording, its markets in the header, and return its path."""
        path = folder / name
        write_recording(path, Header(markets=dict.fromkeys(self.markets, Decimal("0.02"))), self.entries)
        return path
