"""The tables of the schema `raven`: one per type, with the columns of docs/reference/parquet.md."""

from __future__ import annotations

from dataclasses import dataclass

from raven.journal.revisions import BAR_TYPES, RANK, bar_key

__all__ = ["TABLES", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema `raven`."""

    columns: dict[str, str]
    """Name → SQL type, as in docs/reference/parquet.md; none may be null."""
    key: tuple[str, ...]
    """What makes a record one of its kind."""
    time: str = "exchange_time"
    """What it is partitioned by, day by day."""
    rank: tuple[str, ...] = ()
    """A record with the key of another replaces it if it is greater in the first of these columns in which they differ;
    without any the first stays."""
    is_often_replaced: bool = False
    """Nearly every record has the key of another."""


_HEAD = {"venue": "text", "symbol": "text", "exchange_time": "timestamptz", "recv_time": "timestamptz", "id": "bigint"}
_TAIL = {"sequence": "bigint", "flags": "bigint", "run": "text"}
_RECORD_KEY = ("venue", "symbol", "exchange_time", "run", "sequence")


def _table(body: dict[str, str], key: tuple[str, ...] = _RECORD_KEY, **options: object) -> Table:
    return Table(_HEAD | body | _TAIL, key, **options)  # type: ignore[arg-type]


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "numeric")


_CANDLES = _table(
    {"open_time": "timestamptz"}
    | _numbers("open", "high", "low", "close", "volume", "buy_volume")
    | {"interval_s": "bigint", "ticks": "bigint", "closed": "boolean"},
    ("venue", "symbol", "open_time"),
    time="open_time",
    rank=("recv_time",),
    is_often_replaced=True,
)
_BAR = (
    {"open_time": "timestamptz", "close_time": "timestamptz"}
    | _numbers("open", "high", "low", "close", "volume", "buy_volume", "sell_volume", "quote_volume")
    | {"buy_ticks": "bigint", "sell_ticks": "bigint", "theta": "double precision", "threshold": "double precision"}
    | {"first_trade_id": "bigint", "last_trade_id": "bigint", "interval": "text", "part": "bigint"}
    | {"complete": "boolean", "warming_up": "boolean", "gap_count": "bigint", "revision": "bigint"}
)
TABLES = {
    "trades": _table(
        _numbers("price", "quantity") | {"side": "text", "first_fill_id": "bigint", "last_fill_id": "bigint"},
        ("venue", "symbol", "exchange_time", "id"),
    ),
    "quotes": _table(_numbers("bid_price", "bid_quantity", "ask_price", "ask_quantity")),
    "orderbook": _table(
        {
            f"{side}_{name}": kind
            for side in ("bid", "ask")
            for name, kind in (("prices", "numeric[]"), ("quantities", "numeric[]"), ("proven", "bigint"))
        }
    ),
    "candles_1m": _CANDLES,
    "candles_5m": _CANDLES,
    "candles_1h": _CANDLES,
    "funding_rates": _table(
        _numbers("mark_price", "index_price", "rate", "settle_price") | {"next_funding_time": "timestamptz"}
    ),
    "liquidations": _table(_numbers("price", "average_price", "quantity") | {"side": "text"}),
    "gaps": _table(
        {"data_type": "text", "count": "bigint", "first_id": "bigint", "last_id": "bigint", "reason": "text"}
        | {"repaired": "boolean"},
        ("venue", "symbol", "exchange_time", "data_type", "reason", "run", "sequence"),
    ),
} | {name: _table(_BAR, bar_key(name), time="open_time", rank=RANK) for name in BAR_TYPES}
"""By `SinkBatch.type`."""
