"""Who wants what of an upstream, counted by holder, through a link."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from raven._core import Hub
from raven.errors import NetworkTimeout
from raven.fanout import Unobtainable
from raven.ports import LinkStatus
from raven.roles.link_collector import LinkCollector
from raven.testing import ManualClock
from raven.topics import Collected, DataType, Topic

TRADES, BOOK = DataType.TRADES, DataType.ORDERBOOK
BTC = Topic("venue", "BTCUSDT", TRADES)


class Link:
    """Counts wishes like a real one; `away` makes it refuse."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.wishes: Counter[Topic] = Counter()
        self.writers = {}
        self.away = False

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def acquire(self, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        await asyncio.sleep(0)
        if self.away:
            raise NetworkTimeout("the upstream does not answer")
        topic = Topic(venue, symbol, data_type)
        self.wishes[topic] += 1
        if topic not in self.writers:
            self.writers[topic] = self.hub.create_topic(venue, symbol, data_type, 4096)
        return self.writers[topic].topic_id

    async def release(self, venue: str, symbol: str, data_type: DataType) -> None:
        self.wishes[Topic(venue, symbol, data_type)] -= 1

    def status(self) -> LinkStatus:
        return LinkStatus("grpc://h:1", not self.away)


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def collector(link: Link, clock: ManualClock) -> LinkCollector:
    return LinkCollector(link, "venue", [TRADES], symbols=["ETHUSDT"], linger_s=30, clock=clock)


async def hold(collector: LinkCollector, *holders: str) -> None:
    await asyncio.gather(*(collector.acquire(holder, "venue", "btcusdt", TRADES) for holder in holders))


async def test_the_upstream_is_asked_once_however_many_want_it(collector: LinkCollector, link: Link) -> None:
    await hold(collector, "a", "b", "a")

    assert link.wishes == {BTC: 1}
    assert collector.collected() == [Collected(BTC, frozenset({"a", "b"}), "waiting")]


async def test_the_upstream_is_told_when_nobody_has_wanted_it_for_the_linger_time(
    collector: LinkCollector, link: Link, clock: ManualClock
) -> None:
    await hold(collector, "a", "b")
    await collector.release_all("a")
    await collector.release("b", "venue", "BTCUSDT", TRADES)
    lingering = collector.collected()[0].status

    await clock.advance(29)
    early = +link.wishes
    await clock.advance(2)

    assert lingering == "lingering"
    assert early == {BTC: 1}
    assert not +link.wishes
    assert not collector.collected()
    assert not collector.is_held(BTC)


async def test_who_comes_back_in_time_keeps_it(collector: LinkCollector, link: Link, clock: ManualClock) -> None:
    await hold(collector, "a")
    await collector.release("a", "venue", "BTCUSDT", TRADES)
    await clock.advance(10)

    await hold(collector, "b")
    await clock.advance(60)

    assert link.wishes == {BTC: 1}
    assert collector.is_held(BTC)


async def test_it_is_live_once_a_record_has_come_and_connecting_while_the_upstream_is_away(
    collector: LinkCollector, link: Link
) -> None:
    await hold(collector, "a")
    link.writers[BTC].trade(1, 1, 1, 1, 1, price_scale=0, quantity_scale=0, taker_sells=False)
    before = collector.collected()[0].status
    link.away = True

    assert (before, collector.collected()[0].status) == ("live", "connecting")


async def test_what_the_upstream_refuses_is_not_held(collector: LinkCollector, link: Link) -> None:
    link.away = True

    with pytest.raises(NetworkTimeout, match="does not answer"):
        await hold(collector, "a")

    assert collector.collected() == []


async def test_other_kinds_are_refused_with_those_that_there_are(collector: LinkCollector) -> None:
    with pytest.raises(Unobtainable, match="no ORDERBOOK; it has TRADES"):
        await collector.acquire("a", "venue", "BTCUSDT", BOOK, 20)

    assert not await collector.offers("venue", "BTCUSDT", BOOK)
    assert await collector.offers("venue", "BTCUSDT", TRADES)


async def test_it_has_one_venue_and_its_configured_symbols(collector: LinkCollector) -> None:
    assert collector.venues() == ["venue"]
    assert (collector.symbols("venue"), collector.symbols("other")) == (("ETHUSDT",), ())


async def test_a_release_by_who_does_not_hold_is_ignored(collector: LinkCollector, link: Link) -> None:
    await hold(collector, "a")

    await collector.release("b", "venue", "BTCUSDT", TRADES)

    assert collector.collected()[0].status == "waiting"


async def test_stopping_ends_what_lingers(collector: LinkCollector) -> None:
    await hold(collector, "a")
    await collector.release("a", "venue", "BTCUSDT", TRADES)

    await collector.stop()

    assert [task for task in asyncio.all_tasks() if "lingers" in task.get_name()] == []
