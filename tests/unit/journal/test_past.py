"""The past of one topic: every record once, as it was published, and no more is read than is asked for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raven._core import BarSpec, Hub
from raven.journal import Journal, compact, past
from raven.journal.history import Wanted, history
from raven.journal.past import Past
from raven.journal.schema import SCHEMAS
from raven.journal.tables import records_of, table_of
from raven.records import BAR_PARAMETERS, GapReason, Kind
from raven.topics import DataType

NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
VENUE = "binance_futures"


def run(folder: Path, first_id: int, count: int = 100) -> str:
    """One run of a server: a trade a second; returns its name."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    trades = hub.create_topic(VENUE, "BTCUSDT", int(DataType.TRADES), 1 << 16)
    for number in range(first_id, first_id + count):
        at = NS + number * SECOND
        trades.trade(at + 5, at, number, 60_000 + number, 25, price_scale=2, quantity_scale=3, taker_sells=False)
    journal.close()
    return journal.run


def ids(reader: Past) -> list[int]:
    return [number for records in reader.read() for number in records.words["id"].to_pylist()]


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    """Three runs of 100 trades; the first two are Parquet."""
    for first in (1, 101, 201):
        run(tmp_path, first)
    compact(tmp_path)
    return tmp_path


def test_parquet_and_segments_are_one_past(compacted: Path) -> None:
    assert ids(Past(compacted, "BTCUSDT", DataType.TRADES)) == list(range(1, 301))


def test_what_lies_outside_the_range_is_not_read(compacted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(past, "records_of", lambda kind, table: read.append(len(table)) or records_of(kind, table))
    start, end = NS + 150 * SECOND, NS + 160 * SECOND

    assert ids(Past(compacted, "BTCUSDT", DataType.TRADES, start_ns=start, end_ns=end)) == list(range(150, 160))
    assert sum(read) == 100, "the first run ended before the range began"
    tables = history(compacted, Wanted({"BTCUSDT"}, DataType.TRADES, start_ns=start, end_ns=end))
    assert pa.concat_tables(tables)["id"].to_pylist() == list(range(150, 160))


def test_the_newest_sequence_is_known_of_what_was_not_read(tmp_path: Path) -> None:
    name = run(tmp_path, 1)
    (tmp_path / "0000000009.segment").touch()
    compact(tmp_path)
    (tmp_path / "0000000009.segment").unlink()
    reader = Past(tmp_path, "BTCUSDT", DataType.TRADES, start_ns=NS + 1_000 * SECOND)

    assert ids(reader) == []
    assert reader.last_in_parquet == (name, 100)


def test_a_file_without_statistics_is_read(compacted: Path) -> None:
    for path in compacted.rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None), path, write_statistics=False)
    start = NS + 50 * SECOND

    assert ids(Past(compacted, "BTCUSDT", DataType.TRADES, start_ns=start)) == list(range(50, 301))


SMALL = st.integers(0, 10**9)
ENUMS = {
    "taker_sells": st.sampled_from([0, 1]),
    "is_sell": st.sampled_from([0, 1]),
    "closed": st.sampled_from([0, 1]),
    "repaired": st.sampled_from([0, 1]),
    "data_type": st.sampled_from([int(one) for one in DataType]),
    "reason": st.sampled_from([int(one) for one in GapReason]),
    "quote_volume_high": st.integers(0, 1),
    "topic": st.just(0),
    "price_scale": st.integers(0, 9),
    "quantity_scale": st.integers(0, 9),
    "flags": st.integers(0, 63),
}


RULE_WORDS = ["rule", *(f"parameter_{number}" for number in range(BAR_PARAMETERS))]
BAR_RULES = [
    [word - (1 << 64) if word >> 63 else word for word in spec.words]
    for spec in (BarSpec("time", [60.0]), BarSpec("tick", [10.0]), BarSpec("vpin", [0.5, 50.0]))
]


@st.composite
def words_of(draw: st.DrawFn, kind: Kind) -> pa.Table:
    """Records of one kind, as a journal has them; every row with scales of its own."""
    rows = draw(st.integers(1, 12))
    levels = {side: draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)) for side in ("bid", "ask")}
    rules = draw(st.lists(st.sampled_from(BAR_RULES), min_size=rows, max_size=rows))
    columns = []
    for field in SCHEMAS[kind]:
        if pa.types.is_list(field.type):
            sizes = levels[field.name[:3]]
            values = [draw(st.lists(SMALL, min_size=size, max_size=size)) for size in sizes]
        elif kind is Kind.BAR and field.name in RULE_WORDS:
            values = [words[RULE_WORDS.index(field.name)] for words in rules]
        else:
            values = draw(st.lists(ENUMS.get(field.name, SMALL), min_size=rows, max_size=rows))
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=SCHEMAS[kind])


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([kind for kind in Kind if kind in SCHEMAS]).flatmap(
        lambda kind: words_of(kind).map(lambda words: (kind, words))
    )
)
def test_words_come_back_from_tables_with_the_same_values(of_kind: tuple[Kind, pa.Table]) -> None:
    kind, words = of_kind
    table = table_of(kind, words, "run")

    again = records_of(kind, table)

    assert again.schema == SCHEMAS[kind]
    assert table_of(kind, again, "run").equals(table)
    assert len(set(again["price_scale"].to_pylist())) == 1
