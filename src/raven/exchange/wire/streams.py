"""Stream names, who listens to them, and how one event becomes bytes once for all listeners.

A stream speaks in up to four forms (raw or wrapped, milliseconds or microseconds); a form is built only if somebody
listens in it, and then once, WebSocket header included. Connections collect bytes and write them once per turn.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from raven.exchange.markets import INTERVALS_NS, Market, MarketRules

if TYPE_CHECKING:
    from raven.exchange.faults.board import FaultBoard

Build = Callable[..., str | bytes]
"""Writes the data of an event; its first argument is the unit of time in nanoseconds."""

_SYMBOL_STREAM = re.compile(r"([a-z0-9]+(?:_[a-z0-9]+)?)@([A-Za-z]+)(\d*)((?:@|_)[A-Za-z0-9]+)?")
_UNIT_MS = 1_000_000
_UNIT_US = 1_000


@dataclass(frozen=True, slots=True)
class StreamName:
    """A valid stream name, taken apart."""

    text: str
    kind: str
    """trade, aggTrade, depth, partial, bookTicker, kline, markPrice, forceOrder; with `!` in front for all symbols."""
    symbol: str = ""
    """Upper case; empty for streams of all symbols."""
    period_ns: int = 0
    """How often it speaks, where the name or the documentation says so."""
    levels: int = 0
    interval: str = ""

    @property
    def category(self) -> str:
        """The USD-M route that carries it: `public` for books and raw trades, `market` for the rest."""
        # The documentation names books only; users of the routes found raw trades on `public` and aggregates not there
        # (ccxt issue 28396).
        return "public" if self.kind in ("depth", "partial", "bookTicker", "!bookTicker", "trade") else "market"


def parse_stream(market: Market, rules: MarketRules, text: str, fastest_ns: int) -> StreamName | None:
    """Take a stream name apart; None if this market has no such stream."""
    if text.startswith("!"):
        return _parse_all_symbols(market, text)
    match = _SYMBOL_STREAM.fullmatch(text)
    if match is None:
        return None
    symbol, kind, number, suffix = match[1].upper(), match[2], match[3], match[4] or ""
    if kind == "depth":
        speeds = dict(rules.partial_speeds_ns if number else rules.depth_speeds_ns)
        period = speeds.get(suffix)
        if period is None or (number and number not in ("5", "10", "20")):
            return None
        return StreamName(text, "partial" if number else "depth", symbol, period or fastest_ns, int(number or 0))
    if number:
        return None
    if kind == "kline" and suffix.startswith("_"):
        interval = suffix[1:]
        if interval not in INTERVALS_NS or (interval == "1s" and market.is_futures):
            return None
        period = 1_000 * _UNIT_MS if interval == "1s" else rules.kline_interval_ns
        return StreamName(text, kind, symbol, period, interval=interval)
    if kind == "markPrice" and market.is_futures and suffix in ("", "@1s"):
        return StreamName(text, kind, symbol, (1_000 if suffix else 3_000) * _UNIT_MS)
    if suffix:
        return None
    if kind in ("trade", "aggTrade", "bookTicker") or (kind == "forceOrder" and market.is_futures):
        return StreamName(text, kind, symbol)
    return None


def _parse_all_symbols(market: Market, text: str) -> StreamName | None:
    if not market.is_futures:
        return None
    if text in ("!markPrice@arr", "!markPrice@arr@1s"):
        return StreamName(text, "!markPrice", "", (1_000 if text.endswith("1s") else 3_000) * _UNIT_MS)
    if text == "!bookTicker":
        return StreamName(text, "!bookTicker", "", 5_000 * _UNIT_MS)
    if text == "!forceOrder@arr":
        return StreamName(text, "!forceOrder")
    return None


class Listener(Protocol):
    """What a stream needs of a connection."""

    out: list[bytes]
    """WebSocket frames that wait for the end of the turn."""
    muted: bool
    """A half-open connection takes nothing any more."""


def text_frame(payload: bytes) -> bytes:
    """Wrap a payload as one unmasked WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Stream:
    """One stream with its listeners, grouped by the form they want (bit 0: wrapped, bit 1: microseconds)."""

    __slots__ = ("_head", "_hub", "groups", "name")

    def __init__(self, hub: "Hub", name: StreamName) -> None:
        self.name = name
        self.groups: dict[int, list[Listener]] = {}
        self._hub = hub
        self._head = f'{{"stream":"{name.text}","data":'.encode()

    @property
    def market(self) -> Market:
        """The market it belongs to."""
        return self._hub.market

    def emit(self, build: Build, *arguments: object) -> None:
        """Send one event to every listener, unless a fault says otherwise."""
        faults = self._hub.faults
        if faults is not None and faults.armed:
            faults.pass_event(self, build, arguments)
        else:
            self.deliver(build, arguments)

    def deliver(
        self, build: Build, arguments: tuple[object, ...], mangle: Callable[[bytes], bytes] | None = None
    ) -> None:
        """Build the event in each form that is listened to and queue it; `mangle` spoils the payload on its way."""
        dirty = self._hub.dirty
        self._hub.frames += 1
        for form, listeners in self.groups.items():
            data = build(_UNIT_US if form & 2 else _UNIT_MS, *arguments)
            payload = data if isinstance(data, bytes) else data.encode()
            if form & 1:
                payload = self._head + payload + b"}"
            if mangle is not None:
                payload = mangle(payload)
            frame = text_frame(payload)
            for listener in listeners:
                if listener.muted:
                    continue
                out = listener.out
                if not out:
                    dirty.append(listener)
                out.append(frame)


class Source(Protocol):
    """Where the events of a market come from: generated, or replayed from a recording."""

    def resolve(self, text: str) -> StreamName | None:
        """Return the stream that a name stands for, or None if there is none: such a subscription stays silent."""

    def open_stream(self, stream: Stream) -> None:
        """Begin to feed a stream: it has its first listener."""

    def close_stream(self, stream: Stream) -> None:
        """Stop feeding a stream: its last listener has gone."""


class Hub:
    """All streams of one market that have listeners."""

    def __init__(self, source: Source, market: Market, faults: "FaultBoard | None" = None) -> None:
        self.source = source
        self.market = market
        self.faults = faults
        self.frames = 0
        """Events sent so far, each counted once however many listen."""
        self.streams: dict[str, Stream] = {}
        self.dirty: list[Listener] = []
        """Connections with something to write."""

    def attach(self, text: str, form: int, listener: Listener, routed: Callable[[StreamName], bool]) -> bool:
        """Add a listener; False if there is no such stream or the connection's route does not carry it."""
        stream = self.streams.get(text)
        if stream is None:
            name = self.source.resolve(text)
            if name is None or not routed(name):
                return False
            stream = self.streams[text] = Stream(self, name)
            stream.groups[form] = [listener]
            self.source.open_stream(stream)
            return True
        if not routed(stream.name):
            return False
        stream.groups.setdefault(form, []).append(listener)
        return True

    def detach(self, text: str, form: int, listener: Listener) -> None:
        """Remove a listener; harmless if it was none."""
        stream = self.streams.get(text)
        if stream is None or listener not in stream.groups.get(form, ()):
            return
        members = stream.groups[form]
        members.remove(listener)
        if not members:
            del stream.groups[form]
        if not stream.groups:
            del self.streams[text]
            self.source.close_stream(stream)
