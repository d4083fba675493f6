"""Metrics of the snapshot service, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from raven.clock import Clock, SystemClock
from raven.observe.labels import LabelCap
from raven.observe.metrics import SYMBOLS

__all__ = ["CapturedBooks", "SnapshotCollector"]


class CapturedBooks(Protocol):
    """What a snapshot service says about itself."""

    def captured(self) -> list[tuple[str, str, int, int]]:
        """Return `(venue, symbol, snapshots, receive time of the newest state in ns)` of every book."""


class SnapshotCollector(Collector):
    """Turns one reading into Prometheus families. Symbols beyond the label's cap are summed as `other`."""

    def __init__(self, source: CapturedBooks | None, symbols: LabelCap = SYMBOLS, clock: Clock | None = None) -> None:
        self._source = source
        self._symbols = symbols
        self._clock = clock or SystemClock()

    def register(self, registry: CollectorRegistry) -> None:
        """Let `registry` ask this collector at every scrape."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without values."""
        return self._families([])

    def collect(self) -> Iterable[Metric]:
        """Return the families with the present values."""
        return self._families(self._source.captured() if self._source else [])

    def _families(self, rows: list[tuple[str, str, int, int]]) -> Iterable[Metric]:
        labels = ["symbol", "venue"]
        captured = CounterMetricFamily(
            "raven_snapshots_captured", "States of a book that the snapshot service has captured.", labels=labels
        )
        age = GaugeMetricFamily(
            "raven_snapshot_age_seconds", "Time since the newest captured state of a book was received.", labels=labels
        )
        now_ns = self._clock.time_ns()
        sums: dict[tuple[str, str], tuple[int, int]] = {}
        for venue, symbol, count, last_ns in rows:
            key = self._symbols.admit(symbol), venue
            before, newest_ns = sums.get(key, (0, 0))
            sums[key] = before + count, max(newest_ns, last_ns)
        for key, (count, last_ns) in sums.items():
            captured.add_metric([*key], count)
            if last_ns:
                age.add_metric([*key], max(0, now_ns - last_ns) / 1e9)
        return [captured, age]
