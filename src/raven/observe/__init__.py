"""Seeing what happens: logs, metrics, health, and the HTTP ports that show them."""

from raven.observe.health import Health, Status
from raven.observe.http import MonitoringServer
from raven.observe.logs import configure_logs, get_logger
from raven.observe.metrics import (
    REGISTRY,
    configure_metrics,
    record_backfill,
    record_capture,
    record_capture_loss,
    record_commit,
    record_compaction,
    record_connected,
    record_disconnected,
    record_error,
    record_journal_loss,
    record_loop,
    record_response,
    record_retention,
    record_sink_behind,
    record_sink_refusal,
    record_sink_write,
    record_snapshot_request,
    record_unread,
)
from raven.observe.native import EngineSource, InstrumentCounts, NativeCollector, NativeCounts, NativeSource
from raven.observe.snapshots import SnapshotCollector
from raven.observe.upstreams import UpstreamCollector, UpstreamCounts

__all__ = [
    "REGISTRY",
    "EngineSource",
    "Health",
    "InstrumentCounts",
    "MonitoringServer",
    "NativeCollector",
    "NativeCounts",
    "NativeSource",
    "SnapshotCollector",
    "Status",
    "UpstreamCollector",
    "UpstreamCounts",
    "configure_logs",
    "configure_metrics",
    "get_logger",
    "record_backfill",
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
