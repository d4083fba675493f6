"""S5: Redis is killed, hangs, is full, or has a subscriber that does not read. The feed never waits for it.

Whatever happens, each event ends in one counter, and each number that a subscriber missed is a hole that it can see.
Short by default; at full length (`--chaos`) outages of ten seconds, three rounds each.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis
from tests.pipeline import until
from tests.redis_scene import Counts, Scene, Subscriber
from tests.servers.redis import RedisServer, require_redis

from raven.resilience.breaker import BreakerState

pytestmark = [pytest.mark.fault("S5"), pytest.mark.timeout(300)]

Figure = Callable[[str, object], None]
# As in faults.md: what is older than a moment is not worth a flood when Redis is back.
MAX_AGE_S = 0.2
TICK_S = 0.005
PER_TICK = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    require_redis()
    server = RedisServer(
        tmp_path / "redis", "--client-output-buffer-limit", "pubsub 1mb 512kb 5", "--maxmemory", "64mb"
    )
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def trading(scene: Scene) -> AsyncIterator[None]:
    """Let trades happen all the time, 2,000 a second if the machine can."""

    async def trade() -> None:
        while True:
            scene.trade(PER_TICK)
            await asyncio.sleep(TICK_S)

    task = asyncio.get_running_loop().create_task(trade())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def outage(
    scene: Scene, begin: Callable[[], None], end: Callable[[], None], seconds: float
) -> tuple[float, float]:
    """Let Redis be away; return how long it took until the breaker was open, and until it was closed again."""
    dropped_before, began = scene.counts().dropped, time.monotonic()
    await asyncio.to_thread(begin)
    # A large batch hangs with the old connection; it must not come after what a new one publishes.
    scene.trade(3_000)
    await until(lambda: scene.publisher.breaker.state is BreakerState.OPEN)
    opened_s = time.monotonic() - began
    assert scene.publisher.trouble.startswith("redis://127.0.0.1"), "health says where and why"
    await until(lambda: scene.counts().dropped > dropped_before and time.monotonic() - began > seconds)
    await asyncio.to_thread(end)
    began = time.monotonic()
    await until(lambda: scene.publisher.breaker.state is BreakerState.CLOSED)
    return opened_s, time.monotonic() - began


async def hears_again(scene: Scene, subscriber: Subscriber) -> None:
    """Wait until a subscriber has what is published now."""
    published = scene.counts().published + scene.counts().dropped
    await until(lambda: subscriber.sequences() and subscriber.sequences()[-1] > published)


def balance(scene: Scene, subscriber: Subscriber, counts: Counts) -> None:
    """Nothing is unaccounted for, and what was dropped is missing in front of the subscriber."""
    assert counts.all == scene.published
    assert subscriber.missing() >= counts.dropped
    assert subscriber.missing() + len(subscriber.sequences()) <= scene.published


@pytest.mark.parametrize("how", ["kill -9", "SIGSTOP"])
async def test_an_outage_is_a_breaker_and_a_hole_of_what_was_dropped(
    server: RedisServer, how: str, chaos: bool, figure: Figure
) -> None:
    begin, end = (server.kill, server.start) if how == "kill -9" else (server.suspend, server.resume)
    async with Scene(server, max_age_s=MAX_AGE_S) as scene, trading(scene):
        subscriber = await scene.subscriber()
        await until(lambda: len(subscriber.sequences()) > 100)
        figures = []
        for _ in range(3 if chaos else 1):
            figures.append(await outage(scene, begin, end, 10.0 if chaos else 0.5))
            await hears_again(scene, subscriber)
            assert scene.publisher.trouble == ""

    counts = await scene.settled()
    balance(scene, subscriber, counts)
    assert counts.dropped > 0
    assert counts.published + counts.unconfirmed >= len(subscriber.sequences())
    figure("breaker open after_s", round(max(opened for opened, _ in figures), 2))
    figure("recovery_s", round(max(recovered for _, recovered in figures), 2))
    figure("dropped", counts.dropped)
    figure("unconfirmed", counts.unconfirmed)
    if chaos:
        assert max(opened for opened, _ in figures) <= 1.0


async def test_the_writer_of_the_feed_does_not_wait_while_redis_hangs(server: RedisServer) -> None:
    async with Scene(server, max_age_s=0, timeout_s=30) as scene:
        reader = scene.hub.reader(scene.trades.topic_id)
        scene.trade(10)
        await scene.settled()
        await asyncio.to_thread(server.suspend)

        # Many times what the ring holds, while the publisher waits for an answer that does not come.
        for _ in range(50):
            scene.trade(1_000)
            heard = reader.drain(2_000)
            assert heard[-1].sequence == scene.published

        assert reader.lost == 0
        assert scene.publisher.breaker.state is BreakerState.CLOSED, "it still waits"
        await asyncio.to_thread(server.resume)
        counts = await scene.settled()
        assert counts.dropped > 0, "what the ring had no room for"


async def test_a_redis_that_is_away_at_the_start_is_found_later(server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    async with Scene(server, max_age_s=0) as scene:
        scene.trade(100)
        await until(lambda: "Connection refused" in scene.publisher.trouble)
        await asyncio.to_thread(server.start)
        assert (await scene.settled()).published == 100


async def test_a_redis_that_goes_while_nothing_happens_is_noticed(server: RedisServer) -> None:
    async with Scene(server) as scene:
        scene.trade()
        await scene.settled()
        await asyncio.to_thread(server.kill)
        await until(lambda: scene.publisher.trouble)
        assert scene.counts().unconfirmed == 0


async def test_one_that_greets_and_then_does_not_answer_is_not_back(server: RedisServer) -> None:
    async with Scene(server, timeout_s=0.1, max_age_s=0) as scene:
        scene.trade()
        await scene.settled()
        with server.client() as client:
            client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            scene.trade()
            await until(lambda: scene.publisher.breaker.state is BreakerState.OPEN)
            states = set()

            def is_tried_again() -> bool:
                scene.trade()
                states.add(scene.publisher.breaker.state)
                return len(client.client_list()) > 1 and scene.counts().unconfirmed > 10

            await until(is_tried_again)
            assert BreakerState.CLOSED not in states
            client.execute_command("CLIENT", "UNPAUSE")
        await until(lambda: scene.publisher.trouble == "")


async def test_a_full_redis_still_passes_messages_on_and_its_refusals_are_counted(
    server: RedisServer, figure: Figure
) -> None:
    async with Scene(server, latest_ttl_s=60, stream_length=1_000_000) as scene:
        subscriber = await scene.subscriber()
        with server.client() as client:
            with suppress(redis.OutOfMemoryError):
                while client.append("ballast", b"x" * (1 << 20)):
                    pass
            scene.trade(500)

            counts = await scene.settled()

            assert (counts.published, counts.refused) == (500, 0)
            assert counts.keys_refused > 500, "500 entries of a stream and at least one key"
            await until(lambda: "OOM" in scene.publisher.trouble)
            await until(lambda: len(subscriber.sequences()) == 500)
            assert subscriber.missing() == 0
            figure("keys refused", counts.keys_refused)

            client.delete("ballast")
            scene.trade(10)
            await until(lambda: client.xlen("stream:trades:BTCUSDT") == 10)


async def test_a_subscriber_that_does_not_read_is_cut_and_nobody_else_notices(
    server: RedisServer, figure: Figure
) -> None:
    async with Scene(server, max_age_s=0) as scene:
        attentive = await scene.subscriber()
        asleep = await asyncio.to_thread(_subscribe_and_sleep, server)
        with server.client() as client:

            def is_connected() -> bool:
                return any(one["name"] == "asleep" for one in client.client_list())

            assert is_connected()
            # Each burst fits the ring, and is confirmed before the next.
            while is_connected():
                assert scene.published < 1_000_000, "Redis never cut it off"
                scene.trade(5_000)
                await scene.settled()

        await until(lambda: len(attentive.sequences()) == scene.published)
        assert attentive.missing() == 0
        assert (attentive.connections, scene.counts().published, scene.publisher.trouble) == (1, scene.published, "")

        last_heard = await asyncio.to_thread(_drain, asleep)
        again = await scene.subscriber()
        scene.trade(1)
        await until(again.sequences)
        assert again.sequences()[0] - last_heard > 1, "the hole shows in the numbers"
        figure("missed by who slept", again.sequences()[0] - last_heard - 1)


def _subscribe_and_sleep(server: RedisServer) -> socket.socket:
    """Return the socket of a client that subscribes and then reads no more."""
    sleeper = socket.socket()
    # So that what Redis cannot send waits in its own buffer.
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.settimeout(10)
    sleeper.connect(("127.0.0.1", server.port))
    sleeper.sendall(b"CLIENT SETNAME asleep\r\nSUBSCRIBE trades:BTCUSDT\r\n")
    said = b""
    while b":1\r\n" not in said:
        said += sleeper.recv(1)
    return sleeper


def _drain(sleeper: socket.socket) -> int:
    """Read what there still is; return the last number in it."""
    said = b""
    with sleeper, suppress(ConnectionResetError):
        while piece := sleeper.recv(1 << 16):
            said += piece
    numbers = [int(part.split(b"}")[0]) for part in said.split(b'"sequence":')[1:] if b"}" in part]
    return numbers[-1] if numbers else 0
