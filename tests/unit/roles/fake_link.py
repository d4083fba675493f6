"""A link without an upstream: tests write its topics."""

from __future__ import annotations

import asyncio
from collections import Counter

from raven._core import Hub, Writer
from raven.errors import NetworkTimeout
from raven.ports import LinkStatus
from raven.topics import DataType, Topic


class Link:
    """Counts wishes like a real one; `away` makes it refuse."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.wishes: Counter[Topic] = Counter()
        self.writers: dict[Topic, Writer] = {}
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
            self.writers[topic] = self.hub.create_topic(venue, symbol, data_type, 1 << 16)
        return self.writers[topic].topic_id

    async def release(self, venue: str, symbol: str, data_type: DataType) -> None:
        self.wishes[Topic(venue, symbol, data_type)] -= 1

    def status(self) -> LinkStatus:
        return LinkStatus("grpc://h:1", not self.away)
