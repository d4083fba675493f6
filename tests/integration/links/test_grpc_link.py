"""What only a network can do to a link: cut it, hang, come back as somebody else, ask who we are."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import trustme
from tests.pipeline import until
from tests.servers.chaos_proxy import ChaosProxy, Fault
from tests.servers.process import free_port
from tests.upstreams import VENUE, Served, Source, drained

from raven._core import Record
from raven.errors import NetworkTimeout
from raven.fanout import Status, Unobtainable
from raven.links.grpc import GrpcLink
from raven.records import Flags, GapReason, GapWord, Kind
from raven.resilience.positions import Positions
from raven.testing import ManualClock
from raven.topics import DataType

TRADES, BOOK = DataType.TRADES, DataType.ORDERBOOK


class Rig:
    """A source, its server, a proxy before it, a link through that."""

    def __init__(self) -> None:
        self.source = Source()
        self.served = Served(self.source)
        self.proxy: ChaosProxy | None = None
        self.links: list[GrpcLink] = []
        self.heard: list[Record] = []
        self.reader: Any = None

    async def connect(self, port: int | None = None, **options: Any) -> GrpcLink:
        """Start a link, through the proxy unless told otherwise."""
        if port is None:
            assert self.proxy is not None
            port = self.proxy.port
        link = GrpcLink(f"//127.0.0.1:{port}", name="aggregator", **options)
        self.links.append(link)
        await link.start()
        return link

    async def hear(self, link: GrpcLink, data_type: DataType = TRADES, symbol: str = "BTCUSDT") -> None:
        """Ask for a topic and keep what comes of it."""
        self.reader = link.hub.reader(await link.acquire(VENUE, symbol, data_type))

    async def until_heard_more(self, count: int) -> None:
        """Wait for so many records."""
        wanted = len(self.heard) + count
        await until(lambda: (self.heard.extend(drained(self.reader)), len(self.heard) >= wanted)[1])

    async def until_heard(self, trade_id: int) -> list[Record]:
        """Wait for a trade; return everything that came until then."""
        await until(lambda: (self.heard.extend(drained(self.reader)), self.heard and self.heard[-1].id == trade_id)[1])
        return self.heard


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.served.start()
    async with ChaosProxy(made.served.port) as made.proxy:
        yield made
        for link in made.links:
            await link.stop()
    await made.served.stop()


def trades(records: list[Record]) -> list[int]:
    return [record.id for record in records if record.kind == Kind.TRADE]


def gaps(records: list[Record]) -> list[tuple[int, GapReason]]:
    return [
        (record.body[GapWord.COUNT], GapReason(record.body[GapWord.REASON]))
        for record in records
        if record.kind == Kind.GAP
    ]


def publish(source: Source, first: int, last: int) -> None:
    for trade_id in range(first, last + 1):
        source.trade(trade_id)


async def cut(rig: Rig, link: GrpcLink) -> None:
    """Cut the connection and keep it cut."""
    assert rig.proxy is not None
    rig.proxy.fault = Fault(refuse=True)
    rig.proxy.cut()
    await until(lambda: not link.status().connected)


def mend(rig: Rig) -> None:
    assert rig.proxy is not None
    rig.proxy.fault = Fault()


# --- a lost connection ------------------------------------------------------------------------------------------------


async def test_after_a_cut_a_topic_goes_on_behind_its_last_record(rig: Rig) -> None:
    link = await rig.connect()
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 100)
    await rig.until_heard(100)

    for first in (101, 201, 301):
        await cut(rig, link)
        publish(rig.source, first, first + 99)
        assert "trying again" in link.status().trouble
        mend(rig)
        await rig.until_heard(first + 99)

    assert trades(rig.heard) == list(range(1, 401))
    assert gaps(rig.heard) == []
    assert link.status().trouble == ""


@pytest.mark.parametrize("is_orderly", [True, False])
async def test_a_process_that_comes_back_goes_on_behind_the_last_record(
    rig: Rig, tmp_path: Path, is_orderly: bool
) -> None:
    file = tmp_path / "positions.json"
    first = await rig.connect(positions=Positions(file, settled_s=0))
    await rig.hear(first)
    await until(rig.source.readers)
    publish(rig.source, 1, 100)
    await rig.until_heard(100)
    # Kept every second: for a crash that is enough, and an orderly end does not need it.
    await (
        first.stop()
        if is_orderly
        else until(lambda: file.exists() and f"100,{rig.heard[-1].recv_ns}" in file.read_text())
    )
    publish(rig.source, 101, 200)

    second = await rig.connect(positions=Positions(file))
    rig.heard.clear()
    await rig.hear(second)

    assert trades(await rig.until_heard(200)) == list(range(101, 201))
    assert gaps(rig.heard) == []


async def test_cuts_at_any_moment_of_a_busy_topic_lose_nothing_and_repeat_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, chaos: bool, figure: Callable[[str, object], None]
) -> None:
    # So many cuts one after the other would be answered with longer and longer pauses.
    monkeypatch.setattr("raven.links.grpc._LONGEST_PAUSE_S", 0.1)
    rounds, dice = 100 if chaos else 8, random.Random(7)
    assert rig.proxy is not None
    rig.source.writer(ring_bytes=1 << 26)
    link = await rig.connect(ring_bytes=1 << 26)
    await rig.hear(link)
    await until(rig.source.readers)
    stopping = threading.Event()
    published = 0

    def publish_many() -> None:
        nonlocal published
        while not stopping.wait(0.001):
            rig.source.writer().trades(20, published + 1, 6_100_050, 25, price_scale=2, quantity_scale=3)
            published += 20

    busy = asyncio.create_task(asyncio.to_thread(publish_many))
    try:
        for _ in range(rounds):
            await rig.until_heard_more(dice.randrange(1, 4_000))
            rig.proxy.cut()
    finally:
        stopping.set()
        await busy
    heard = await rig.until_heard(published)

    assert gaps(heard)[:10] == []
    # Not compared as lists: to show how a million numbers differ takes minutes.
    assert [pair for pair in pairwise(trades(heard)) if pair[1] != pair[0] + 1][:10] == []
    assert (heard[0].id, heard[-1].id) == (1, published)
    assert link.counters()["duplicates"] == 0
    figure("connections cut", rounds)
    figure("trades heard", published)


async def test_what_the_upstream_no_longer_has_is_a_gap_with_its_count(rig: Rig) -> None:
    rig.source.writer(ring_bytes=1 << 16)
    link = await rig.connect()
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 100)
    await rig.until_heard(100)

    await cut(rig, link)
    publish(rig.source, 101, 5_000)
    mend(rig)
    heard = await rig.until_heard(5_000)

    [(count, reason)] = gaps(heard)
    assert reason is GapReason.UPSTREAM
    assert len(trades(heard)) + count == 5_000, "received = published + gap"
    behind = heard[[record.kind for record in heard].index(Kind.GAP) + 1]
    assert behind.id == 101 + count
    assert trades(heard)[:100] == list(range(1, 101))


async def test_a_topic_of_which_nothing_had_come_says_that_something_may_be_missing(rig: Rig) -> None:
    link = await rig.connect()
    await rig.hear(link)
    await until(rig.source.readers)

    await cut(rig, link)
    publish(rig.source, 1, 10)
    mend(rig)
    numbers = iter(range(11, 100_000))

    def is_heard() -> bool:
        rig.source.trade(next(numbers))
        rig.heard.extend(drained(rig.reader))
        return bool(trades(rig.heard))

    await until(is_heard)
    assert gaps(rig.heard) == [(0, GapReason.UPSTREAM)]
    assert rig.heard[0].kind == Kind.GAP


async def test_a_question_whose_connection_is_lost_may_be_asked_again(rig: Rig) -> None:
    gate = rig.source.gate = asyncio.Event()
    link = await rig.connect()
    await until(lambda: link.status().connected)
    asked = asyncio.create_task(link.acquire(VENUE, "BTCUSDT", TRADES))
    await until(lambda: rig.source.waiting)

    await cut(rig, link)
    with pytest.raises(NetworkTimeout):
        await asked
    gate.set()
    mend(rig)
    await until(lambda: link.status().connected)

    assert link.status().trouble == ""
    assert await link.acquire(VENUE, "BTCUSDT", TRADES)


async def test_a_book_comes_back_as_it_is_now(rig: Rig) -> None:
    rig.source.sync_book()
    link = await rig.connect()
    await rig.hear(link, BOOK, "BOOKUSDT")
    await rig.until_heard(12)

    await cut(rig, link)
    rig.source.frame(e="depthUpdate", U=13, u=13, pu=12, b=[["1000.0", "77"]], a=[])
    mend(rig)
    heard = await rig.until_heard(13)

    price, quantity = heard[-1].bids(1)[0]
    assert (price / 10 ** heard[-1].price_scale, quantity / 10 ** heard[-1].quantity_scale) == (1000.0, 77.0)


async def test_what_is_let_go_while_the_upstream_is_away_is_not_asked_for_again(rig: Rig) -> None:
    link = await rig.connect()
    await rig.hear(link)
    await link.acquire(VENUE, "ETHUSDT", TRADES)
    await until(lambda: rig.source.is_held() and rig.source.is_held("ETHUSDT"))

    await cut(rig, link)
    await link.release(VENUE, "BTCUSDT", TRADES)
    mend(rig)

    await until(lambda: link.status().connected and not rig.source.is_held())
    assert rig.source.is_held("ETHUSDT")


# --- another upstream -------------------------------------------------------------------------------------------------


async def test_an_upstream_that_is_not_there_yet_is_trouble_and_no_error() -> None:
    source, port = Source(), free_port()
    served = Served(source, port)
    link = GrpcLink(f"//127.0.0.1:{port}", name="aggregator")
    await link.start()
    reader = link.hub.reader(await link.acquire(VENUE, "BTCUSDT", TRADES))
    await until(lambda: "cannot be heard" in link.status().trouble)
    assert not link.status().connected

    await served.start()
    await until(source.readers)
    source.trade(1)

    heard: list[Record] = []
    await until(lambda: (heard.extend(drained(reader)), len(heard))[1])
    assert trades(heard) == [1]
    assert (link.status().connected, link.status().trouble) == (True, "")
    await link.stop()
    await served.stop()


async def test_an_upstream_that_has_begun_anew_is_heard_from_its_beginning_behind_a_mark(rig: Rig) -> None:
    link = await rig.connect(rig.served.port)
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 100)
    await rig.until_heard(100)

    await rig.served.stop()
    rig.source = Source()
    publish(rig.source, 201, 250)
    rig.served = Served(rig.source, rig.served.port)
    await rig.served.start()
    await until(rig.source.readers)
    publish(rig.source, 251, 300)
    heard = await rig.until_heard(300)

    assert trades(heard) == [*range(1, 101), *range(201, 301)]
    assert gaps(heard) == [(0, GapReason.UPSTREAM)]
    assert heard[100].kind == Kind.GAP, "between the lives"
    assert heard[101].flags & Flags.AFTER_GAP


async def test_another_life_with_more_records_than_the_one_before_is_a_mark_too(rig: Rig) -> None:
    link = await rig.connect(rig.served.port)
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 10)
    await rig.until_heard(10)

    await rig.served.stop()
    rig.source = Source()
    publish(rig.source, 101, 150)
    rig.served = Served(rig.source, rig.served.port)
    await rig.served.start()
    heard = await rig.until_heard(150)

    assert trades(heard) == [*range(1, 11), *range(101, 151)]
    assert gaps(heard) == [(0, GapReason.UPSTREAM)]


async def test_what_an_upstream_refuses_after_its_restart_is_told_and_asked_for_again(rig: Rig) -> None:
    link = await rig.connect(rig.served.port)
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 10)
    await rig.until_heard(10)

    await rig.served.stop()
    rig.source = Source()
    rig.source.refusal = Unobtainable("the venue does not answer", Status.UNAVAILABLE)
    rig.served = Served(rig.source, rig.served.port)
    await rig.served.start()
    await until(lambda: "the venue does not answer" in link.status().trouble)
    assert link.status().connected
    rig.source.refusal = None
    await until(rig.source.readers)
    publish(rig.source, 11, 20)
    heard = await rig.until_heard(20)

    assert trades(heard) == list(range(1, 21))
    assert gaps(heard) == [(0, GapReason.UPSTREAM)]
    assert link.status().trouble == ""


# --- silence and pace -------------------------------------------------------------------------------------------------


async def test_an_upstream_that_says_nothing_any_more_is_connected_to_again(rig: Rig) -> None:
    clock = ManualClock()
    assert rig.proxy is not None
    link = await rig.connect(clock=clock)
    await until(lambda: link.status().connected)
    await rig.hear(link)
    await until(rig.source.readers)
    publish(rig.source, 1, 10)
    await rig.until_heard(10)

    rig.proxy.fault = Fault(swallow_answers=True)
    for _ in range(20):
        await clock.advance(1.0)
        if not link.status().connected:
            break
    assert "no sign of it for 5 s" in link.status().trouble

    publish(rig.source, 11, 20)
    mend(rig)
    rig.proxy.cut()
    connections = rig.proxy.connections
    for _ in range(100):
        await clock.advance(0.5)
        await asyncio.sleep(0.02)
        if link.status().connected:
            break
    heard = await rig.until_heard(20)

    assert rig.proxy.connections > connections
    assert trades(heard) == list(range(1, 21))
    assert gaps(heard) == []


async def test_an_upstream_that_takes_its_time_to_start_a_topic_is_not_silent(rig: Rig) -> None:
    clock, gate = ManualClock(), asyncio.Event()
    rig.source.gate = gate
    link = await rig.connect(rig.served.port, clock=clock)
    await until(lambda: link.status().connected)
    asked = asyncio.create_task(link.acquire(VENUE, "BTCUSDT", TRADES))
    await until(lambda: rig.source.waiting)

    await clock.advance(60.0)
    assert link.status().connected
    gate.set()
    await asked

    assert (link.status().connected, link.status().trouble) == (True, "")


async def test_a_link_that_does_not_run_for_a_while_loses_with_a_count_and_holds_up_nobody(rig: Rig) -> None:
    rig.source.writer(ring_bytes=1 << 16)
    link = await rig.connect(ring_bytes=1 << 26)
    await rig.hear(link)
    await until(rig.source.readers)

    # The loop that hears does not turn meanwhile; the server goes on alone.
    for first in range(1, 1_000_001, 1_000):
        rig.source.writer().trades(1_000, first, 6_100_050, 25, price_scale=2, quantity_scale=3)
    rig.source.trade(1_000_001)
    heard = await rig.until_heard(1_000_001)

    lost = gaps(heard)
    assert {reason for _, reason in lost} == {GapReason.SLOW_READER}
    assert len(trades(heard)) + sum(count for count, _ in lost) == 1_000_001, "received = published + gap"
    assert all(one < other for one, other in pairwise(trades(heard)))
    assert link.status().connected


# --- who we are -------------------------------------------------------------------------------------------------------


async def test_a_token_lets_us_in_and_a_wrong_one_is_said() -> None:
    source = Source()
    served = Served(source, token="open sesame")
    await served.start()
    stranger, friend = (
        GrpcLink(f"//127.0.0.1:{served.port}", name="link", token=token) for token in ("guess", "open sesame")
    )
    await stranger.start()
    await friend.start()
    await friend.acquire(VENUE, "BTCUSDT", TRADES)
    await until(source.is_held)
    await until(lambda: "UNAUTHENTICATED" in stranger.status().trouble)

    assert friend.status().connected
    assert not stranger.status().connected
    for link in (stranger, friend):
        await link.stop()
    await served.stop()


async def test_credentials_of_the_upstream_are_checked() -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    source = Source()
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    served = Served(source, tls_certificate=chain, tls_key=certificate.private_key_pem.bytes())
    await served.start()
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    link = GrpcLink(f"//localhost:{served.port}", name="link", credentials=trusted)
    plain = GrpcLink(f"//localhost:{served.port}", name="link")
    await link.start()
    await plain.start()
    await link.acquire(VENUE, "BTCUSDT", TRADES)
    await until(source.is_held)
    await until(lambda: "cannot be heard" in plain.status().trouble)

    assert link.status().connected
    for one in (link, plain):
        await one.stop()
    await served.stop()
