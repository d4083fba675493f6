"""Binance as documented: addresses, stream names, messages, weights, limits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from raven.errors import DataValidation
from raven.instruments import Instrument
from raven.topics import DataType
from raven.venues.binance import MARKET, PUBLIC, Binance, coinm, spot, usdm


@pytest.mark.parametrize(
    ("venue", "category", "url"),
    [
        (spot(), PUBLIC, "wss://stream.binance.com:9443/stream"),
        (usdm(), PUBLIC, "wss://fstream.binance.com/public/stream"),
        (usdm(), MARKET, "wss://fstream.binance.com/market/stream"),
        (coinm(), PUBLIC, "wss://dstream.binance.com/stream"),
        (usdm(ws_url="ws://127.0.0.1:1/stream"), PUBLIC, "ws://127.0.0.1:1/public/stream"),
        (usdm(ws_url="ws://127.0.0.1:1/ws/"), MARKET, "ws://127.0.0.1:1/market/stream"),
        (usdm(ws_url="ws://127.0.0.1:1/market/ws"), PUBLIC, "ws://127.0.0.1:1/public/stream"),
        (spot(ws_url="wss://data-stream.binance.vision/"), PUBLIC, "wss://data-stream.binance.vision/stream"),
    ],
)
def test_a_connection_goes_to_the_route_of_its_category(venue: Binance, category: str, url: str) -> None:
    assert venue.connection_url(category) == url


@pytest.mark.parametrize(
    ("data_type", "on_spot", "on_usdm"),
    [
        (DataType.ORDERBOOK, (PUBLIC, "btcusdt@depth@100ms"), (PUBLIC, "btcusdt@depth@100ms")),
        (DataType.TRADES, (PUBLIC, "btcusdt@trade"), (MARKET, "btcusdt@aggTrade")),
        (DataType.QUOTES, (PUBLIC, "btcusdt@bookTicker"), (PUBLIC, "btcusdt@bookTicker")),
        (DataType.CANDLES_1M, (PUBLIC, "btcusdt@kline_1m"), (MARKET, "btcusdt@kline_1m")),
        (DataType.CANDLES_5M, (PUBLIC, "btcusdt@kline_5m"), (MARKET, "btcusdt@kline_5m")),
        (DataType.CANDLES_1H, (PUBLIC, "btcusdt@kline_1h"), (MARKET, "btcusdt@kline_1h")),
        (DataType.FUNDING_RATES, None, (MARKET, "btcusdt@markPrice@1s")),
        (DataType.LIQUIDATIONS, None, (MARKET, "btcusdt@forceOrder")),
        (DataType.WALLET_UPDATES, None, None),
    ],
)
def test_every_data_type_has_its_stream(
    data_type: DataType, on_spot: tuple[str, str] | None, on_usdm: tuple[str, str] | None
) -> None:
    assert [tuple(stream) for stream in spot().streams("BTCUSDT", data_type)] == ([on_spot] if on_spot else [])
    assert [tuple(stream) for stream in usdm().streams("BTCUSDT", data_type)] == ([on_usdm] if on_usdm else [])
    assert {stream.category for stream in coinm().streams("BTCUSD_PERP", data_type)} <= {PUBLIC}


def test_requests_are_what_the_exchange_documents() -> None:
    names = ["btcusdt@trade", "ethusdt@depth@100ms"]

    assert json.loads(spot().subscribe(7, names)) == {"method": "SUBSCRIBE", "params": names, "id": 7}
    assert json.loads(spot().unsubscribe(8, names)) == {"method": "UNSUBSCRIBE", "params": names, "id": 8}


@pytest.mark.parametrize(
    ("raw", "number", "error"),
    [
        (b'{"result":null,"id":5}', 5, ""),
        (b'{"id":5,"result":["a"]}', 5, ""),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":5}', 5, "2: Invalid request"),
        (b'{"error":{"code":3,"msg":"Invalid JSON"}}', None, "3: Invalid JSON"),
        (b'{"code":0,"msg":"Unknown property","id":5}', 5, "0: Unknown property"),
        (b'{"error":"overloaded","id":5}', 5, "overloaded"),
        (b'{"error":"","id":5}', 5, "refused without a word"),
        (b"not JSON", None, "an answer that cannot be read: b'not JSON'"),
    ],
)
def test_answers_are_read_in_every_form(raw: bytes, number: int | None, error: str) -> None:
    reply = usdm().reply(raw)

    assert (reply.request_id, reply.error) == (number, error)


def test_answers_are_told_from_data() -> None:
    assert usdm().is_reply(memoryview(b'{"result":null,"id":5}'))
    assert not usdm().is_reply(memoryview(b'{"stream":"btcusdt@trade","data":{}}'))


@pytest.mark.parametrize(
    ("venue", "wanted", "limit", "weight"),
    [
        (spot(), 20, 20, 5),
        (spot(), 101, 500, 25),
        (spot(), 1000, 1000, 50),
        (spot(), 9999, 5000, 250),
        (usdm(), 20, 20, 2),
        (usdm(), 51, 100, 5),
        (usdm(), 500, 500, 10),
        (usdm(), 5000, 1000, 20),
        (coinm(), 1000, 1000, 20),
    ],
)
def test_a_book_costs_what_its_depth_costs(venue: Binance, wanted: int, limit: int, weight: int) -> None:
    request = venue.depth_request("BTCUSDT", wanted)

    assert venue.depth_limit(wanted) == limit
    assert request.weight == weight
    assert request.path.endswith(f"/depth?symbol=BTCUSDT&limit={limit}")


def test_a_symbol_of_another_script_is_written_as_an_address_demands() -> None:
    assert spot().depth_request("币安人生USDT", 100).path == (
        "/api/v3/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=100"
    )


def test_the_list_of_symbols_gives_decimals_and_the_weight_per_minute() -> None:
    info = {
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "status": "TRADING",
                "baseAsset": "BTC",
                "quoteAsset": "USDT",
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "556.80"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.001"},
                    {"filterType": "MIN_NOTIONAL", "notional": "100"},
                ],
            },
            {
                "symbol": "1000PEPEUSDT",
                "status": "SETTLING",
                "baseAsset": "1000PEPE",
                "quoteAsset": "USDT",
                "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.0000001"}],
            },
            {"symbol": "ODDUSDT", "filters": []},
        ],
    }

    known, weight = usdm().instruments(json.dumps(info).encode())

    assert known == {
        "BTCUSDT": Instrument(
            "BTCUSDT", 1, 3, base="BTC", quote="USDT",
            tick_size=Decimal("0.1"), step_size=Decimal("0.001"), min_notional=Decimal(100),
        ),
        "1000PEPEUSDT": Instrument(
            "1000PEPEUSDT", 7, 0, base="PEPE", quote="USDT", factor=1000, is_trading=False,
            tick_size=Decimal("0.0000001"),
        ),
        "ODDUSDT": Instrument("ODDUSDT", 0, 0),
    }  # fmt: skip
    assert weight == 2400


@pytest.mark.parametrize(
    ("venue", "folder", "symbol", "name", "steps"),
    [
        (spot(), "binance_spot", "BTCUSDT", "BTC/USDT", ("0.01", "0.00001", "10")),
        (spot(), "binance_spot", "RUNEEUR", "RUNE/EUR", None),
        (usdm(), "binance_usdm", "BTCUSDT", "BTC/USDT", ("0.01", "0.001", "5")),
        (coinm(), "binance_cm", "BTCUSD_PERP", "BTC/USD", ("0.1", "1", None)),
        (coinm(), "binance_cm", "BTCUSD_211231", "BTC/USD-211231", None),
    ],
)
def test_names_and_steps_are_read_from_the_exchanges_own_answer(
    venue: Binance, folder: str, symbol: str, name: str, steps: tuple[str, ...] | None, recordings: Path
) -> None:
    known, _ = venue.instruments((recordings / "frames" / folder / "exchangeInfo.json").read_bytes())

    found = known[symbol]

    assert (found.name, found.factor, found.is_trading) == (name, 1, True)
    if steps is not None:
        read = [found.tick_size, found.step_size, found.min_notional]
        assert [None if figure is None else str(figure) for figure in read] == list(steps)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"symbols":[{}]}',
        b'{"symbols":7}',
        b'{"symbols":[{"symbol":"A","filters":[{"tickSize":"x"}]}]}',
    ],
)
def test_what_is_no_list_of_symbols_is_refused(body: bytes) -> None:
    with pytest.raises(DataValidation, match="exchangeInfo is not of the documented form"):
        usdm().instruments(body)


def test_both_futures_markets_spend_one_budget() -> None:
    assert usdm().limits.weight_pool == coinm().limits.weight_pool != spot().limits.weight_pool
    assert (spot().limits.messages_per_second, usdm().limits.messages_per_second) == (5, 10)
    assert (spot().limits.request_weight_per_minute, usdm().limits.request_weight_per_minute) == (6000, 2400)
