"""What a recorded message is: a frame of which stream and market, or the answer to a depth request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from raven.errors import DataValidation

__all__ = ["DepthAnswer", "depth_answer", "market_of", "stream_name"]


class DepthAnswer(NamedTuple):
    """A REST depth answer found in a recording."""

    symbol: str
    """Upper case; empty when the recording does not say."""
    limit: int
    """Levels a side that were asked for; 1000 when the recording does not say."""
    body: bytes
    """The answer, byte for byte."""


class _Wrapped(msgspec.Struct):
    rest: str
    body: msgspec.Raw


class _Bare(msgspec.Struct):
    symbol: str = ""


_WRAPPED = msgspec.json.Decoder(_Wrapped)
_BARE = msgspec.json.Decoder(_Bare)
# The recorders ask for this many levels unless their request says otherwise.
_USUAL_LIMIT = 1000
_EVENT_STREAMS = {
    "depthUpdate": "depth",
    "trade": "trade",
    "aggTrade": "aggTrade",
    "bookTicker": "bookTicker",
    "markPriceUpdate": "markPrice",
    "forceOrder": "forceOrder",
}


def depth_answer(raw: bytes) -> DepthAnswer | None:
    """Return the REST depth answer in a message, or None when it is a WebSocket frame.

    Raises: DataValidation when it claims to be an answer and is not JSON.
    """
    try:
        if raw.startswith(b'{"rest"'):
            wrapped = _WRAPPED.decode(raw)
            query = parse_qs(urlsplit(wrapped.rest).query)
            limit = query.get("limit", [str(_USUAL_LIMIT)])[0]
            symbol = query.get("symbol", [""])[0].upper()
            return DepthAnswer(symbol, int(limit) if limit.isdigit() else _USUAL_LIMIT, bytes(wrapped.body))
        if raw.startswith(b'{"lastUpdateId"'):
            return DepthAnswer(_BARE.decode(raw).symbol.upper(), _USUAL_LIMIT, raw)
    except msgspec.DecodeError as error:
        raise DataValidation(f"a REST answer in the recording is broken: {error}; it starts {raw[:60]!r}") from error
    return None


def stream_name(event: object) -> str:
    """Name the stream that a frame without a wrapper came from; empty when the frame does not tell.

    Such frames do not say how fast the stream was: depth at any speed is `<symbol>@depth`.
    """
    if not isinstance(event, dict):
        return ""
    kind, symbol = event.get("e"), str(event.get("s") or event.get("o", {}).get("s", "")).lower()
    if kind is None and {"u", "s", "b", "a"} <= event.keys():
        return f"{symbol}@bookTicker"
    if kind == "kline":
        return f"{symbol}@kline_{event.get('k', {}).get('i', '')}"
    return f"{symbol}@{_EVENT_STREAMS[kind]}" if symbol and kind in _EVENT_STREAMS else ""


def market_of(event: Mapping[str, object]) -> str:
    """Name the market that an event came from: `spot`, `usdm` or `coinm`.

    Diffs tell for sure: only futures chain them by `pu`. Other events tell by what only one market sends: spot trades
    have `M`, spot quotes no `e`, spot partial depth no `E`. Only COIN-M names a pair (`ps`) or a
    contract like `BTCUSD_PERP`.
    """
    is_diff = "U" in event
    is_spot = (
        "pu" not in event
        if is_diff
        else "M" in event or ("A" in event and "e" not in event) or ("bids" in event and "E" not in event)
    )
    if is_spot:
        return "spot"
    symbol = str(event.get("s", ""))
    return "coinm" if "ps" in event or ("USD_" in symbol and "USDT_" not in symbol) else "usdm"
