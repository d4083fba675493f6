"""From `MarketDataMessage` to records. The one place of the client that runs once per event."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from raven.client.records import Candle, Event, Funding, Gap, OrderBook, Quote, Trade
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.topics import DataType


def decode(message: MarketDataMessage) -> Iterator[Event]:
    """Yield the events of one frame, oldest first: one, those of a batch, or none (a heartbeat).

    Data that this version does not know is passed over, so that an old client can talk to a newer server.
    """
    if message.batch:
        for part in message.batch:
            build = _BUILDERS.get(part.WhichOneof("data"))
            if build is not None:
                yield build(part)
        return
    build = _BUILDERS.get(message.WhichOneof("data"))
    if build is not None:
        yield build(message)


def _trade(message: MarketDataMessage) -> Trade:
    body = message.trade
    return Trade(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        price=body.price,
        quantity=body.quantity,
        side=body.side,  # type: ignore[arg-type]  # the wire says "buy" or "sell"
        trade_id=body.trade_id,
    )


def _book(message: MarketDataMessage) -> OrderBook:
    body = message.orderbook
    return OrderBook(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        bids=tuple([(level.price, level.quantity) for level in body.bids]),
        asks=tuple([(level.price, level.quantity) for level in body.asks]),
        update_id=body.sequence,
    )


def _quote(message: MarketDataMessage) -> Quote:
    body = message.quote
    return Quote(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        bid_price=body.bid_price,
        bid_quantity=body.bid_quantity,
        ask_price=body.ask_price,
        ask_quantity=body.ask_quantity,
        update_id=body.update_id,
    )


def _candle(message: MarketDataMessage) -> Candle:
    body = message.candle
    return Candle(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        open_time_ms=body.timestamp,
        interval=body.interval,
        open=body.open,
        high=body.high,
        low=body.low,
        close=body.close,
        volume=body.volume,
        buy_ticks=body.buy_ticks,
        sell_ticks=body.sell_ticks,
        total_ticks=body.total_ticks,
    )


def _funding(message: MarketDataMessage) -> Funding:
    body = message.funding
    return Funding(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        rate=body.rate,
        next_funding_ms=body.next_funding_time,
        mark_price=body.mark_price,
        index_price=body.index_price,
    )


def _gap(message: MarketDataMessage) -> Gap:
    body = message.gap
    return Gap(
        venue=message.venue,
        symbol=body.symbol,
        exchange_ns=message.exchange_time_ns or body.timestamp * 1_000_000,
        recv_ns=message.receive_time_ns,
        sequence=message.sequence,
        flags=message.flags,
        data_type=DataType(body.data_type),
        count=body.count,
        first_id=body.first_id,
        last_id=body.last_id,
        reason=body.reason,
        repaired=body.repaired,
    )


_BUILDERS: dict[str | None, Callable[[MarketDataMessage], Event]] = {
    "trade": _trade,
    "orderbook": _book,
    "quote": _quote,
    "candle": _candle,
    "funding": _funding,
    "gap": _gap,
}
