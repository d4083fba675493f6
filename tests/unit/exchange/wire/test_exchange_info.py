"""`exchangeInfo` has what the venue's own answer has, field by field."""

import json

import pytest

from raven.exchange.instruments import make_instrument
from raven.exchange.markets import RULES, Market
from raven.exchange.wire.exchange_info import exchange_info

# Spot has replaced these since the sample was taken.
REPLACED = {"PERCENT_PRICE": "PERCENT_PRICE_BY_SIDE", "MIN_NOTIONAL": "NOTIONAL"}


@pytest.mark.parametrize(
    ("market", "folder"), [(Market.SPOT, "binance_spot"), (Market.USDM, "binance_usdm"), (Market.COINM, "binance_cm")]
)
def test_every_field_of_the_venues_answer_is_there(market, folder, recordings):
    theirs = json.loads((recordings / "frames" / folder / "exchangeInfo.json").read_bytes())
    ours = exchange_info(market, RULES[market], [make_instrument(market, "BTCUSDT")], 1_700_000_000_000)
    ours_filters = {one["filterType"]: set(one) for one in ours["symbols"][0]["filters"]}
    names = REPLACED if market is Market.SPOT else {}

    assert set(theirs) <= set(ours)
    assert set(theirs["symbols"][0]) <= set(ours["symbols"][0])
    for one in theirs["symbols"][0]["filters"]:
        name = one["filterType"]
        assert names.get(name, name) in ours_filters
        assert name in names or ours_filters[name] == set(one)
    assert {one["rateLimitType"] for one in theirs["rateLimits"]} <= {
        one["rateLimitType"] for one in ours["rateLimits"]
    }


@pytest.mark.parametrize(
    ("market", "symbol", "base"), [(Market.SPOT, "PEPEUSDT", "PEPE"), (Market.USDM, "1000PEPEUSDT", "1000PEPE")]
)
def test_a_contract_on_a_thousand_coins_says_so_as_the_venue_does(market, symbol, base):
    info = exchange_info(market, RULES[market], [make_instrument(market, "PEPEUSDT")], 1_700_000_000_000)

    assert [(one["symbol"], one["baseAsset"], one["quoteAsset"]) for one in info["symbols"]] == [(symbol, base, "USDT")]
