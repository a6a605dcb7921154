"""Counters and gauges as plain numbers, which become samples only when somebody scrapes.

A thousand markets have fifty thousand series. As objects of prometheus_client, each with a lock, they take four times
the memory, and counting takes ten times as long. Here the event loop alone counts, so there is no lock, and a scrape in
another thread sees each number as it is at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from sys import intern

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Sample

NAMESPACE = "circuit_guard"


class Series:
    """One number. `value` may be added to or set directly where each microsecond counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def set(self, value: float) -> None:
        """Set it."""
        self.value = value


class Family:
    """A metric and its series by the values of their labels; without labels there is one series from the start.

    A counter's name ends in `_total`. In a registry it is a collector like those of prometheus_client.
    """

    def __init__(
        self, name: str, kind: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._sample_name = f"{NAMESPACE}_{name}"
        self._kind = kind
        self._help_text = help_text
        self.label_names = tuple(labels)
        """What the labels are called, in the order in which `labels` takes their values."""
        self._series: dict[tuple[str, ...], Series] = {}
        self._function: Callable[[], float] | None = None
        if not labels:
            self._alone = self.labels()
        registry.register(self)

    def labels(self, *values: object) -> Series:
        """Return the series with these values of the labels, in their order; it is made if there is none."""
        if len(values) != len(self.label_names):
            raise ValueError(f"{self._sample_name} got the labels {values}, expected {self.label_names}")
        key = tuple([intern(str(value)) for value in values])
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series()
        return found

    def inc(self, amount: float = 1) -> None:
        """Add to the one series of a metric without labels."""
        self._alone.value += amount

    def set(self, value: float) -> None:
        """Set the one series of a metric without labels."""
        self._alone.value = value

    def set_function(self, look: Callable[[], float]) -> None:
        """Have the one series of a metric without labels looked up at each scrape."""
        self._function = look

    def remove(self, *values: object) -> None:
        """Drop the series with these values of the labels, if there is one."""
        self._series.pop(tuple(map(str, values)), None)

    def remove_by_labels(self, wanted: Mapping[str, str]) -> None:
        """Drop every series in which all of these labels have these values."""
        places = [(self.label_names.index(label), value) for label, value in wanted.items()]
        for key in [key for key in self._series if all(key[place] == value for place, value in places)]:
            del self._series[key]

    def clear(self) -> None:
        """Drop every series."""
        self._series.clear()

    def describe(self) -> list[Metric]:
        """Return the metric without samples, as a registry asks for it."""
        return [self._metric()]

    def collect(self) -> Iterator[Metric]:
        """Return the metric with its samples as they are now; from any thread."""
        metric, name, labels = self._metric(), self._sample_name, self.label_names
        if self._function is not None:
            self._alone.value = self._function()
        metric.samples = [
            Sample(name, dict(zip(labels, key, strict=True)), float(series.value))
            for key, series in list(self._series.items())
        ]
        yield metric

    def _metric(self) -> Metric:
        return Metric(self._sample_name.removesuffix("_total"), self._help_text, self._kind)
