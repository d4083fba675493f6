"""Clients that nobody here wrote connect to the built-in exchange, subscribe, and keep a book that agrees with it.

Each runs in a process of its own (tests/integration/exchange_peers). Install them with the dependency group `peers`;
a test whose package is absent is skipped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from raven.exchange import Exchange, ExchangeConfig

FOLDER = Path(__file__).parent / "exchange_peers"
PEERS = {
    "python_binance": ("binance", ("spot", "usdm")),
    "ccxt": ("ccxt", ("spot", "usdm", "coinm")),
    "binance_sdk_spot": ("binance_sdk_spot", ("spot",)),
    "unicorn": ("unicorn_binance_local_depth_cache", ("spot", "usdm")),
    "cryptofeed": ("cryptofeed", ("spot", "usdm")),
}
CASES = [(peer, market) for peer, (_, markets) in PEERS.items() for market in markets]
SYMBOL = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}


class Peer:
    """A running client; asked for its best levels with a line of input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def top(self) -> list[list[list[float]]] | None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"top\n")
        await stdin.drain()
        while line := await stdout.readline():
            # Some libraries greet on standard output; an answer is a list or null.
            if line.startswith((b"[", b"null")):
                answer: list[list[list[float]]] | None = json.loads(line)
                return answer
        raise AssertionError("the peer ended; its standard error tells why")

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


async def start(peer: str, market: str, exchange: Exchange, folder: Path, environment: dict[str, str]) -> Peer:
    server = exchange.market(market)
    where = ["--market", market, "--ws", server.ws_url, "--rest", server.rest_url, "--symbol", SYMBOL[market]]
    where += ["--spot-rest", exchange.market("spot").rest_url]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(FOLDER / f"peer_{peer}.py"),
        *where,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=folder,
    )
    return Peer(process)


def best(exchange: Exchange, market: str, levels: int) -> list[list[list[float]]]:
    book = exchange.book(SYMBOL[market], market)
    return [[[float(price), float(quantity)] for price, quantity in side[:levels]] for side in (book.bids, book.asks)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - polled: it asks another process
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "market"), CASES, ids=["-".join(case) for case in CASES])
async def test_a_public_client_keeps_a_book_that_agrees(peer, market, tmp_path):
    package, _ = PEERS[peer]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"package {package} is not installed; install the dependency group `peers`")
    tls, environment = None, dict[str, str]()
    if peer == "cryptofeed":
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        environment = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(tmp_path / "ca.pem"))
    # Spot is there in any case: one library greets the spot address whatever it is used for.
    markets = tuple(dict.fromkeys((market, "spot")))
    config = ExchangeConfig(markets=markets, symbols=("BTCUSDT",), rate=300.0, tls=tls)
    async with Exchange(config) as exchange:

        async def has_book() -> bool:
            return await client.top() is not None

        async def moved_on() -> bool:
            return exchange.book(SYMBOL[market], market).update_id > first + 500

        async def agrees() -> bool:
            theirs = await client.top()
            depth = len(theirs[0]) if theirs else 0
            return depth >= 5 and theirs == best(exchange, market, depth)

        client = await start(peer, market, exchange, tmp_path, environment)
        try:
            async with asyncio.timeout(60):
                await until(has_book)
                first = exchange.book(SYMBOL[market], market).update_id
                # The comparison must be about diffs, not about the first snapshot.
                await until(moved_on)
                exchange.pause()
                await until(agrees)
        finally:
            await client.stop()

        assert exchange.market(market).ws.stats["connections"] >= 1
