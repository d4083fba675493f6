"""A generated market: all its symbols, the ids they share, and the streams that speak for all of them."""

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from raven.exchange.generated.symbol_feed import SymbolFeed
from raven.exchange.instruments import make_instrument
from raven.exchange.markets import Market, MarketRules
from raven.exchange.timeline import MS, Timeline, Timer
from raven.exchange.truth import TrueBook
from raven.exchange.wire.frames import ForceOrder, FuturesFrameWriter, Layout
from raven.exchange.wire.streams import Stream, StreamName, parse_stream

if TYPE_CHECKING:
    from raven.exchange.config import ExchangeConfig

# Rates of symbols fall off like a power of their rank: the first of a hundred has far more than its hundredth.
_RATE_EXPONENT = 0.8


def rates_by_rank(total: float, count: int) -> list[float]:
    """Divide a market's events per second among symbols, the first getting the most."""
    weights = [(rank + 1) ** -_RATE_EXPONENT for rank in range(count)]
    whole = sum(weights)
    return [total * weight / whole for weight in weights]


class GeneratedMarket:
    """The source of a market that is made up as it goes, reproducible by seed."""

    def __init__(self, market: Market, rules: MarketRules, timeline: Timeline, config: "ExchangeConfig") -> None:
        self.market = market
        self.timeline = timeline
        self._rules = rules
        self._fastest_ns = config.fastest_depth_ms * MS
        self._ids = random.Random(f"{config.seed}:{market}:ids")
        # Ids of the recordings' size: a client that keeps them in too small a type should notice here.
        self._last_id = 5_123_000_000_000 if market.is_futures else 50_093_000_000
        self.feeds: dict[str, SymbolFeed] = {}
        symbols = config.symbols_for(market)
        spot_ids = {symbol: self._last_id + rank * 1_000_000_007 for rank, symbol in enumerate(symbols)}
        rates = (
            rates_by_rank(config.rate, len(symbols))
            if config.skewed_rates
            else [config.rate / len(symbols)] * len(symbols)
        )
        for symbol, rate in zip(symbols, rates, strict=True):
            instrument = make_instrument(market, symbol)
            feed = SymbolFeed(
                instrument,
                rules,
                timeline,
                self._futures_id if market.is_futures else _IdsOneByOne(spot_ids[symbol]),
                layout=Layout(config.layout),
                seed=f"{config.seed}:{market}:{instrument.symbol}",
                rate=rate,
                levels=config.levels,
                history=config.trade_history,
            )
            feed.on_liquidation(self._liquidated)
            self.feeds[instrument.symbol] = feed
        self.force_all: list[Stream] = []
        self._timers: dict[str, Timer] = {}
        self._merged: list[GeneratedMarket] = [self]

    def merge_with(self, others: Iterable["GeneratedMarket"]) -> None:
        """Carry the other futures market's symbols in `!forceOrder@arr` and `!bookTicker`, as the venue does."""
        self._merged.extend(others)

    @property
    def events(self) -> int:
        """Orders that have arrived so far."""
        return sum(feed.events for feed in self.feeds.values())

    def pause(self) -> None:
        """Let no more orders arrive."""
        for feed in self.feeds.values():
            feed.pause()

    def resume(self) -> None:
        """Let orders arrive again."""
        for feed in self.feeds.values():
            feed.resume()

    @property
    def symbols(self) -> Sequence[str]:
        """The symbols on offer."""
        return list(self.feeds)

    def resolve(self, text: str) -> StreamName | None:
        """Return the stream that a name stands for, if this market has its symbol."""
        name = parse_stream(self.market, self._rules, text, self._fastest_ns)
        return name if name is not None and (not name.symbol or name.symbol in self.feeds) else None

    def open_stream(self, stream: Stream) -> None:
        """Begin to feed a stream."""
        name = stream.name
        if name.symbol:
            self.feeds[name.symbol].open_stream(stream)
        elif name.kind == "!forceOrder":
            for market in self._merged:
                market.force_all.append(stream)
        else:
            speak = self._all_marks if name.kind == "!markPrice" else self._all_tickers

            def fire() -> None:
                self._arm(timer, name.period_ns)
                speak(stream)

            timer = self._timers[name.text] = Timer(fire)
            self._arm(timer, name.period_ns)

    def close_stream(self, stream: Stream) -> None:
        """Stop feeding a stream."""
        name = stream.name
        if name.symbol:
            self.feeds[name.symbol].close_stream(stream)
        elif name.kind == "!forceOrder":
            for market in self._merged:
                market.force_all.remove(stream)
        else:
            self._timers.pop(name.text).cancel()

    def book(self, symbol: str) -> TrueBook:
        """Return the true book of a symbol at this moment. Raises: KeyError for a symbol that is not traded here."""
        feed = self.feeds[symbol]
        instrument = feed.instrument
        price_scale, quantity_scale = -instrument.price_decimals, -instrument.quantity_decimals

        def exact(levels: list[tuple[int, int]]) -> tuple[tuple[Decimal, Decimal], ...]:
            return tuple(
                (
                    Decimal(p * instrument.tick_units).scaleb(price_scale),
                    Decimal(q * instrument.lot_units).scaleb(quantity_scale),
                )
                for p, q in levels
            )

        bids, asks = feed.book.bids, feed.book.asks
        return TrueBook(
            symbol, feed.update_id, exact(bids.levels(len(bids.ranks))), exact(asks.levels(len(asks.ranks)))
        )

    def _arm(self, timer: Timer, period_ns: int) -> None:
        self.timeline.set(timer, (self.timeline.now_ns // period_ns + 1) * period_ns)

    def _futures_id(self) -> int:
        # Futures count ids over all symbols and for things no stream shows, so a symbol sees holes.
        self._last_id += 1 + int(self._ids.random() * 12)
        return self._last_id

    def _liquidated(self, order: ForceOrder, feed: SymbolFeed) -> None:
        assert isinstance(feed.writer, FuturesFrameWriter)
        for stream in self.force_all:
            stream.emit(feed.writer.force_order, self.timeline.sent_ns(), order)

    def _all_marks(self, stream: Stream) -> None:
        feeds = self.feeds.values()
        views = [(feed.writer, feed.mark()) for feed in feeds]
        sent = self.timeline.sent_ns()

        def build(unit: int) -> str:
            rows = [
                writer.mark_price(unit, sent, view) for writer, view in views if isinstance(writer, FuturesFrameWriter)
            ]
            return "[" + ",".join(rows) + "]"

        stream.emit(build)

    def _all_tickers(self, stream: Stream) -> None:
        for market in self._merged:
            for feed in market.feeds.values():
                sent = self.timeline.sent_ns()
                stream.emit(feed.writer.book_ticker, sent, feed.last_change_ns, feed.update_id, feed.best())


class _IdsOneByOne:
    """Ids of one spot symbol: one by one."""

    def __init__(self, start: int) -> None:
        self._last = start

    def __call__(self) -> int:
        self._last += 1
        return self._last
