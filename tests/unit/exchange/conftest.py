"""A generated market on a hand-moved timeline, and listeners that keep what streams say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from raven.exchange import ExchangeConfig, Market, Timeline
from raven.exchange.faults.board import FaultBoard
from raven.exchange.generated.market import GeneratedMarket
from raven.exchange.markets import RULES
from raven.exchange.timeline import SECOND
from raven.exchange.wire.streams import Hub


class Ear:
    """A listener that keeps frames."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.muted = False

    def payloads(self) -> list[bytes]:
        """Return the payloads of the frames, headers cut off."""
        return [frame[{126: 4, 127: 10}.get(frame[1], 2) :] for frame in self.out]

    def messages(self) -> list[Any]:
        return [json.loads(payload) for payload in self.payloads()]


class Venue:
    """One generated market without sockets."""

    def __init__(self, market: str, **options: Any) -> None:
        self.market = Market(market)
        self.timeline = Timeline()
        self.config = ExchangeConfig(markets=(market,), **{"rate": 300.0, "levels": 60, **options})
        rules = self.config.rules_for(self.market)
        self.source = GeneratedMarket(self.market, rules, self.timeline, self.config)
        self.faults = FaultBoard(self.timeline, 1)
        self.hub = Hub(self.source, self.market, self.faults)

    def listen(self, *names: str, form: int = 0) -> Ear:
        ear = Ear()
        for name in names:
            assert self.hub.attach(name, form, ear, lambda name: True), name
        return ear

    def advance(self, seconds: float) -> None:
        self.timeline.run_until(self.timeline.now_ns + round(seconds * SECOND))


@pytest.fixture
def venue() -> Callable[..., Venue]:
    return Venue


@pytest.fixture
def rules() -> dict[Market, Any]:
    return RULES
