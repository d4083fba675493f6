"""What is read back is what the exchange wrote, digit for digit: every trade, and books against the recorded diffs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from raven._core import Engine, Hub
from raven.exchange.replay.book import ReplayedBook
from raven.exchange.truth import plain
from raven.journal import Journal, compact, parquet_folder
from raven.journal.history import Wanted, history
from raven.recording import depth_answer, read_recording
from raven.topics import DataType

VENUE = "binance"
RECORDINGS = {
    "usdm/btcusdt_20240808.gz": ("BTCUSDT", "futures"),
    "spot/btcusdt_20240808.gz": ("BTCUSDT", "spot"),
    "spot/ethusdt_20240808.gz": ("ETHUSDT", "spot"),
    "cm/btcusd_perp_20240808.gz": ("BTCUSD_PERP", "futures"),
}
TURN_EVERY = 1_000

Message = tuple[int, bytes]
"""Receive time and raw message."""


class Written:
    """A market through engine and journal, and what the exchange wrote, read by other code than ours."""

    def __init__(
        self,
        folder: Path,
        symbol: str,
        rule: str,
        messages: Iterator[Message],
        *,
        share: float,
        validation: bool = True,
    ) -> None:
        """Of the books a `share` is compared, picked at random: writing one down costs more than keeping it."""
        self.folder, self.symbol = folder, symbol
        self.trades: list[dict[str, Any]] = []
        self.books: dict[int, bytes] = {}
        hub = Hub()
        engine = Engine(hub, validation=validation)
        venue = engine.add_venue(VENUE, rule)
        instrument = engine.add_instrument(venue, symbol, ring_bytes=1 << 24)
        connection = engine.open_connection(venue)
        journal = Journal(hub, folder, books_every_s=0.0)
        journal.open()
        truth, chance = ReplayedBook(rule == "futures"), random.Random(11)
        for number, (recv_ns, raw) in enumerate(messages):
            answer = depth_answer(raw)
            if answer is not None:
                truth.start(answer.body)
                engine.on_snapshot(instrument, recv_ns, answer.body, limit=answer.limit)
            else:
                message = json.loads(raw)
                event = message.get("data", message)
                if event.get("e") == "trade":
                    self.trades.append(event)
                elif event.get("e") == "depthUpdate":
                    truth.add(json.dumps(event).encode())
                engine.on_frame(connection, recv_ns, raw)
                if truth.is_known and event.get("e") == "depthUpdate" and chance.random() < share:
                    book = truth.truth(symbol)
                    self.books[book.update_id] = book.canonical(20)
            if number % TURN_EVERY == 0:
                journal.turn()
        journal.close()

    def rows(self, data_type: DataType) -> list[dict[str, Any]]:
        wanted = Wanted([self.symbol], data_type, VENUE)
        return [row for table in history(self.folder, wanted) for row in _plain_rows(table)]

    def compact(self) -> None:
        # The newest segment is never compacted: it may be the one that is written.
        (self.folder / "0000000009.segment").touch()
        compact(self.folder)
        assert any(parquet_folder(self.folder).rglob("*.parquet"))


def _plain_rows(table: Any) -> list[dict[str, Any]]:
    for name in ("exchange_time", "recv_time"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast("int64"))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def assert_exact(written: Written) -> None:
    rows = written.rows(DataType.TRADES)
    assert len(rows) == len(written.trades)
    for row, trade in zip(rows, written.trades, strict=True):
        assert (row["price"], row["quantity"]) == (Decimal(trade["p"]), Decimal(trade["q"])), trade
        assert (plain(row["price"]), plain(row["quantity"])) == (plain(Decimal(trade["p"])), plain(Decimal(trade["q"])))
        assert (row["id"], row["side"]) == (trade["t"], "sell" if trade["m"] else "buy")
        assert row["exchange_time"] == trade["T"] * 1_000_000
    books = {row["id"]: row for row in written.rows(DataType.ORDERBOOK)}
    assert written.books
    for update_id, text in written.books.items():
        assert canonical(books[update_id]).encode() == text


def canonical(row: dict[str, Any]) -> str:
    bids = list(zip(row["bid_prices"], row["bid_quantities"], strict=True))[::-1]
    asks = zip(row["ask_prices"], row["ask_quantities"], strict=True)
    return "|".join(",".join(f"{plain(p)}:{plain(q)}" for p, q in side) for side in (bids, asks))


@pytest.mark.recordings
@pytest.mark.parametrize("name", RECORDINGS)
def test_segments_and_parquet_hold_the_recorded_digits(name: str, recordings: Path, tmp_path: Path) -> None:
    symbol, rule = RECORDINGS[name]
    messages = ((line.recv_ns, line.raw) for line in read_recording([recordings / name]))
    written = Written(tmp_path, symbol, rule, messages, share=0.01)

    assert_exact(written)
    written.compact()
    assert_exact(written)


def made_up(chance: random.Random, count: int) -> Iterator[Message]:
    """Yield a market whose numbers are as long, as short and as odd as the wire allows."""
    now_ms = 1_700_000_000_000
    prices = ["0.00000001", "123456.1", "61800.20", "99999999.99999999", "1", "0.5000"]
    quantities = ["0.00000001", "1", "1000000000", "0.001", "12.50"]
    diff = '{"e":"depthUpdate","E":%d,"s":"XUSDT","U":%d,"u":%d,"b":[["%s","%s"]],"a":[]}'
    yield now_ms * 10**6, (diff % (now_ms, 1, 10, "1", "1")).encode()
    yield now_ms * 10**6, b'{"lastUpdateId":10,"bids":[["0.00000001","5"]],"asks":[["100000000","0.5"]]}'
    for number in range(1, count):
        now_ms += chance.choice((0, 0, 1, 7))
        trade = {
            "e": "trade", "E": now_ms, "s": "XUSDT", "t": number, "p": chance.choice(prices),
            "q": chance.choice(quantities), "T": now_ms, "m": chance.random() < 0.5, "M": True,
        }  # fmt: skip
        yield now_ms * 10**6 + number, json.dumps(trade).encode()
        bid = f"{chance.randrange(1, 10**8)}.{chance.randrange(10**8):08d}"
        change = diff % (now_ms, 10 + number, 10 + number, bid, chance.choice([*quantities, "0"]))
        yield now_ms * 10**6 + number, change.encode()


def test_segments_and_parquet_hold_every_digit_of_odd_numbers(tmp_path: Path) -> None:
    # Prices that jump like these are refused by validation, which is not what this is about.
    written = Written(tmp_path, "XUSDT", "spot", made_up(random.Random(3), 1_500), share=0.1, validation=False)

    assert_exact(written)
    written.compact()
    assert_exact(written)
