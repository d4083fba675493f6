"""What an aggregator missed, asked of a server with a journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from raven.app.compose.past import trades_since
from raven.topics import DataType, Topic

BTC = Topic("binance_spot", "BTCUSDT", DataType.TRADES)


def test_trades_come_in_pieces_that_fit_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    rows = 20_000

    def history(symbol: str, kind: str, **options: Any) -> Iterator[pa.Table]:
        asked.update(symbol=symbol, kind=kind, **options)
        times = pa.array(range(rows), pa.int64())
        yield pa.table(
            {
                "symbol": pa.array(["BTCUSDT"] * rows),
                "exchange_ns": pa.array([number * 1_000_000 for number in range(rows)], pa.timestamp("ns", "UTC")),
                "price": pa.array([61800.1] * rows),
                "quantity": pa.array([0.001] * rows),
                "side": pa.array(["buy", "sell"] * (rows // 2)),
                "trade_id": times,
            }
        )

    monkeypatch.setattr("raven.app.compose.past.history", history)

    first, second = trades_since("localhost:50051", token="t", tls=False)(BTC, 1_700_000_000_123)

    assert [len(column) for column in first[:5]] == [16_384] * 5
    assert [len(column) for column in second[:5]] == [rows - 16_384] * 5
    assert (second[0][0], second[1][0], second[4][-1]) == (16_384, 61800.1, rows - 1)
    assert (bytes(first[3][:2]), first[5:]) == (b"\x00\x01", (1, 3))
    assert asked == {
        "symbol": "BTCUSDT", "kind": "trades", "start": "2023-11-14T22:13:20.123000+00:00", "venue": "binance_spot",
        "address": "localhost:50051", "token": "t", "tls": False,
    }  # fmt: skip
