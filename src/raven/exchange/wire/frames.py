"""The text of every event, key for key as the venue writes it.

The order of keys and the number of decimals follow recorded frames of each market. `Layout.CURRENT` adds the keys that
the venue introduced since (`ps`, `st`, `nq`, `ap`), as its documentation of 2026 has them; `Layout.RECORDED_2024`
leaves them out. Every method takes first how many nanoseconds one unit of time has: 1,000,000 for milliseconds, 1,000
for `timeUnit=MICROSECOND`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from raven.exchange.instruments import Instrument
from raven.exchange.markets import Market

Levels = Iterable[tuple[int, int]]
"""`(price in ticks, quantity in lots)`; quantity 0 removes a level."""


class Layout(StrEnum):
    """Which age of the protocol the frames have."""

    CURRENT = "current"
    RECORDED_2024 = "2024"


class Trade(NamedTuple):
    """One fill."""

    trade_id: int
    price: int
    quantity: int
    time_ns: int
    taker_sells: bool


class AggTrade(NamedTuple):
    """Fills of one price and one taker side."""

    agg_id: int
    price: int
    quantity: int
    first_id: int
    last_id: int
    time_ns: int
    taker_sells: bool


class KlineView(NamedTuple):
    """A candle as a frame shows it; volumes are texts already."""

    open_ns: int
    close_ns: int
    interval: str
    first_id: int
    last_id: int
    open: int
    close: int
    high: int
    low: int
    volume: str
    trades: int
    closed: bool
    quote_volume: str
    taker_volume: str
    taker_quote_volume: str


class MarkView(NamedTuple):
    """Mark price, index price, estimated settlement price and funding, as texts."""

    mark: str
    index_price: str
    settle: str
    moving_average: str
    funding_rate: str
    next_funding_ns: int


class ForceOrder(NamedTuple):
    """A liquidation order that was filled."""

    side: str
    quantity: int
    price: int
    average_price: int
    last_quantity: int
    filled: int
    time_ns: int


def _bool(value: bool) -> str:
    return "true" if value else "false"


class FrameWriter:
    """Writes the frames of one instrument. This base class is spot; futures differ in `FuturesFrameWriter`."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._price = instrument.price_text
        self._quantity = instrument.quantity_text
        self._symbol = f'"s":"{instrument.symbol}"'

    def levels(self, levels: Levels) -> str:
        """Write levels as an array of pairs of texts."""
        price, quantity = self._price, self._quantity
        return "[" + ",".join([f'["{price(p)}","{quantity(q)}"]' for p, q in levels]) + "]"

    def trade(self, unit: int, sent_ns: int, trade: Trade) -> str:
        """Write `<symbol>@trade`."""
        return (
            f'{{"e":"trade","E":{sent_ns // unit},{self._symbol},"t":{trade.trade_id},"p":"{self._price(trade.price)}",'
            f'"q":"{self._quantity(trade.quantity)}","T":{trade.time_ns // unit},"m":{_bool(trade.taker_sells)},'
            f'"M":true}}'
        )

    def agg_trade(self, unit: int, sent_ns: int, trade: AggTrade) -> str:
        """Write `<symbol>@aggTrade`."""
        return (
            f'{{"e":"aggTrade","E":{sent_ns // unit},{self._symbol},"a":{trade.agg_id},'
            f'"p":"{self._price(trade.price)}",'
            f'"q":"{self._quantity(trade.quantity)}","f":{trade.first_id},"l":{trade.last_id},'
            f'"T":{trade.time_ns // unit},'
            f'"m":{_bool(trade.taker_sells)},"M":true}}'
        )

    def book_ticker(self, unit: int, sent_ns: int, time_ns: int, update_id: int, top: tuple[int, int, int, int]) -> str:
        """Write `<symbol>@bookTicker`; spot has neither event type nor time."""
        bid, bid_quantity, ask, ask_quantity = top
        return (
            f'{{"u":{update_id},{self._symbol},"b":"{self._price(bid)}","B":"{self._quantity(bid_quantity)}",'
            f'"a":"{self._price(ask)}","A":"{self._quantity(ask_quantity)}"}}'
        )

    def depth_update(
        self,
        unit: int,
        sent_ns: int,
        time_ns: int,
        first_id: int,
        last_id: int,
        previous_id: int,
        bids: Levels,
        asks: Levels,
    ) -> str:
        """Write `<symbol>@depth`; spot has no `T` and no `pu`."""
        return (
            f'{{"e":"depthUpdate","E":{sent_ns // unit},{self._symbol},"U":{first_id},"u":{last_id},'
            f'"b":{self.levels(bids)},"a":{self.levels(asks)}}}'
        )

    def partial_depth(
        self,
        unit: int,
        sent_ns: int,
        time_ns: int,
        first_id: int,
        last_id: int,
        previous_id: int,
        bids: Levels,
        asks: Levels,
    ) -> str:
        """Write `<symbol>@depth5|10|20`; spot gives neither symbol nor time."""
        return f'{{"lastUpdateId":{last_id},"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'

    def depth_snapshot(self, sent_ns: int, time_ns: int, last_id: int, bids: Levels, asks: Levels) -> str:
        """Write the REST depth answer."""
        return f'{{"lastUpdateId":{last_id},"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'

    def kline(self, unit: int, sent_ns: int, view: KlineView) -> str:
        """Write `<symbol>@kline_<interval>`; the close time is the last unit of time inside the candle."""
        price = self._price
        return (
            f'{{"e":"kline","E":{sent_ns // unit},{self._symbol},"k":{{"t":{view.open_ns // unit},'
            f'"T":{view.close_ns // unit - 1},'
            f'{self._symbol},"i":"{view.interval}","f":{view.first_id},"L":{view.last_id},"o":"{price(view.open)}",'
            f'"c":"{price(view.close)}","h":"{price(view.high)}","l":"{price(view.low)}","v":"{view.volume}","n":{view.trades},'
            f'"x":{_bool(view.closed)},"q":"{view.quote_volume}","V":"{view.taker_volume}","Q":"{view.taker_quote_volume}",'
            f'"B":"0"}}}}'
        )


class FuturesFrameWriter(FrameWriter):
    """Frames of USD-M and COIN-M."""

    def __init__(self, instrument: Instrument, layout: Layout) -> None:
        super().__init__(instrument)
        current = layout is Layout.CURRENT
        coinm = instrument.market is Market.COINM
        merged = f',"st":{2 if coinm else 1}' if current else ""
        pair = f',"ps":"{instrument.pair}"'
        self._coinm = coinm
        self._current = current
        # COIN-M has had `ps` behind the symbol for long; USD-M has it at the end since the markets were merged.
        self._book_symbol = self._symbol + (pair if coinm else "")
        self._book_tail = merged if coinm else (pair + merged if current else "")
        self._tail = merged

    def trade(self, unit: int, sent_ns: int, trade: Trade) -> str:
        """Write `<symbol>@trade`, undocumented on futures but recorded by many."""
        return (
            f'{{"e":"trade","E":{sent_ns // unit},"T":{trade.time_ns // unit},{self._symbol},"t":{trade.trade_id},'
            f'"p":"{self._price(trade.price)}","q":"{self._quantity(trade.quantity)}","X":"MARKET","m":{_bool(trade.taker_sells)}}}'
        )

    def agg_trade(self, unit: int, sent_ns: int, trade: AggTrade) -> str:
        """Write `<symbol>@aggTrade`; `nq` (quantity without RPI orders) equals `q`, as there are no RPI orders here."""
        quantity = self._quantity(trade.quantity)
        normal = f',"nq":"{quantity}"' if self._current and not self._coinm else ""
        return (
            f'{{"e":"aggTrade","E":{sent_ns // unit},"a":{trade.agg_id},{self._symbol},'
            f'"p":"{self._price(trade.price)}",'
            f'"q":"{quantity}"{normal},"f":{trade.first_id},"l":{trade.last_id},"T":{trade.time_ns // unit},'
            f'"m":{_bool(trade.taker_sells)}{self._tail}}}'
        )

    def book_ticker(self, unit: int, sent_ns: int, time_ns: int, update_id: int, top: tuple[int, int, int, int]) -> str:
        """Write `<symbol>@bookTicker`."""
        bid, bid_quantity, ask, ask_quantity = top
        head = f'"u":{update_id},"e":"bookTicker"' if self._coinm else f'"e":"bookTicker","u":{update_id}'
        return (
            f'{{{head},{self._book_symbol},"b":"{self._price(bid)}","B":"{self._quantity(bid_quantity)}",'
            f'"a":"{self._price(ask)}","A":"{self._quantity(ask_quantity)}","T":{time_ns // unit},"E":{sent_ns // unit}'
            f"{self._book_tail}}}"
        )

    def depth_update(
        self,
        unit: int,
        sent_ns: int,
        time_ns: int,
        first_id: int,
        last_id: int,
        previous_id: int,
        bids: Levels,
        asks: Levels,
    ) -> str:
        """Write `<symbol>@depth`."""
        return (
            f'{{"e":"depthUpdate","E":{sent_ns // unit},"T":{time_ns // unit},{self._book_symbol},"U":{first_id},'
            f'"u":{last_id},'
            f'"pu":{previous_id},"b":{self.levels(bids)},"a":{self.levels(asks)}{self._book_tail}}}'
        )

    def partial_depth(
        self,
        unit: int,
        sent_ns: int,
        time_ns: int,
        first_id: int,
        last_id: int,
        previous_id: int,
        bids: Levels,
        asks: Levels,
    ) -> str:
        """Write `<symbol>@depth5|10|20`, in the shape of a depth update."""
        return self.depth_update(unit, sent_ns, time_ns, first_id, last_id, previous_id, bids, asks)

    def depth_snapshot(self, sent_ns: int, time_ns: int, last_id: int, bids: Levels, asks: Levels) -> str:
        """Write the REST depth answer; COIN-M names symbol and pair."""
        names = f'"symbol":"{self.instrument.symbol}","pair":"{self.instrument.pair}",' if self._coinm else ""
        return (
            f'{{"lastUpdateId":{last_id},"E":{sent_ns // 1_000_000},"T":{time_ns // 1_000_000},{names}'
            f'"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'
        )

    def mark_price(self, unit: int, sent_ns: int, view: MarkView) -> str:
        """Write `<symbol>@markPrice`."""
        average = f',"ap":"{view.moving_average}"' if self._current and not self._coinm else ""
        index = f',"i":"{view.index_price}"' if self._current or not self._coinm else ""
        return (
            f'{{"e":"markPriceUpdate","E":{sent_ns // unit},{self._symbol},"p":"{view.mark}"{average},'
            f'"P":"{view.settle}"{index},'
            f'"r":"{view.funding_rate}","T":{view.next_funding_ns // unit}{self._tail}}}'
        )

    def force_order(self, unit: int, sent_ns: int, order: ForceOrder) -> str:
        """Write `<symbol>@forceOrder`: an immediate-or-cancel limit order of the liquidation engine."""
        pair = f',"ps":"{self.instrument.pair}"' if self._coinm else ""
        tail = (f',"ps":"{self.instrument.pair}"' if not self._coinm else "") + self._tail if self._current else ""
        return (
            f'{{"e":"forceOrder","E":{sent_ns // unit},"o":{{{self._symbol}{pair},"S":"{order.side}","o":"LIMIT",'
            f'"f":"IOC",'
            f'"q":"{self._quantity(order.quantity)}","p":"{self._price(order.price)}","ap":"{self._price(order.average_price)}",'
            f'"X":"FILLED","l":"{self._quantity(order.last_quantity)}","z":"{self._quantity(order.filled)}",'
            f'"T":{order.time_ns // unit}}}{tail}}}'
        )


def frame_writer(instrument: Instrument, layout: Layout) -> FrameWriter:
    """Return the writer of an instrument's market."""
    if instrument.market is Market.SPOT:
        return FrameWriter(instrument)
    return FuturesFrameWriter(instrument, layout)
