"""What a service that hears another one counts, read when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from raven.observe.native import grpc_families

__all__ = ["UpstreamCollector", "UpstreamCounts"]


@dataclass(frozen=True, slots=True)
class UpstreamCounts:
    """One reading of a link and of the gRPC server beside it."""

    upstream: str
    """Whom it hears."""
    connected: bool
    lag_s: float = 0.0
    counters: Mapping[str, int] = field(default_factory=dict)
    """As `Link.counters` has them."""
    grpc: Mapping[str, int] = field(default_factory=dict)
    """As `GrpcServer.stats` has them."""


# Name without `_total`, help, key of `Link.counters`.
COUNTERS = (
    ("raven_upstream_records", "Records heard.", "records"),
    ("raven_upstream_bytes", "Bytes heard.", "bytes"),
    ("raven_upstream_gaps", "Gap records written because something was lost on this hop.", "gaps"),
    ("raven_upstream_missing_records", "Records that these say are missing, as far as that is known.", "missing"),
    ("raven_upstream_broken_messages", "Messages that could not be read; each leaves a gap record.", "broken"),
)


class UpstreamCollector(Collector):
    """Turns one reading into Prometheus families."""

    def __init__(self, read: Callable[[], UpstreamCounts] | None) -> None:
        self._read = read

    def register(self, registry: CollectorRegistry) -> None:
        """Let `registry` ask this collector at every scrape."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without values."""
        return list(self._upstream(None))

    def collect(self) -> Iterable[Metric]:
        """Return the families with the present values."""
        now = self._read() if self._read else None
        yield from self._upstream(now)
        if now is not None:
            yield from grpc_families(now.grpc)

    def _upstream(self, now: UpstreamCounts | None) -> Iterator[Metric]:
        labels = ["upstream"]
        connected = GaugeMetricFamily(
            "raven_upstream_connected", "1 while the upstream is heard, else 0.", labels=labels
        )
        lag = GaugeMetricFamily(
            "raven_upstream_lag_seconds",
            "Age of the newest record when it came in, by its receive time at the source.",
            labels=labels,
        )
        counters = [(CounterMetricFamily(name, text, labels=labels), key) for name, text, key in COUNTERS]
        if now is not None:
            connected.add_metric([now.upstream], int(now.connected))
            lag.add_metric([now.upstream], now.lag_s)
            for family, key in counters:
                family.add_metric([now.upstream], now.counters.get(key, 0))
        yield connected
        yield lag
        yield from (family for family, _ in counters)
