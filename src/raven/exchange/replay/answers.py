"""What REST answers, endpoint by endpoint, for a recording."""

import json
from collections.abc import Mapping

from raven.exchange.replay.market import ReplayMarket
from raven.exchange.timeline import MS
from raven.exchange.wire.exchange_info import exchange_info
from raven.exchange.wire.rest_server import BadRequest


class ReplayAnswers:
    """Answers REST requests from a recording: what was not recorded is answered with an empty list."""

    def __init__(self, source: ReplayMarket) -> None:
        self._source = source

    async def answer(self, endpoint: str, params: Mapping[str, str]) -> str | None:
        """Return the body for an endpoint, or None if there is none of that name. Raises: BadRequest."""
        source = self._source
        if endpoint == "ping":
            return "{}"
        if endpoint == "time":
            return f'{{"serverTime":{source.now_ns // MS}}}'
        if endpoint == "exchangeInfo":
            info = exchange_info(source.market, source.rules, list(source.instruments.values()), source.now_ns // MS)
            return json.dumps(info, separators=(",", ":"))
        if endpoint in ("trades", "aggTrades", "historicalTrades", "klines"):
            return "[]"
        if endpoint != "depth":
            return None
        symbol = params.get("symbol", "")
        if not symbol:
            raise BadRequest(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in source.contents.snapshots:
            raise BadRequest(-1121, "Invalid symbol.")
        limit = params.get("limit", str(source.rules.default_depth_limit))
        if not limit.isdecimal() or not int(limit):
            raise BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        return await source.depth(symbol, int(limit))
