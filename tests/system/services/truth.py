"""What the exchange itself knows: every trade it made, asked for over REST. Bars are compared with bars of these."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from tests.system.services.conftest import Platform, ask

from raven.bars import build

_PAGE = 1000


class Truth:
    """All trades of a symbol from a moment on; ask it often enough, the exchange forgets old ones."""

    def __init__(self, platform: Platform, symbol: str = "BTCUSDT") -> None:
        self._url = f"{platform.exchange.urls['spot']['rest']}/api/v3/historicalTrades?symbol={symbol}&limit={_PAGE}"
        self._trades: dict[int, dict[str, Any]] = {}
        self.follow()

    def follow(self) -> None:
        """Ask for what is new."""
        while True:
            since = f"&fromId={max(self._trades) + 1}" if self._trades else ""
            status, rows = ask(self._url + since)
            assert status == 200, rows
            self._trades |= {row["id"]: row for row in rows}
            if len(rows) < _PAGE or not since:
                return

    def trades(self, since: int = 0) -> pa.Table:
        """Return those from an id on as `raven.bars.build` takes them; none is missing."""
        rows = [self._trades[number] for number in sorted(self._trades) if number >= since]
        assert rows[-1]["id"] - rows[0]["id"] + 1 == len(rows), "it was not asked often enough"
        return pa.table(
            {
                "timestamp": [row["time"] for row in rows],
                "price": pa.array([row["price"] for row in rows]).cast(pa.decimal128(38, 8)),
                "quantity": pa.array([row["qty"] for row in rows]).cast(pa.decimal128(38, 8)),
                "side": ["sell" if row["isBuyerMaker"] else "buy" for row in rows],
                "trade_id": [row["id"] for row in rows],
            }
        )

    def bars(self, kind: str, since: int = 0, **parameters: Any) -> dict[int, dict[str, Any]]:
        """Return the bars of those from an id on, by the id of the first trade."""
        made = build(self.trades(since), kind, exact=True, open_bar=False, **parameters).to_pylist()
        return {row["first_trade_id"]: row for row in made}
