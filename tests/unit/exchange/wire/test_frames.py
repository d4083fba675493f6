"""Frames of the generated market beside recorded ones: the same keys in the same order, numbers written alike."""

import json
import re

import pytest

FOLDERS = {"spot": "binance_spot", "usdm": "binance_usdm", "coinm": "binance_cm"}
SYMBOLS = {"spot": "btcusdt", "usdm": "btcusdt", "coinm": "btcusd_perp"}
STREAMS = {
    "trade": "@trade",
    "aggTrade": "@aggTrade",
    "depthUpdate": "@depth@100ms",
    "bookTicker": "@bookTicker",
    "kline": "@kline_1m",
    "partialDepth": "@depth20",
    "markPriceUpdate": "@markPrice",
}
# Files of recorded frames that do not exist: spot has no mark price, and nobody recorded partial depth of COIN-M.
MISSING = {("spot", "markPriceUpdate"), ("coinm", "partialDepth")}
CASES = [(market, name, STREAMS[name]) for market in FOLDERS for name in STREAMS if (market, name) not in MISSING]


def shape(value):
    """Keys in order with the type of each value; texts of numbers as their number of decimals."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def decimals(text):
    return len(text.partition(".")[2])


@pytest.mark.parametrize(("market", "name", "stream"), CASES)
def test_keys_and_types_are_those_of_recorded_frames(venue, recordings, market, name, stream):
    one = venue(market, layout="2024", rate=500.0)
    ear = one.listen(SYMBOLS[market] + stream)
    one.advance(7)
    text = (recordings / "frames" / FOLDERS[market] / f"{name}.ndjson").read_text().splitlines()[0]
    recorded = json.loads(text)["data"]

    ours = next(m for m in ear.messages() if not isinstance(m, dict) or (m.get("b", 1) and m.get("a", 1)))

    assert list(shape(ours).items()) == list(shape(recorded).items())
    if "k" in recorded:
        assert list(ours["k"]) == list(recorded["k"])


@pytest.mark.parametrize("market", FOLDERS)
def test_prices_and_quantities_have_the_decimals_of_recorded_ones(venue, recordings, market):
    one = venue(market, layout="2024")
    ear = one.listen(f"{SYMBOLS[market]}@trade")
    one.advance(7)
    recorded = json.loads((recordings / "frames" / FOLDERS[market] / "trade.ndjson").read_text().splitlines()[0])[
        "data"
    ]

    ours = ear.messages()[0]

    assert (decimals(ours["p"]), decimals(ours["q"])) == (decimals(recorded["p"]), decimals(recorded["q"]))


@pytest.mark.parametrize("market", FOLDERS)
def test_frames_have_no_white_space_and_depth_has_the_order_of_recorded_prices(venue, market):
    one = venue(market)
    ear = one.listen(f"{SYMBOLS[market]}@depth@100ms")
    one.advance(5)

    assert not re.search(rb"\s", b"".join(ear.payloads()))
    message = max(ear.messages(), key=lambda event: len(event["b"]) + len(event["a"]))
    bids, asks = ([float(price) for price, _ in message[side]] for side in "ba")
    assert bids == sorted(bids, reverse=market == "spot")
    assert asks == sorted(asks)


def test_the_current_layout_adds_the_keys_of_the_merged_markets(venue):
    usdm, coinm = venue("usdm"), venue("coinm")
    depth, ticker = usdm.listen("btcusdt@depth@100ms"), usdm.listen("btcusdt@bookTicker")
    aggregate, mark = usdm.listen("btcusdt@aggTrade"), usdm.listen("btcusdt@markPrice")
    other = coinm.listen("btcusd_perp@depth@100ms")
    usdm.advance(5)
    coinm.advance(5)

    assert list(depth.messages()[0])[-2:] == ["ps", "st"]
    assert list(ticker.messages()[0])[-2:] == ["ps", "st"]
    assert {"nq", "st"} <= aggregate.messages()[0].keys()
    assert {"ap", "st"} <= mark.messages()[0].keys()
    assert (other.messages()[0]["ps"], other.messages()[0]["st"]) == ("BTCUSD", 2)
