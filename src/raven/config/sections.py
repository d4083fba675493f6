"""Every section of the configuration that runs today's server: what a key means, its unit and its default.

docs/reference/config.md is generated from here (`make docs`). Servers that Raven may talk to are in `backends.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from raven.config.fields import BaseUrl, LogLevel, Names, Overrides, Patterns, Port, Section, Symbols, setting

__all__ = [
    "CitadelSettings",
    "DashboardSettings",
    "DataProcessingSettings",
    "FeedsSettings",
    "HighFrequencySettings",
    "MonitoringSettings",
    "ServerSettings",
    "VenueLimits",
    "VenueSettings",
]


class ServerSettings(Section):
    """Where and how gRPC is served."""

    host: str = setting("127.0.0.1", "Address to listen on; `0.0.0.0` lets other machines in.", min_length=1)
    port: Port = setting(50051, "gRPC port of `raven`; 0 takes a free one.")
    max_connections: int = setting(1000, "gRPC connections at a time; one more is refused.", ge=1, le=1_000_000)
    connection_timeout: float = setting(
        30.0, "How long a peer may be silent at connection level before it is dropped.", unit="s", gt=0
    )
    heartbeat_interval_seconds: float = setting(
        10.0, "How often an idle connection is probed (HTTP/2 ping).", unit="s", gt=0
    )
    max_message_bytes: int = setting(4_194_304, "Largest request accepted.", unit="bytes", ge=1024)
    max_streams_per_connection: int = setting(100, "Concurrent RPCs on one connection.", ge=1)
    max_clients: int = setting(10_000, "Client ids known at a time.", ge=1)
    max_topics_per_client: int = setting(10_000, "Topics one client id may hold.", ge=1)
    max_streams_per_client: int = setting(16, "Streams one client id may have open.", ge=1)
    drain_seconds: float = setting(
        7.0, "On SIGTERM: time for clients to receive what they have coming. The whole stop takes 10 s at most.",
        unit="s", ge=0, le=7.5,
    )  # fmt: skip
    tls_certificate: str = setting("", "PEM file of the server's certificate chain; empty serves without TLS.")
    tls_key: str = setting("", "PEM file of its private key.")
    tls_client_ca: str = setting(
        "", "PEM file of the authority that clients' certificates must come from (mutual TLS)."
    )
    token: SecretStr = setting(SecretStr(""), "Bearer token that every call must carry; empty asks for none.")
    port_binance_spot: Port = setting(50001, "gRPC port of the service `binance_spot`.")
    port_binance_futures: Port = setting(50002, "gRPC port of the service `binance_futures`.")
    port_timebar: Port = setting(50051, "gRPC port of the service `raven_timebar`.")
    port_tibs: Port = setting(50052, "gRPC port of the service `raven_tibs`.")
    port_tick_persistence: Port = setting(50091, "gRPC port of the service `tick_persistence`.")
    port_bar_persistence: Port = setting(50092, "gRPC port of the service `bar_persistence`.")


class FeedsSettings(Section):
    """What is collected, and how connections to exchanges behave."""

    venues: Names = setting([], "Venues to collect from; each may have a section `[venues.<name>]`.")
    symbols: Symbols = setting(
        [], "What to collect from every venue at all times; the rest starts on demand. Symbols (`BTCUSDT`), names "
        "(`BTC/USDT`, each venue has its own symbol for it) or patterns (`*/USDT`: all that trade when the server "
        "starts).",
    )  # fmt: skip
    include: Patterns = setting([], "Only what matches one of these patterns may be collected; empty: everything.")
    exclude: Patterns = setting([], "What matches one of these patterns is never collected, e.g. `*DOWNUSDT`.")
    exchange_ws_url: BaseUrl = setting("", "WebSocket base of the venue, when exactly one is collected from.")
    order_book_depth: int = setting(20, "Levels per side in a published book.", unit="levels", ge=1, le=1000)
    reconnect_delay_ms: int = setting(1000, "First pause before reconnecting; doubles, with jitter.", unit="ms", ge=1)
    max_reconnect_delay_ms: int = setting(60_000, "Longest pause between attempts; they never end.", unit="ms", ge=1)
    linger_seconds: float = setting(30.0, "How long a stream stays when nobody listens any more.", unit="s", ge=0)
    silence_seconds: float = setting(
        10.0, "A stream is reconnected when it is silent for longer than this and than twenty of its usual pauses.",
        unit="s", gt=0,
    )  # fmt: skip
    max_silence_seconds: float = setting(120.0, "No stream that spoke before may be silent for longer.", unit="s", gt=0)
    first_frame_seconds: float = setting(15.0, "A subscribed stream must have spoken after so long.", unit="s", gt=0)
    connect_timeout_seconds: float = setting(10.0, "Limit for TCP, TLS and WebSocket handshake.", unit="s", gt=0)
    snapshot_levels: int = setting(
        1000, "Levels per side asked for when a book is taken.", unit="levels", ge=5, le=5000
    )
    snapshot_timeout_seconds: float = setting(10.0, "Limit for one REST snapshot.", unit="s", gt=0)
    max_topics: int = setting(50_000, "Streams of symbols collected at a time; one more is refused.", ge=1)
    state_dir: str = setting(
        "data/state",
        "What survives a restart: collections started by hand, and a venue's request for a pause; empty keeps nothing.",
    )


class VenueLimits(Section):
    """What the venue allows; 0 takes the venue's documented figure."""

    streams_per_connection: int = setting(0, "Streams on one WebSocket.", ge=0)
    messages_per_second: float = setting(0.0, "Messages we may send on one WebSocket.", unit="1/s", ge=0)
    connections_per_five_minutes: int = setting(0, "WebSocket connection attempts.", ge=0)
    request_weight_per_minute: int = setting(0, "REST weight; we use 80 % of it at most.", ge=0)


class VenueSettings(Section):
    """One venue: `[venues.<name>]`, e.g. `[venues.binance_futures]`."""

    ws_url: BaseUrl = setting("", "WebSocket base; empty for the venue's documented one. Routes are appended.")
    rest_url: BaseUrl = setting("", "REST base; empty for the venue's documented one.")
    symbols: Symbols = setting([], "Symbols of this venue, in addition to `feeds.symbols`.")
    include: Patterns = setting([], "In place of `feeds.include`, for this venue.")
    exclude: Patterns = setting([], "In addition to `feeds.exclude`, for this venue.")
    overrides: Overrides = setting(
        {}, "What this venue calls an instrument, where its own list does not tell: `\"SHIB/USDT\" = "
        "\"SHIB1000USDT*1000\"` (the factor may be left out).",
    )  # fmt: skip
    limits: VenueLimits = setting(VenueLimits(), "The venue's limits.")


class DataProcessingSettings(Section):
    """Buffers and switches of the engine."""

    data_validation_enabled: bool = setting(True, "Check events against the rules of docs/reference/validation.md.")
    snapshot_interval_ms: int = setting(
        5, "How often the state of a book is captured for the journal, when it has changed.", unit="ms", ge=1
    )
    high_frequency_buffer_size: int = setting(
        10_000, "Events kept per symbol while a snapshot is fetched.", unit="events", ge=1
    )
    resync_buffer_bytes: int = setting(4_194_304, "The same limit in bytes.", unit="bytes", ge=65_536)
    max_frame_bytes: int = setting(1_048_576, "Largest WebSocket frame accepted.", unit="bytes", ge=1024)
    ring_bytes: int = setting(
        0, "Memory of all rings of one symbol; 0 shares 128 MiB among the configured symbols, 4 MiB each at most.",
        unit="bytes", ge=0,
    )  # fmt: skip
    quarantine_bytes: int = setting(65_536, "How much of a refused frame is kept.", unit="bytes", ge=256)


class HighFrequencySettings(Section):
    """For those who count microseconds; off by default, because they cost a core."""

    atomic_updates: bool = setting(
        True, "Latest state is read without locks; always on, the key is accepted for files."
    )
    cache_line_padding: bool = setting(True, "Hot counters have a cache line each; always on, as above.")
    numa_awareness: bool = setting(False, "Keep threads and memory on one NUMA node where `numactl` set it up.")
    busy_poll: bool = setting(False, "The gRPC server spins instead of sleeping: one core at 100 %, 25-30 µs less.")
    ingest_busy_poll: bool = setting(False, "The ingest thread spins likewise: another core.")
    server_cpu: int = setting(-1, "Pin the gRPC server to this CPU; -1 leaves it to the scheduler.", ge=-1)
    ingest_cpu: int = setting(-1, "Pin the ingest thread to this CPU; -1 leaves it to the scheduler.", ge=-1)


class CitadelSettings(Section):
    """Validation: what is accepted, repaired or refused."""

    strict_validation: bool = setting(True, "Refuse what is doubtful; false repairs or lets through what can be.")
    max_price_deviation: float = setting(
        10.0, "Largest jump from the last price; 0 switches the rule off.", unit="%", ge=0
    )
    deviation_confirmations: int = setting(
        3, "As many consecutive prices at a new level make it the accepted one: a true jump ends the refusals.", ge=1
    )
    enable_sanitization: bool = setting(True, "Repair what can be repaired without guessing.")
    enable_dead_letter_queue: bool = setting(True, "Keep refused events with the raw frame and the reason.")
    quarantine_max_bytes: int = setting(
        67_108_864, "Disk space for refused events; older ones go first.", unit="bytes", ge=0
    )
    max_clock_skew_ms: int = setting(
        0, "Refuse events stamped further from our clock; 0 only measures and shows the skew.", unit="ms", ge=0
    )


class MonitoringSettings(Section):
    """Health, metrics and logs."""

    host: str = setting("", "Address that /health, /ready and /metrics listen on; empty: that of `server.host`.")
    metrics_enabled: bool = setting(True, "Answer /metrics.")
    metrics_port: Port = setting(9090, "HTTP port; answers /metrics, /health and /ready. 0 takes a free one.")
    health_check_port: Port = setting(8080, "HTTP port; answers the same three. May equal `metrics_port`.")
    metrics_interval: int = setting(1000, "How often rates and process figures are refreshed.", unit="ms", ge=100)
    health_check_interval: int = setting(5000, "How often components are probed.", unit="ms", ge=100)
    log_level: LogLevel = setting("info", "trace, debug, info, warn or error.")
    log_format: Literal["auto", "json", "text"] = setting(
        "auto", "`json`: one object per line; `text`: for people; `auto`: text on a terminal, else json."
    )
    port_offset: Port = setting(1000, "Monitoring port of a single service = its gRPC port + this.")
    max_label_values: int = setting(2000, "Values a metric label may take; further ones are counted as `other`.", ge=10)


class DashboardSettings(Section):
    """The web page."""

    enabled: bool = setting(True, "Serve the dashboard from `raven`.")
    host: str = setting("", "Address to listen on; empty: that of `server.host`.")
    port: Port = setting(8050, "HTTP port.")
