"""What the configuration names is collected by each venue's own symbols, as its list says."""

from __future__ import annotations

from typing import Any

import pytest

from raven.errors import DataValidation
from raven.exchange import Fault
from raven.ingest.collections import CONFIGURED_TYPES

SYMBOLS = ("BTCUSDT", "ETHUSDT", "ETHBTC", "PEPEUSDT")


@pytest.mark.parametrize(("market", "pepe", "factor"), [("spot", "PEPEUSDT", 1), ("usdm", "1000PEPEUSDT", 1000)])
async def test_a_name_is_collected_by_the_symbol_of_the_venue(
    collecting: Any, market: str, pepe: str, factor: int
) -> None:
    async with collecting(market, symbols=SYMBOLS, plan={"symbols": ("PEPE/USDT", "btc-usdt")}) as bench:
        assert set(bench.states()) == {pepe, "BTCUSDT"}
        assert bench.ingest.symbols(bench.venue) == (pepe, "BTCUSDT")
        found = await bench.ingest.resolve(bench.venue, "pepe/usdt")
        assert (found.symbol, found.factor) == (pepe, factor)
        assert found.tick_size is not None
        assert found.min_notional is not None


async def test_a_pattern_is_everything_that_is_listed_and_not_excluded(collecting: Any) -> None:
    plan = {"symbols": ("*/USDT",), "exclude": ("ETH*",)}
    async with collecting(symbols=SYMBOLS, plan=plan, wait=False) as bench:
        await bench.until(lambda: bench.all_synced(2), "in sync")

        assert set(bench.states()) == {"1000PEPEUSDT", "BTCUSDT"}
        for asked in ("ETHUSDT", "ETH/BTC"):
            with pytest.raises(DataValidation, match=r"is excluded by the pattern 'ETH\*'"):
                await bench.ingest.resolve(bench.venue, asked)
        with pytest.raises(DataValidation, match="excluded"):
            await bench.ingest.acquire("me", bench.venue, "ETHUSDT", CONFIGURED_TYPES[0])


async def test_one_name_that_is_unknown_keeps_no_other_from_being_collected(collecting: Any) -> None:
    plan = {"symbols": ("NO/SUCH", "BTC/USDT"), "overrides": {"MY/COIN": "ETHUSDT"}}
    async with collecting(symbols=SYMBOLS, plan=plan, wait=False) as bench:
        await bench.until(lambda: bench.all_synced(1), "in sync")

        assert set(bench.states()) == {"BTCUSDT"}
        assert (await bench.ingest.resolve(bench.venue, "my/coin")).symbol == "ETHUSDT"
        with pytest.raises(DataValidation, match="has no symbol 'ETHUSDX'; did you mean ETHUSDT"):
            await bench.ingest.resolve(bench.venue, "ETHUSDX")


async def test_names_are_looked_up_again_when_the_list_comes_late(collecting: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("raven.ingest.collections._LIST_WAIT_S", 0.2)
    plan = {"symbols": ("PEPE/USDT", "ETH*")}
    down = Fault("http_500", endpoint="exchangeInfo", count=2)
    async with collecting(symbols=SYMBOLS, plan=plan, wait=False, faults=(down,)) as bench:
        await bench.until(lambda: set(bench.states()) == {"1000PEPEUSDT", "ETHUSDT", "ETHBTC"}, "collected")
