"""Parquet holds what the segments held, digit by digit; a compaction that is cut off is simply done again."""

from __future__ import annotations

import fcntl
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raven._core import Engine, Hub
from raven.ctl import sql
from raven.ctl.cli import app
from raven.errors import DataValidation
from raven.journal import Journal, compact, parquet_folder
from raven.journal.history import Wanted, history
from raven.journal.segment import segments_in
from raven.topics import DataType

NS = 1_700_000_000_000_000_000
DAY_NS = 86_400 * 10**9


def opened(folder: Path, hub: Hub) -> Journal:
    journal = Journal(hub, folder, books_every_s=0.0)
    journal.open()
    return journal


def begin_next_segment(folder: Path) -> None:
    hub = Hub()
    journal = opened(folder, hub)
    trades = hub.create_topic("binance_futures", "ETHUSDT", int(DataType.TRADES), 1 << 16)
    trades.trades(1, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.close()


def table(folder: Path, kind: str) -> list[dict[str, Any]]:
    root = parquet_folder(folder)
    files = [str(path) for path in root.rglob("*.parquet") if f"type={kind}" in path.parts]
    rows = ds.dataset(files, partitioning="hive", partition_base_dir=str(root)).to_table().sort_by("sequence")
    for at, column in enumerate(rows.schema):
        if pa.types.is_timestamp(column.type):
            # Python's own datetime has no nanoseconds.
            rows = rows.set_column(at, column.name, rows[column.name].cast(pa.int64()))
    return list(rows.to_pylist())


def write(folder: Path) -> None:
    """Two runs: the first is compacted, the second is the newest segment and stays."""
    hub = Hub()
    journal = opened(folder, hub)
    trades = hub.create_topic("binance_futures", "BTCUSDT", int(DataType.TRADES), 1 << 16)
    trades.trade(NS, NS - 5, 101, 618_002, 7, price_scale=1, quantity_scale=3, taker_sells=True)
    trades.trade(NS + 1, NS - 4, 102, 61_800_255, 25, price_scale=3, quantity_scale=3, taker_sells=False)
    trades.trade(NS + DAY_NS, NS + DAY_NS - 1, 103, 618_003, 1, price_scale=1, quantity_scale=0, taker_sells=False)
    journal.close()
    begin_next_segment(folder)


def test_trades_come_out_with_every_digit_and_in_their_partitions(tmp_path: Path) -> None:
    write(tmp_path)
    done = compact(tmp_path)

    assert (done.segments, done.rows, done.files) == (1, 3, 2)
    rows = table(tmp_path, "trades")
    assert [(row["id"], row["price"], row["quantity"], row["side"]) for row in rows] == [
        (101, Decimal("61800.2"), Decimal("0.007"), "sell"),
        (102, Decimal("61800.255"), Decimal("0.025"), "buy"),
        (103, Decimal("61800.3"), Decimal(1), "buy"),
    ]
    assert [(row["venue"], row["symbol"], row["date"]) for row in rows] == [
        ("binance_futures", "BTCUSDT", "2023-11-14"),
        ("binance_futures", "BTCUSDT", "2023-11-14"),
        ("binance_futures", "BTCUSDT", "2023-11-15"),
    ]
    assert rows[0]["exchange_time"] == NS - 5
    assert len(segments_in(tmp_path)) == 1, "the newest segment stays"


def test_a_value_with_many_digits_keeps_them_beside_files_of_short_ones(tmp_path: Path) -> None:
    hub = Hub()
    journal = opened(tmp_path, hub)
    for symbol, scale in (("BTCUSDT", 2), ("DUSTUSDT", 18)):
        trades = hub.create_topic("binance_spot", symbol, int(DataType.TRADES), 1 << 16)
        trades.trade(NS, NS, 1, 1_234_567_890_123_456_789, 7, price_scale=scale, quantity_scale=0, taker_sells=True)
    journal.close()
    begin_next_segment(tmp_path)
    compact(tmp_path)

    scales = {path.parent.name: pq.read_schema(path).field("price").type.scale for path in tmp_path.rglob("*.parquet")}
    assert scales == {"symbol=BTCUSDT": 12, "symbol=DUSTUSDT": 18}
    exact = Decimal("1.234567890123456789")
    (price,) = (row for one in history(tmp_path, Wanted({"DUSTUSDT"}, DataType.TRADES)) for row in one["price"])
    assert price.as_py() == exact
    answer = sql.ask(tmp_path, "select price from exact.trades order by price limit 1")
    assert [row for one in answer.tables() for row in one["price"].to_pylist()] == [exact]


@pytest.mark.parametrize("symbol", ["../../../../OUT", "BTC/USDT", "100%", "币安人生USDT"])
def test_no_symbol_leads_out_of_the_journal(tmp_path: Path, symbol: str) -> None:
    folder, hub = tmp_path / "journal", Hub()
    journal = opened(folder, hub)
    trades = hub.create_topic("venue", symbol, int(DataType.TRADES), 1 << 16)
    trades.trade(NS, NS, 1, 5, 7, price_scale=0, quantity_scale=0, taker_sells=True)
    journal.close()
    begin_next_segment(folder)

    compact(folder)

    assert [path.name for path in tmp_path.iterdir()] == ["journal"]
    assert [row["symbol"] for row in table(folder, "trades")] == [symbol]
    (read,) = history(folder, Wanted([symbol], DataType.TRADES))
    assert (read["symbol"].to_pylist(), read["id"].to_pylist()) == ([symbol], [1])


def test_the_manifest_says_what_a_file_holds(tmp_path: Path) -> None:
    write(tmp_path)
    compact(tmp_path)
    (path,) = parquet_folder(tmp_path).glob("date=2023-11-14/*/type=trades/*/_manifest.json")
    manifest = json.loads(path.read_text())
    (name, entry) = next(iter(manifest["files"].items()))

    assert manifest["rows"] == entry["rows"] == pq.read_metadata(path.parent / name).num_rows == 2
    assert (entry["first_id"], entry["last_id"], entry["first_sequence"], entry["last_sequence"]) == (101, 102, 1, 2)
    assert not list(parquet_folder(tmp_path).rglob("*.unfinished"))


@pytest.mark.fault("D6")
def test_a_compaction_that_was_cut_off_is_done_again_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    with monkeypatch.context() as patch:
        # The power goes when the files are written and the segment is not removed yet.
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: (_ for _ in ()).throw(OSError("power")))
        with pytest.raises(OSError, match="power"):
            compact(tmp_path)
    before = table(tmp_path, "trades")

    assert compact(tmp_path).segments == 1
    assert table(tmp_path, "trades") == before
    assert len(before) == 3


def test_books_keep_their_levels_and_gaps_their_reasons(tmp_path: Path) -> None:
    hub = Hub()
    engine = Engine(hub)
    venue = engine.add_venue("binance_futures", "futures")
    instrument = engine.add_instrument(venue, "BTCUSDT", ring_bytes=1 << 18)
    connection = engine.open_connection(venue)
    journal = opened(tmp_path, hub)
    event = '{"e":"depthUpdate","E":1700000000000,"T":1700000000000,"s":"BTCUSDT","U":%d,"u":%d,"pu":%d,"b":%s,"a":[]}'
    engine.on_frame(connection, NS, (event % (1, 9, 0, "[]")).encode())
    engine.on_snapshot(instrument, NS, b'{"lastUpdateId":10,"bids":[["100.1","1.5"]],"asks":[["100.2","3"]]}')
    engine.on_frame(connection, NS, (event % (10, 19, 9, '[["98.50","4"]]')).encode())
    engine.report_gap(instrument, int(DataType.TRADES), 3, 7, 9, "venue_gap")
    journal.close()
    begin_next_segment(tmp_path)
    compact(tmp_path)

    book = table(tmp_path, "orderbook")[-1]
    assert book["bid_prices"] == [Decimal("100.1"), Decimal("98.5")]
    assert book["bid_quantities"] == [Decimal("1.5"), Decimal(4)]
    assert (book["ask_prices"], book["id"]) == ([Decimal("100.2")], 19)
    (gap,) = table(tmp_path, "gaps")
    assert (gap["data_type"], gap["count"], gap["first_id"], gap["last_id"]) == ("trades", 3, 7, 9)
    assert (gap["reason"], gap["repaired"]) == ("venue_gap", False)


def test_two_compactions_at_once_are_refused(tmp_path: Path) -> None:
    write(tmp_path)

    with (tmp_path / "compaction.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataValidation, match="another process compacts it"):
            compact(tmp_path)
    assert len(segments_in(tmp_path)) == 2


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    write(tmp_path)
    told = CliRunner().invoke(app, ["compact", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "3 records" in told.output
    assert "nothing to do" in CliRunner().invoke(app, ["compact", str(tmp_path)]).output
    empty = CliRunner().invoke(app, ["compact", str(tmp_path / "nowhere")])
    assert (empty.exit_code, "no journal there" in empty.output) == (1, True)
