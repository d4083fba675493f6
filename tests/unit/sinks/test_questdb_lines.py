"""Rows for QuestDB are exact, and its tables know a row that comes again."""

from __future__ import annotations

import pytest
from tests.batches import EVERY_TYPE, MS, START_NS, books, candles, fundings, trades

from raven.ports import SinkBatch
from raven.sinks.questdb import questdb_lines, table_statement


def written(batch: SinkBatch) -> list[str]:
    text = b"".join(questdb_lines(batch).bodies(1 << 30)).decode()
    return text.split("\n")[:-1]


def test_a_trade_is_a_row_with_exact_decimals_and_the_exchange_s_time() -> None:
    (line,) = written(trades(1, first_id=7))

    assert line == (
        f"trades,run=run-1,side=sell,symbol=BTCUSDT,venue=binance_futures recv_time={START_NS + 4 * MS + 7}n,id=7i,"
        f"price=61800.7d,quantity=0.008d,first_fill_id=14i,last_fill_id=15i,sequence=1i,flags=0i {START_NS + 2 * MS}"
    )


def test_small_numbers_have_no_exponent() -> None:
    assert ",rate=-0.00000001d," in written(fundings(2))[1]


def test_a_bar_has_the_time_of_its_opening() -> None:
    (line,) = written(candles(1))

    assert line.endswith(f" {START_NS}")
    assert f"exchange_time={START_NS + 60_000 * MS}n" in line


def test_a_book_has_its_best_levels_and_all_of_them() -> None:
    (line,) = written(books(1, levels=2))

    assert ",bid_price_2=61799.8d," in line
    assert "bid_price_3" not in line
    assert 'asks="[[61800.1,0.01],[61800.2,0.011]]"' in line


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("trades", '"exchange_time", "venue", "symbol", "id"'),
        ("quotes", '"exchange_time", "venue", "symbol", "sequence", "run"'),
        ("candles", '"open_time", "venue", "symbol"'),
        ("bars", '"open_time", "venue", "symbol", "interval"'),
        ("tick_bars", '"open_time", "venue", "symbol", "interval", "first_trade_id", "part"'),
        ("liquidations", '"exchange_time", "venue", "symbol", "sequence", "run"'),
    ],
)
def test_a_table_knows_a_row_that_comes_again(name: str, keys: str) -> None:
    batch = EVERY_TYPE[name](1)

    assert table_statement(batch.type, batch.records.schema).endswith(f"DEDUP UPSERT KEYS({keys})")


def test_a_table_has_a_column_for_every_field_of_its_lines() -> None:
    for make in EVERY_TYPE.values():
        batch = make(1)
        (line,) = written(batch)
        tags, fields, _ = line.split(" ")
        names = [one.split("=")[0] for one in (*tags.split(",")[1:], *fields.split(",")) if "=" in one]
        statement = table_statement(batch.type, batch.records.schema)

        assert [name for name in names if f'"{name}" ' not in statement] == []
