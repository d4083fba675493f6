"""Journals of some days, and what a journal holds."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven._core import Engine, Hub
from raven.journal import Batch, Journal, read_journal
from raven.journal.history import Wanted, history
from raven.topics import DataType

__all__ = ["DAY_NS", "START_NS", "differences", "journal_tables", "manifests", "now", "trade_ids", "write_days"]

DAY_NS = 86_400 * 10**9
START_NS = 20_000 * DAY_NS
"""Day 0 of the journals that are written here."""

Key = tuple[str, str, str, str]
"""Venue, symbol, data type, kind of record."""


def journal_tables(folder: Path) -> dict[Key, pa.Table]:
    """Return the records of every topic and kind; the numbers of topics are a journal's own business."""
    found: dict[Key, list[pa.Table]] = defaultdict(list)
    for batch in read_journal(folder):
        assert isinstance(batch, Batch), str(batch)
        records = pa.table(batch.records)
        for number, topic in batch.topics.items():
            rows = records.filter(pc.equal(records["topic"], number)).drop_columns(["topic"])
            if len(rows):
                found[topic.venue, topic.symbol, topic.data_type.name, batch.kind.name].append(rows)
    return {key: pa.concat_tables(tables).combine_chunks() for key, tables in found.items()}


def differences(first: dict[Key, pa.Table], second: dict[Key, pa.Table]) -> dict[Key, list[str]]:
    """Return the columns that differ, by topic and kind; `["rows"]` where the numbers of records do."""
    found = {}
    for key in first.keys() | second.keys():
        one, other = first.get(key), second.get(key)
        if one is None or other is None or len(one) != len(other):
            found[key] = ["rows"]
        elif wrong := [name for name in one.column_names if not one[name].equals(other[name])]:
            found[key] = wrong
    return found


def write_days(folder: Path, *days: int, count: int = 120, first: int = 1, quotes: int = 0) -> None:
    """One run of a server: on each day trades of BTCUSDT from number `first` on, one a second, and quotes of ETHUSDT.

    The ids of day 2 begin at 2001, and so on.
    """
    hub = Hub()
    engine = Engine(hub)
    connection = engine.open_connection(engine.add_venue("binance_spot", "spot"))
    if quotes:
        engine.add_instrument(0, "ETHUSDT")
    journal = Journal(hub, folder)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 18)
    for day in days:
        for number in range(first - 1, first - 1 + count):
            at = START_NS + day * DAY_NS + number * 10**9
            trades.trade(
                at + 5, at, day * 1000 + number + 1, 60_000 + number % 7, 25, price_scale=2, quantity_scale=3,
                taker_sells=False,
            )  # fmt: skip
        for number in range(quotes):
            at = START_NS + day * DAY_NS + number * 10**9
            quote = {"u": day * 1000 + number + 1, "s": "ETHUSDT", "b": "6", "B": "1", "a": "7", "A": str(number + 1)}
            engine.on_frame(connection, at, json.dumps(quote).encode())
    journal.close()


def now(day: int) -> int:
    """Return a moment of a day of such a journal, ns since 1970."""
    return START_NS + day * DAY_NS + 1


def trade_ids(folder: Path) -> list[int]:
    """Return the ids of all trades that history shows."""
    wanted = Wanted({"BTCUSDT"}, DataType.TRADES)
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


def manifests(folder: Path, name: str = "trades") -> list[dict[str, Any]]:
    """Return the manifests of a type in a folder of Parquet files, the oldest day first."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"date=*/*/type={name}/*/_manifest.json"))]
