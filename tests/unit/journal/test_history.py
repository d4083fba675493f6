"""The past comes back oldest first, whether it was compacted or not, and each record once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from typer.testing import CliRunner

from raven._core import Hub
from raven.ctl.cli import app
from raven.errors import DataValidation
from raven.journal import Journal, compact
from raven.journal.history import Wanted, history
from raven.journal.segment import segments_in
from raven.topics import DataType

NS = 1_700_000_000_000_000_000


def run(folder: Path, first_id: int, count: int = 10) -> None:
    """One run of a server: trades of two symbols, a millisecond apart."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trades = hub.create_topic("binance_spot", symbol, int(DataType.TRADES), 1 << 16)
        for number in range(first_id, first_id + count):
            at = NS + number * 1_000_000
            trades.trade(at + 5, at, number, 60_000 + number, 25, price_scale=2, quantity_scale=3, taker_sells=False)
    journal.close()


def ids(folder: Path, wanted: Wanted) -> list[int]:
    return [number for table in history(folder, wanted) for number in table["id"].to_pylist()]


BITCOIN = Wanted({"BTCUSDT"}, DataType.TRADES)


def test_compacted_and_fresh_records_are_one_history(tmp_path: Path) -> None:
    for first in (1, 11, 21):
        run(tmp_path, first)
    before = pa.concat_tables(history(tmp_path, BITCOIN), promote_options="permissive")
    compact(tmp_path)
    after = pa.concat_tables(history(tmp_path, BITCOIN), promote_options="permissive")

    assert len(segments_in(tmp_path)) == 1
    assert after["id"].to_pylist() == list(range(1, 31))
    assert after.drop_columns(["run"]).equals(before.drop_columns(["run"]))
    assert after["price"][0].as_py() == Decimal("600.01")
    assert set(after["symbol"].to_pylist()) == {"BTCUSDT"}
    assert set(after["venue"].to_pylist()) == {"binance_spot"}


def test_time_symbols_and_venue_choose(tmp_path: Path) -> None:
    run(tmp_path, 1)
    run(tmp_path, 11)
    compact(tmp_path)
    start, end = NS + 5_000_000, NS + 15_000_000

    assert ids(tmp_path, Wanted({"BTCUSDT"}, DataType.TRADES, start_ns=start, end_ns=end)) == list(range(5, 15))
    assert len(ids(tmp_path, Wanted({"BTCUSDT", "ETHUSDT"}, DataType.TRADES))) == 40
    assert ids(tmp_path, Wanted({"BTCUSDT"}, DataType.TRADES, venue="binance_futures")) == []
    assert ids(tmp_path, Wanted({"BTCUSDT"}, DataType.QUOTES)) == []


def test_a_compaction_in_the_middle_of_reading_neither_loses_nor_doubles(tmp_path: Path) -> None:
    for first in (1, 11, 21):
        run(tmp_path, first)
    reading = history(tmp_path, BITCOIN)
    seen = next(reading)["id"].to_pylist()
    compact(tmp_path)
    seen += [number for table in reading for number in table["id"].to_pylist()]

    assert seen == list(range(1, 31))


def test_what_is_not_kept_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataValidation, match="no journal there"):
        ids(tmp_path, BITCOIN)
    with pytest.raises(DataValidation, match="wallet_updates is not kept"):
        ids(tmp_path, Wanted({"BTCUSDT"}, DataType.WALLET_UPDATES))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_the_command_writes_what_programs_read(tmp_path: Path, suffix: str) -> None:
    journal, out = tmp_path / "journal", tmp_path / f"trades{suffix}"
    run(journal, 1)
    run(journal, 11)
    compact(journal)
    told = CliRunner().invoke(
        app, ["history", "btcusdt", "--journal", str(journal), "--out", str(out), "--limit", "15"]
    )

    assert told.exit_code == 0, told.output
    assert told.stdout == f"15 records in {out}\n"
    readers = {
        ".parquet": lambda: pq.read_table(out),
        ".arrow": lambda: pa.ipc.open_file(out).read_all(),
        ".csv": lambda: csv.read_csv(out),
    }
    table = readers[suffix]()
    assert table["id"].to_pylist() == list(range(1, 16))
    assert [float(price) for price in table["price"].to_pylist()] == [
        (60_000 + number) / 100 for number in range(1, 16)
    ]


def test_the_command_shows_the_newest_and_says_what_is_wrong(tmp_path: Path) -> None:
    run(tmp_path, 1, count=50)
    shown = CliRunner().invoke(app, ["history", "BTCUSDT", "--journal", str(tmp_path), "--limit", "3"])
    assert shown.exit_code == 0, shown.output
    assert [line for line in ("600.47", "600.48", "600.49", "600.5", "50 records") if line not in shown.output] == [
        "600.47"
    ]

    for arguments, words in (
        (["BTCUSDT", "--type", "trads"], "trads"),
        (["BTCUSDT", "--from", "yesterday"], "is no time"),
        (["BTCUSDT", "--out", "trades.xls"], ".parquet, .arrow, .csv"),
        (["BTCUSDT", "--out", "/nowhere/trades.csv"], "there is no folder /nowhere"),
        (["BTCUSDT", "--from", "2026-11-21", "--to", "2026-11-20"], "--from 2026-11-21 is not before --to 2026-11-20"),
        (["BTCUSDT", "--to", "9999-12-31"], "is out of range"),
        ([","], "no symbol is named"),
    ):
        told = CliRunner().invoke(app, ["history", *arguments, "--journal", str(tmp_path)])
        assert told.exit_code == 1
        assert words in told.output


def test_a_symbol_that_is_not_there_is_told_where_to_look(tmp_path: Path) -> None:
    run(tmp_path, 1)
    told = CliRunner().invoke(app, ["history", "NOPE", "--journal", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (0, "0 records\n")
    assert f"`ravenctl verify {tmp_path}` shows which symbols" in told.stderr


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
@pytest.mark.parametrize("broken_off_by", [KeyboardInterrupt, OSError("No space left on device")])
def test_a_file_that_is_broken_off_is_not_there_and_an_old_one_stays(
    tmp_path: Path, suffix: str, broken_off_by: type[BaseException] | BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, out = tmp_path / "journal", tmp_path / f"trades{suffix}"
    run(journal, 1)
    out.write_text("what was there before")

    def break_off(*_: object) -> Iterator[pa.Table]:
        yield from history(journal, Wanted({"BTCUSDT"}, DataType.TRADES))
        raise broken_off_by

    monkeypatch.setattr("raven.ctl.history.history", break_off)
    told = CliRunner().invoke(app, ["history", "BTCUSDT", "--journal", str(journal), "--out", str(out)])

    assert told.exit_code != 0
    assert sorted(tmp_path.iterdir()) == [journal, out]
    assert out.read_text() == "what was there before"
