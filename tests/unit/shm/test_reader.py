"""Shared memory as Python reads it: `crates/raven-shm/tests` has the promises of the memory itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count

import numpy as np
import pyarrow as pa
import pytest

from raven._core import Hub, Record, SharedMemory, Writer
from raven.errors import ConfigurationError, DataValidation, NetworkTimeout
from raven.records import GapWord, Kind
from raven.shm import Batch, Reader
from raven.topics import DataType

NUMBERS = count()


@pytest.fixture
def name() -> str:
    return f"raven-test-{os.getpid()}-py-{next(NUMBERS)}"


@pytest.fixture
def memory(name: str) -> Iterator[SharedMemory]:
    made = SharedMemory(name, 32 << 20, time.time_ns())
    yield made
    made.close()


@pytest.fixture
def writer(memory: SharedMemory) -> Writer:
    return Hub(memory).create_topic("test", "BTCUSDT", DataType.TRADES, 1 << 20)


def publish(writer: Writer, first: int, last: int) -> None:
    for at in range(first, last + 1):
        writer.trade(at, at, at, 100 * at, at, price_scale=2, quantity_scale=0, taker_sells=at % 2 == 0)


def test_records_come_one_by_one_and_exact(name: str, writer: Writer) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    publish(writer, 1, 3)

    records = list(topic.records(timeout_s=0))

    assert [(one.id, one.sequence, one.body[:3]) for one in records] == [
        (1, 1, [100, 1, 0]), (2, 2, [200, 2, 1]), (3, 3, [300, 3, 0]),
    ]  # fmt: skip
    assert (topic.read(), topic.lag, topic.lost) == (None, 0, 0)


def test_a_batch_is_a_numpy_view_and_an_arrow_batch(name: str, writer: Writer) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    publish(writer, 1, 4)

    (batch,) = topic.batches(timeout_s=0)

    view, table = batch.numpy(), pa.record_batch(batch)
    assert (len(batch), batch.kind, view["price"].tolist()) == (4, Kind.TRADE, [100, 200, 300, 400])
    assert not view.flags.owndata
    assert table.column("quantity").to_pylist() == view["quantity"].tolist() == [1, 2, 3, 4]
    for column in ("sequence", "recv_ns", "id", "price_scale", "taker_sells", "last_fill_id"):
        assert table.column(column).to_pylist() == view[column].tolist(), column


def test_a_batch_takes_as_many_as_asked_and_the_rest_comes_next(name: str, writer: Writer) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    writer.trades(1000, 1, 5, 6, price_scale=0, quantity_scale=0)

    batches = list(topic.batches(300, timeout_s=0))

    assert sum(map(len, batches)) == 1000
    assert max(map(len, batches)) == 300
    assert np.concatenate([batch.numpy()["id"] for batch in batches]).tolist() == list(range(1, 1001))


@pytest.mark.parametrize("way", ["records", "batches"])
def test_what_was_overwritten_is_a_gap_with_the_exact_count(name: str, writer: Writer, way: str) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    writer.trades(100_000, 1, 5, 6, price_scale=0, quantity_scale=0)

    if way == "records":
        records: list[Record] = list(topic.records(timeout_s=0))
        gaps = [one.body[GapWord.COUNT] for one in records if one.kind == Kind.GAP]
        read = len(records) - len(gaps)
    else:
        batches: list[Batch] = list(topic.batches(timeout_s=0))
        gaps = [int(one.numpy()["count"][0]) for one in batches if one.kind is Kind.GAP]
        read = sum(len(one) for one in batches if one.kind is Kind.TRADE)

    assert len(gaps) == 1
    assert read + gaps[0] == 100_000
    assert topic.lost == gaps[0]


def test_who_waits_gets_what_comes_later(name: str, writer: Writer) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    later = threading.Timer(0.02, lambda: publish(writer, 7, 7))
    later.start()

    assert [next(topic.records(timeout_s=10, spin=spin)).id for spin in (False,)] == [7]

    later.join()
    assert list(topic.records(timeout_s=0.01, spin=True)) == []


def test_topics_are_listed_and_what_is_not_there_is_said(name: str, writer: Writer) -> None:
    with Reader(name) as reader:
        assert [tuple(row) for row in reader.topics()] == [("test", "BTCUSDT", DataType.TRADES, 0, False)]
        assert (reader.pid, reader.is_alive) == (os.getpid(), True)
        with pytest.raises(ConfigurationError, match="there is no topic test ETHUSDT"):
            reader.open("test", "ETHUSDT", DataType.TRADES)
    with pytest.raises(ConfigurationError, match="closed"):
        reader.topics()
    assert writer.topic_id == 0


def test_books_are_arrow_and_no_numpy_table() -> None:
    with pytest.raises(DataValidation, match="use arrow"):
        Batch(Kind.BOOK, 0, b"").numpy()


def test_without_a_writer_nothing_is_opened(name: str) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Reader(name)


def test_a_writer_that_has_closed_is_gone_once_everything_is_read(
    name: str, memory: SharedMemory, writer: Writer
) -> None:
    topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
    publish(writer, 1, 2)
    memory.close()
    records = topic.records()

    assert [next(records).id, next(records).id] == [1, 2]
    with pytest.raises(NetworkTimeout, match="open a new Reader"):
        next(records)


def test_a_second_writer_is_refused_and_a_killed_one_hinders_nobody(name: str) -> None:
    code = (
        "import sys, time; from raven._core import SharedMemory;"
        f"memory = SharedMemory({name!r}, 8 << 20, 1); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(ValueError, match=f"written by process {other.pid}"):
            SharedMemory(name, 8 << 20, 1)
        other.kill()
        other.wait()

    memory = SharedMemory(name, 8 << 20, 1)

    assert Reader(name).pid == os.getpid()
    memory.close()


def test_ten_million_reads_under_lapping_are_whole_and_every_loss_is_counted(name: str) -> None:
    code = (
        "import sys, threading; from raven._core import Hub, SharedMemory;"
        f"memory = SharedMemory({name!r}, 32 << 20, 1);"
        "writer = Hub(memory).create_topic('test', 'BTCUSDT', 1, 1 << 20); print('ready', flush=True)\n"
        "threading.Thread(target=lambda: (sys.stdin.read(), memory.close()), daemon=True).start()\n"
        "last = 0\n"
        f"while memory.path and __import__('os').path.exists(memory.path):\n"
        "    last = writer.trades(10_000, last + 1, 5, 6, price_scale=0, quantity_scale=0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"ready\n"
        topic = Reader(name).open("test", "BTCUSDT", DataType.TRADES)
        read, expected, faults = 0, None, 0
        for batch in topic.batches(timeout_s=60):
            view = batch.numpy()
            if batch.kind is Kind.GAP:
                expected = None if expected is None else expected + int(view["count"][0])
                continue
            sequence = view["sequence"].astype(np.int64)
            first = int(sequence[0]) if expected is None else expected
            wanted = np.arange(first, first + len(view))
            faults += int((sequence != wanted).sum() + (view["id"] != wanted).sum())
            faults += int((view["taker_sells"] != wanted % 2).sum() + (view["quantity"] != 6).sum())
            expected, read = first + len(view), read + len(view)
            if read >= 10_000_000:
                break
        other.stdin.close()

    assert read >= 10_000_000
    assert faults == 0
