"""What ingest can be told; `raven.app.compose` fills it from the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["EngineSettings", "IngestSettings", "VenuePlan"]


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How connections, watchdogs, snapshots and collections behave."""

    reconnect_delay_s: float = 1.0
    """First pause before reconnecting; doubles, with jitter."""
    max_reconnect_delay_s: float = 60.0
    connect_timeout_s: float = 10.0
    """For TCP, TLS and the WebSocket handshake together."""
    linger_s: float = 30.0
    """How long a stream stays without holders."""
    silence_s: float = 10.0
    """A stream that is silent for longer than this and than twenty of its usual pauses is not well."""
    max_silence_s: float = 120.0
    """No stream that spoke before may be silent for longer, however slow it usually is."""
    first_frame_s: float = 15.0
    """A subscribed stream must have spoken after so long."""
    rotate_early_s: float = 600.0
    """How long before the venue closes a connection we replace it, so that the overlap is ours to choose."""
    overlap_s: float = 10.0
    """How long at most the old connection of a rotation waits for the new one to deliver."""
    snapshot_levels: int = 1000
    snapshot_timeout_s: float = 10.0
    snapshot_workers: int = 4
    """Snapshots under way at a time per venue."""
    budget_share: float = 0.8
    """Share of the venue's request weight that we use at most."""
    max_frame_bytes: int = 1_048_576
    max_topics: int = 50_000
    state_dir: Path | None = None
    """Where bans are kept over a restart, and refused frames; None keeps neither."""
    quarantine_max_bytes: int = 64 * 1024 * 1024
    cpu: int | None = None
    """Pin the ingest thread to this CPU."""
    busy_poll: bool = False
    """Never sleep in the ingest loop: costs one core, saves a wake-up per frame."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the native engine is told; names as in `raven._core.Engine`."""

    strict: bool = True
    sanitize: bool = True
    max_price_deviation: float = 10.0
    deviation_confirmations: int = 3
    max_clock_skew_ms: int = 0
    validation: bool = True
    book_depth: int = 20
    max_frame_bytes: int = 1_048_576
    resync_buffer_events: int = 10_000
    resync_buffer_bytes: int = 4_194_304
    quarantine_bytes: int = 65_536
    ring_bytes: int = 262_144
    """For all rings of one symbol together."""


@dataclass(frozen=True, slots=True)
class VenuePlan:
    """One venue to collect from."""

    name: str
    ws_url: str = ""
    rest_url: str = ""
    symbols: tuple[str, ...] = ()
    """Collected at all times: symbols, names or patterns; see `raven.instruments`."""
    include: tuple[str, ...] = ()
    """Patterns of what may be collected; empty for everything."""
    exclude: tuple[str, ...] = ()
    overrides: dict[str, str] = field(default_factory=dict)
    """Name → symbol of this venue, before what the venue's list says."""
    streams_per_connection: int = 0
    """0: the venue's documented limit, as for the others."""
    messages_per_second: float = 0.0
    connections_per_five_minutes: int = 0
    request_weight_per_minute: int = 0
    options: dict[str, str] = field(default_factory=dict)
    """Replacements of single facts of the venue, e.g. `{"trade_stream": "trade"}` for a recording that has it."""
