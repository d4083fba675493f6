"""Doubles for ingest: an engine that remembers what it was told, and a venue's REST side that answers from a list."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from raven._core import IGNORED, PUBLISHED


class FakeEngine:
    """See `raven.ingest.engine_port.BookEngine`."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.seen: dict[int, list[int]] = defaultdict(lambda: [0] * 6)
        self.answer = PUBLISHED
        self.on_event = lambda instrument: None

    def on_snapshot(self, instrument: int, recv_ns: int, body: bytes, *, limit: int) -> int:
        self.snapshots.append((instrument, bytes(body)))
        if self.answer & PUBLISHED:
            self.on_event(instrument)
        return self.answer

    def too_old(self) -> None:
        self.answer = IGNORED

    def handle_events(self) -> None:
        pass

    def desync(self, instrument: int, reason: str, *, book: bool = True) -> None:
        self.told.append(("desync", instrument, reason, book))

    def mark_stale(self, instrument: int, stale: bool) -> None:
        self.told.append(("stale", instrument, stale))

    def last_seen(self, instrument: int) -> tuple[int, ...]:
        return tuple(self.seen[instrument])


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
