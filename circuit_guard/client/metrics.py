"""Metrics of a client for users of prometheus_client: hand a ClientMetrics to a client as its `observer`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from circuit_guard.client.answers import BaseAnswer, Outcome

OTHER = "other"
BUCKETS_S = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class ClientMetrics:
    """Counts the outcomes of calls. One may serve several clients, and all threads.

    `markets` are those that may fail open: each has its own series from the start; any other is counted as `other`.
    """

    def __init__(self, markets: Iterable[str] = (), registry: CollectorRegistry = REGISTRY) -> None:
        self._markets = frozenset(markets)
        self._fail_open = Counter(
            "circuit_guard_client_fail_open_total",
            "Closures that went ahead although the guard said nothing.",
            ["market"],
            registry=registry,
        )
        self._calls = Counter(
            "circuit_guard_client_calls_total",
            "Closures and orders asked about, by what came of it; a batch counts each of its own.",
            ["outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "circuit_guard_client_call_duration_seconds",
            "Time from asking to the answer, also where there was none.",
            registry=registry,
            buckets=BUCKETS_S,
        )
        for market in (*sorted(self._markets), OTHER):
            self._fail_open.labels(market)
        for outcome in Outcome:
            self._calls.labels(outcome.value)

    def called(self, answers: Sequence[BaseAnswer], duration_s: float) -> None:
        """Count one call."""
        self._duration.observe(duration_s)
        for answer in answers:
            self._calls.labels(answer.outcome.value).inc()
            if answer.fail_open:
                self._fail_open.labels(answer.market if answer.market in self._markets else OTHER).inc()
