"""Who wants what of an upstream, counted by holder, through a link."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.roles.fake_link import Link

from raven.errors import NetworkTimeout
from raven.fanout import Unobtainable
from raven.roles.link_collector import LinkCollector
from raven.testing import ManualClock
from raven.topics import Collected, DataType, Topic

TRADES, BOOK = DataType.TRADES, DataType.ORDERBOOK
BTC = Topic("venue", "BTCUSDT", TRADES)


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

    assert await collector.offers("venue", "BTCUSDT", BOOK)
    assert not await collector.offers("other", "BTCUSDT", TRADES)


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
