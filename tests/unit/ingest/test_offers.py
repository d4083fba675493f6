"""What a venue is known to have is answered without asking the ingest thread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from raven._core import Engine, Hub
from raven.clock import SystemClock
from raven.errors import ConfigurationError
from raven.ingest.collections import Collections
from raven.ingest.settings import IngestSettings
from raven.ports import Instrument
from raven.topics import DataType
from raven.venues.binance import usdm


@pytest.fixture
def collections() -> Collections:
    hub = Hub()
    feed = SimpleNamespace(venue=usdm(), listed={"BTCUSDT": Instrument("BTCUSDT", 1, 3)})
    feeds = cast("Any", {"binance_futures": feed})
    return Collections(Engine(hub), hub, feeds, IngestSettings(), 65_536, SystemClock())


@pytest.mark.parametrize(
    ("symbol", "data_type", "is_known"),
    [
        pytest.param("BTCUSDT", DataType.TRADES, True, id="listed"),
        pytest.param("btcusdt", DataType.TRADES, True, id="in small letters"),
        pytest.param("NEWUSDT", DataType.TRADES, False, id="not on the list, which may be old"),
        pytest.param("BTCUSDT", DataType.WALLET_UPDATES, False, id="no such data"),
    ],
)
def test_only_what_is_on_the_list_is_known(
    collections: Collections, symbol: str, data_type: DataType, is_known: bool
) -> None:
    assert collections.offers_at_once("binance_futures", symbol, data_type) is is_known


def test_a_venue_that_is_not_configured_is_an_error(collections: Collections) -> None:
    with pytest.raises(ConfigurationError, match="binance_spot"):
        collections.offers_at_once("binance_spot", "BTCUSDT", DataType.TRADES)
