"""What is started by hand may be named as people do."""

from __future__ import annotations

import pytest
from tests.unit.roles.test_control import FUTURES, SPOT, Holders

from raven.errors import NetworkTimeout
from raven.fanout import Status, Unobtainable, dialect
from raven.instruments import Instrument, Listing
from raven.roles.control import CollectorControl
from raven.topics import StreamKind

PEPE = Instrument("1000PEPEUSDT", 7, 0, base="PEPE", quote="USDT", factor=1000)
TRADE = StreamKind.TRADE


class Named(Holders):
    """One contract on a thousand coins."""

    def __init__(self) -> None:
        super().__init__(FUTURES, SPOT)
        self.listing = Listing(FUTURES, {PEPE.symbol: PEPE})
        self.trouble: Exception | None = None

    def known_as(self, venue: str, text: str) -> str:
        return self.listing.known_as(text)

    async def resolve(self, venue: str, text: str) -> Instrument:
        if self.trouble is not None:
            raise self.trouble
        return self.listing.resolve(text)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Named:
    monkeypatch.setattr("tests.unit.roles.test_control.LISTED", (PEPE.symbol,))
    return Named()


async def test_a_name_is_started_by_the_venues_symbol_and_the_unit_is_told(collector: Named) -> None:
    said = await CollectorControl(collector, dialect.SOURCE).start("pepe/usdt", "", TRADE)

    assert collector.by_hand() == ["binance_futures.1000PEPEUSDT.TRADES"]
    assert said == (
        "collecting TRADES of 1000PEPEUSDT from binance_futures; "
        "PEPE/USDT is 1000PEPEUSDT on binance_futures: prices are of 1000 PEPE"
    )


async def test_what_was_started_is_stopped_by_any_of_its_names(collector: Named) -> None:
    control = CollectorControl(collector, dialect.SOURCE)
    await control.start("1000PEPEUSDT", "", TRADE)

    assert await control.stop("PEPE-USDT", "", StreamKind.UNSPECIFIED) == (
        "stopped TRADES of 1000PEPEUSDT from binance_futures; nobody else wants it, so it ends"
    )
    assert collector.by_hand() == []


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (None, Status.NOT_FOUND, "has no symbol 'PEPE/USDX'; did you mean 1000PEPEUSDT"),
        (NetworkTimeout("no list yet"), Status.UNAVAILABLE, "no list yet"),
    ],
)
async def test_a_name_that_cannot_be_found_is_explained(
    collector: Named, trouble: Exception | None, status: Status, words: str
) -> None:
    collector.trouble = trouble

    with pytest.raises(Unobtainable, match=words) as refusal:
        await CollectorControl(collector, dialect.SOURCE).start("PEPE/USDX", "", TRADE)

    assert refusal.value.status is status
    assert collector.by_hand() == []
