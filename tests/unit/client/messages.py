"""Messages as a server sends them."""

from __future__ import annotations

from raven.proto.market_data_pb2 import MarketDataMessage

VENUE = "binance_futures"


def trade(sequence: int, symbol: str = "BTCUSDT", flags: int = 0, recv_ns: int = 0) -> MarketDataMessage:
    """Return a buy of 0.25 at 61000.5."""
    message = MarketDataMessage(venue=VENUE, sequence=sequence, exchange_time_ns=1_000, flags=flags)
    message.receive_time_ns = recv_ns or 2_000 + sequence
    message.trade.symbol, message.trade.timestamp = symbol, 1
    message.trade.price, message.trade.quantity = 61000.5, 0.25
    message.trade.side, message.trade.trade_id = "buy", str(sequence)
    return message


def book(sequence: int, bid: float = 100.0, flags: int = 0, symbol: str = "BTCUSDT") -> MarketDataMessage:
    """Return a book of two bids and one ask, one above the best bid."""
    message = MarketDataMessage(venue=VENUE, sequence=sequence, exchange_time_ns=1_000, flags=flags, unproven_bids=1)
    message.receive_time_ns = 2_000 + sequence
    message.orderbook.symbol, message.orderbook.sequence = symbol, 900 + sequence
    message.orderbook.bids.add(price=bid, quantity=1.0)
    message.orderbook.bids.add(price=bid - 0.5, quantity=3.0)
    message.orderbook.asks.add(price=bid + 1, quantity=2.0)
    return message


def gap(sequence: int, count: int, reason: str, data_type: int = 1) -> MarketDataMessage:
    """Return the mark of a hole."""
    message = MarketDataMessage(venue=VENUE, sequence=sequence, receive_time_ns=2_000 + sequence, flags=4)
    message.gap.symbol, message.gap.data_type = "BTCUSDT", data_type
    message.gap.count, message.gap.reason = count, reason
    message.gap.first_id, message.gap.last_id = "0", "0"
    return message
