"""One fan-out over a fake collector and fake streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio

from raven.fanout import Fanout, Limits
from tests.unit.fanout.fakes import FakeCollector, FakeStreams, HandClock


@dataclass
class Scene:
    """What a test looks at."""

    fanout: Fanout
    collector: FakeCollector
    streams: FakeStreams
    clock: HandClock


def make_scene(limits: Limits | None = None, start_timeout_s: float = 10.0) -> Scene:
    """Put a scene together."""
    collector, streams, clock = FakeCollector(), FakeStreams(), HandClock()
    fanout = Fanout(collector, streams, limits=limits, monotonic=clock, start_timeout_s=start_timeout_s)
    return Scene(fanout, collector, streams, clock)


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    made = make_scene()
    yield made
    await made.fanout.close()
