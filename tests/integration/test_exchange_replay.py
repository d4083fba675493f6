"""Recordings over real sockets: the frames verbatim, in order, with a snapshot that bridges, at any speed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from raven.exchange import Exchange, ExchangeConfig, Fault, ReplayConfig
from raven.exchange.reference import ReferenceBook
from raven.exchange.replay.recorded_streams import read_lines

PREFIX = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
ROUTE = {"spot": "", "usdm": "/public", "coinm": ""}
LONG = [
    ("usdm", "usdm/btcusdt_20240808", "BTCUSDT"),
    ("spot", "spot/btcusdt_20240808", "BTCUSDT"),
    ("spot", "spot/ethusdt_20240808", "ETHUSDT"),
    ("coinm", "cm/btcusd_perp_20240808", "BTCUSD_PERP"),
]


class Player:
    """A replay with one client per connection; keeps every frame."""

    def __init__(self, exchange: Exchange, session: aiohttp.ClientSession, market: str) -> None:
        self.exchange = exchange
        self.market = market
        self.session = session
        self.frames: list[bytes] = []
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, *names: str, route: str | None = None, combined: bool = True) -> None:
        route = ROUTE[self.market] if route is None else route
        path = f"/stream?streams={'/'.join(names)}" if combined else f"/ws/{'/'.join(names)}"
        socket = await self.session.ws_connect(self.exchange.ws_url + route + path, max_msg_size=0)

        self._sockets.append(socket)

        async def read() -> None:
            async for message in socket:
                self.frames.append(message.data.encode())

        self._tasks.append(asyncio.create_task(read()))

    async def depth(self, symbol: str, **params: object) -> bytes:
        url = f"{self.exchange.rest_url}{PREFIX[self.market]}/depth"
        query = {"symbol": symbol, "limit": "1000", **{name: str(value) for name, value in params.items()}}
        async with self.session.get(url, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def finish(self, count: int) -> None:
        """Wait until the replay has ended and so many frames have come."""
        await self.exchange.replay_finished()
        await self.heard(count)

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.frames) < count:  # noqa: ASYNC110 - polled: frames come from another task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for socket in self._sockets:
            await socket.close()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def replay(market: str, *files: Path, **options: Any) -> AsyncIterator[Player]:
    config = ExchangeConfig(
        markets=(market,),
        enforce_limits=False,
        replay=ReplayConfig(files=files, **{"speed": 0.0, "quiet_ms": 50, **options}),
    )
    async with Exchange(config) as exchange, aiohttp.ClientSession() as session:
        player = Player(exchange, session, market)
        try:
            yield player
        finally:
            await player.stop()


def record(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def diff(first: int, last: int, previous: int, price: str = "100.0", quantity: str = "1.0") -> str:
    return json.dumps(
        {
            "e": "depthUpdate",
            "E": 1,
            "T": 1,
            "s": "BTCUSDT",
            "U": first,
            "u": last,
            "pu": previous,
            "b": [[price, quantity]],
            "a": [],
        }
    ).replace(" ", "")


def frame(ns: int, stream: str, data: str) -> str:
    return f'{ns} {{"stream":"{stream}","data":{data}}}'


SNAPSHOT = '{"lastUpdateId":15,"E":1,"T":1,"bids":[["99.0","1.0"]],"asks":[["101.0","1.0"]]}'


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Two diffs before the snapshot, one bridging it, and a second of trades."""
    second = 1_000_000_000
    return record(
        tmp_path / "short.gz",
        frame(0 * second, "btcusdt@depth@0ms", diff(1, 10, 0)),
        frame(0 * second, "btcusdt@depth@0ms", diff(11, 20, 10)),
        f"{0 * second} {SNAPSHOT}",
        frame(
            1 * second,
            "btcusdt@trade",
            '{"e":"trade","E":2,"T":1,"s":"BTCUSDT","t":5,"p":"100.0","q":"1.0","X":"MARKET","m":true}',
        ),
        frame(1 * second, "btcusdt@depth@0ms", diff(21, 30, 20, quantity="2.0")),
    )


@pytest.mark.recordings
@pytest.mark.parametrize(("market", "name", "symbol"), LONG, ids=[name for _, name, _ in LONG])
async def test_a_client_that_follows_the_rules_ends_with_the_expected_book(recordings, market, name, symbol):
    expected = json.loads((recordings / "expected" / f"{name.replace('/', '_')}.json").read_text())["symbols"][symbol][
        "book"
    ]
    reference = ReferenceBook(symbol, is_futures=market != "spot")
    async with replay(market, recordings / f"{name}.gz") as player:
        await player.listen(f"{symbol.lower()}@depth@100ms")
        reference.on_snapshot(await player.depth(symbol))
        count = sum(1 for line in read_lines([recordings / f"{name}.gz"]) if "@depth" in line.stream)
        await player.finish(count)
        for raw in player.frames:
            reference.on_event(json.loads(raw)["data"])
        late = json.loads(await player.depth(symbol))

        assert hashlib.sha256(reference.book().canonical()).hexdigest() == expected["final"]["sha256"]
        assert player.exchange.book(symbol) == reference.book()
        assert late["lastUpdateId"] == reference.update_id
        assert [price for price, _ in late["bids"][:20]] == [f"{price}" for price, _ in reference.book().bids[:20]]


@pytest.mark.recordings
async def test_frames_are_those_of_the_recording_byte_for_byte(recordings):
    path = recordings / "venues" / "binance_usdm_4sym.gz"
    lines = [line for line in read_lines([path]) if line.stream]
    public = [line for line in lines if "@depth" in line.stream or "@bookTicker" in line.stream]
    async with replay("usdm", path, snapshot_wait_s=0) as player:
        await player.listen(*{line.stream for line in public}, route="/public")
        await player.finish(len(public))

        assert player.frames == [b'{"stream":"%b","data":%b}' % (line.stream.encode(), line.body) for line in public]
        assert player.exchange.markets["usdm"].source.symbols == ["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"]


async def test_several_files_are_one_recording(tmp_path, short):
    more = record(tmp_path / "more.gz", frame(2_000_000_000, "btcusdt@depth@0ms", diff(31, 40, 30)))
    async with replay("usdm", short, more) as player:
        await player.listen("btcusdt@depth@0ms")
        await player.depth("BTCUSDT")
        await player.finish(4)

        assert [json.loads(raw)["data"]["u"] for raw in player.frames] == [10, 20, 30, 40]


async def test_after_a_hole_in_the_recording_the_next_recorded_answer_is_the_book(tmp_path, short):
    later = SNAPSHOT.replace("15", "95").replace("99.0", "98.0").replace("101.0", "99.5")
    more = record(
        tmp_path / "more.gz",
        frame(2_000_000_000, "btcusdt@depth@0ms", diff(91, 100, 90, price="97.0")),
        f"2000000000 {later}",
        frame(2_000_000_000, "btcusdt@depth@0ms", diff(101, 110, 100, price="97.5")),
    )
    async with replay("usdm", short, more) as player:
        await player.listen("btcusdt@depth@0ms")
        await player.depth("BTCUSDT")
        await player.finish(5)

        book = json.loads(await player.depth("BTCUSDT"))
    assert book["lastUpdateId"] == 110
    # Nothing of what stood there before the hole is left.
    assert book["bids"] == [["98.0", "1.0"], ["97.5", "1.0"], ["97.0", "1.0"]]
    assert book["asks"] == [["99.5", "1.0"]]


async def test_the_snapshot_is_held_until_the_diffs_before_it_have_been_sent(short):
    async with replay("usdm", short, start="manual") as player:
        answer = asyncio.create_task(player.depth("BTCUSDT"))
        await player.listen("btcusdt@depth")
        await asyncio.sleep(0.05)
        assert not answer.done()

        player.exchange.start_replay()

        assert (await answer).decode() == SNAPSHOT
        await player.finish(3)
        assert [json.loads(raw)["stream"] for raw in player.frames] == ["btcusdt@depth"] * 3


async def test_the_replay_stands_at_the_snapshot_until_somebody_asks(short):
    async with replay("usdm", short) as player:
        await player.listen("btcusdt@depth@0ms", combined=False)
        await player.heard(2)
        assert not player.exchange.markets["usdm"].source.finished.is_set()

        await player.depth("BTCUSDT")
        await player.finish(3)
        again = json.loads(await player.depth("BTCUSDT"))

        assert again["lastUpdateId"] == 30
        assert again["bids"] == [["100.0", "2.0"], ["99.0", "1.0"]]


async def test_aggregates_come_from_trades_only_if_asked_for(short):
    for option, expected in ((False, 0), (True, 1)):
        async with replay("usdm", short, agg_trades_from_trades=option, start="manual") as player:
            await player.listen("btcusdt@aggTrade", route="/market")
            player.exchange.start_replay()
            await player.finish(expected)
            assert len(player.frames) == expected
    event = json.loads(player.frames[0])["data"]
    assert (event["e"], event["a"], event["f"], event["l"]) == ("aggTrade", 5, 5, 5)


async def test_speed_is_kept(short):
    async with replay("usdm", short, speed=4.0, start="manual", snapshot_wait_s=0) as player:
        await player.listen("btcusdt@trade")
        began = time.monotonic()
        player.exchange.start_replay()
        await player.finish(1)

        assert 0.2 < time.monotonic() - began < 2.0


async def test_a_replay_can_wait_for_all_streams(short):
    async with replay("usdm", short, start="all", snapshot_wait_s=0) as player:
        await player.listen("btcusdt@depth@0ms")
        await asyncio.sleep(0.1)
        assert player.frames == []

        await player.listen("btcusdt@trade")
        await player.finish(4)
        assert len(player.frames) == 4


async def test_a_slow_client_slows_a_replay_at_full_speed_and_loses_nothing(tmp_path):
    filler = "x" * 4000
    lines = [
        frame(number, "btcusdt@trade", json.dumps({"e": "trade", "t": number, "x": filler})) for number in range(5000)
    ]
    path = record(tmp_path / "many.gz", *lines)
    async with replay("usdm", path, start="manual") as player:
        socket = await player.session.ws_connect(player.exchange.ws_url + "/public/ws/btcusdt@trade", max_msg_size=0)
        player.exchange.start_replay()
        await asyncio.sleep(0.3)
        source = player.exchange.markets["usdm"].source
        assert source.position < 5000

        ids = [json.loads((await socket.receive(timeout=5)).data)["t"] for _ in range(5000)]

        assert ids == list(range(5000))
        await socket.close()
        await player.exchange.replay_finished()


async def test_exchange_info_has_the_recorded_symbols_and_steps(short):
    async with (
        replay("usdm", short) as player,
        player.session.get(player.exchange.rest_url + "/fapi/v1/exchangeInfo") as answer,
    ):
        symbols = (await answer.json())["symbols"]

        assert [(one["symbol"], one["filters"][0]["tickSize"]) for one in symbols] == [("BTCUSDT", "1.0")]


async def test_a_half_open_client_does_not_hold_a_replay_up(tmp_path):
    lines = [
        frame(number, "btcusdt@trade", json.dumps({"e": "trade", "t": number, "x": "x" * 4000}))
        for number in range(5000)
    ]
    path = record(tmp_path / "many.gz", *lines)
    async with replay("usdm", path, start="manual") as player:
        socket = await player.session.ws_connect(player.exchange.ws_url + "/public/ws/btcusdt@trade", max_msg_size=0)
        player.exchange.start_replay()
        server = player.exchange.market("usdm").ws
        async with asyncio.timeout(5):
            while not server.is_backed_up:  # noqa: ASYNC110 - polled: the client's buffers fill in their own time
                await asyncio.sleep(0.01)

        player.exchange.inject(Fault("half_open"))

        async with asyncio.timeout(10):
            await player.exchange.replay_finished()
        await socket.close()
