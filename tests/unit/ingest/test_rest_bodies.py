"""Long answers come in many pieces; the client returns them whole."""

from __future__ import annotations

import pytest
from aiohttp import web

from raven.clock import SystemClock
from raven.errors import DataValidation
from raven.ingest import rest
from raven.ingest.budgets import Budgets
from raven.ingest.rest import RestClient
from raven.ports import Request
from raven.resilience.bans import Bans
from raven.venues.binance import usdm

PIECES = [bytes([letter]) * 300_000 for letter in b"raven"]


@pytest.fixture
async def client():
    """A client of a server that answers in pieces."""

    async def answer_in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_get("/long", answer_in_pieces)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    clock = SystemClock()
    venue = usdm(rest_url=address)
    budgets = Budgets(1.0, clock, Bans(clock, None))
    client = RestClient(venue, budgets.of(venue, 1000), timeout_s=5)
    yield client
    await client.close()
    await runner.cleanup()


async def test_a_long_answer_is_returned_whole(client: RestClient) -> None:
    body = await client.get(Request("/long", 1))

    assert body == b"".join(PIECES)


async def test_an_answer_beyond_the_limit_is_refused(client: RestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_MAX_BODY_BYTES", 1_000_000)

    with pytest.raises(DataValidation, match="longer than 1000000 bytes"):
        await client.get(Request("/long", 1))
