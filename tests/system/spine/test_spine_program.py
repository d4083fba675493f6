"""The whole program as its users start it: up, ready, serving a plain client, and gone when it is told to go."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import grpc
import psutil
import pytest

from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.topics import DataType

STOPS_WITHIN_S = 10.0


def answer(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def until_ready(http: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while answer(f"{http}/ready") != 200:
        assert time.monotonic() < deadline, f"{http}/ready is not 200 within {seconds:g} s"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_the_demo_serves_a_plain_client_and_leaves_nothing_behind(program: Callable[..., Any], number: int) -> None:
    with program("--demo") as raven:
        until_ready(raven.http)
        assert answer(f"{raven.http}/health") == 200
        children = raven.process.children(recursive=True)
        assert children, "the exchange of the demo is a process of its own"

        with grpc.insecure_channel(raven.address) as channel:
            wanted = wire.SubscribeRequest(
                symbols=["BTCUSDT"], data_types=[int(DataType.ORDERBOOK), int(DataType.TRADES)]
            )
            call = MarketDataServiceStub(channel).StreamMarketData(
                iter([wire.SubscriptionRequest(subscribe=wanted)]), timeout=20
            )
            books, trades = [], []
            for message in call:
                kind = message.WhichOneof("data")
                books += [message.orderbook] if kind == "orderbook" else []
                trades += [message.trade] if kind == "trade" else []
                if len(books) >= 10 and len(trades) >= 5:
                    break
            call.cancel()
        assert all(book.bids[0].price < book.asks[0].price for book in books)
        ids = [int(trade.trade_id) for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))

        began = time.monotonic()
        code = raven.end(number)

        assert code == 0, raven.lines[-5:]
        assert time.monotonic() - began < STOPS_WITHIN_S
        _, alive = psutil.wait_procs(children, timeout=2)
        assert alive == []
    assert not [line for line in raven.lines if "Traceback" in line or "was never retrieved" in line]


def test_it_stops_in_time_while_a_client_streams(program: Callable[..., Any]) -> None:
    with program("--demo") as raven:
        until_ready(raven.http)
        with grpc.insecure_channel(raven.address) as channel:
            wanted = wire.SubscribeRequest(symbols=["ETHUSDT"], data_types=[int(DataType.ORDERBOOK)])
            call = MarketDataServiceStub(channel).StreamMarketData(iter([wire.SubscriptionRequest(subscribe=wanted)]))
            next(call)

            began = time.monotonic()
            code = raven.end(signal.SIGTERM)

            with pytest.raises(grpc.RpcError) as ended:
                for _ in call:
                    pass
        assert code == 0
        assert time.monotonic() - began < STOPS_WITHIN_S
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
