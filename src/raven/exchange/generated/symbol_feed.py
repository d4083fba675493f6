"""One generated symbol: its book and order flow, and everything its streams say.

Every order changes the book first; then, in this order: trades, aggregate trades, best prices, and the levels that the
next depth events will carry. All of it reads the one book, so no stream can contradict another.
"""

from collections import deque
from collections.abc import Callable
from itertools import takewhile

from raven.exchange.generated.candles import CandleSeries
from raven.exchange.generated.flow import Action, OrderFlow
from raven.exchange.generated.matching import BID, Fill, MatchingBook
from raven.exchange.instruments import Instrument, decimal_text
from raven.exchange.markets import MarketRules
from raven.exchange.timeline import MS, SECOND, Timeline, Timer
from raven.exchange.wire.frames import (
    AggTrade,
    ForceOrder,
    FuturesFrameWriter,
    KlineView,
    Layout,
    MarkView,
    Trade,
    frame_writer,
)
from raven.exchange.wire.streams import Stream

_FUNDING_NS = 8 * 3600 * SECOND
# Mark prices are sampled no more often than the fastest stream that shows them.
_MARK_DECIMALS = 8


class DepthChannel:
    """A diff-depth stream: collects changed levels and tells them at its period."""

    __slots__ = ("asks", "bids", "feed", "first_id", "previous_id", "stream", "timer")

    def __init__(self, feed: "SymbolFeed", stream: Stream) -> None:
        self.feed = feed
        self.stream = stream
        self.bids: set[int] = set()
        self.asks: set[int] = set()
        self.first_id = 0
        self.previous_id = feed.update_id
        self.timer = Timer(self.flush)
        feed.arm(self.timer, stream.name.period_ns)

    def flush(self) -> None:
        """Tell what changed since the last time, with the quantities of now."""
        feed = self.feed
        feed.arm(self.timer, self.stream.name.period_ns)
        if not self.first_id:
            return
        bids, asks = feed.book.bids, feed.book.asks
        # The venue lists both sides from the best price outwards in snapshots, but diffs in ascending price for asks
        # and either order for bids; recordings of futures have bids ascending.
        changed_bids = [(price, bids.quantity(price)) for price in sorted(self.bids, reverse=not feed.is_futures)]
        changed_asks = [(price, asks.quantity(price)) for price in sorted(self.asks)]
        first_id = self.first_id if feed.is_futures else self.previous_id + 1
        self.stream.emit(
            feed.writer.depth_update,
            feed.timeline.sent_ns(),
            feed.last_change_ns,
            first_id,
            feed.update_id,
            self.previous_id,
            changed_bids,
            changed_asks,
        )
        self.bids.clear()
        self.asks.clear()
        self.first_id = 0
        self.previous_id = feed.update_id


class SymbolFeed:
    """Everything of one generated symbol. Written and read on the exchange's one thread only."""

    def __init__(
        self,
        instrument: Instrument,
        rules: MarketRules,
        timeline: Timeline,
        next_update_id: Callable[[], int],
        *,
        layout: Layout,
        seed: str,
        rate: float,
        levels: int,
        history: int,
    ) -> None:
        self.instrument = instrument
        self.timeline = timeline
        self.is_futures = instrument.market.is_futures
        self.writer = frame_writer(instrument, layout)
        self.book = MatchingBook()
        self._rules = rules
        self._next_update_id = next_update_id
        self._flow = OrderFlow(instrument, seed, rate, levels)
        self._flow.fill_book(self.book)
        self.update_id = next_update_id()
        self.last_change_ns = timeline.now_ns
        self.events = 0
        self.trades: deque[Trade] = deque(maxlen=history)
        self.agg_trades: deque[AggTrade] = deque(maxlen=history)
        self.last_price = self.book.bids.best
        self._next_trade_id = 1_000_000 + instrument.start_ticks
        self._next_agg_id = 500_000 + instrument.start_ticks
        self._pending_agg: AggTrade | None = None
        self._agg_timer = Timer(self._flush_agg)
        self.candles: dict[str, CandleSeries] = {}
        for interval in ("1m",) if self.is_futures else ("1s", "1m"):
            self.candles[interval] = CandleSeries(instrument, interval, timeline.now_ns, self.last_price)
        self._top = self.book.top()
        self._trade_stream: Stream | None = None
        self._agg_stream: Stream | None = None
        self._ticker_stream: Stream | None = None
        self._force_streams: list[Stream] = []
        self._depth: dict[str, DepthChannel] = {}
        self._timers: dict[str, Timer] = {}
        self._force_pending: ForceOrder | None = None
        self._force_timer = Timer(self._flush_force)
        self._all_force: Callable[[ForceOrder, SymbolFeed], None] | None = None
        self._index_price = float(self.last_price)
        self._arrival = Timer(self._arrive)
        timeline.set(self._arrival, timeline.now_ns + self._flow.next_delay_ns())

    def on_liquidation(self, listener: "Callable[[ForceOrder, SymbolFeed], None]") -> None:
        """Hand every published liquidation to the market, which has streams of all symbols."""
        self._all_force = listener

    def pause(self) -> None:
        """Let no more orders arrive."""
        self._arrival.cancel()

    def resume(self) -> None:
        """Let orders arrive again."""
        if not self._arrival.armed:
            self.timeline.set(self._arrival, self.timeline.now_ns + self._flow.next_delay_ns())

    def arm(self, timer: Timer, period_ns: int) -> None:
        """Set a timer to the next multiple of a period: the venue's intervals lie on a grid."""
        self.timeline.set(timer, (self.timeline.now_ns // period_ns + 1) * period_ns)

    # --- one order ---------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        timeline = self.timeline
        self.apply(self._flow.act(self.book, self.is_futures))
        timeline.set(self._arrival, timeline.now_ns + self._flow.next_delay_ns())

    def apply(self, action: Action) -> None:
        """Tell every stream what an order did; the book has changed already."""
        self.events += 1
        self.last_change_ns = self.timeline.now_ns
        if not action.touched:
            return
        update_id = self.update_id = self._next_update_id()
        if action.fills:
            self._trade(action)
        for channel in self._depth.values():
            if not channel.first_id:
                channel.first_id = update_id
            for side, price in action.touched:
                (channel.bids if side == BID else channel.asks).add(price)
        top = self.book.top()
        if top != self._top:
            self._top = top
            stream = self._ticker_stream
            if stream is not None:
                stream.emit(self.writer.book_ticker, self.timeline.sent_ns(), self.last_change_ns, update_id, top)

    def _trade(self, action: Action) -> None:
        now = self.timeline.now_ns
        stream = self._trade_stream
        self.last_price = action.fills[-1].price
        for fill in action.fills:
            trade = Trade(self._next_trade_id, fill.price, fill.quantity, now, action.taker_sells)
            self._next_trade_id += 1
            self.trades.append(trade)
            for series in self.candles.values():
                series.add(trade)
            if stream is not None:
                stream.emit(self.writer.trade, self.timeline.sent_ns(), trade)
            self._aggregate(trade)
        if not self._rules.agg_trade_window_ns:
            self._flush_agg()
        if action.liquidation:
            self._liquidate(action, now)

    def _aggregate(self, trade: Trade) -> None:
        pending = self._pending_agg
        if pending is not None and pending.price == trade.price and pending.taker_sells == trade.taker_sells:
            self._pending_agg = pending._replace(quantity=pending.quantity + trade.quantity, last_id=trade.trade_id)
            return
        if pending is not None:
            self._flush_agg()
        self._pending_agg = AggTrade(
            self._next_agg_id,
            trade.price,
            trade.quantity,
            trade.trade_id,
            trade.trade_id,
            trade.time_ns,
            trade.taker_sells,
        )
        self._next_agg_id += 1
        window = self._rules.agg_trade_window_ns
        if window:
            self.timeline.set(self._agg_timer, self.timeline.now_ns + window)

    def _flush_agg(self) -> None:
        pending, self._pending_agg = self._pending_agg, None
        self._agg_timer.cancel()
        if pending is None:
            return
        self.agg_trades.append(pending)
        if self._agg_stream is not None:
            self._agg_stream.emit(self.writer.agg_trade, self.timeline.sent_ns(), pending)

    def _liquidate(self, action: Action, now: int) -> None:
        fills: list[Fill] = action.fills
        filled = sum(fill.quantity for fill in fills)
        average = sum(fill.quantity * fill.price for fill in fills) // filled
        # Only the latest liquidation of a symbol within a second is published.
        self._force_pending = ForceOrder(
            "SELL" if action.taker_sells else "BUY", filled, fills[-1].price, average, fills[-1].quantity, filled, now
        )
        if not self._force_timer.armed:
            self.arm(self._force_timer, 1_000 * MS)

    def _flush_force(self) -> None:
        order, self._force_pending = self._force_pending, None
        if order is None or not isinstance(self.writer, FuturesFrameWriter):
            return
        for stream in self._force_streams:
            stream.emit(self.writer.force_order, self.timeline.sent_ns(), order)
        if self._all_force is not None:
            self._all_force(order, self)

    # --- streams -----------------------------------------------------------------------------------------------------

    def open_stream(self, stream: Stream) -> None:
        """Feed a stream of this symbol from now on."""
        name = stream.name
        if name.kind == "trade":
            self._trade_stream = stream
        elif name.kind == "aggTrade":
            self._agg_stream = stream
        elif name.kind == "bookTicker":
            self._ticker_stream = stream
        elif name.kind == "depth":
            self._depth[name.text] = DepthChannel(self, stream)
        elif name.kind == "forceOrder":
            self._force_streams.append(stream)
        elif name.kind == "partial":
            self._repeat(stream, self._partial_depth)
        elif name.kind == "markPrice":
            self._repeat(stream, self._mark_price)
        elif name.kind == "kline":
            self._open_kline(stream)

    def close_stream(self, stream: Stream) -> None:
        """Stop feeding a stream."""
        name = stream.name
        if name.kind == "trade":
            self._trade_stream = None
        elif name.kind == "aggTrade":
            self._agg_stream = None
        elif name.kind == "bookTicker":
            self._ticker_stream = None
        elif name.kind == "depth":
            self._depth.pop(name.text).timer.cancel()
        elif name.kind == "forceOrder":
            self._force_streams.remove(stream)
        else:
            self._timers.pop(name.text).cancel()

    def _repeat(self, stream: Stream, speak: Callable[[Stream], None]) -> None:
        def fire() -> None:
            self.arm(timer, stream.name.period_ns)
            speak(stream)

        timer = self._timers[stream.name.text] = Timer(fire)
        self.arm(timer, stream.name.period_ns)

    def _partial_depth(self, stream: Stream) -> None:
        levels = stream.name.levels
        stream.emit(
            self.writer.partial_depth,
            self.timeline.sent_ns(),
            self.last_change_ns,
            self.update_id,
            self.update_id,
            self.update_id - 1,
            self.book.bids.levels(levels),
            self.book.asks.levels(levels),
        )

    def _mark_price(self, stream: Stream) -> None:
        assert isinstance(self.writer, FuturesFrameWriter)
        stream.emit(self.writer.mark_price, self.timeline.sent_ns(), self.mark())

    def _open_kline(self, stream: Stream) -> None:
        name = stream.name
        series = self.series(name.interval)
        shown: list[KlineView] = []

        shown_open_ns = series.open.open_ns

        def fire() -> None:
            nonlocal shown_open_ns
            now = self.timeline.now_ns
            series.roll(now)
            # Trades may have closed candles since the last time; they are told before the open one.
            ended = list(takewhile(lambda candle: candle.open_ns >= shown_open_ns, reversed(series.closed)))
            for candle in reversed(ended):
                stream.emit(self.writer.kline, self.timeline.sent_ns(), series.view(candle, True))
            shown_open_ns = series.open.open_ns
            view = series.view(series.open, False)
            if series.open.trades and [view] != shown:
                shown[:] = [view]
                stream.emit(self.writer.kline, self.timeline.sent_ns(), view)
            arm()

        def arm() -> None:
            grid = (self.timeline.now_ns // name.period_ns + 1) * name.period_ns
            self.timeline.set(timer, min(grid, max(series.open.close_ns, self.timeline.now_ns)))

        timer = self._timers[name.text] = Timer(fire)
        arm()

    # --- state that REST and tests ask for ---------------------------------------------------------------

    def series(self, interval: str) -> CandleSeries:
        """Return the candles of an interval, folded from minutes when nobody asked before."""
        series = self.candles.get(interval)
        if series is None:
            series = CandleSeries(self.instrument, interval, self.timeline.now_ns, self.last_price)
            series.fold(self.candles["1m"])
            self.candles[interval] = series
        return series

    def best(self) -> tuple[int, int, int, int]:
        """Return best bid, quantity, best ask, quantity (ticks and lots)."""
        return self._top

    def mark(self) -> MarkView:
        """Work out mark price, index price and funding of this moment."""
        bid, _, ask, _ = self._top
        middle = (bid + ask) / 2
        # The index lags the middle a little, as one of several venues' average does; the premium decides the funding.
        self._index_price += (middle - self._index_price) * 0.05
        unit = self.instrument.tick_units
        scale = 10 ** (_MARK_DECIMALS - self.instrument.price_decimals)

        def text(ticks: float) -> str:
            return decimal_text(round(ticks * unit * scale), _MARK_DECIMALS)

        premium = (middle - self._index_price) / self._index_price
        rate = max(-0.003, min(0.003, 0.0001 + premium / 8))
        mark = self._index_price * (1 + premium / 2)
        next_funding = (self.timeline.now_ns // _FUNDING_NS + 1) * _FUNDING_NS
        return MarkView(
            text(mark),
            text(self._index_price),
            text(self._index_price),
            text(middle),
            decimal_text(round(rate * 1e8), 8),
            next_funding,
        )
