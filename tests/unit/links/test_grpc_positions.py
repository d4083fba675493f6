"""A link notes how far it heard, in a file that one at a time writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from raven.links.grpc import GrpcLink
from raven.resilience.positions import Position, Positions
from raven.testing import ManualClock
from raven.topics import Topic


class SlowPositions(Positions):
    """Notes who writes; the first write waits until it is told to go on."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.began, self.go_on = threading.Event(), threading.Event()
        self.writers, self.at_a_time = 0, list[int]()

    def note(self, now_s: float, heard: Mapping[Topic, Position]) -> bool:
        return True

    def write(self) -> None:
        self.writers += 1
        self.at_a_time.append(self.writers)
        self.began.set()
        if len(self.at_a_time) == 1:
            self.go_on.wait(10)
        super().write()
        self.writers -= 1


async def test_a_stop_waits_for_the_file_that_is_being_written(clock: ManualClock, tmp_path: Path) -> None:
    positions = SlowPositions(tmp_path / "heard.json")
    link = GrpcLink("grpc://127.0.0.1:1", positions=positions, clock=clock)
    await link.start()
    await clock.advance(1)
    await asyncio.to_thread(positions.began.wait, 10)

    stopping = asyncio.create_task(link.stop())
    for _ in range(20):
        await asyncio.sleep(0)
    # Time for whoever does not wait: the file is written on a thread.
    await asyncio.to_thread(lambda: None)
    positions.go_on.set()
    await stopping

    assert positions.at_a_time == [1, 1]
