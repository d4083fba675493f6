"""Every metric that Python writes, and one function per happening: it counts and logs, so that neither is forgotten.

What the native engine counts is read at scrape time by `raven.observe.native`.
"""

from __future__ import annotations

from collections.abc import Iterable

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from raven.errors import RavenError
from raven.observe.labels import LabelCap
from raven.observe.logs import get_logger

__all__ = [
    "REGISTRY",
    "SYMBOLS",
    "configure_metrics",
    "record_backfill",
    "record_breaker",
    "record_capture",
    "record_capture_loss",
    "record_commit",
    "record_compaction",
    "record_connected",
    "record_disconnected",
    "record_error",
    "record_journal_loss",
    "record_loop",
    "record_response",
    "record_retention",
    "record_sink_behind",
    "record_sink_refusal",
    "record_sink_write",
    "record_snapshot_request",
    "record_unread",
]

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)
"""The registry of this process; /metrics shows it."""
prometheus.ProcessCollector(registry=REGISTRY)
prometheus.GCCollector(registry=REGISTRY)

SYMBOLS = LabelCap("symbol")
"""Bounds the values of the label `symbol`."""

log = get_logger("observe")

WEBSOCKET_CONNECTED = Gauge(
    "websocket_connected", "1 while a symbol's streams are connected.", ["symbol", "venue"], registry=REGISTRY
)
WEBSOCKET_DISCONNECTS = Counter(
    "websocket_disconnects", "Connections lost, per symbol that was on them.", ["symbol", "venue"], registry=REGISTRY
)
RECONNECTS = Counter(
    "raven_reconnects", "Connections to a venue that were lost, by why.", ["venue", "reason"], registry=REGISTRY
)
SNAPSHOT_REQUESTS = Counter(
    "raven_snapshot_requests", "REST snapshots asked for, by how it ended.", ["venue", "outcome"], registry=REGISTRY
)
BACKFILLED = Counter(
    "raven_backfilled_events", "Events fetched again after a loss.", ["symbol", "venue"], registry=REGISTRY
)
ERRORS = Counter("errors", "Errors by kind (see raven.errors).", ["kind"], registry=REGISTRY)
RESPONSE_LATENCY = Histogram(
    "response_latency_seconds",
    "Time to answer a request that Python handles.",
    ["method"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)
COMPONENT_HEALTH = Gauge(
    "raven_component_health_ratio",
    "1 healthy, 0.5 degraded, 0 unhealthy.",
    ["component", "service"],
    registry=REGISTRY,
)
LOOP_LAG = Gauge("raven_loop_lag_seconds", "How late the event loop woke up last time.", ["loop"], registry=REGISTRY)
LOOP_TASKS = Gauge(
    "raven_loop_tasks", "Tasks of the event loop; grows only when something leaks.", ["loop"], registry=REGISTRY
)
JOURNAL_RECORDS = Counter("raven_journal_records", "Records written to the journal and synced.", registry=REGISTRY)
JOURNAL_BYTES = Counter("raven_journal_bytes", "Bytes written to the journal and synced.", registry=REGISTRY)
JOURNAL_LOST = Counter(
    "raven_journal_lost_records", "Records that the journal could not keep; each in a gap record.", registry=REGISTRY
)
JOURNAL_COMMIT = Histogram(
    "raven_journal_commit_seconds",
    "Time to write and sync one group of records.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=REGISTRY,
)
CAPTURE_MESSAGES = Counter("raven_record_messages", "Messages written to the raw capture.", registry=REGISTRY)
CAPTURE_BYTES = Counter("raven_record_bytes", "Compressed bytes written to the raw capture.", registry=REGISTRY)
CAPTURE_LOST = Counter(
    "raven_record_lost_messages", "Messages that the raw capture had no room for; it says where.", registry=REGISTRY
)
CAPTURE_WAITING = Gauge("raven_record_waiting_bytes", "Messages that wait to be written, in memory.", registry=REGISTRY)
JOURNAL_COMPACTED = Counter("raven_journal_compacted_segments", "Segments that became Parquet.", registry=REGISTRY)
JOURNAL_PARQUET = Counter("raven_journal_parquet_bytes", "Bytes of Parquet that was made of them.", registry=REGISTRY)
JOURNAL_RETENTION = Counter(
    "raven_journal_retired_files",
    "Parquet files that left: downsampled, archived, removed.",
    ["how"],
    registry=REGISTRY,
)
JOURNAL_UNREAD = Counter(
    "raven_journal_unread_removed_records",
    "Records that the quota took from the journal before a database had them.",
    ["sink"],
    registry=REGISTRY,
)
SINK_ROWS = Counter("raven_sink_rows", "Records that a database has taken.", ["sink"], registry=REGISTRY)
SINK_REFUSED = Counter(
    "raven_sink_refused_rows", "Records that a database refused; each is a dead letter.", ["sink"], registry=REGISTRY
)
SINK_WRITE = Histogram(
    "raven_sink_write_seconds",
    "Time to bring one batch into a database.",
    ["sink"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
    registry=REGISTRY,
)
SINK_BEHIND_BYTES = Gauge(
    "raven_sink_behind_bytes", "Bytes of the journal that are not in a database yet.", ["sink"], registry=REGISTRY
)
SINK_BEHIND = Gauge(
    "raven_sink_behind_seconds", "Age of the oldest record that is not in a database yet.", ["sink"], registry=REGISTRY
)
BREAKER_STATE = Gauge(
    "raven_breaker_state", "0 closed, 1 half open (a probe is under way), 2 open.", ["breaker"], registry=REGISTRY
)
LABEL_OVERFLOW = Counter(
    "raven_label_overflows", "Values counted as `other` because their label is full.", ["label"], registry=REGISTRY
)
BUILD = Gauge("raven_build_info", "Always 1; the labels say what runs.", ["version", "service"], registry=REGISTRY)

SYMBOLS.on_overflow = LABEL_OVERFLOW.labels("symbol").inc


def configure_metrics(service: str, version: str, max_label_values: int) -> None:
    """Say what runs, and how many values a label may take; once, at the start."""
    BUILD.labels(version, service).set(1)
    SYMBOLS.limit = max_label_values


def record_connected(venue: str, symbols: Iterable[str], url: str = "") -> None:
    """Say that the streams of `symbols` are connected."""
    symbols = tuple(symbols)
    for symbol in symbols:
        WEBSOCKET_CONNECTED.labels(SYMBOLS.admit(symbol), venue).set(1)
    log.info("connected", venue=venue, symbols=len(symbols), url=url)


def record_disconnected(venue: str, symbols: Iterable[str], reason: str, retry_in_s: float | None = None) -> None:
    """Say that the streams of `symbols` were lost; `reason` is one of a few words, `planned` for our own doing."""
    symbols = tuple(symbols)
    for symbol in symbols:
        label = SYMBOLS.admit(symbol)
        WEBSOCKET_CONNECTED.labels(label, venue).set(0)
        WEBSOCKET_DISCONNECTS.labels(label, venue).inc()
    RECONNECTS.labels(venue, reason).inc()
    log.warning("disconnected", venue=venue, symbols=len(symbols), reason=reason, retry_in_s=retry_in_s)


def record_snapshot_request(venue: str, symbol: str, outcome: str, seconds: float, reason: str = "") -> None:
    """Say how a REST snapshot ended: `ok`, `stale`, `timeout`, `http_error`, `rate_limited`, `refused`."""
    SNAPSHOT_REQUESTS.labels(venue, outcome).inc()
    write = log.debug if outcome == "ok" else log.warning
    write("snapshot", venue=venue, symbol=symbol, outcome=outcome, seconds=round(seconds, 4), reason=reason)


def record_backfill(venue: str, symbol: str, events: int) -> None:
    """Say that `events` were fetched after a loss."""
    BACKFILLED.labels(SYMBOLS.admit(symbol), venue).inc(events)
    log.info("backfilled", venue=venue, symbol=symbol, events=events)


def record_response(method: str, seconds: float, status: str = "OK") -> None:
    """Say how long a request took that Python answered."""
    RESPONSE_LATENCY.labels(method).observe(seconds)
    log.debug("answered", method=method, milliseconds=round(seconds * 1e3, 3), status=status)


def record_error(error: BaseException, where: str) -> None:
    """Count and report an error that reached a task's edge; a traceback is shown for what nobody foresaw."""
    foreseen = isinstance(error, RavenError)
    kind = error.kind if isinstance(error, RavenError) else "InternalError"
    ERRORS.labels(kind).inc()
    log.error(
        "error", kind=kind, where=where, reason=f"{type(error).__name__}: {error}", every_s=10,
        exc_info=None if foreseen else error,
    )  # fmt: skip


def record_breaker(name: str, state: str, reason: str) -> None:
    """Say that a circuit breaker changed to `closed`, `half_open` or `open`, and why it last failed."""
    BREAKER_STATE.labels(name).set(("closed", "half_open", "open").index(state))
    if state == "open":
        # Each probe that fails opens it again, for as long as the other side is away.
        log.warning("breaker", breaker=name, state=str(state), reason=reason, every_s=60)
    else:
        write = log.debug if state == "half_open" else log.info
        write("breaker", breaker=name, state=str(state), reason=reason)


def record_compaction(segments: int, size: int) -> None:
    """Count segments that became Parquet."""
    JOURNAL_COMPACTED.inc(segments)
    JOURNAL_PARQUET.inc(size)


def record_retention(how: str, files: int) -> None:
    """Count files that left the journal: `downsampled`, `archived` or `removed`."""
    JOURNAL_RETENTION.labels(how).inc(files)


def record_unread(sink: str, rows: int) -> None:
    """Count records that left the journal before a database had them."""
    JOURNAL_UNREAD.labels(sink).inc(rows)


def record_sink_write(sink: str, rows: int, seconds: float) -> None:
    """Count what a database has taken."""
    SINK_ROWS.labels(sink).inc(rows)
    SINK_WRITE.labels(sink).observe(seconds)


def record_sink_refusal(sink: str, key: str, reason: str) -> None:
    """Say that a database refused a record for what it is."""
    SINK_REFUSED.labels(sink).inc()
    log.error("refused by a database; it is a dead letter now", sink=sink, record=key, reason=reason, every_s=1)


def record_sink_behind(sink: str, size: int, seconds: float) -> None:
    """Say how far a database is behind the journal."""
    SINK_BEHIND_BYTES.labels(sink).set(size)
    SINK_BEHIND.labels(sink).set(seconds)


def record_commit(records: int, size: int, seconds: float) -> None:
    """Count what the journal has synced."""
    JOURNAL_RECORDS.inc(records)
    JOURNAL_BYTES.inc(size)
    JOURNAL_COMMIT.observe(seconds)


def record_journal_loss(records: int) -> None:
    """Count what the journal could not keep."""
    JOURNAL_LOST.inc(records)


def record_capture(messages: int, size: int) -> None:
    """Count what the raw capture has written."""
    CAPTURE_MESSAGES.inc(messages)
    CAPTURE_BYTES.inc(size)


def record_capture_loss(messages: int, waiting: int) -> None:
    """Count what the raw capture had no room for, and say how many bytes wait."""
    CAPTURE_WAITING.set(waiting)
    if messages:
        CAPTURE_LOST.inc(messages)
        log.error("the capture has no room", lost=messages, next="a line of the capture says so", every_s=1)


def record_loop(loop: str, late_s: float, tasks: int) -> None:
    """Say how much later than asked a loop woke up, and how many tasks it has; above 100 ms it is told."""
    LOOP_LAG.labels(loop).set(late_s)
    LOOP_TASKS.labels(loop).set(tasks)
    if late_s > 0.1:
        log.warning("event loop late", component=loop, seconds=round(late_s, 3), every_s=10)
