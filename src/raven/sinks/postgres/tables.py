"""The tables of the schema `raven`: one per type, with the columns of docs/reference/parquet.md."""

from __future__ import annotations

from dataclasses import dataclass

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
    newest_wins: bool = False
    """A record with the key of another replaces it if it arrived later; else the first stays."""


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
    newest_wins=True,
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
}
"""By `SinkBatch.type`."""
