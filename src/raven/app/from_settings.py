"""What each part is told, from the configuration: the one place where a key of the configuration meets a part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from raven._core import BarSpec
from raven.app.services import Service
from raven.app.stand_in import StandIn
from raven.config import Settings
from raven.errors import ConfigurationError, DataValidation
from raven.ingest.settings import EngineSettings, IngestSettings, VenuePlan
from raven.instruments import is_pattern
from raven.registry import VENUES, load

__all__ = [
    "bar_spec_of",
    "books_interval_ms",
    "engine_settings",
    "expected_symbols",
    "ingest_settings",
    "ring_bytes",
    "venue_plan",
    "venue_plans",
]

_MIB = 1 << 20
# What all rings of configured symbols may take together; symbols that come on demand get as much each.
_RING_BUDGET_BYTES = 128 * _MIB
_RING_LARGEST_BYTES = 4 * _MIB
_RING_SMALLEST_BYTES = 64 * 1024
# A large venue has so many that trade against one currency.
_PER_PATTERN = 500
# Books get half of a symbol's rings; a record takes 32 bytes per level of both sides and a head.
_RING_LEAST_BOOKS = 16


def venue_plans(settings: Settings) -> list[VenuePlan]:
    """Return what the configuration wants collected.

    Raises: ConfigurationError for a venue that does not exist, naming the nearest.
    """
    return [venue_plan(settings, name) for name in settings.feeds.venues]


def venue_plan(settings: Settings, name: str) -> VenuePlan:
    """Return what the configuration says about one venue.

    Raises: ConfigurationError for a venue that does not exist, naming the nearest.
    """
    load(VENUES, name, "venue")
    venue = settings.venue(name)
    return VenuePlan(
        name=name,
        ws_url=venue.ws_url,
        rest_url=venue.rest_url,
        symbols=tuple(venue.symbols),
        include=tuple(venue.include),
        exclude=tuple(venue.exclude),
        overrides=venue.overrides,
        streams_per_connection=venue.limits.streams_per_connection,
        messages_per_second=venue.limits.messages_per_second,
        connections_per_five_minutes=venue.limits.connections_per_five_minutes,
        request_weight_per_minute=venue.limits.request_weight_per_minute,
    )


def ingest_settings(settings: Settings, stand_in: StandIn | None = None) -> IngestSettings:
    """Map the configuration to what ingest is told."""
    feeds, fast, citadel = settings.feeds, settings.high_frequency, settings.citadel
    # A recording ends; silence after it is no fault.
    patience = math.inf if stand_in and stand_in.ends else 1.0
    return IngestSettings(
        reconnect_delay_s=feeds.reconnect_delay_ms / 1000,
        max_reconnect_delay_s=feeds.max_reconnect_delay_ms / 1000,
        connect_timeout_s=feeds.connect_timeout_seconds,
        linger_s=feeds.linger_seconds,
        silence_s=feeds.silence_seconds * patience,
        max_silence_s=feeds.max_silence_seconds * patience,
        first_frame_s=feeds.first_frame_seconds * patience,
        snapshot_levels=feeds.snapshot_levels,
        snapshot_timeout_s=feeds.snapshot_timeout_seconds,
        max_frame_bytes=settings.data_processing.max_frame_bytes,
        max_topics=feeds.max_topics,
        # A ban by a stand-in must not outlive it.
        state_dir=Path(feeds.state_dir) if feeds.state_dir and stand_in is None else None,
        quarantine_max_bytes=citadel.quarantine_max_bytes if citadel.enable_dead_letter_queue else 0,
        cpu=fast.ingest_cpu if fast.ingest_cpu >= 0 else None,
        busy_poll=fast.ingest_busy_poll,
    )


def engine_settings(settings: Settings, symbols: int) -> EngineSettings:
    """Map the configuration to what the engine is told."""
    citadel, data = settings.citadel, settings.data_processing
    return EngineSettings(
        strict=citadel.strict_validation,
        sanitize=citadel.enable_sanitization,
        max_price_deviation=citadel.max_price_deviation,
        deviation_confirmations=citadel.deviation_confirmations,
        max_clock_skew_ms=citadel.max_clock_skew_ms,
        validation=data.data_validation_enabled,
        book_depth=settings.feeds.order_book_depth,
        max_frame_bytes=data.max_frame_bytes,
        resync_buffer_events=data.high_frequency_buffer_size,
        resync_buffer_bytes=data.resync_buffer_bytes,
        quarantine_bytes=data.quarantine_bytes,
        ring_bytes=ring_bytes(data.ring_bytes, symbols, settings.feeds.order_book_depth),
    )


def expected_symbols(plans: Sequence[VenuePlan]) -> int:
    """Return how many symbols will be collected at all times, as far as that is known before venues list theirs."""
    return sum(_PER_PATTERN if is_pattern(text) else 1 for plan in plans for text in plan.symbols)


def bar_spec_of(service: Service, settings: Settings) -> BarSpec:
    """Return what an aggregator makes. Raises: ConfigurationError for parameters that make no sense."""
    from raven.bars.spec import bar_spec  # noqa: PLC0415 - it comes with Arrow, and sources do without

    adaptive = {name: value for name, value in settings.tibs.model_dump().items() if value != ""}
    kinds = {"raven_timebar": ("time", settings.timebar.model_dump()), "raven_tibs": ("tick_imbalance", adaptive)}
    kind, parameters = kinds[service.name]
    try:
        return bar_spec(kind, **parameters)
    except DataValidation as error:
        raise ConfigurationError(f"[{service.name.removeprefix('raven_')}] {error.message}") from None


def books_interval_ms(settings: Settings) -> int:
    """Return how often the state of a book is stored: what the journal is told, else as often as one is captured."""
    chosen = settings.journal.books_interval_ms
    return chosen if chosen >= 0 else settings.data_processing.snapshot_interval_ms


def ring_bytes(configured: int, symbols: int, book_depth: int) -> int:
    """Return the memory for all rings of one symbol: a share of the budget, so few symbols get large rings.

    A configured figure is taken as it is, unless it would not hold a few books.
    """
    wanted = configured or max(_RING_SMALLEST_BYTES, min(_RING_LARGEST_BYTES, _RING_BUDGET_BYTES // max(1, symbols)))
    # Rings are powers of two, and what is asked for is rounded up: rounded down here, all together keep to the budget.
    wanted = 1 << (wanted.bit_length() - 1)
    least = 2 * _RING_LEAST_BOOKS * (32 * book_depth + 128)
    return wanted if wanted >= least else 1 << (least - 1).bit_length()
