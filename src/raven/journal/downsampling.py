"""One record a minute in place of all: of trades a bar, of states the last one. What is rare or a sum stays whole.

What comes late for a day that was downsampled already goes into its minutes. The manifest says which segments are in
them, so a crash between any two steps counts nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raven.journal.manifests import manifest_to_change, segment_rows, write_manifest
from raven.journal.partitions import BY_MINUTE, Opened, Part, pieces_of, rows_of
from raven.journal.replacing import begin_replacing, replace_folder
from raven.journal.tables import DECIMAL, decoded, narrow, wide
from raven.journal.writing import write_blocks

__all__ = ["SHRINKING", "downsample"]

SHRINKING = ("trades", "quotes", "orderbook", "funding_rates")
"""Types that can be downsampled. Bars, candles, liquidations and gaps stay what they are."""

_MINUTE_NS = 60 * 10**9
# Records at a time; books have hundreds of levels.
_ROWS, _BOOKS = 262_144, 8_192


def downsample(journal: Path, folder: Path, files: Sequence[Path]) -> int:
    """Put Parquet files of a folder into the minutes of its day; return how many records a minute there are then.

    The files stay. Raises: InternalError when what was written is not what is read back; OSError.
    """
    name = folder.parent.name.partition("=")[2]
    target = folder.parent.parent / f"type={name}{BY_MINUTE}" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    sources, there = manifest_to_change(folder)["files"], manifest_to_change(target)
    done: dict[int, int] = {}
    for file, entry in there["files"].items():
        done |= segment_rows(file, entry)
    add = _add_trades if name == "trades" else _add_states
    small: pa.Table | None = None
    for path in (target / file for file in there["files"]):
        small = add(small, wide(decoded(pq.read_table(path, partitioning=None))))
    fresh: dict[int, int] = {}
    for path in files:
        wanted = {
            number: rows
            for number, rows in segment_rows(path.name, sources.get(path.name, {})).items()
            if number not in done
        }
        for table in _records(path, wanted, _BOOKS if name == "orderbook" else _ROWS):
            small = add(small, table)
        fresh |= wanted
    if small is None or not fresh:
        return 0 if small is None else len(small)
    pieces = sorted((done | fresh).items())
    staged = begin_replacing(journal, target, set(there["files"]))
    path, table = staged / f"{pieces[0][0]:010d}-{pieces[-1][0]:010d}.parquet", narrow(small)
    write_blocks(path, lambda: iter([table]))
    about = {"rows": len(small), "segments": pieces, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_manifest(staged, there | {"files": {path.name: about}})
    replace_folder(journal, staged)
    return len(small)


def _records(path: Path, wanted: Collection[int], rows: int) -> Iterator[pa.Table]:
    """Yield what a file has of some segments, some records at a time."""
    with pq.ParquetFile(path) as file:
        pieces = pieces_of(file, min(wanted, default=0))
        part = Opened(Part(0, path, 0), file, 0, rows_of(pieces, wanted))
        for table in part.tables(rows):
            yield decoded(table)


def _minutes(table: pa.Table) -> pa.ChunkedArray:
    times = table["exchange_time"].cast(pa.int64())
    return pc.multiply(pc.divide(times, _MINUTE_NS), _MINUTE_NS).cast(pa.timestamp("ns", tz="UTC"))


def _add_trades(bars: pa.Table | None, trades: pa.Table) -> pa.Table:
    """Return open, high, low, close, volume and number of the trades of each minute.

    `trades` may be bars themselves. Which of a minute came first is told by their ids.
    """
    if "minute" not in trades.column_names:
        price, one = trades["price"], pa.array([1] * len(trades), pa.int64())
        trades = pa.table(
            {
                "minute": _minutes(trades), "open": price, "high": price, "low": price, "close": price,
                "volume": trades["quantity"], "trades": one, "first_id": trades["id"], "last_id": trades["id"],
            }
        )  # fmt: skip
    rows = trades if bars is None else pa.concat_tables([bars, trades])
    rows = rows.sort_by([("minute", "ascending"), ("first_id", "ascending")])
    # Arrow has no first and last of decimals: the rows of them are found, and the prices taken from there.
    rows = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    grouped = rows.group_by("minute", use_threads=False).aggregate(
        [
            ("row", "min"), ("row", "max"), ("high", "max"), ("low", "min"), ("volume", "sum"), ("trades", "sum"),
            ("first_id", "min"), ("last_id", "max"),
        ]
    )  # fmt: skip
    return pa.table(
        {
            "minute": grouped["minute"],
            "open": rows["open"].take(grouped["row_min"]),
            "high": grouped["high_max"],
            "low": grouped["low_min"],
            "close": rows["close"].take(grouped["row_max"]),
            "volume": grouped["volume_sum"].cast(DECIMAL),
            "trades": grouped["trades_sum"],
            "first_id": grouped["first_id_min"],
            "last_id": grouped["last_id_max"],
        }
    )


def _add_states(last: pa.Table | None, states: pa.Table) -> pa.Table:
    """Return the last state of each minute, with all its columns."""
    rows = states if last is None else pa.concat_tables([last, states])
    rows = rows.sort_by([("recv_time", "ascending"), ("sequence", "ascending")])
    places = pa.table({"minute": _minutes(rows), "row": pa.array(range(len(rows)), pa.int64())})
    newest = places.group_by("minute", use_threads=False).aggregate([("row", "max")])
    return rows.take(newest["row_max"].combine_chunks().sort())
