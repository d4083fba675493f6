"""The live view's numbers, read from the engine: latest state, counters, and rates between two looks."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from raven.app.live import ViewRow, ViewTotals
from raven.clock import Clock, SystemClock
from raven.observe.native import EngineCounters
from raven.records import Kind, decimal_text
from raven.topics import DataType

__all__ = ["Endpoints", "EngineView", "quantile"]

# Rates follow changes within some seconds and do not flicker: each look moves them by this share.
SMOOTHING = 0.3


class ViewedEngine(EngineCounters, Protocol):
    """The part of `raven._core.Engine` that the view reads."""

    def snapshot(self, instrument: int) -> bytes:
        """Return the best levels, packed."""
        ...


class TradeRecord(Protocol):
    """The part of `raven._core.Record` that the view reads."""

    @property
    def kind(self) -> int:
        """See `raven.records.Kind`."""
        ...

    @property
    def price_scale(self) -> int:
        """Decimals of prices."""
        ...

    @property
    def quantity_scale(self) -> int:
        """Decimals of quantities."""
        ...

    @property
    def body(self) -> list[int]:
        """The words of the kind."""
        ...


class TopicReader(Protocol):
    """The part of `raven._core.Reader` that the view reads."""

    def drain(self, max_records: int = ..., /) -> Sequence[TradeRecord]:
        """Take what is there."""
        ...


class Topics(Protocol):
    """The part of `raven._core.Hub` that the view reads."""

    def find(self, venue: str, symbol: str, data_type: int, /) -> int | None:
        """Return the id of a topic."""
        ...

    def reader(self, topic_id: int, /, *, from_latest: bool = ...) -> TopicReader:
        """Open a cursor."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the server answers, and what it collects from, for header and footer."""

    source: str
    grpc: str
    health_url: str
    metrics_url: str


class EngineView:
    """A `raven.app.live.ViewSource`. Both calls together are one look; they cost some microseconds per symbol."""

    def __init__(
        self,
        engine: ViewedEngine,
        hub: Topics,
        instruments: Callable[[], Iterable[tuple[str, str, int]]],
        is_connected: Callable[[str, str], bool],
        grpc_stats: Callable[[], Mapping[str, int]],
        endpoints: Endpoints,
        clock: Clock | None = None,
        *,
        troubles: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`instruments` lists `(venue, symbol, handle)`; `is_connected` is asked with venue and symbol.

        `troubles` says in words what does not work just now.
        """
        self._engine = engine
        self._hub = hub
        self._instruments = instruments
        self._is_connected = is_connected
        self._grpc_stats = grpc_stats
        self._endpoints = endpoints
        self.source = endpoints.source
        """What is collected from, in words; changes when a recording has ended."""
        self._troubles = troubles
        self._clock = clock or SystemClock()
        self._started = self._clock.monotonic()
        self._rates: dict[tuple[object, str], _Rate] = {}

    def rows(self) -> list[ViewRow]:
        """Return every symbol that is collected."""
        return [self._row(venue, symbol, handle) for venue, symbol, handle in tuple(self._instruments())]

    def totals(self) -> ViewTotals:
        """Return the figures of the whole server."""
        totals, grpc = self._engine.totals(), self._grpc_stats()
        (counts, _), bounds = self._engine.latency(), self._engine.latency_bounds()
        return ViewTotals(
            source=self.source,
            uptime_s=self._clock.monotonic() - self._started,
            frames_per_s=self._rate(self, "frames", totals.get("frames", 0)),
            megabytes_per_s=self._rate(self, "bytes", totals.get("bytes", 0)) / 1e6,
            latency_p50_us=quantile(counts, bounds, 0.5),
            latency_p99_us=quantile(counts, bounds, 0.99),
            clients=grpc.get("connections", 0),
            streams=grpc.get("streams", 0),
            sent_per_s=self._rate(self, "messages", grpc.get("messages", 0)),
            lost=grpc.get("lost", 0),
            grpc=self._endpoints.grpc,
            health_url=self._endpoints.health_url,
            metrics_url=self._endpoints.metrics_url,
            troubles=self._troubles(),
        )

    def _row(self, venue: str, symbol: str, handle: int) -> ViewRow:
        counters = self._engine.counters(handle)
        bid, ask, scale = self._touch(handle)
        last_price, last_quantity, last_side = self._last_trade(venue, symbol)
        both = bid is not None and ask is not None
        return ViewRow(
            venue=venue,
            symbol=symbol,
            state=self._engine.state(handle),
            connected=self._is_connected(venue, symbol),
            bid="" if bid is None else decimal_text(bid, scale),
            ask="" if ask is None else decimal_text(ask, scale),
            # In units of the last decimal, which is the tick for nearly every instrument.
            spread_ticks=ask - bid if both and bid is not None and ask is not None else None,
            spread_bps=20_000 * (ask - bid) / (ask + bid) if bid and ask else None,
            last_price=last_price,
            last_quantity=last_quantity,
            last_side=last_side,
            books_per_s=self._rate(handle, "books", counters["books"]),
            trades_per_s=self._rate(handle, "trades", counters["trades"]),
            gaps=counters["gap"],
            # The first one is how every book begins.
            resyncs=max(0, counters["resyncs"] - 1),
            rejected=counters["rejected"],
        )

    def _touch(self, handle: int) -> tuple[int | None, int | None, int]:
        packed = self._engine.snapshot(handle)
        words = struct.unpack(f"<{len(packed) // 8}q", packed)
        _, scale, _, bids, asks = words[:5]
        bid = words[5] if bids else None
        ask = words[5 + 2 * bids] if asks else None
        return bid, ask, scale

    def _last_trade(self, venue: str, symbol: str) -> tuple[str, str, str]:
        topic = self._hub.find(venue, symbol, DataType.TRADES)
        # A new cursor on the newest record each time: what lies between two looks is not needed here.
        records = self._hub.reader(topic, from_latest=True).drain(1) if topic is not None else ()
        if not records or records[0].kind != Kind.TRADE:
            return "", "", ""
        record = records[0]
        price, quantity, taker_sells = record.body[:3]
        return (
            decimal_text(price, record.price_scale),
            decimal_text(quantity, record.quantity_scale),
            "sell" if taker_sells else "buy",
        )

    def _rate(self, of: object, name: str, count: int) -> float:
        return self._rates.setdefault((of, name), _Rate()).follow(count, self._clock.monotonic())


class _Rate:
    """Events per second of a growing count, smoothed."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] | None = None
        self._rate = 0.0

    def follow(self, count: int, now: float) -> float:
        if self._seen is None:
            self._seen = (count, now)
            return 0.0
        before, then = self._seen
        if now > then:
            fresh = (count - before) / (now - then)
            self._rate = fresh if self._rate == 0 else self._rate + SMOOTHING * (fresh - self._rate)
            self._seen = (count, now)
        return self._rate


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """Return the upper bound of the bucket in which `share` of all counts is reached; None when there are none.

    The last, unbounded bucket answers with the bound before it.
    """
    wanted = share * sum(counts)
    if not wanted:
        return None
    running = 0
    last = 0.0
    for bound, count in zip(bounds, counts, strict=True):
        running += count
        if math.isfinite(bound):
            last = bound
        if running >= wanted:
            break
    return last
