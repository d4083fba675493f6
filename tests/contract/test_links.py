"""What every link keeps, whatever lies between it and its upstream: run for each kind of address.

A new kind of link adds one line to `KINDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from tests.pipeline import until
from tests.upstreams import OTHER_VENUE, VENUE, Served, Source, drained

from raven._core import BarSpec, LiveBars, Record
from raven.errors import DataValidation, NetworkTimeout
from raven.fanout import Status, Unobtainable
from raven.ports import Link
from raven.records import BarWord, CandleWord, Flags, GapWord, Kind
from raven.registry import LINKS, load
from raven.topics import DataType

TRADES, BOOK = DataType.TRADES, DataType.ORDERBOOK
RING_BYTES = 1 << 22
MORE_THAN_A_RING = 60_000


@dataclass
class Scene:
    """A source, and a link to it."""

    source: Source
    link: Link

    async def hear(self, symbol: str, data_type: DataType, depth: int = 0, venue: str = VENUE) -> Any:
        """Return a reader of a topic that has been asked for and is being heard."""
        topic_id = await self.link.acquire(venue, symbol, data_type, depth)
        reader = self.link.hub.reader(topic_id)
        await until(lambda: self.source.readers(symbol, data_type, venue))
        return reader

    async def drop(self, symbol: str, data_type: DataType, venue: str = VENUE) -> None:
        """Let go of a topic, and wait until nobody upstream has to do with it any more."""
        await self.link.release(venue, symbol, data_type)
        await until(lambda: not self.source.is_held(symbol, data_type, venue))
        await until(lambda: not self.source.readers(symbol, data_type, venue))


async def local(source: Source) -> tuple[Link, Callable[[], Awaitable[None]]]:
    """A link to a service of this process."""

    async def nothing_to_end() -> None:
        pass

    return load(LINKS, "local", "link")("source", source.hub, source, holder="aggregator"), nothing_to_end


async def grpc(source: Source) -> tuple[Link, Callable[[], Awaitable[None]]]:
    """A link to a server."""
    served = Served(source)
    await served.start()
    link = load(LINKS, "grpc", "link")(f"//127.0.0.1:{served.port}", name="aggregator", ring_bytes=RING_BYTES)
    return link, served.stop


KINDS = {"local": local, "grpc": grpc}


@pytest_asyncio.fixture(params=KINDS)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    source = Source()
    link, end = await KINDS[request.param](source)
    await link.start()
    await until(lambda: link.status().connected)
    yield Scene(source, link)
    await link.stop()
    await end()


async def take(reader: Any, count: int) -> list[Record]:
    """Wait for so many records."""
    taken: list[Record] = []
    await until(lambda: (taken.extend(drained(reader)), len(taken) >= count)[1])
    return taken


# --- records ----------------------------------------------------------------------------------------------------------

PRICE_WORDS: dict[Kind, set[int]] = {
    Kind.TRADE: {0},
    Kind.QUOTE: {0, 2},
    Kind.CANDLE: {CandleWord.OPEN, CandleWord.HIGH, CandleWord.LOW, CandleWord.CLOSE},
    Kind.BAR: {BarWord.OPEN, BarWord.HIGH, BarWord.LOW, BarWord.CLOSE},
}
QUANTITY_WORDS: dict[Kind, set[int]] = {
    Kind.TRADE: {1},
    Kind.QUOTE: {1, 3},
    Kind.CANDLE: {CandleWord.VOLUME, CandleWord.BUY_VOLUME},
    Kind.BAR: {BarWord.VOLUME, BarWord.BUY_VOLUME},
}


def said(record: Record) -> tuple[Any, ...]:
    """Return what a record says, decimals by their value: scales are nobody's business."""
    kind = Kind(record.kind)
    price, quantity = (Decimal(1).scaleb(-scale) for scale in (record.price_scale, record.quantity_scale))
    if kind is Kind.BOOK:
        body: list[Any] = [
            record.body[0],
            *((p * price, q * quantity) for side in (record.bids(), record.asks()) for p, q in side),
        ]
    else:
        body = [
            word * price
            if at in PRICE_WORDS.get(kind, ())
            else word * quantity
            if at in QUANTITY_WORDS.get(kind, ())
            else word
            for at, word in enumerate(record.body)
        ]
    flags = record.flags & ~(Flags.SNAPSHOT | Flags.SKIPPED)
    return (kind, flags, record.recv_ns, record.exchange_ns, record.id, *body)


async def test_trades_are_those_of_the_upstream(scene: Scene) -> None:
    reader = await scene.hear("BTCUSDT", TRADES)
    upstream = scene.source.hub.reader(scene.source.writer().topic_id)

    for trade_id in range(1, 2_001):
        scene.source.trade(trade_id)
    heard = await take(reader, 2_000)

    assert [said(record) for record in heard] == [said(record) for record in drained(upstream)]
    assert [record.id for record in heard] == list(range(1, 2_001))


async def test_aggregates_of_the_venue_keep_their_numbers_and_prices(scene: Scene) -> None:
    reader = await scene.hear("BOOKUSDT", TRADES)
    prices = ["100", "100.5", "0.00012345", "99999.99999999", "100.5"]

    for number, price in enumerate(prices):
        scene.source.frame(e="aggTrade", a=7 + number, p=price, q="0.00100000", f=1, l=3, m=number % 2 == 0)
    heard = await take(reader, len(prices))

    assert [said(record)[4:7] for record in heard] == [
        (7 + number, Decimal(price), Decimal("0.001")) for number, price in enumerate(prices)
    ]
    assert [record.body[2:] for record in heard] == [[number % 2 == 0, 1, 3] for number in range(len(prices))]


@pytest.mark.parametrize("depth", [0, 5, 100])
async def test_a_book_has_as_many_levels_as_were_asked_for(scene: Scene, depth: int) -> None:
    scene.source.sync_book()
    reader = await scene.hear("BOOKUSDT", BOOK, depth)
    topic_id = scene.source.hub.find(VENUE, "BOOKUSDT", int(BOOK), depth)
    assert topic_id is not None
    upstream = scene.source.hub.reader(topic_id)

    scene.source.frame(e="depthUpdate", U=13, u=13, pu=12, b=[["1000.0", "77.25"]], a=[["1001.0", "0"]])
    heard: list[Record] = []
    await until(lambda: (heard.extend(drained(reader)), heard and heard[-1].id == 13)[1])
    ours, theirs = heard[-1], drained(upstream)[-1]

    assert said(ours)[:5] == said(theirs)[:5]
    # A local link hears the upstream's own topic, which may have more.
    levels = depth or 20
    assert len(ours.bids(levels)) == len(ours.asks(levels)) == levels
    assert in_words(ours, levels) == in_words(theirs, levels)


def in_words(book: Record, levels: int) -> list[tuple[Decimal, Decimal]]:
    """Return the best levels of both sides as decimals."""
    price, quantity = (Decimal(1).scaleb(-scale) for scale in (book.price_scale, book.quantity_scale))
    return [(p * price, q * quantity) for side in (book.bids(levels), book.asks(levels)) for p, q in side]


async def test_a_deeper_book_can_be_asked_for_later(scene: Scene) -> None:
    scene.source.sync_book()
    await scene.hear("BOOKUSDT", BOOK, 5)
    reader = await scene.hear("BOOKUSDT", BOOK, 150)
    update_ids = iter(range(13, 100_000))
    heard: list[Record] = []

    def is_deep() -> bool:
        at = next(update_ids)
        scene.source.frame(e="depthUpdate", U=at, u=at, pu=at - 1, b=[["1000.0", str(at)]], a=[])
        heard.extend(drained(reader))
        return bool(heard) and len(heard[-1].bids()) >= 150

    await until(is_deep)

    assert {record.kind for record in heard} == {Kind.BOOK}
    assert [record.id for record in heard] == sorted({record.id for record in heard})


SLOW = {
    DataType.QUOTES: {"e": "bookTicker", "u": 400, "b": "100.1", "B": "3.25", "a": "100.2", "A": "7"},
    DataType.CANDLES_1M: {
        "e": "kline",
        "k": {
            "t": 1_700_000_000_000, "T": 1_700_000_059_999, "s": "BOOKUSDT", "i": "1m", "f": 1, "L": 9, "o": "100.1",
            "c": "100.25", "h": "101", "l": "99.5", "v": "12.5", "n": 9, "x": True, "q": "1250.5", "V": "7.25",
            "Q": "0", "B": "0",
        },
    },
    DataType.FUNDING_RATES: {
        "e": "markPriceUpdate", "p": "100.12345678", "i": "100.2", "P": "100.3", "r": "0.00012345",
        "T": 1_700_000_100_000,
    },
}  # fmt: skip


@pytest.mark.parametrize("data_type", SLOW)
async def test_slow_kinds_are_those_of_the_upstream(scene: Scene, data_type: DataType) -> None:
    topic_id = scene.source.hub.find(VENUE, "BOOKUSDT", int(data_type))
    assert topic_id is not None
    upstream = scene.source.hub.reader(topic_id)
    reader = await scene.hear("BOOKUSDT", data_type)

    scene.source.frame(**SLOW[data_type])
    heard, theirs = await take(reader, 1), drained(upstream)

    assert [said(record) for record in heard] == [said(record) for record in theirs]
    assert len(theirs) == 1


async def test_bars_are_those_of_the_upstream(scene: Scene) -> None:
    spec = BarSpec("tick", [10.0])
    bars = LiveBars(spec, scene.source.hub, scene.source.hub)
    topic_id, _ = bars.add(scene.source.writer().topic_id)
    upstream = scene.source.hub.reader(topic_id)
    reader = await scene.hear("BTCUSDT", DataType.TICK_BARS)

    for trade_id in range(1, 102):
        scene.source.trade(trade_id)
    bars.step(1_700_000_000_000, 1000)
    heard, theirs = await take(reader, 10), drained(upstream)

    assert [said(record) for record in heard] == [said(record) for record in theirs]
    assert [record.body[BarWord.BUY_TICKS] for record in heard] == [5] * 10


async def test_what_the_upstream_missed_itself_is_told_in_its_place(scene: Scene) -> None:
    reader = await scene.hear("BOOKUSDT", TRADES)
    for number in (1, 2, 7, 8):
        scene.source.frame(e="aggTrade", a=number, p="100.5", q="1", f=1, l=3, m=False)

    heard = await take(reader, 5)

    assert [(record.kind, record.id) for record in heard if record.kind != Kind.GAP] == [
        (Kind.TRADE, number) for number in (1, 2, 7, 8)
    ]
    gap = heard[2]
    assert gap.kind == Kind.GAP
    assert [gap.body[at] for at in (GapWord.DATA_TYPE, GapWord.COUNT, GapWord.FIRST_ID, GapWord.LAST_ID)] == [
        TRADES, 4, 3, 6,
    ]  # fmt: skip


# --- pace -------------------------------------------------------------------------------------------------------------


async def test_a_burst_keeps_its_order_and_every_missing_record_is_counted(scene: Scene) -> None:
    reader = await scene.hear("BTCUSDT", TRADES)
    await asyncio.to_thread(
        lambda: [
            scene.source.writer().trades(500, first, 6_100_050, 25, price_scale=2, quantity_scale=3)
            for first in range(1, 100_001, 500)
        ]
    )
    heard: list[Record] = []
    while not heard or heard[-1].id != 100_000:
        heard.extend(drained(reader))
        await asyncio.sleep(0)

    ids = [record.id for record in heard if record.kind == Kind.TRADE]
    missing = sum(record.body[GapWord.COUNT] for record in heard if record.kind == Kind.GAP)
    assert ids == sorted(set(ids))
    assert len(ids) + missing == 100_000


async def test_a_reader_that_sleeps_holds_nobody_up_and_learns_what_it_lost(scene: Scene) -> None:
    sleeper = await scene.hear("BTCUSDT", TRADES)
    awake = await scene.hear("ETHUSDT", TRADES)
    first = 1
    while scene.link.hub.head(topic_of(scene, "BTCUSDT")) < MORE_THAN_A_RING:
        scene.source.writer().trades(500, first, 6_100_050, 25, price_scale=2, quantity_scale=3)
        first += 500
        await asyncio.sleep(0.001)
    scene.source.trade(1, "ETHUSDT")

    assert [record.id for record in await take(awake, 1)] == [1]
    await until(lambda: is_newest(scene, first - 1))
    heard = drained(sleeper)
    assert heard[0].kind == Kind.GAP
    assert heard[-1].id == first - 1
    assert sleeper.lost == heard[0].body[GapWord.COUNT] > 0


def topic_of(scene: Scene, symbol: str) -> int:
    topic_id = scene.link.hub.find(VENUE, symbol, int(TRADES))
    assert topic_id is not None
    return topic_id


def is_newest(scene: Scene, trade_id: int) -> bool:
    newest = drained(scene.link.hub.reader(topic_of(scene, "BTCUSDT"), from_latest=True))
    return bool(newest) and newest[-1].id == trade_id


# --- wishes -----------------------------------------------------------------------------------------------------------


async def test_many_wishes_for_a_topic_are_one_for_the_upstream(scene: Scene) -> None:
    ids = await asyncio.gather(*(scene.link.acquire(VENUE, "btcusdt", TRADES) for _ in range(5)))
    await until(scene.source.is_held)

    assert len(set(ids)) == 1
    assert len(scene.source.holders[VENUE, "BTCUSDT", TRADES]) <= 2, "a client of a server, and its stream"

    for _ in range(4):
        await scene.link.release(VENUE, "BTCUSDT", TRADES)
    assert scene.source.is_held()
    await scene.link.release(VENUE, "BTCUSDT", TRADES)
    await until(lambda: not scene.source.is_held())
    await scene.link.release(VENUE, "BTCUSDT", TRADES)


async def test_a_topic_can_be_had_again_after_it_was_let_go(scene: Scene) -> None:
    await scene.hear("BTCUSDT", TRADES)
    scene.source.trade(1)
    await scene.drop("BTCUSDT", TRADES)

    reader = await scene.hear("BTCUSDT", TRADES)
    scene.source.trade(2)

    assert [record.id for record in await take(reader, 1)] == [2]


async def test_a_wish_that_begins_while_another_ends_is_kept(scene: Scene) -> None:
    await scene.hear("BTCUSDT", TRADES)

    topic_id, _ = await asyncio.gather(
        scene.link.acquire(VENUE, "BTCUSDT", TRADES), scene.link.release(VENUE, "BTCUSDT", TRADES)
    )

    reader = scene.link.hub.reader(topic_id)
    numbers = iter(range(1, 100_000))

    def is_heard() -> bool:
        scene.source.trade(next(numbers))
        return bool(drained(reader))

    await until(is_heard)
    assert scene.source.is_held()


async def test_the_same_symbol_of_two_venues_is_two_topics(scene: Scene) -> None:
    reader = await scene.hear("BTCUSDT", TRADES)
    await scene.hear("BTCUSDT", TRADES, venue=OTHER_VENUE)

    await scene.drop("BTCUSDT", TRADES, venue=OTHER_VENUE)
    assert scene.source.is_held()
    scene.source.trade(1)

    assert [record.id for record in await take(reader, 1)] == [1]


async def test_a_topic_that_the_upstream_does_not_have_is_refused_with_its_words(scene: Scene) -> None:
    with pytest.raises(DataValidation, match="NOPEUSDT"):
        await scene.link.acquire(VENUE, "NOPEUSDT", TRADES)

    assert scene.link.status().connected
    assert scene.link.status().trouble == ""
    assert not scene.source.is_held("NOPEUSDT")


async def test_what_the_upstream_cannot_say_now_may_be_asked_again(scene: Scene) -> None:
    scene.source.refusal = Unobtainable("the venue does not answer", Status.UNAVAILABLE)
    with pytest.raises(NetworkTimeout, match="the venue does not answer"):
        await scene.link.acquire(VENUE, "BTCUSDT", TRADES)
    assert not scene.source.is_held()

    scene.source.refusal = None
    reader = await scene.hear("BTCUSDT", TRADES)
    scene.source.trade(1)

    assert [record.id for record in await take(reader, 1)] == [1]
    assert scene.link.status().trouble == ""


# --- the link itself --------------------------------------------------------------------------------------------------


async def test_a_link_that_stops_lets_go_of_everything(scene: Scene) -> None:
    await scene.hear("BTCUSDT", TRADES)
    await scene.hear("ETHUSDT", TRADES)

    await scene.link.stop()
    await scene.link.stop()

    await until(lambda: not scene.source.is_held() and not scene.source.is_held("ETHUSDT"))


async def test_status_names_the_upstream_and_no_trouble(scene: Scene) -> None:
    reader = await scene.hear("BTCUSDT", TRADES)
    scene.source.trade(1)
    await take(reader, 1)

    status = scene.link.status()

    assert status.upstream.startswith(("local:source", "grpc://127.0.0.1:"))
    assert (status.connected, status.trouble) == (True, "")
    assert 0 <= status.lag_s < 60
