"""The control endpoint `/_raven/…` on every REST port. NOT part of the venue's protocol: no real exchange has it.

It lets another process inject faults, hold the market still, and compare its book with the true one.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from raven.exchange.faults.fault import Fault

if TYPE_CHECKING:
    from raven.exchange.server import Exchange


def control_application(exchange: "Exchange", market: str) -> web.Application:
    """Build the control endpoints of one market's REST port."""

    async def post_faults(request: web.Request) -> web.Response:
        try:
            body = await request.json()
            faults = [Fault.from_json(one) for one in (body if isinstance(body, list) else [body])]
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"faults": [exchange.inject(fault) for fault in faults]})

    async def get_faults(request: web.Request) -> web.Response:
        active = [{"number": number, **_public(fault)} for number, fault in exchange.faults.active()]
        return _json({"active": active, "struck": dict(exchange.faults.struck)})

    async def delete_faults(request: web.Request) -> web.Response:
        number = request.match_info.get("number")
        if number is None:
            exchange.faults.clear()
            return _json({})
        if not number.isdecimal() or not exchange.faults.remove(int(number)):
            return _json({"error": f"fault {number} is not active; GET /_raven/faults lists those that are"}, 404)
        return _json({})

    async def get_book(request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        depth = request.query.get("depth", "0")
        try:
            book = exchange.book(symbol, market)
        except KeyError:
            return _json({"error": f"symbol {symbol!r} is not traded on {market}"}, 404)
        return _json({"symbol": symbol, "update_id": book.update_id, "canonical": book.canonical(int(depth)).decode()})

    async def get_state(request: web.Request) -> web.Response:
        return _json(exchange.state())

    def act(action: Callable[[], None]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            action()
            return _json({})

        return handle

    app = web.Application()
    app.router.add_post("/faults", post_faults)
    app.router.add_get("/faults", get_faults)
    app.router.add_delete("/faults", delete_faults)
    app.router.add_delete("/faults/{number}", delete_faults)
    app.router.add_get("/book", get_book)
    app.router.add_get("/state", get_state)
    app.router.add_post("/pause", act(exchange.pause))
    app.router.add_post("/resume", act(exchange.resume))
    app.router.add_post("/replay/start", act(exchange.start_replay))
    return app


def _public(fault: Fault) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in Fault.__dataclass_fields__}


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
