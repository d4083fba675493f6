"""What the native engine and the gRPC server count, exported when somebody scrapes: no cost per event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from raven.observe.labels import LabelCap
from raven.observe.metrics import SYMBOLS

__all__ = [
    "EngineCounters",
    "EngineSource",
    "InstrumentCounts",
    "NativeCollector",
    "NativeCounts",
    "NativeSource",
    "grpc_families",
]


@dataclass(frozen=True, slots=True)
class InstrumentCounts:
    """One symbol: `Engine.counters` and `Engine.state`."""

    venue: str
    symbol: str
    state: str
    counters: Mapping[str, int]
    latency: Sequence[int] = ()
    """Counts per bucket of `NativeCounts.latency_bounds`."""
    latency_sum_us: float = 0.0


@dataclass(frozen=True, slots=True)
class NativeCounts:
    """One reading of everything the native side counts; fields are named as in `raven._core`."""

    instruments: Sequence[InstrumentCounts] = ()
    totals: Mapping[str, int] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    latency_bounds: Sequence[float] = ()
    grpc: Mapping[str, int] | None = None


class NativeSource(Protocol):
    """Whoever can read the native counters (the engine has one thread; this hides which)."""

    def counts(self) -> NativeCounts:
        """Return the present counts."""
        ...


class EngineCounters(Protocol):
    """The counting half of `raven._core.Engine`."""

    def counters(self, instrument: int) -> dict[str, int]:
        """Count the events of one symbol."""
        ...

    def totals(self) -> dict[str, int]:
        """Count what belongs to no symbol."""
        ...

    def rejects(self) -> dict[str, int]:
        """Count refused events by reason."""
        ...

    def state(self, instrument: int) -> str:
        """Return how the book is."""
        ...

    def latency(self, instrument: int | None = None) -> tuple[list[int], float]:
        """Return the latency histogram of one symbol or of all: counts, and their sum in microseconds."""
        ...

    def latency_bounds(self) -> list[float]:
        """Return the upper bounds of its buckets, microseconds; the last one is infinite."""
        ...


class EngineSource:
    """Reads an engine and, when there is one, a gRPC server. The calls are short and hold the interpreter lock."""

    def __init__(
        self,
        engine: EngineCounters,
        instruments: Callable[[], Iterable[tuple[str, str, int]]],
        grpc_stats: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        """`instruments` lists `(venue, symbol, handle)` of what is collected now."""
        self._engine = engine
        self._instruments = instruments
        self._grpc_stats = grpc_stats

    def counts(self) -> NativeCounts:
        """Return the present counts."""
        engine = self._engine
        return NativeCounts(
            instruments=[
                InstrumentCounts(venue, symbol, engine.state(handle), engine.counters(handle), *engine.latency(handle))
                for venue, symbol, handle in tuple(self._instruments())
            ],
            totals=engine.totals(),
            rejects=engine.rejects(),
            latency_bounds=engine.latency_bounds(),
            grpc=self._grpc_stats() if self._grpc_stats else None,
        )


# Name without `_total`, help, key of `Engine.counters`.
PER_SYMBOL = (
    ("messages_error", "Events that validation refused.", "rejected"),
    ("orderbook_updates", "Book updates applied.", "books"),
    ("sequence_errors", "Holes in the venue's ids.", "sequence_errors"),
    ("trades_processed", "Trades published.", "trades"),
    (
        "raven_received_events",
        "Events that arrived. Equals published + rejected + ignored + gap + pending.",
        "received",
    ),
    ("raven_published_events", "Events appended to a ring.", "published"),
    ("raven_ignored_events", "Events known already, or not asked for.", "ignored"),
    ("raven_gap_events", "Events given up and counted as a gap.", "gap"),
    ("raven_resyncs", "Books taken anew.", "resyncs"),
    ("raven_book_crossed", "Books whose best bid reached the best ask; never published.", "crossed"),
    ("raven_duplicate_events", "Events received twice.", "duplicates"),
    ("raven_missing_trades", "Trades whose ids were skipped by the venue.", "missing_trades"),
    ("raven_late_trades", "Trades older than one already seen.", "late_trades"),
)
# Label `type` of messages_processed_total, key of `Engine.counters`.
MESSAGE_TYPES = (
    ("orderbook", "books"), ("trade", "trades"), ("quote", "quotes"), ("candle", "candles"), ("funding", "fundings"),
    ("liquidation", "liquidations"),
)  # fmt: skip
TOTALS = (
    ("raven_frames", "WebSocket frames taken.", "frames"),
    ("raven_frame_bytes", "Bytes of these frames.", "bytes"),
)
# The bounds of the engine's histogram that a scrape shows, microseconds.
SHOWN_LATENCIES_US = frozenset(0.256 * 2**power for power in range(2, 18))
STATES = ("waiting", "synced", "resyncing", "stale")
# Name, help, key of `GrpcServer.stats`, whether it only grows.
GRPC = (
    ("grpc_active_connections", "gRPC connections open.", "connections", False),
    ("raven_grpc_streams", "Streams open.", "streams", False),
    ("raven_grpc_connections_refused", "Connections refused at the limit.", "connections_refused", True),
    ("raven_grpc_messages", "Messages sent.", "messages", True),
    ("raven_grpc_bytes", "Bytes sent.", "bytes", True),
    ("raven_grpc_lost_events", "Events slow readers lost, each told by a gap mark.", "lost", True),
    ("raven_grpc_gap_marks", "Gap marks sent.", "gap_marks", True),
    ("raven_grpc_encoded_records", "Records encoded; each is encoded once, whoever reads it.", "encoded", True),
    ("raven_grpc_requests", "Requests received.", "requests", True),
    ("raven_grpc_errors", "Requests answered with an error.", "errors", True),
)


def grpc_families(stats: Mapping[str, int]) -> Iterator[Metric]:
    """Return what a gRPC server counts (`GrpcServer.stats`)."""
    for name, help_text, key, grows in GRPC:
        make = CounterMetricFamily if grows else GaugeMetricFamily
        yield make(name, help_text, value=stats.get(key, 0))


class NativeCollector(Collector):
    """Turns one reading into Prometheus families. Symbols beyond the label's cap are summed as `other`."""

    def __init__(self, source: NativeSource | None, symbols: LabelCap = SYMBOLS) -> None:
        self._source = source
        self._symbols = symbols

    def register(self, registry: CollectorRegistry) -> None:
        """Let `registry` ask this collector at every scrape."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without values (no engine needed)."""
        return list(self._families(NativeCounts(grpc={})))

    def collect(self) -> Iterable[Metric]:
        """Return the families with the present values."""
        return self._families(self._source.counts() if self._source else NativeCounts())

    def _families(self, counts: NativeCounts) -> Iterator[Metric]:
        instruments = self._capped(counts.instruments)
        for name, help_text, key in PER_SYMBOL:
            family = CounterMetricFamily(name, help_text, labels=["symbol", "venue"])
            for (symbol, venue), sums in instruments.items():
                family.add_metric([symbol, venue], sums.get(key, 0))
            yield family
        processed = CounterMetricFamily("messages_processed", "Events published.", labels=["symbol", "type", "venue"])
        pending = GaugeMetricFamily(
            "raven_pending_events", "Events that wait for a snapshot.", labels=["symbol", "venue"]
        )
        for (symbol, venue), sums in instruments.items():
            for label, key in MESSAGE_TYPES:
                processed.add_metric([symbol, label, venue], sums.get(key, 0))
            pending.add_metric([symbol, venue], sums.get("pending", 0))
        yield processed
        yield pending
        yield self._states(counts.instruments)
        yield self._latency(counts)
        for name, help_text, key in TOTALS:
            yield CounterMetricFamily(name, help_text, value=counts.totals.get(key, 0))
        rejects = CounterMetricFamily("raven_rejected_events", "Refused events by reason.", labels=["reason"])
        for reason, count in counts.rejects.items():
            rejects.add_metric([reason], count)
        yield rejects
        if counts.grpc is not None:
            yield from grpc_families(counts.grpc)

    def _capped(self, instruments: Iterable[InstrumentCounts]) -> dict[tuple[str, str], dict[str, int]]:
        sums: dict[tuple[str, str], dict[str, int]] = {}
        for one in instruments:
            into = sums.setdefault((self._symbols.admit(one.symbol), one.venue), {})
            for key, value in one.counters.items():
                into[key] = into.get(key, 0) + value
        return sums

    @staticmethod
    def _states(instruments: Iterable[InstrumentCounts]) -> Metric:
        family = GaugeMetricFamily("raven_books", "Symbols by the state of their book.", labels=["venue", "state"])
        numbers: dict[tuple[str, str], int] = {}
        for one in instruments:
            for state in STATES:
                numbers.setdefault((one.venue, state), 0)
            numbers[one.venue, one.state] = numbers.get((one.venue, one.state), 0) + 1
        for (venue, state), number in numbers.items():
            family.add_metric([venue, state], number)
        return family

    def _latency(self, counts: NativeCounts) -> Metric:
        """Receive to published. Every fourth bucket of the engine's is shown: powers of two from 1 µs to 33 ms."""
        family = HistogramMetricFamily(
            "processing_latency_microseconds", "From a frame's arrival to its publication.", labels=["symbol", "venue"]
        )
        sums: dict[tuple[str, str], tuple[list[int], float]] = {}
        for one in counts.instruments:
            key = self._symbols.admit(one.symbol), one.venue
            buckets, total = sums.get(key, ([0] * len(one.latency), 0.0))
            sums[key] = [a + b for a, b in zip(buckets, one.latency, strict=True)], total + one.latency_sum_us
        for (symbol, venue), (buckets, total) in sums.items():
            shown: list[tuple[str, float]] = []
            below = 0
            for bound, count in zip(counts.latency_bounds, buckets, strict=True):
                below += count
                if bound in SHOWN_LATENCIES_US:
                    shown.append((str(bound), below))
            family.add_metric([symbol, venue], buckets=[*shown, ("+Inf", below)], sum_value=total)
        return family
