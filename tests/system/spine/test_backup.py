"""A backup that is made while the server writes and compacts is whole, and the restored journal goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raven.exchange.process import ExchangeProcess
from raven.journal import parquet_folder, verify_journal
from raven.journal.history import Wanted, history
from raven.journal.segment import segments_in
from raven.resilience.dead_letters import DeadLetterQueue
from raven.topics import DataType

pytestmark = pytest.mark.timeout(180)

CTL = "import sys; from raven.ctl.cli import main; sys.argv[0] = 'ravenctl'; main()"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A venue with so many events that segments become Parquet all the time."""
    with ExchangeProcess(("--markets", "usdm", "--symbols", ",".join(SYMBOLS), "--rate", "8000")) as exchange:
        for name, url in exchange.urls["usdm"].items():
            monkeypatch.setenv(f"RAVEN__VENUES__BINANCE_FUTURES__{name.upper()}_URL", url)
        monkeypatch.setenv("RAVEN__FEEDS__SYMBOLS", ",".join(SYMBOLS))
        monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
        monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(tmp_path / "data" / "journal"))
        monkeypatch.setenv("RAVEN__JOURNAL__SEGMENT_MAX_BYTES", str(1 << 20))
        monkeypatch.setenv("RAVEN__JOURNAL__COMPACT_INTERVAL_SECONDS", "1")
        yield


def ravenctl(folder: Path, *arguments: str) -> str:
    """Call it in a folder, as an operator does."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", CTL, *arguments],
        cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(holds: Callable[[], Any], lines: list[str], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, lines[-3:]
        time.sleep(0.05)


def records(journal: Path, symbol: str, data_type: DataType) -> pa.Table:
    tables = list(history(journal, Wanted({symbol}, data_type)))
    names = ("run", "sequence", "id", "exchange_time")
    return pa.concat_tables([table.select(names).cast(tables[0].select(names).schema) for table in tables])


def test_what_was_backed_up_under_load_comes_back_record_by_record_and_goes_on(
    program: Callable[..., Any], load: None, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    journal = tmp_path / "data" / "journal"
    queue = DeadLetterQueue(tmp_path / "data" / "dead_letters.sqlite")
    queue.put("influx", "BTCUSDT 1", "type conflict", b"payload")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mine.toml").write_text("[server]\n")
    with program() as server:
        until(lambda: list(parquet_folder(journal).rglob("*.parquet")) and segments_in(journal), server.lines)
        for name in ("first", "second"):
            assert "read back and whole" in ravenctl(tmp_path, "backup", name)
        newest = segments_in(journal)[-1]
        until(lambda: segments_in(journal)[-1] != newest, server.lines)
        server.end(signal.SIGKILL)
    queue.close()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "backups", elsewhere / "backups")
    assert "restored and whole" in ravenctl(elsewhere, "restore", "second")

    restored = elsewhere / "data" / "journal"
    verdict = verify_journal(restored)
    assert verdict.is_sound
    assert verdict.damage == []
    count = 0
    for symbol in SYMBOLS:
        for data_type in (DataType.TRADES, DataType.QUOTES, DataType.ORDERBOOK):
            then, now = records(restored, symbol, data_type), records(journal, symbol, data_type)
            assert then.equals(now.slice(0, len(then))), (symbol, data_type)
            assert len(now) > len(then)
            count += len(then)
    letters = DeadLetterQueue(elsewhere / "data" / "dead_letters.sqlite")
    assert [(letter.key, letter.payload) for letter in letters.letters()] == [("BTCUSDT 1", b"payload")]
    letters.close()
    assert (elsewhere / "config" / "mine.toml").read_text() == "[server]\n"
    figure("records backed up", count)


def test_a_server_goes_on_with_what_was_restored(
    program: Callable[..., Any], load: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program() as server:
        until(lambda: segments_in(tmp_path / "data" / "journal"), server.lines)
        ravenctl(tmp_path, "backup", "first")
        assert server.end(signal.SIGTERM) == 0
    shutil.rmtree(tmp_path / "data")
    ravenctl(tmp_path, "restore", "first")
    journal = tmp_path / "data" / "journal"
    before = len(segments_in(journal))

    with program() as server:
        until(lambda: len(segments_in(journal)) > before, server.lines)
        assert server.end(signal.SIGTERM) == 0

    assert "all of it is there" in ravenctl(tmp_path, "verify")
    assert len(set(records(journal, "BTCUSDT", DataType.TRADES)["run"].to_pylist())) == 2
