"""What an aggregator missed: the trades that somebody else kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import grpc

from raven.app.history import history
from raven.bars.trades import by_symbol
from raven.roles.aggregator import TradesSince
from raven.topics import Topic

__all__ = ["trades_since"]

# Columns of one call into the native code: what fits the cache of a core.
_PIECE_ROWS = 16_384


def trades_since(address: str, *, token: str | None, tls: bool | grpc.ChannelCredentials) -> TradesSince:
    """Ask a server with a journal, like `localhost:50051`."""

    def read(topic: Topic, since_ms: int) -> Sequence[tuple[Any, ...]]:
        start = datetime.fromtimestamp(since_ms / 1000, UTC).isoformat()
        asked = history(topic.symbol, "trades", start=start, venue=topic.venue, address=address, token=token, tls=tls)
        return [
            (piece.time_ms, piece.price, piece.quantity, piece.sells, piece.id, piece.price_scale, piece.quantity_scale)
            for table in asked
            for _, columns in by_symbol(table)
            for piece in columns.pieces(_PIECE_ROWS)
        ]

    return read
