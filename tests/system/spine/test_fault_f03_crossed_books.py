"""F3: diffs that cross or lock the book are never shown; removals of nothing and doubled prices are no faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raven.exchange import ExchangeConfig, ReplayConfig
from raven.topics import DataType

pytestmark = pytest.mark.fault("F3")

STALE = 2
START_NS = 1_700_000_000_000_000_000
SNAPSHOT = '{"lastUpdateId":10,"bids":[["100.0","1.0"],["99.0","4.0"]],"asks":[["101.0","1.0"],["102.0","5.0"]]}'
PATIENT = {"silence_s": math.inf, "max_silence_s": math.inf, "first_frame_s": math.inf}


def diff(first: int, bids: str, asks: str) -> str:
    """Return the diff of ten ids that begins here."""
    at_ms = START_NS // 1_000_000 + first
    return (
        f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{at_ms},"T":{at_ms},"s":"BTCUSDT",'
        f'"U":{first},"u":{first + 9},"pu":{first - 1},"b":[{bids}],"a":[{asks}]}}}}'
    )


def recording(*messages: str) -> str:
    return "".join(f"{START_NS + at * 100_000_000} {message}\n" for at, message in enumerate(messages))


async def seen_of(spine: Callable[..., Any], path: Path, last_id: int) -> tuple[list[Any], dict[str, int], bytes]:
    """Play a recording; return the book records, the counters and the last book."""
    config = ExchangeConfig(
        markets=("usdm",), enforce_limits=False, replay=ReplayConfig(files=(path,), speed=1.0, start="manual")
    )
    async with spine(config, {"usdm": ("BTCUSDT",)}, **PATIENT) as parts:
        await parts.until(
            lambda: parts.exchange.state()["usdm"]["streams"] == 1, "the only recorded stream is subscribed"
        )
        books = parts.reader("binance_futures", "BTCUSDT", DataType.ORDERBOOK)
        parts.exchange.start_replay()
        await parts.exchange.replay_finished()
        instrument = parts.instrument("binance_futures", "BTCUSDT")
        engine = parts.ingest.engine
        await parts.until(lambda: engine.book(instrument)["update_id"] == last_id, "the last diff is applied")
        await parts.until(lambda: engine.state(instrument) == "synced", "in sync")
        return books.drain(1000), dict(engine.counters(instrument)), engine.canonical(instrument)


@pytest.mark.parametrize("bid", ["101.0", "101.5"], ids=["locked", "crossed"])
async def test_a_crossed_book_is_never_shown_and_taken_anew(
    spine: Callable[..., Any], tmp_path: Path, bid: str
) -> None:
    path = tmp_path / "crossed.txt"
    path.write_text(
        recording(
            diff(1, '["100.0","1.0"]', ""),
            SNAPSHOT,
            diff(11, '["100.5","2.0"]', ""),
            diff(21, f'["{bid}","3.0"]', ""),
            diff(31, f'["{bid}","0.0"]', ""),
            diff(41, '["100.6","7.0"]', ""),
        )
    )

    records, counters, book = await seen_of(spine, path, 50)

    assert counters["crossed"] == 1
    assert counters["resyncs"] >= 2
    for record in records:
        (bid_price, _), (ask_price, _) = record.bids(1)[0], record.asks(1)[0]
        assert bid_price < ask_price, record.id
    assert [record for record in records if record.flags & STALE], (
        "readers were told that the book is not to be trusted"
    )
    assert book == b"99:4,100:1,100.5:2,100.6:7|101:1,102:5"


async def test_removing_what_is_not_there_and_naming_a_price_twice_are_no_faults(
    spine: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "odd.txt"
    path.write_text(
        recording(
            diff(1, '["100.0","1.0"]', ""),
            SNAPSHOT,
            diff(11, '["98.5","0.0"],["42.0","0.0"]', '["500.0","0.0"]'),
            diff(21, '["99.5","1.0"],["99.5","6.0"]', '["102.0","1.0"],["102.0","0.0"]'),
        )
    )

    records, counters, book = await seen_of(spine, path, 30)

    assert (counters["crossed"], counters["resyncs"], counters["rejected"]) == (0, 1, 0)
    assert counters["unknown_removals"] == 3
    assert not [record for record in records if record.flags & STALE]
    assert book == b"99:4,99.5:6,100:1|101:1"
