"""P3 for the whole server: it stands still, as in a machine that is paused. Nobody is shown an old book as a fresh one.

Twelve seconds by default, because a shorter pause may be one of a busy machine; at full length (`--chaos`) thirty.
"""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from raven.exchange.process import ExchangeProcess
from raven.journal import verify_journal
from raven.proto import subscription_pb2 as wire
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub
from raven.records import Flags
from raven.topics import DataType

pytestmark = [pytest.mark.fault("P3"), pytest.mark.timeout(180)]

SYMBOLS = ("BTCUSDT", "ETHUSDT")
# A state says when the venue made it; what was under way, and a machine that is busy.
OLD_NS = 5 * 10**9


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExchangeProcess]:
    """A venue that goes on while the server stands still."""
    with ExchangeProcess(("--markets", "usdm", "--symbols", ",".join(SYMBOLS), "--rate", "500")) as exchange:
        for name, url in exchange.urls["usdm"].items():
            monkeypatch.setenv(f"RAVEN__VENUES__BINANCE_FUTURES__{name.upper()}_URL", url)
        monkeypatch.setenv("RAVEN__FEEDS__SYMBOLS", ",".join(SYMBOLS))
        yield exchange


class Client:
    """What is shown of the books: `(symbol, received by the server, exchange time, flags)`.

    A plain one: Raven's own takes a server that is silent for so long for dead, and connects again.
    """

    def __init__(self, address: str) -> None:
        self.seen: list[tuple[str, int, int, int]] = []
        threading.Thread(target=self._watch, args=(address,), daemon=True).start()

    def _watch(self, address: str) -> None:
        wanted = wire.SubscribeRequest(symbols=SYMBOLS, data_types=[int(DataType.ORDERBOOK)])
        with grpc.insecure_channel(address) as channel, suppress(grpc.RpcError):
            for message in MarketDataServiceStub(channel).StreamMarketData(
                iter([wire.SubscriptionRequest(subscribe=wanted)])
            ):
                if message.WhichOneof("data") == "orderbook":
                    self.seen.append(
                        (message.orderbook.symbol, message.receive_time_ns, message.exchange_time_ns, message.flags)
                    )


def until(holds: Callable[[], Any], what: str, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_ready(http: str) -> bool:
    try:
        with urllib.request.urlopen(f"{http}/ready", timeout=10) as answer:
            return bool(json.load(answer)["status"] == "ready")
    except OSError:
        return False


def test_after_a_pause_no_old_book_is_shown_as_a_fresh_one_and_all_are_taken_anew(
    program: Callable[..., Any], exchange: ExchangeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    chaos: bool, figure: Callable[[str, object], None],
) -> None:  # fmt: skip
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(tmp_path / "journal"))
    with program() as server:
        client = Client(server.address)
        until(lambda: {row[0] for row in client.seen} == set(SYMBOLS) and is_ready(server.http), "books are shown")

        server.process.send_signal(signal.SIGSTOP)
        time.sleep(30 if chaos else 12)
        resumed_ns = time.time_ns()
        server.process.send_signal(signal.SIGCONT)

        def fresh() -> set[str]:
            """Symbols of which a state of after the pause is shown, with nothing to say against it."""
            return {
                symbol
                for symbol, _, exchange_ns, flags in client.seen
                if exchange_ns > resumed_ns and not flags & (Flags.STALE | Flags.RESYNCING)
            }

        until(lambda: fresh() == set(SYMBOLS), "every book is true again")
        recovered_s = (time.time_ns() - resumed_ns) / 1e9
        until(lambda: is_ready(server.http), "it is ready again")
        seen = list(client.seen)
        assert any('"ingest stood still"' in line for line in server.lines)
        assert server.end(signal.SIGTERM) == 0

    old = [
        (symbol, received_ns - exchange_ns)
        for symbol, received_ns, exchange_ns, flags in seen
        if received_ns > resumed_ns
        and received_ns - exchange_ns > OLD_NS
        and not flags & (Flags.STALE | Flags.RESYNCING)
    ]
    told = {symbol for symbol, received_ns, _, flags in seen if received_ns > resumed_ns and flags & Flags.STALE}
    figure("old states shown as fresh", len(old))
    figure("recovered after_s", round(recovered_s, 2))
    assert told == set(SYMBOLS), "clients are told that what they have is old"
    assert old == []
    assert verify_journal(tmp_path / "journal").is_sound
