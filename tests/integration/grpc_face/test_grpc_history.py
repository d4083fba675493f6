"""The past over gRPC: what was asked for and nothing else, and a present that goes on from it without a seam."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from raven.fanout import Limits
from raven.journal import Journal, compact
from raven.proto import subscription_pb2 as wire
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.records import Flags
from raven.topics import DataType

from .conftest import Client, MakeScene, Scene, kinds

TRADES, BOOKS = int(DataType.TRADES), int(DataType.ORDERBOOK)


@pytest.fixture
async def scene(make_scene: MakeScene, tmp_path: Path) -> Scene:
    made: Scene = await make_scene(journal=tmp_path / "journal")
    return made


async def ask(scene: Scene, **fields: Any) -> list[MarketDataMessage]:
    request = wire.HistoricalDataRequest(**{"symbols": ["BTCUSDT"], "data_types": [TRADES]} | fields)
    return [message async for message in scene.stub().GetHistoricalData(request)]


def trade_ids(messages: list[MarketDataMessage]) -> list[int]:
    return [int(message.trade.trade_id) for message in messages]


async def test_what_was_just_published_is_history_already(scene: Scene) -> None:
    scene.market.trades("BTCUSDT", 1000)
    messages = await ask(scene)
    assert trade_ids(messages) == list(range(1, 1001))
    first = messages[0]
    assert (first.venue, first.producer, first.trade.symbol) == ("binance_futures", "raven", "BTCUSDT")
    assert (first.trade.price, first.trade.quantity, first.sequence) == (61_000.5, 0.25, 1)
    assert first.flags & Flags.BACKFILLED


async def test_a_range_has_its_start_and_not_its_end(scene: Scene) -> None:
    writer = scene.market.writer("BTCUSDT")
    for number in range(1, 11):
        at = number * 1_000_000_000
        writer.trade(at, at, number, 1, 1, price_scale=0, quantity_scale=0, taker_sells=False)
    assert trade_ids(await ask(scene, start_time=3000, end_time=6000)) == [3, 4, 5]
    assert trade_ids(await ask(scene, end_time=3000)) == [1, 2]
    assert trade_ids(await ask(scene, start_time=9000)) == [9, 10]
    assert trade_ids(await ask(scene, limit=4)) == [1, 2, 3, 4]
    assert trade_ids(await ask(scene, start_time=2000, limit=2)) == [2, 3]
    assert trade_ids(await ask(scene, start_time=11_000)) == []


async def test_symbols_and_types_come_one_after_the_other(scene: Scene) -> None:
    scene.market.trades("BTCUSDT", 3)
    scene.market.trades("ETHUSDT", 2)
    scene.market.move_book()
    messages = await ask(scene, symbols=["ethusdt", "BTCUSDT", "BOOKUSDT"], data_types=[TRADES, BOOKS])
    found = [(message.WhichOneof("data"), (message.trade or message.orderbook).symbol) for message in messages]
    assert found[:5] == [("trade", "ETHUSDT")] * 2 + [("trade", "BTCUSDT")] * 3
    assert {kind for kind, _ in found[5:]} == {"orderbook"}
    assert len(messages[-1].orderbook.bids) == 20


async def test_what_earlier_runs_have_kept_is_there_whether_compacted_or_not(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    for first in (1, 101, 201):
        earlier: Scene = await make_scene(journal=tmp_path)
        earlier.market.trades("BTCUSDT", 100, first)
        assert earlier.journal is not None
        await earlier.journal.stop()
        earlier.journal = None
    compact(tmp_path)
    scene: Scene = await make_scene(journal=tmp_path)
    assert trade_ids(await ask(scene)) == list(range(1, 301))
    client = await scene.stream(symbols=["BTCUSDT"], data_types=[TRADES], filters={"start": "0"})
    await scene.until(lambda: len(client.messages) >= 300)
    scene.market.trades("BTCUSDT", 5, 301)
    await scene.until(lambda: len(client.messages) >= 305)
    assert client.trade_ids() == list(range(1, 306))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"symbols": []}, "symbols has 0 entries"),
        ({"data_types": []}, "data_types is empty"),
        ({"data_types": [77]}, "data_types has 77"),
        ({"start_time": -1}, "start_time is -1"),
        ({"limit": -1}, "limit is -1"),
        ({"start_time": 5, "end_time": 5}, "end_time 5 is not after start_time 5"),
    ],
)
async def test_a_question_that_makes_no_sense_is_answered_in_words(
    scene: Scene, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(scene, **fields)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(raised.value.details())


async def test_a_client_that_leaves_in_the_middle_costs_nothing(scene: Scene) -> None:
    scene.market.trades("BTCUSDT", 4000)
    for first in range(4001, 60_000, 4000):
        scene.market.trades("BTCUSDT", 4000, first)
        await asyncio.sleep(0.02)
    request = wire.HistoricalDataRequest(symbols=["BTCUSDT"], data_types=[TRADES])
    for _ in range(8):
        call = scene.stub().GetHistoricalData(request)
        assert await call.read()
        call.cancel()
    assert len(await ask(scene, limit=10)) == 10, "the next question is answered"


@contextlib.asynccontextmanager
async def flow(scene: Scene, per_second: int, symbol: str = "BTCUSDT") -> AsyncIterator[list[int]]:
    """Trades of rising ids at a steady rate; yields a list of one: the id of the newest."""
    newest = [0]

    async def publish() -> None:
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) * per_second) - newest[0]
            for _ in range(due):
                newest[0] += 1
                scene.market.trade(symbol, newest[0])
            await asyncio.sleep(0.001)

    task = asyncio.create_task(publish())
    try:
        yield newest
    finally:
        task.cancel()


async def test_history_then_live_has_no_seam(make_scene: MakeScene, tmp_path: Path, chaos: bool) -> None:
    """Joins at random moments of 20,000 trades a second: everything from the first trade on, once, in order."""
    tries = 100 if chaos else 10
    limits = Limits(max_clients=1000)
    scene: Scene = await make_scene(limits, journal=tmp_path)
    dice = random.Random(7)
    # Two seconds of trades: on a busy machine the flow comes in bursts, and a lapped journal would be an honest gap.
    scene.market.writer("BTCUSDT", 4 << 20)
    async with flow(scene, 20_000) as newest:
        for _ in range(tries):
            await asyncio.sleep(dice.uniform(0.0, 0.2))
            filters = {"start": "-1s", "batch": "1000"}
            client = await scene.stream(symbols=["BTCUSDT"], data_types=[TRADES], filters=filters)
            await scene.until(
                lambda client=client: client.messages and not client.messages[-1].flags & Flags.BACKFILLED
            )
            goal = newest[0] + 1000
            await scene.until(lambda client=client, goal=goal: client.trade_ids()[-1] >= goal)
            client.call.cancel()
            ids = client.trade_ids()
            assert client.messages[0].flags & Flags.BACKFILLED
            assert not client.messages[-1].flags & Flags.BACKFILLED
            assert client.lost() == 0, [message.gap for message in client.messages if message.HasField("gap")]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            assert client.ended is None or client.ended.code() is grpc.StatusCode.CANCELLED


async def test_books_go_on_from_their_past_and_trades_beside_them(make_scene: MakeScene, tmp_path: Path) -> None:
    """Books of the past are the states that were kept: their sequences rise, and never fall back at the seam."""
    scene: Scene = await make_scene(journal=tmp_path)
    async with flow(scene, 2_000) as newest:
        for _ in range(5):
            scene.market.move_book()
            goal = newest[0] + 400
            client = await scene.stream(
                symbols=["BTCUSDT", "BOOKUSDT"], data_types=[TRADES, BOOKS], filters={"start": "-1m", "depth": "5"}
            )
            await scene.until(lambda client=client: {"trade", "orderbook"} <= set(kinds(client.messages)))
            await scene.until(lambda client=client: not client.messages[-1].flags & Flags.BACKFILLED)
            scene.market.move_book(newest[0] % 7 + 1)
            book_ids = [scene.market.update_id]
            await scene.until(lambda client=client, ids=book_ids: books(client)[-1].orderbook.sequence == ids[0])
            await scene.until(lambda client=client, goal=goal: client.trade_ids()[-1] >= goal)
            client.call.cancel()
            sequences = [message.sequence for message in books(client)]
            assert sequences == sorted(set(sequences))
            assert all(len(message.orderbook.bids) <= 5 for message in books(client))
            ids = client.trade_ids()
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            assert client.lost() == 0


async def test_a_history_larger_than_all_buffers_waits_for_its_reader(make_scene: MakeScene, tmp_path: Path) -> None:
    """A client that does not read stops the reading of the journal, and gets every record when it goes on."""
    scene: Scene = await make_scene(journal=tmp_path)
    for first in range(1, 160_001, 4000):
        scene.market.trades("BTCUSDT", 4000, first)
        await asyncio.to_thread(_commit, scene.journal)
    request = wire.HistoricalDataRequest(symbols=["BTCUSDT"], data_types=[TRADES])
    channel = scene.channel(("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536))
    call = MarketDataServiceStub(channel).GetHistoricalData(request)
    ids = trade_ids([await call.read()])

    sent = [0, 0, 0]
    while sent[0] == 0 or len(set(sent)) > 1:
        await asyncio.sleep(0.1)
        sent = [*sent[1:], scene.server.stats()["bytes"]]
    assert sent[-1] < 4 << 20, "of 12 MB; what HTTP/2 took is what was encoded, but for a megabyte"
    while (message := await call.read()) is not grpc.aio.EOF:
        ids.append(int(message.trade.trade_id))
    assert ids == list(range(1, 160_001))
    assert scene.server.stats()["bytes"] > 10 << 20


async def test_a_symbol_that_went_and_came_back_goes_on_from_its_new_sequences(scene: Scene) -> None:
    market = scene.market
    agg_trade = {"e": "aggTrade", "s": "BOOKUSDT", "p": "100.0", "q": "1", "m": False}

    def publish(first: int, count: int) -> None:
        for number in range(first, first + count):
            now_ns = time.time_ns()
            event = agg_trade | {"E": now_ns // 10**6, "T": now_ns // 10**6, "a": number, "f": number, "l": number}
            market.engine.on_frame(market.connection, now_ns, json.dumps(event).encode())

    publish(1, 300)
    await asyncio.to_thread(_commit, scene.journal)
    market.engine.remove_instrument(market.instrument)
    await asyncio.to_thread(_commit, scene.journal)
    market.engine.add_instrument(market.venue, "BOOKUSDT", price_scale=1, quantity_scale=0, ring_bytes=1 << 20)
    publish(301, 20)

    client = await scene.stream(symbols=["BOOKUSDT"], data_types=[TRADES], filters={"start": "-1h"})
    await scene.until(lambda: len(client.trade_ids()) >= 320)
    publish(321, 5)
    await scene.until(lambda: len(client.trade_ids()) >= 325)
    assert client.trade_ids() == list(range(1, 326))
    assert [message.sequence for message in client.messages][300:] == list(range(1, 26))


async def test_a_book_deeper_than_what_is_kept_goes_on_with_its_own_states(scene: Scene) -> None:
    deep = scene.market.engine.enable_depth(scene.market.instrument, 100)
    client = await scene.stream(symbols=["BOOKUSDT"], data_types=[BOOKS], filters={"start": "-1h", "depth": "100"})
    await scene.until(lambda: any(not message.flags & Flags.BACKFILLED for message in client.messages))
    assert scene.market.hub.find("binance_futures", "BOOKUSDT", BOOKS, 100) == deep
    assert client.messages[0].flags & Flags.BACKFILLED
    assert len(client.messages[0].orderbook.bids) == 20
    assert len(client.messages[-1].orderbook.bids) == 50


async def test_a_gap_of_the_past_stands_at_its_place(make_scene: MakeScene, tmp_path: Path) -> None:
    """A ring that is too small for what is published between two commits: the journal says so, and so does history."""
    scene: Scene = await make_scene(journal=tmp_path)
    scene.market.writer("BTCUSDT", 1 << 12)
    scene.market.trades("BTCUSDT", 5000)
    await asyncio.to_thread(_commit, scene.journal)
    scene.market.trades("BTCUSDT", 5, 5001)
    messages = await ask(scene)
    gaps = [place for place, message in enumerate(messages) if message.WhichOneof("data") == "gap"]
    assert len(gaps) == 1
    gap = messages[gaps[0]].gap
    assert (gap.reason, gap.count) == ("journal", 5005 - (len(messages) - 1))
    ids = [int(message.trade.trade_id) for message in messages if message.WhichOneof("data") == "trade"]
    assert ids == list(range(ids[0], 5006))


def books(client: Client) -> list[MarketDataMessage]:
    return [message for message in client.messages if message.WhichOneof("data") == "orderbook"]


def _commit(journal: Journal | None) -> None:
    assert journal is not None
    journal.commit_now()
