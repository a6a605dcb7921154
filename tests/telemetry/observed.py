"""A driven engine with what watches it: its metrics, or its log."""

from __future__ import annotations

import io
import json
from typing import Any

from prometheus_client import generate_latest

from circuit_guard.core.policy import Policy
from circuit_guard.telemetry.fact_log import FactLog
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics, Vitals
from tests.driver import START_NS, Driver

SOL = "SOL-USD-PERP"
STEADY = Vitals(
    ready=True,
    shadow=False,
    watchers=0,
    events_lost=0,
    log_lines_dropped=0,
    clock_offset_s=0.0,
    clock_error_s=0.0,
)


class Measured:
    """A driven engine and its metrics."""

    def __init__(self, policy: Policy) -> None:
        self.metrics = Metrics(policy, "1.2.3", START_NS)
        self.driver = Driver(policy, [self.metrics])

    def value(self, name: str, **labels: str) -> float:
        """Return one sample; it must exist."""
        value = self.metrics.registry.get_sample_value(f"circuit_guard_{name}", labels)
        assert value is not None, f"no series {name} {labels}"
        return value

    def show(self, vitals: Vitals = STEADY) -> None:
        engine = self.driver.engine
        self.metrics.show_guard(engine.state.global_breaker, engine.state.global_halts, vitals)
        self.metrics.show_state(engine.state, engine.now_ns())
        for market in engine.policy.markets:
            self.metrics.show_market(engine.market_status(market))

    def series(self) -> set[str]:
        """Return the names and labels of all series of ours."""
        text = generate_latest(self.metrics.registry).decode()
        return {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("circuit_guard_")}


class Logged:
    """A driven engine, and the lines that it logged."""

    def __init__(self, policy: Policy) -> None:
        self.driver = Driver(policy, [FactLog(policy.markets)])
        self._stream = io.StringIO()
        self._pipeline = LogPipeline("info", "json", self._stream, queue_max=100_000)
        self._pipeline.__enter__()
        self._read = 0

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the lines since the last call; of one event if named."""
        self.close()
        found = [json.loads(line) for line in self._stream.getvalue().splitlines()][self._read :]
        self._read += len(found)
        self._pipeline = LogPipeline("info", "json", self._stream, queue_max=100_000)
        self._pipeline.__enter__()
        return [line for line in found if event in ("", line["event"])]

    def close(self) -> None:
        self._pipeline.__exit__(None, None, None)
