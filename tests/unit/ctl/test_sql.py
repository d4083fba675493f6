"""SQL sees everything a journal has, compacted or not, once."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raven._core import Hub
from raven.ctl.cli import app
from raven.journal import Journal, compact
from raven.topics import DataType

pytest.importorskip("duckdb", reason="DuckDB is not installed; the group `dev` has it")

NS = 1_700_000_000_000_000_000


def run(folder: Path, ids: range) -> None:
    """One run of a server: trades of two symbols, a millisecond apart."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trades = hub.create_topic("binance_spot", symbol, int(DataType.TRADES), 1 << 16)
        for number in ids:
            at = NS + number * 1_000_000
            trades.trade(at + 5, at, number, 60_000 + number, 25, price_scale=2, quantity_scale=3, taker_sells=False)
    journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    for first in (1, 11, 21):
        run(tmp_path, range(first, first + 10))
    compact(tmp_path)
    run(tmp_path, range(31, 41))
    return tmp_path


def ask(journal: Path, question: str, *more: str) -> str:
    result = CliRunner().invoke(app, ["sql", question, "--journal", str(journal), *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_compacted_and_fresh_records_are_one_table(journal: Path) -> None:
    answer = ask(
        journal, "select symbol, count(*) n, count(distinct id) ids, count(distinct run) runs from trades group by all"
    )
    rows = sorted(line.split() for line in answer.splitlines() if "USDT" in line)
    assert rows == [["BTCUSDT", "40", "40", "4"], ["ETHUSDT", "40", "40", "4"]]


def test_prices_can_be_multiplied_and_their_digits_be_had(journal: Path) -> None:
    assert "600.01" in ask(journal, "select min(price) as low from exact.trades")
    assert " 1200 " in ask(journal, "select round(sum(price * quantity) / count(*) * 80) as sum from trades")


def test_an_answer_can_be_a_file(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.parquet"
    assert "10 rows" in ask(
        journal, "select * from trades where symbol = 'BTCUSDT' and id > 30 order by id", "--out", str(out)
    )
    table = pq.read_table(out, partitioning=None)
    assert table["id"].to_pylist() == list(range(31, 41))
    assert table["price"][0].as_py() == 600.31


def test_two_views_can_be_joined_and_gaps_are_one_of_them(journal: Path) -> None:
    assert "40 rows" not in ask(journal, "select count(*) from trades a join trades b using (symbol, id)")
    assert " 0 " in ask(journal, "select count(*) as n from gaps")


def test_text_is_shown_as_it_is(journal: Path) -> None:
    answer = ask(journal, "select 'a:x:b [bold]c[/] 1.500' || chr(27) as \"[red]d\"")
    assert r"a:x:b [bold]c[/] 1.500\x1b" in answer
    assert "[red]d" in answer


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("select * from trads", "views: orderbook, trades"),
        ("select nothing from trades", "nothing"),
        ("create table x (a int)", "expected one SELECT"),
        ("select 1; drop table trades", "expected one SELECT, not SELECT, DROP"),
        ("copy trades to 'trades.csv'", "expected one SELECT, not COPY"),
        ("", "expected one SELECT, not nothing"),
        ("select cast('a' as int) from trades", "Could not convert"),
    ],
)
def test_a_wrong_question_is_answered_with_what_there_is(journal: Path, question: str, words: str) -> None:
    result = CliRunner().invoke(app, ["sql", question, "--journal", str(journal)])
    assert result.exit_code == 1
    assert words in result.output


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sql", "select 1", "--journal", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "no journal there" in result.output
