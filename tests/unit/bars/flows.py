"""Random trades with a seed: the same ones on every machine."""

from __future__ import annotations

from random import Random
from typing import Any

import pyarrow as pa

MS_PER_DAY = 86_400_000
START_MS = 1_700_000_000_000


def random_flow(count: int, *, p_buy: float = 0.5, repeats: float = 0.0, seed: int = 4) -> pa.Table:
    """Return a day of trades: a random walk of prices, log-normal quantities, and waits that have no memory.

    A trade repeats the side of the one before with the chance `repeats`, as orders that are filled in pieces do; else
    it is a buy with the chance `p_buy`.
    """
    chance = Random(seed)
    rows: dict[str, list[Any]] = {name: [] for name in ("timestamp", "price", "quantity", "side", "trade_id")}
    now_ms, tenths, buys = START_MS, 600_000, True
    for number in range(1, count + 1):
        now_ms += round(chance.expovariate(count / MS_PER_DAY))
        tenths += chance.choice((-1, 0, 0, 1))
        if chance.random() >= repeats:
            buys = chance.random() < p_buy
        quantity = round(0.001 + chance.lognormvariate(-3, 1), 3)
        row = (now_ms, tenths / 10, quantity, "buy" if buys else "sell", number)
        for column, value in zip(rows.values(), row, strict=True):
            column.append(value)
    return pa.table(rows)
