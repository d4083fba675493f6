"""A follower gets every record once, whatever becomes of the segments meanwhile, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from raven._core import Hub, Writer
from raven.errors import ConfigurationError
from raven.journal import Journal, compact
from raven.journal.cursors import Position, cursors_in, load_cursor, oldest_needed, save_cursor
from raven.journal.following import Follower
from raven.journal.segment import segments_in
from raven.topics import DataType

NS = 1_700_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose journals are closed in the end."""
    yield tmp_path
    while Server.open:
        Server.open.pop().close()


class Server:
    """A journal with one topic of trades, written by hand."""

    open: ClassVar[list[Journal]] = []

    def __init__(self, folder: Path, symbol: str = "BTCUSDT", segment_max_bytes: int = 1 << 20) -> None:
        self.hub = Hub()
        self.journal = Journal(self.hub, folder, segment_max_bytes=segment_max_bytes)
        self.journal.open()
        self.open.append(self.journal)
        self.trades: Writer = self.hub.create_topic("binance_spot", symbol, int(DataType.TRADES), 1 << 16)

    def publish(self, ids: range) -> None:
        for number in ids:
            at = NS + number * 1_000_000
            self.trades.trade(at + 5, at, number, 60_000, 25, price_scale=2, quantity_scale=3, taker_sells=False)
        self.journal.turn()

    def close(self) -> None:
        self.open.remove(self.journal)
        self.journal.close()


def ids(follower: Follower, max_rows: int = 1000) -> list[int]:
    """Everything that is there."""
    found: list[int] = []
    while (step := follower.read(max_rows)) is not None:
        found += [
            number for batch in step.batches if batch.type == "trades" for number in batch.records["id"].to_pylist()
        ]
    return found


def test_what_is_written_meanwhile_is_read_next(folder: Path) -> None:
    follower = Follower(folder, Position())
    assert follower.read(1000) is None, "there is no journal yet"
    server = Server(folder)
    server.publish(range(1, 4))
    assert ids(follower) == [1, 2, 3]
    assert follower.read(1000) is None
    server.publish(range(4, 6))
    assert ids(follower) == [4, 5]
    assert follower.position.rows == 5
    server.close()


def test_a_new_reader_goes_on_at_the_place_of_the_old_one(folder: Path) -> None:
    server = Server(folder, segment_max_bytes=1)
    for first in range(1, 40, 4):
        server.publish(range(first, first + 4))
    server.close()
    assert len(segments_in(folder)) >= 10

    found: list[int] = []
    position = Position()
    while (step := Follower(folder, position).read(1)) is not None:
        found += [number for batch in step.batches for number in batch.records["id"].to_pylist()]
        save_cursor(folder, "timescale", step.position)
        position = load_cursor(folder, "timescale")
    assert found == list(range(1, 41))


def test_a_half_written_frame_is_waited_for(folder: Path) -> None:
    server = Server(folder)
    server.publish(range(1, 3))
    path = segments_in(folder)[-1]
    follower = Follower(folder, Position())
    assert ids(follower) == [1, 2]
    before = path.read_bytes()
    server.publish(range(3, 5))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(before) + 30])
    assert follower.read(1000) is None
    path.write_bytes(whole)
    assert ids(follower) == [3, 4]
    assert follower.damage == []


def test_damage_is_skipped_and_told(folder: Path) -> None:
    server = Server(folder)
    server.publish(range(1, 3))
    size = segments_in(folder)[0].stat().st_size
    server.publish(range(3, 5))
    server.publish(range(5, 7))
    path = segments_in(folder)[0]
    content = bytearray(path.read_bytes())
    content[size + 40] ^= 1
    path.write_bytes(content)
    follower = Follower(folder, Position())
    assert ids(follower) == [1, 2, 5, 6]
    assert [damage.frames for damage in follower.damage] == [1]


@pytest.mark.parametrize("read_before", [0, 6])
def test_segments_that_became_parquet_are_read_from_there(folder: Path, read_before: int) -> None:
    server = Server(folder, segment_max_bytes=1)
    for first in (1, 4, 7):
        server.publish(range(first, first + 3))
    server.close()
    follower = Follower(folder, Position())
    before: list[int] = []
    while len(before) < read_before and (step := follower.read(1)) is not None:
        before += [number for batch in step.batches for number in batch.records["id"].to_pylist()]
    compact(folder)
    Server(folder, "ETHUSDT").close()
    after = ids(Follower(folder, follower.position))
    assert sorted({*before, *after}) == list(range(1, 10))
    assert follower.missing == []


def test_tables_name_their_symbols_and_types_choose(folder: Path) -> None:
    server = Server(folder)
    pepe = server.hub.create_topic("binance_futures", "1000PEPEUSDT", int(DataType.TRADES), 1 << 16)
    pepe.trade(9, 8, 55, 1_171_234, 10**15, price_scale=8, quantity_scale=0, taker_sells=True)
    server.publish(range(1, 3))
    server.close()
    step = Follower(folder, Position(), ["trades"]).read(1000)
    assert step is not None
    (batch,) = step.batches
    rows = pa.table(batch.records).select(["venue", "symbol", "id", "side"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [
        ("binance_futures", "1000PEPEUSDT", 55, "sell"),
        ("binance_spot", "BTCUSDT", 1, "buy"),
        ("binance_spot", "BTCUSDT", 2, "buy"),
    ]
    assert Follower(folder, Position(), ["gaps"]).read(1000) is None or step.rows == 3


def test_segments_that_are_nowhere_are_told(folder: Path) -> None:
    server = Server(folder, segment_max_bytes=1)
    for first in (1, 4, 7):
        server.publish(range(first, first + 3))
    server.close()
    follower = Follower(folder, Position(segment=1))
    for path in segments_in(folder)[:2]:
        path.unlink()
    assert ids(follower) == [7, 8, 9]
    assert follower.missing == [1, 2]


def test_the_slowest_reader_says_what_must_stay(folder: Path) -> None:
    assert oldest_needed(folder) is None
    save_cursor(folder, "influx", Position(7, 3, 900, 12))
    save_cursor(folder, "timescale", Position(4, 0, 0, 8))
    assert oldest_needed(folder) == 4
    assert cursors_in(folder)["influx"] == Position(7, 3, 900, 12)


def test_a_broken_cursor_names_its_file(folder: Path) -> None:
    (folder / "cursors").mkdir()
    (folder / "cursors" / "influx.json").write_text("{}x")
    with pytest.raises(ConfigurationError, match=r"influx.json is not a cursor .* remove it"):
        load_cursor(folder, "influx")
