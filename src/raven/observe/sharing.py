"""What is in shared memory, exported when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["SharedMemoryCollector"]

Usage = tuple[int, int, int, str]
"""As `raven._core.SharedMemory.usage` returns it."""


class SharedMemoryCollector(Collector):
    """Turns one reading into Prometheus families. Readers leave no trace: their laps are counted on their side."""

    def __init__(self, usage: Callable[[], Usage] | None) -> None:
        self._usage = usage

    def register(self, registry: CollectorRegistry) -> None:
        """Let `registry` ask this collector at every scrape."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without values."""
        return self._families(None)

    def collect(self) -> Iterable[Metric]:
        """Return the families with the present values."""
        return self._families(self._usage() if self._usage else None)

    def _families(self, usage: Usage | None) -> list[Metric]:
        topics, size, refused = usage[:3] if usage else (None, None, None)
        return [
            GaugeMetricFamily("raven_shm_topics", "Topics that other processes can read from shared memory.", topics),
            GaugeMetricFamily("raven_shm_bytes", "Shared memory that is taken.", size),
            CounterMetricFamily("raven_shm_refused_topics", "Topics that found no room in shared memory.", refused),
        ]
