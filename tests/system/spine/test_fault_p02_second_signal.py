"""P2: a stop that a client or a database holds up is orderly and in time; a second signal ends it, nothing torn."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.servers.postgres import PostgresServer, postgres_server

from raven.journal import Batch, read_journal, verify_journal
from raven.journal.cursors import load_cursor
from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.records import Kind
from raven.topics import DataType

__all__ = ["postgres_server"]

pytestmark = pytest.mark.fault("P2")

STOPS_WITHIN_S = 10.0
# What a forced stop leaves for closing files and ending the process, and a busy machine.
FORCED_WITHIN_S = 3.0


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let programs keep a journal; return its folder."""
    folder = tmp_path / "journal"
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    monkeypatch.setenv("RAVEN__SINKS__DEAD_LETTERS", str(tmp_path / "letters.sqlite"))
    return folder


def wait_for(holds: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@contextmanager
def client_that_never_reads(server: Any) -> Iterator[grpc.Call]:
    """Subscribe, and leave what comes where it is; inside, the server has more for it than it takes."""
    small_window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    with grpc.insecure_channel(server.address, options=small_window) as channel:
        types = [int(one) for one in (DataType.ORDERBOOK, DataType.TRADES, DataType.QUOTES)]
        wanted = wire.SubscribeRequest(symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"], data_types=types)
        call = MarketDataServiceStub(channel).StreamMarketData(iter([wire.SubscriptionRequest(subscribe=wanted)]))
        wait_for(lambda: waiting(server) > 100, "records wait for the client")
        yield call
        call.cancel()


def waiting(server: Any) -> int:
    """Count the records that wait for clients."""
    with urllib.request.urlopen(f"{server.http}/status", timeout=5) as answer:
        clients = json.load(answer)["clients"]
    return sum(stream["lag"] for client in clients for stream in client["streams"])


def begin_to_stop(server: Any) -> None:
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: any('"stopping"' in line for line in server.lines), "it says that it stops")


def assert_whole(journal: Path) -> None:
    """Nothing is torn, and of every topic everything is there up to its last trade."""
    verdict = verify_journal(journal)
    assert verdict.is_sound, verdict
    sequences: dict[Any, list[int]] = {}
    for item in read_journal(journal, [Kind.TRADE]):
        assert isinstance(item, Batch), str(item)
        for row in item.records.select(["topic", "sequence"]).to_pylist():
            sequences.setdefault(item.topics[row["topic"]], []).append(row["sequence"])
    assert sequences
    for topic, found in sequences.items():
        assert found == list(range(1, len(found) + 1)), topic


def test_a_client_that_never_reads_holds_up_a_stop_for_as_long_as_is_promised(
    program: Callable[..., Any], journal: Path
) -> None:
    with program("--demo") as server, client_that_never_reads(server):
        began = time.monotonic()
        code = server.end(signal.SIGTERM)
        took = time.monotonic() - began
    assert code == 0
    assert 5.0 < took < STOPS_WITHIN_S, "the client had its time, server.drain_seconds"
    assert_whole(journal)


def test_a_second_signal_ends_the_draining_at_once(
    program: Callable[..., Any], journal: Path, figure: Callable[[str, object], None]
) -> None:
    with program("--demo") as server, client_that_never_reads(server):
        children = server.process.children(recursive=True)
        begin_to_stop(server)

        began = time.monotonic()
        code = server.end(signal.SIGTERM)
        took = time.monotonic() - began

        figure("forced stop_s", round(took, 2))
        assert code == 128 + signal.SIGTERM, server.lines[-5:]
        assert took < FORCED_WITHIN_S
        _, alive = psutil.wait_procs(children, timeout=2)
        assert alive == [], "the exchange of the demo goes, too"
    assert not [line for line in server.lines if "Traceback" in line]
    assert_whole(journal)

    with program("--demo") as again:
        assert not [line for line in again.lines if "torn tail" in line]
        assert again.end(signal.SIGTERM) == 0
    assert_whole(journal)


def test_a_second_signal_does_not_wait_for_a_database_that_hangs(
    program: Callable[..., Any], journal: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAVEN__TIMESCALE__URL", postgres_server.url)
    with program("--demo") as server:
        wait_for(lambda: load_cursor(journal, "timescale").rows, "records are in the database", 30)
        postgres_server.suspend()
        try:
            begin_to_stop(server)

            began = time.monotonic()
            code = server.end(signal.SIGTERM)

            assert code == 128 + signal.SIGTERM, server.lines[-5:]
            assert time.monotonic() - began < FORCED_WITHIN_S
        finally:
            postgres_server.resume()
    assert_whole(journal)
