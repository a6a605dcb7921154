"""Plain numbers as metrics: whoever scrapes sees what prometheus_client's own would show."""

from __future__ import annotations

from math import inf, nan

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from circuit_guard.telemetry.plain import NAMESPACE, Family


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def families(registry: CollectorRegistry) -> tuple[Family, Family, Family]:
    return (
        Family("seen_total", "counter", "What was seen.", ("market", "result"), registry),
        Family("age_seconds", "gauge", "How old it is.", ("market",), registry),
        Family("ready", "gauge", "Whether it is.", (), registry),
    )


def test_scrape_when_the_same_happened_to_metrics_of_the_library_then_both_show_the_same(
    registry: CollectorRegistry,
) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no hints
    library = CollectorRegistry()
    of_library = (
        Counter("seen_total", "What was seen.", ("market", "result"), namespace=NAMESPACE, registry=library),
        Gauge("age_seconds", "How old it is.", ("market",), namespace=NAMESPACE, registry=library),
        Gauge("ready", "Whether it is.", (), namespace=NAMESPACE, registry=library),
    )
    for seen, age, ready in (families(registry), of_library):
        seen.labels("BTC", "accepted").inc()
        seen.labels("BTC", "accepted").inc(2)
        seen.labels('a "quoted" name\n', "rejected")
        for market, value in (("BTC", 0.25), ("ETH", inf), ("SOL", nan), ("GONE", 1)):
            age.labels(market).set(value)
        age.remove_by_labels({"market": "GONE"})
        ready.set(True)

    assert generate_latest(registry) == generate_latest(library)
    assert open_metrics(registry) == open_metrics(library)  # type: ignore[no-untyped-call]  # nor this one


def test_scrape_when_one_metric_is_asked_for_then_only_that_comes(registry: CollectorRegistry) -> None:
    families(registry)

    only = registry.restricted_registry(["circuit_guard_ready"])

    assert [metric.name for metric in only.collect()] == ["circuit_guard_ready"]


def test_gauge_when_it_has_a_function_then_that_is_asked_at_each_scrape(registry: CollectorRegistry) -> None:
    *_, ready = families(registry)
    answers = iter((1.0, 0.0))
    ready.set_function(lambda: next(answers))

    assert [registry.get_sample_value("circuit_guard_ready") for _ in range(2)] == [1.0, 0.0]


def test_series_when_its_labels_are_too_few_then_that_is_an_error(registry: CollectorRegistry) -> None:
    seen, *_ = families(registry)

    with pytest.raises(ValueError, match=r"circuit_guard_seen_total got the labels \('BTC',\), expected"):
        seen.labels("BTC")
