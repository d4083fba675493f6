"""Clients that do not keep up (faults S1, S2), and the way out (drain)."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from raven.records import Flags
from raven.topics import DataType

pytestmark = pytest.mark.fault("S1", "S2")

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import MakeScene, Scene

TRADES = [DataType.TRADES]
MIB = 1 << 20
# Several times what sockets, HTTP/2 and the log of one topic hold.
MANY = 400_000
FEWER = 200_000


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


async def publish(scene: Scene, count: int, first_id: int = 1, step: int = 4000) -> None:
    """Publish in steps that the pump can follow: where the ring is overrun, everybody has a gap, slow or not."""
    for start in range(first_id, first_id + count, step):
        scene.market.trades("BTCUSDT", step, start)
        await scene.until(lambda last=start + step - 1: scene.server.stats()["encoded"] >= last)


@pytest.mark.slow
async def test_a_client_that_never_reads_costs_bounded_memory_and_learns_what_it_lost(scene: Scene) -> None:
    slow = await scene.stream(reads=False, symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")
    await publish(scene, MANY)
    before = resident_bytes()

    await publish(scene, 4 * MANY, MANY + 1)
    grown = resident_bytes() - before
    slow.reader = asyncio.create_task(slow.read())
    last = 5 * MANY
    # Only the last message: a look at all of them takes the reader's time, more each time.
    await scene.until(lambda: slow.messages and slow.messages[-1].sequence == last, seconds=60)

    assert grown < 64 * MIB
    assert slow.lost() > 0
    assert slow.lost() + len(slow.trade_ids()) == last, "every trade was either delivered or counted"
    assert scene.face.stats()["gap_marks"] >= 1
    gaps = [at for at, message in enumerate(slow.messages) if message.WhichOneof("data") == "gap"]
    for at in gaps:
        assert slow.messages[at].gap.reason == "slow_reader"
        assert slow.messages[at + 1].flags & Flags.AFTER_GAP
    sequences = [message.sequence for message in slow.messages]
    assert sequences == sorted(sequences)


@pytest.mark.slow
async def test_one_slow_client_takes_nothing_from_the_others(scene: Scene) -> None:
    slow = await scene.stream(reads=False, symbols=["BTCUSDT"], data_types=TRADES)
    healthy = [await scene.stream(symbols=["BTCUSDT"], data_types=TRADES, filters={"batch": "256"}) for _ in range(4)]
    await scene.subscribed("BTCUSDT", 5)

    # No faster than the healthy ones read, so that the ring holds what they lack however busy the machine is.
    for first in range(1, FEWER, 4000):
        scene.market.trades("BTCUSDT", 4000, first)
        await scene.until(lambda last=first + 3999: all(len(client.messages) == last for client in healthy), seconds=30)

    assert all(client.lost() == 0 for client in healthy)
    assert all(client.trade_ids() == list(range(1, FEWER + 1)) for client in healthy)
    assert slow.ended is None


async def test_overflow_disconnect_ends_the_stream_of_a_slow_client(scene: Scene) -> None:
    slow = await scene.stream(reads=False, symbols=["BTCUSDT"], data_types=TRADES, filters={"overflow": "disconnect"})
    await scene.subscribed("BTCUSDT")

    await publish(scene, 4 * MANY)
    slow.reader = asyncio.create_task(slow.read())
    await scene.until(lambda: slow.ended, seconds=30)

    assert slow.ended is not None
    assert slow.ended.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert slow.lost() == 0
    assert slow.trade_ids() == list(range(1, len(slow.messages) + 1)), "up to the end nothing is missing"


async def test_books_skip_to_the_newest_state_for_a_slow_client(scene: Scene) -> None:
    slow = await scene.stream(
        reads=False, symbols=["BOOKUSDT"], data_types=[DataType.ORDERBOOK], filters={"depth": "20"}
    )
    await scene.subscribed("BOOKUSDT", data_type=DataType.ORDERBOOK)

    for quantity in range(1, 40_001):
        scene.market.move_book(quantity)
        if quantity % 500 == 0:
            await scene.until(lambda moves=quantity: scene.server.stats()["encoded"] >= moves)
    slow.reader = asyncio.create_task(slow.read())
    head = scene.market.update_id
    await scene.until(lambda: slow.messages and slow.messages[-1].orderbook.sequence == head, seconds=30)

    assert slow.lost() == 0, "a skipped state is no loss"
    assert slow.messages[-1].orderbook.bids[0].quantity == 40_000
    assert len(slow.messages) < 40_000
    assert any(message.flags & Flags.SKIPPED for message in slow.messages)


async def test_draining_delivers_what_is_there_and_ends_every_stream(scene: Scene) -> None:
    clients = [await scene.stream(symbols=["BTCUSDT"], data_types=TRADES) for _ in range(5)]
    await scene.subscribed("BTCUSDT", 5)
    scene.market.trades("BTCUSDT", 5000)

    in_time = await scene.face.drain(5.0)
    await scene.until(lambda: all(client.ended for client in clients))

    assert in_time
    for client in clients:
        assert client.ended is not None
        assert client.ended.code() is grpc.StatusCode.UNAVAILABLE
        assert client.trade_ids() == list(range(1, 5001))
    assert not scene.market.holders[("BTCUSDT", 1)]


async def test_a_client_that_never_reads_does_not_hold_up_the_drain(make_scene: MakeScene) -> None:
    scene = await make_scene()
    await scene.stream(reads=False, symbols=["BTCUSDT"], data_types=TRADES)
    await scene.subscribed("BTCUSDT")
    await publish(scene, MANY)
    loop = asyncio.get_running_loop()
    started = loop.time()

    await scene.face.drain(1.0)

    assert loop.time() - started < 4.0
