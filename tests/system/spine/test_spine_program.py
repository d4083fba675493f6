"""The whole program as its users start it: up, ready, serving a plain client, and gone when it is told to go."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.topics import DataType

STOPS_WITHIN_S = 10.0
# A diff that the snapshot has seen already, the one that bridges, and one more.
RECORDING = """\
1700000000000000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000000,"T":1700000000000,\
"s":"BTCUSDT","U":1,"u":9,"pu":0,"b":[["100.0","1.0"]],"a":[["101.0","1.0"]]}}
1700000000100000000 {"lastUpdateId":10,"bids":[["100.0","1.0"]],"asks":[["101.0","1.0"]]}
1700000000200000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000200,"T":1700000000200,\
"s":"BTCUSDT","U":10,"u":19,"pu":9,"b":[["100.5","2.0"]],"a":[]}}
1700000000300000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000300,"T":1700000000300,\
"s":"BTCUSDT","U":20,"u":29,"pu":19,"b":[],"a":[["101.0","0.0"],["101.5","3.0"]]}}
"""


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


@pytest.mark.fault("P2")
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


@pytest.mark.fault("P2")
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


def test_the_demo_starts_a_symbol_for_whoever_asks(program: Callable[..., Any]) -> None:
    with program("--demo") as raven:
        until_ready(raven.http)
        assert not [line for line in raven.lines if "DOGEUSDT" in line]
        with grpc.insecure_channel(raven.address) as channel:
            wanted = wire.SubscribeRequest(symbols=["DOGEUSDT"], data_types=[int(DataType.TRADES)])
            call = MarketDataServiceStub(channel).StreamMarketData(
                iter([wire.SubscriptionRequest(subscribe=wanted)]), timeout=20
            )
            trade = next(message for message in call if message.WhichOneof("data") == "trade")
            call.cancel()
        assert trade.trade.symbol == "DOGEUSDT"


def test_a_recording_that_has_ended_is_said_with_its_balance(program: Callable[..., Any], tmp_path: Path) -> None:
    recording = tmp_path / "recording.txt"
    recording.write_text(RECORDING)

    with program("--replay", str(recording), "--speed", "0") as raven:
        deadline = time.monotonic() + 20
        while not (ends := [line for line in raven.lines if "the recording has ended" in line]):
            assert time.monotonic() < deadline, raven.lines[-5:]
            time.sleep(0.05)
        counted = json.loads(ends[0])
        assert raven.end(signal.SIGTERM) == 0
    assert (counted["received"], counted["published"], counted["ignored"]) == (3, 2, 1)
    assert counted["rejected"] == counted["gap"] == counted["pending"] == 0


def test_a_recording_whose_exchange_dies_is_said_to_be_broken_off(program: Callable[..., Any], tmp_path: Path) -> None:
    recording = tmp_path / "recording.txt"
    recording.write_text(RECORDING)

    with program("--replay", str(recording), "--speed", "0.0001") as raven:
        (exchange,) = raven.process.children(recursive=True)

        exchange.kill()

        deadline = time.monotonic() + 20
        while not (told := [line for line in raven.lines if "waiting for the end of the recording" in line]):
            assert time.monotonic() < deadline, raven.lines[-5:]
            time.sleep(0.05)
        assert "by signal 9" in json.loads(told[0])["reason"]
        assert raven.process.is_running(), "what was collected so far is still served"
        assert raven.end(signal.SIGTERM) == 0
    assert not [line for line in raven.lines if "Traceback" in line or "was never retrieved" in line]
