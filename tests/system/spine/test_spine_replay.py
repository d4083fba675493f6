"""Recordings through the whole ingest over sockets at full speed end where an independent program says they end."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from raven._core import Record
from raven.exchange import Exchange, ExchangeConfig, ReplayConfig, Timeline
from raven.exchange.truth import TrueBook, plain
from raven.topics import DataType

VENUE_OF = {"usdm": "binance_futures", "spot": "binance_spot", "coinm": "binance_coinm"}
RECORDINGS = {
    "usdm/btcusdt_20240808": "usdm",
    "spot/btcusdt_20240808": "spot",
    "spot/ethusdt_20240808": "spot",
    "cm/btcusd_perp_20240808": "coinm",
    "venues/binance_usdm_4sym": "usdm",
}
KINDS = (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES)
# A recording is history and ends: neither its age nor the silence after it is a fault.
PATIENT = {"silence_s": math.inf, "max_silence_s": math.inf, "first_frame_s": math.inf}
# Readers look only once, at the end: the rings hold a whole recording.
RING_BYTES = 64 * 1024 * 1024


@asynccontextmanager
async def played(
    spine: Callable[..., Any], market: str, path: Path, last_ids: dict[str, int], received: int, trade_stream: str
) -> AsyncIterator[tuple[Any, dict[tuple[str, DataType], list[Record]]]]:
    """Play a recording to its end; yield the parts, and everything that readers of all topics saw.

    On USD-M trades come over another connection than books: the end of one says nothing about the other, so the number
    of events that have to be `received` in all is waited for, too.
    """
    replay = ReplayConfig(files=(path,), speed=0.0, start="manual")
    config = ExchangeConfig(markets=(market,), enforce_limits=False, replay=replay)
    options = {"trade_stream": trade_stream}
    async with spine(config, {market: tuple(last_ids)}, options=options, ring_bytes=RING_BYTES, **PATIENT) as parts:
        streams = len(KINDS) * len(last_ids)
        await parts.until(lambda: parts.exchange.state()[market]["streams"] == streams, "all streams are subscribed")
        venue, engine = VENUE_OF[market], parts.ingest.engine
        readers = {(symbol, kind): parts.reader(venue, symbol, kind) for symbol in last_ids for kind in KINDS}
        parts.exchange.start_replay()
        await parts.exchange.replay_finished()
        ends = [(parts.instrument(venue, symbol), last) for symbol, last in last_ids.items()]
        await parts.until(
            lambda: all(engine.book(instrument)["update_id"] == last for instrument, last in ends),
            "the last diff of every symbol is applied",
        )
        await parts.until(
            lambda: sum(engine.counters(instrument)["received"] for instrument, _ in ends) >= received,
            "every event has arrived",
        )
        yield parts, {key: reader.drain(1_000_000) for key, reader in readers.items()}


@pytest.mark.recordings
@pytest.mark.parametrize(("name", "market"), RECORDINGS.items(), ids=RECORDINGS)
async def test_a_recording_ends_with_the_expected_books_and_trades(
    recordings: Path, spine: Callable[..., Any], in_order: Callable[..., None], name: str, market: str
) -> None:
    document = recordings / "expected" / f"{name.removeprefix('venues/').replace('/', '_')}.json"
    expected = json.loads(document.read_text())["symbols"]
    last_ids = {symbol: one["book"]["last_u"] for symbol, one in expected.items()}
    received = sum(
        one["diffs"] + one["book_tickers"] + (one["trades"]["count"] or one["other"].get("aggTrade", 0))
        for one in expected.values()
    )
    trade_stream = "aggTrade" if any("aggTrade" in one["other"] for one in expected.values()) else "trade"

    async with played(spine, market, recordings / f"{name}.gz", last_ids, received, trade_stream) as (parts, seen):
        for symbol, one in expected.items():
            instrument = parts.instrument(VENUE_OF[market], symbol)
            count = parts.ingest.engine.counters(instrument)
            book, trades = one["book"], one["trades"]["count"] or one["other"].get("aggTrade", 0)
            text = parts.ingest.engine.canonical(instrument)
            assert hashlib.sha256(text).hexdigest() == book["final"]["sha256"], symbol
            assert (count["trades"], count["quotes"]) == (trades, one["book_tickers"])
            assert count["received"] == one["diffs"] + one["book_tickers"] + trades
            assert count["ignored"] == book["dropped_before_snapshot"]
            assert (count["rejected"], count["gap"], count["sequence_errors"]) == (0, 0, 0)
            for kind in KINDS:
                in_order(seen[symbol, kind], ids_in_a_row=kind is DataType.TRADES)
            assert len(seen[symbol, DataType.TRADES]) == trades
            assert len(seen[symbol, DataType.QUOTES]) == one["book_tickers"]
            # One state for the snapshot, one for every diff applied since: each had the right top.
            states = seen[symbol, DataType.ORDERBOOK][1:]
            assert len(states) == book["applied"]
            assert hashlib.sha256(b"".join(map(top, states))).hexdigest() == book["tops_sha256"]


def top(record: Record) -> bytes:
    """Write the line of a book that the expected hash of tops is taken over."""
    scales = record.price_scale, record.quantity_scale
    texts = [
        plain(Decimal(number).scaleb(-scale))
        for side in (record.bids(1), record.asks(1))
        for number, scale in zip(side[0], scales, strict=True)
    ]
    return f"{record.id},{','.join(texts)}\n".encode()


@pytest.mark.parametrize(("market", "symbol"), [("spot", "BTCUSDT"), ("usdm", "BTCUSDT"), ("coinm", "BTCUSD_PERP")])
async def test_a_recording_of_a_made_up_market_ends_with_the_book_that_was_made_up(
    tmp_path: Path, spine: Callable[..., Any], in_order: Callable[..., None], market: str, symbol: str
) -> None:
    path = tmp_path / "made_up.gz"
    truth, counts = await record(path, market, symbol)

    async with played(spine, market, path, {symbol: truth.update_id}, sum(counts.values()), "aggTrade") as (
        parts,
        seen,
    ):
        instrument = parts.instrument(VENUE_OF[market], symbol)
        count = parts.ingest.engine.counters(instrument)
        assert parts.ingest.engine.canonical(instrument) == truth.canonical()
        assert (count["trades"], count["quotes"]) == (counts["aggTrade"], counts["bookTicker"])
        assert count["received"] == sum(counts.values())
        assert (count["rejected"], count["gap"], count["sequence_errors"]) == (0, 0, 0)
        for (_, kind), records in seen.items():
            in_order(records, ids_in_a_row=kind is DataType.TRADES)


async def record(path: Path, market: str, symbol: str) -> tuple[TrueBook, dict[str, int]]:
    """Write a recording of a generated market; return its book at the end, and how many events of each kind it has."""
    kinds = {"depth": "depth@100ms", "bookTicker": "bookTicker", "aggTrade": "aggTrade"}
    # On USD-M every category has a route of its own.
    routes = [("/public", ("depth", "bookTicker")), ("/market", ("aggTrade",))] if market == "usdm" else [("", kinds)]
    prefix = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}[market]
    counts = dict.fromkeys(kinds, 0)
    lines: list[bytes] = []
    last_id, complete = 0, asyncio.Event()
    config = ExchangeConfig(markets=(market,), symbols=("BTCUSDT",), rate=400, levels=150, seed=23)
    async with Exchange(config, Timeline()) as exchange, aiohttp.ClientSession() as session:

        def keep(raw: bytes) -> None:
            lines.append(b"%d %b\n" % (exchange.timeline.now_ns, raw))

        async def listen(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for message in socket:
                keep(message.data.encode())
                event = json.loads(message.data)
                counts[event["stream"].split("@")[1]] += 1
                if event["stream"].endswith("@100ms") and event["data"]["u"] == last_id:
                    complete.set()

        sockets = []
        for route, some in routes:
            names = "/".join(f"{symbol.lower()}@{kinds[kind]}" for kind in some)
            sockets.append(await session.ws_connect(f"{exchange.ws_url}{route}/stream?streams={names}"))
        listeners = [asyncio.create_task(listen(socket)) for socket in sockets]
        for second in range(20):
            await exchange.advance(1.0)
            if second == 2:
                async with session.get(f"{exchange.rest_url}{prefix}/depth?symbol={symbol}&limit=1000") as answer:
                    keep(await answer.read())
        exchange.pause()
        truth = exchange.book(symbol)
        last_id = truth.update_id
        await exchange.advance(1.0)
        await asyncio.wait_for(complete.wait(), 10)
        for socket in sockets:
            await socket.close()
        await asyncio.gather(*listeners)
    await asyncio.to_thread(path.write_bytes, gzip.compress(b"".join(lines)))
    return truth, counts
