"""A market that replays a recording: its frames byte for byte on its streams, and its depth answers.

Order is what counts. A depth answer is given out only when the replay has passed its line, so every diff recorded
before it has been sent before it; and the replay stands at that line until somebody has asked (`snapshot_wait_s`).
Later requests get the book as it is by then, rebuilt from the recorded answer and the diffs since.
"""

import asyncio
import contextlib
import json
from pathlib import Path

from raven.exchange.config import ReplayConfig
from raven.exchange.markets import Market, MarketRules
from raven.exchange.replay.book import ReplayedBook
from raven.exchange.replay.recorded_streams import Line, infer_instrument, read_lines, survey
from raven.exchange.timeline import MS, Timeline
from raven.exchange.truth import TrueBook
from raven.exchange.wire.streams import Stream, StreamName, parse_stream
from raven.exchange.wire.ws_server import WebSocketServer

# At full speed sockets and REST get a turn after so many frames.
_BURST = 128


def _verbatim(unit: int, body: bytes) -> bytes:
    return body


def _agg_trade_from_trade(unit: int, body: bytes) -> str:
    """Write a recorded fill as the aggregate that would consist of it alone; the ids are those of the fill."""
    trade = json.loads(body)
    spot = "M" in trade
    event = {"e": "aggTrade", "E": trade["E"]} | (
        {"s": trade["s"], "a": trade["t"]} if spot else {"a": trade["t"], "s": trade["s"]}
    )
    event |= {"p": trade["p"], "q": trade["q"], "f": trade["t"], "l": trade["t"], "T": trade["T"], "m": trade["m"]}
    if spot:
        event["M"] = True
    return json.dumps(event, separators=(",", ":"))


class _Snapshot:
    """The recorded depth answer of one symbol and who waits for it."""

    def __init__(self) -> None:
        self.body = b""
        self.passed = asyncio.Event()
        self.asked = asyncio.Event()
        self.answered_once = asyncio.Event()
        self.answered = 0


class ReplayMarket:
    """The source of a recorded market, and the player that moves it."""

    def __init__(self, market: Market, rules: MarketRules, timeline: Timeline, config: ReplayConfig) -> None:
        self.market = market
        self.timeline = timeline
        self.rules = rules
        self._config = config
        self._files = [Path(path) for path in config.files]
        self.contents = survey(self._files)
        self.instruments = {
            symbol: infer_instrument(
                market, symbol, line.body if (line := self.contents.snapshots.get(symbol)) else None
            )
            for symbol in self.contents.symbols
        }
        self.position = 0
        """Lines played so far."""
        self.now_ns = self.contents.first_ns
        """Recorded receive time of the last line played."""
        self.finished = asyncio.Event()
        """Set when the last line has been written."""
        self._released = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._listening: dict[str, list[Stream]] = {}
        self._aggregated: dict[str, list[Stream]] = {}
        self._depth_names: dict[str, str] = {}
        self._snapshots = {symbol: _Snapshot() for symbol in self.contents.snapshots}
        self.books = {symbol: ReplayedBook(market.is_futures) for symbol in self.contents.symbols}
        for name in self.contents.streams:
            symbol, _, rest = name.partition("@")
            if rest == "depth" or rest.startswith("depth@"):
                self._depth_names.setdefault(symbol.upper(), name)

    @property
    def symbols(self) -> list[str]:
        """The recorded symbols."""
        return list(self.instruments)

    def book(self, symbol: str) -> TrueBook:
        """Return the book as far as the replay has come. Raises: KeyError for a symbol that was not recorded."""
        return self.books[symbol].truth(symbol)

    def resolve(self, text: str) -> StreamName | None:
        """Return the stream that a name stands for: recorded under it, or a depth stream recorded at another speed."""
        name = parse_stream(self.market, self.rules, text, MS)
        if text in self.contents.streams:
            return name or StreamName(text, "other", text.partition("@")[0].upper())
        if name is None or name.symbol not in self.instruments:
            return None
        if name.kind == "depth" and name.symbol in self._depth_names:
            return name
        recorded_trades = f"{name.symbol.lower()}@trade" in self.contents.streams
        return name if name.kind == "aggTrade" and self._config.agg_trades_from_trades and recorded_trades else None

    def open_stream(self, stream: Stream) -> None:
        """Send a recorded stream's frames to a subscription from now on."""
        table, name = self._table(stream)
        table.setdefault(name, []).append(stream)
        self._subscribed.set()

    def close_stream(self, stream: Stream) -> None:
        """Stop sending to a subscription."""
        table, name = self._table(stream)
        table[name].remove(stream)

    def release(self) -> None:
        """Start at once (`start="manual"`), whoever listens."""
        self._released.set()

    async def play(self, ws: WebSocketServer) -> None:
        """Play the recording once, from the start condition to the last line."""
        await self._wait_for_start()
        speed = self._config.speed
        began, first_ns = self.timeline.wall_ns(), self.contents.first_ns
        for line in read_lines(self._files):
            if speed > 0:
                due = began + int((line.recv_ns - first_ns) / speed)
                if due > self.timeline.wall_ns():
                    ws.flush()
                    await self._sleep_until(due)
            if not line.stream:
                ws.flush()
                began += await self._pass_snapshot(line)
            else:
                self._send(line)
            self.position += 1
            self.now_ns = line.recv_ns
            if self.position % _BURST == 0:
                ws.flush()
                await asyncio.sleep(0)
                # Back-pressure instead of loss: the slowest client sets the pace, at any speed.
                if ws.is_backed_up:
                    await ws.wait_drained()
        ws.flush()
        await ws.wait_drained()
        self.finished.set()
        if not self._config.linger:
            for connection in list(ws.connections.values()):
                connection.close(1001, "End of recording")

    async def depth(self, symbol: str, limit: int) -> str:
        """Answer a depth request: the recorded answer, once its line has been passed; later the book of then."""
        snapshot = self._snapshots[symbol]
        snapshot.asked.set()
        await snapshot.passed.wait()
        snapshot.answered += 1
        snapshot.answered_once.set()
        if snapshot.answered > 1:
            return self.books[symbol].snapshot(limit)
        body = json.loads(snapshot.body)
        if limit >= max(len(body["bids"]), len(body["asks"])):
            return snapshot.body.decode()
        return json.dumps(body | {"bids": body["bids"][:limit], "asks": body["asks"][:limit]}, separators=(",", ":"))

    # --- inside ------------------------------------------------------------------------------------------

    def _table(self, stream: Stream) -> tuple[dict[str, list[Stream]], str]:
        name = stream.name
        if name.text in self.contents.streams:
            return self._listening, name.text
        if name.kind == "depth":
            return self._listening, self._depth_names[name.symbol]
        return self._aggregated, f"{name.symbol.lower()}@trade"

    def _send(self, line: Line) -> None:
        for stream in self._listening.get(line.stream, ()):
            stream.emit(_verbatim, line.body)
        for stream in self._aggregated.get(line.stream, ()):
            stream.emit(_agg_trade_from_trade, line.body)
        symbol = line.stream.partition("@")[0].upper()
        if self._depth_names.get(symbol) == line.stream:
            self.books[symbol].add(line.body)

    async def _pass_snapshot(self, line: Line) -> int:
        """Pass a depth answer's line and return how long the replay stood there, in nanoseconds."""
        symbol = line.symbol or next(iter(self.contents.snapshots))
        snapshot, book = self._snapshots[symbol], self.books[symbol]
        if snapshot.passed.is_set():
            book.start_anew(line.body)
            return 0
        snapshot.body = line.body
        book.start(line.body)
        snapshot.passed.set()
        listened = self._listening.get(self._depth_names.get(symbol, ""))
        if not listened or not self._config.snapshot_wait_s:
            return 0
        before = self.timeline.wall_ns()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(snapshot.asked.wait(), self._config.snapshot_wait_s)
            # The answer leaves before any later frame does.
            await snapshot.answered_once.wait()
        return self.timeline.wall_ns() - before

    async def _wait_for_start(self) -> None:
        start = self._config.start
        if start == "manual":
            await self._released.wait()
            return
        while not self._released.is_set():
            self._subscribed.clear()
            if start == "all" and all(self._listening.get(name) for name in self.contents.streams):
                return
            if start == "quiet" and any(self._listening.values()):
                try:
                    await asyncio.wait_for(self._subscribed.wait(), self._config.quiet_ms / 1000)
                except TimeoutError:
                    return
            else:
                await self._subscribed.wait()

    async def _sleep_until(self, when_ns: int) -> None:
        done = asyncio.Event()
        self.timeline.call_at(when_ns, done.set)
        await done.wait()
