"""The link to an upstream of the same process."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from raven._core import Hub
from raven.errors import DataValidation, NetworkTimeout
from raven.fanout import Status, Unobtainable
from raven.links.local import LocalLink
from raven.topics import DataType

TRADES = DataType.TRADES


class Collector:
    """Counts references like the real one, and can be told to refuse."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.held: Counter[str] = Counter()
        self.refusal: Exception | None = None

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType, depth: int = 0) -> int:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        self.held[symbol] = 1
        known = self.hub.find(venue, symbol, data_type)
        return self.hub.create_topic(venue, symbol, data_type, 4096).topic_id if known is None else known

    async def release(self, holder: str, venue: str, symbol: str, data_type: DataType) -> None:
        del self.held[symbol]

    async def release_all(self, holder: str) -> None:
        self.held.clear()


def link_to(collector: Collector) -> LocalLink:
    return LocalLink("source", collector.hub, collector)  # type: ignore[arg-type]  # as much of one as a link needs


async def test_the_last_wish_gone_is_the_end_of_it() -> None:
    collector = Collector(Hub())
    link = link_to(collector)

    first = await link.acquire("venue", "btcusdt", TRADES)
    assert await link.acquire("venue", "BTCUSDT", TRADES) == first
    await link.release("venue", "BTCUSDT", TRADES)
    assert collector.held == {"BTCUSDT": 1}
    await link.release("venue", "BTCUSDT", TRADES)
    await link.release("venue", "BTCUSDT", TRADES)

    assert collector.held == {}


async def test_a_wish_that_begins_while_another_ends_is_kept() -> None:
    collector = Collector(Hub())
    link = link_to(collector)
    await link.acquire("venue", "BTCUSDT", TRADES)

    await asyncio.gather(link.acquire("venue", "BTCUSDT", TRADES), link.release("venue", "BTCUSDT", TRADES))

    assert collector.held == {"BTCUSDT": 1}


async def test_what_may_pass_is_trouble_until_it_has_passed() -> None:
    collector = Collector(Hub())
    link = link_to(collector)
    collector.refusal = Unobtainable("the venue does not answer", Status.UNAVAILABLE)
    with pytest.raises(NetworkTimeout, match="does not answer"):
        await link.acquire("venue", "BTCUSDT", TRADES)
    assert link.status().trouble == "the venue does not answer"

    collector.refusal = None
    await link.acquire("venue", "BTCUSDT", TRADES)

    assert (link.status().connected, link.status().trouble, link.status().upstream) == (True, "", "local:source")


async def test_topics_that_are_there_are_heard_though_another_cannot_be_had() -> None:
    collector = Collector(Hub())
    link = link_to(collector)
    await link.acquire("venue", "BTCUSDT", TRADES)
    collector.refusal = Unobtainable("the venue does not answer", Status.UNAVAILABLE)

    with pytest.raises(NetworkTimeout):
        await link.acquire("venue", "ETHUSDT", TRADES)

    assert (link.status().connected, link.status().trouble) == (True, "the venue does not answer")


async def test_a_symbol_that_does_not_exist_is_no_trouble_of_the_link() -> None:
    collector = Collector(Hub())
    link = link_to(collector)
    collector.refusal = Unobtainable("no venue has NOPE")

    with pytest.raises(DataValidation, match="no venue has NOPE"):
        await link.acquire("venue", "NOPE", TRADES)

    assert link.status().trouble == ""
