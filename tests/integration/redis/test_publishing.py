"""What a real Redis and its subscribers get."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import redis
import trustme
from tests.pipeline import until
from tests.redis_scene import Scene
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.process import free_port
from tests.servers.redis import RedisServer, require_redis

from raven._core import Hub
from raven.serve.redis import RedisPlan, RedisPublisher


async def test_every_trade_arrives_in_order_with_its_number(redis_server: RedisServer) -> None:
    async with Scene(redis_server) as scene:
        subscriber = await scene.subscriber()

        scene.trade(5_000)

        counts = await scene.settled()
        await until(lambda: len(subscriber.sequences()) == 5_000)
        assert subscriber.sequences() == list(range(1, 5_001))
        assert (counts.published, scene.publisher.trouble) == (5_000, "")
        first = subscriber.heard["trades:BTCUSDT"][0]
        assert first == {
            "symbol": "BTCUSDT", "trade_id": 1, "price": 61800.1, "quantity": 1.5, "timestamp": first["timestamp"],
            "is_buyer_maker": False, "sequence": 1,
        }  # fmt: skip


async def test_a_topic_that_comes_later_is_heard_from_its_first_record(redis_server: RedisServer) -> None:
    async with Scene(redis_server) as scene:
        subscriber = await scene.subscriber("trades:ETHUSDT", "binance_spot:trades:ETHUSDT")
        of_both = [
            scene.hub.create_topic(venue, "ETHUSDT", 1, 1 << 16) for venue in ("binance_futures", "binance_spot")
        ]

        for topic in of_both:
            topic.trades(3, 1, 1, 1, price_scale=0, quantity_scale=0)

        # Their times are of 1970: with the usual limit of age they would be dropped.
        await until(lambda: scene.counts("binance_spot:trades:ETHUSDT").dropped == 3)
        assert scene.counts("trades:ETHUSDT").dropped == 3
        assert subscriber.heard == {"trades:ETHUSDT": [], "binance_spot:trades:ETHUSDT": []}


async def test_two_venues_have_a_channel_each(redis_server: RedisServer) -> None:
    async with Scene(redis_server, max_age_s=0) as scene:
        subscriber = await scene.subscriber("trades:BTCUSDT", "binance_spot:trades:BTCUSDT")
        spot = scene.hub.create_topic("binance_spot", "BTCUSDT", 1, 1 << 16)

        scene.trade(2)
        spot.trades(3, 1, 1, 1, price_scale=0, quantity_scale=0)

        await until(lambda: len(subscriber.sequences("binance_spot:trades:BTCUSDT")) == 3)
        await until(lambda: len(subscriber.sequences()) == 2)
        assert subscriber.missing() == subscriber.missing("binance_spot:trades:BTCUSDT") == 0


async def test_keys_and_streams_are_written_when_asked_for(redis_server: RedisServer) -> None:
    async with Scene(redis_server, prefix="eu:", latest_ttl_s=60, stream_length=100) as scene:
        with redis_server.client() as client:
            scene.trade(1_000)

            await until(
                lambda: (
                    client.get("eu:latest:trades:BTCUSDT")
                    and '"sequence":1000}' in str(client.get("eu:latest:trades:BTCUSDT"))
                )
            )
            assert 0 < client.pttl("eu:latest:trades:BTCUSDT") <= 60_000
            await until(lambda: scene.counts("eu:trades:BTCUSDT").published == 1_000)
            ((_, entry),) = client.xrevrange("eu:stream:trades:BTCUSDT", count=1)
            assert '"sequence":1000}' in entry["data"]
            assert 100 <= client.xlen("eu:stream:trades:BTCUSDT") < 1_000


async def test_what_was_published_before_the_stop_still_arrives(redis_server: RedisServer) -> None:
    scene = Scene(redis_server)
    async with scene:
        await until(lambda: scene.publisher.breaker.state == "closed" and scene.publisher.channels())
        scene.trade(5_000)
    assert scene.counts().published == 5_000


async def test_a_password_is_used_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    require_redis()
    server = RedisServer(tmp_path / "redis", "--requirepass", "hunter2")
    server.start()
    try:
        async with Scene(server, password="hunter2") as scene:
            scene.trade(3)
            assert (await scene.settled()).published == 3

        wrong = server.url.replace("//", "//:hunter3@")
        async with Scene(server, url=wrong) as scene:
            await until(lambda: scene.publisher.trouble)
            assert "redis://:********@" in scene.publisher.trouble
            assert "WRONGPASS" in scene.publisher.trouble or "invalid" in scene.publisher.trouble
            assert "hunter3" not in scene.publisher.trouble + caplog.text
    finally:
        server.stop()


async def test_a_right_that_is_missing_is_said_and_counted(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "raven", "on", ">pw", "+@all", "-xadd", "~*", "&trades:*")
        async with Scene(redis_server, username="raven", password="pw", stream_length=10) as scene:
            spot = scene.hub.create_topic("binance_spot", "BTCUSDT", 1, 1 << 16)
            scene.trade(3)
            spot.trade(2**62, 1, 1, 1, 1, price_scale=0, quantity_scale=0, taker_sells=True)

            counts = await scene.settled()

            assert (counts.published, counts.keys_refused) == (3, 3)
            await until(lambda: scene.counts("binance_spot:trades:BTCUSDT").refused == 1)
            await until(lambda: "NOPERM" in scene.publisher.trouble)


async def test_tls_with_a_certificate_that_is_checked(tmp_path: Path) -> None:
    require_redis()
    authority = trustme.CA()
    identity = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    identity.private_key_pem.write_to_path(tmp_path / "key.pem")
    identity.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    server = RedisServer(tmp_path / "redis", *_tls(port, tmp_path))
    try:
        server.start()
    except RuntimeError as error:
        pytest.skip(f"this redis-server was built without TLS: {error}")
    try:
        url = f"rediss://127.0.0.1:{port}"
        async with Scene(server, url=f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}") as scene:
            scene.trade(3)
            assert (await scene.settled()).published == 3
        async with Scene(server, url=url) as scene:
            await until(lambda: "certificate" in scene.publisher.trouble.lower())
    finally:
        server.stop()


def _tls(port: int, folder: Path) -> list[str]:
    return [
        "--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem"),
        "--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no",
    ]  # fmt: skip


async def test_what_hangs_in_the_network_with_a_lost_connection_does_not_come_late(redis_server: RedisServer) -> None:
    async with (
        ChaosProxy(redis_server.port) as proxy,
        Scene(redis_server, url=f"redis://127.0.0.1:{proxy.port}", timeout_s=0.3, max_age_s=0) as scene,
    ):
        subscriber = await scene.subscriber()
        scene.trade(3)
        await scene.settled()

        proxy.fault = Fault(latency_s=2.0)
        scene.trade(3)
        await until(lambda: scene.counts().unconfirmed == 3)
        proxy.fault = Fault()
        await until(lambda: scene.publisher.breaker.state == "closed")
        with redis_server.client() as client:
            names = [one["name"] for one in client.client_list()]
        scene.trade(3)
        await scene.settled()

        assert names.count("raven") == 1, "the one that hangs is known to Redis, and gone"
        await until(lambda: len(subscriber.sequences()) >= 6)
        assert subscriber.sequences() == [1, 2, 3, 7, 8, 9]


async def test_whoever_is_no_redis_is_told_apart() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def answer() -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            await loop.sock_sendall(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

    answering = asyncio.get_running_loop().create_task(answer())
    publisher = RedisPublisher(Hub(), RedisPlan(f"redis://127.0.0.1:{listener.getsockname()[1]}"))
    await publisher.start()
    try:
        await until(lambda: publisher.trouble)
        assert "check that Redis runs, and redis.url" in publisher.trouble
    finally:
        await publisher.stop()
        answering.cancel()
        listener.close()


def test_the_attribute_that_bulk_reads_need_is_there(redis_server: RedisServer) -> None:
    connection = redis.ConnectionPool.from_url(redis_server.url).make_connection()
    connection.connect()
    assert isinstance(connection._sock, socket.socket)
    connection.disconnect()
