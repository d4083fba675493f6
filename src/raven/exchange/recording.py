"""Reading recordings: one message per line, `<local receive time in ns> <JSON>`, gzip or plain.

A line is a wrapped stream frame, a raw frame, a bare REST depth answer (`lastUpdateId`, no `stream`), or a wrapped one
(`{"rest": "<path and query>", "body": <answer>}`). Bodies are cut out of the line byte for byte, never written anew.
"""

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from raven.errors import DataValidation
from raven.exchange.instruments import Instrument, make_instrument
from raven.exchange.markets import Market

_STREAM_HEAD = b'{"stream":"'
_REST_HEAD = b'{"rest":'
_DATA_KEY = b'"data":'
_EVENT_STREAMS = {
    "depthUpdate": "depth",
    "trade": "trade",
    "aggTrade": "aggTrade",
    "bookTicker": "bookTicker",
    "markPriceUpdate": "markPrice",
    "forceOrder": "forceOrder",
}


class RecordingError(DataValidation):
    """A recording cannot be played; the message names file, line and what was expected."""


class Line(NamedTuple):
    """One message of a recording."""

    recv_ns: int
    stream: str
    """Stream name, or empty for a REST answer."""
    symbol: str
    """Symbol of a REST answer, upper case; empty if the line does not say."""
    body: bytes
    """Data of the frame, or the REST answer, as recorded."""


def parse_line(text: bytes, where: str = "line") -> Line:
    """Take a line apart. Raises: RecordingError if it is none."""
    stamp, _, raw = text.partition(b" ")
    raw = raw.strip()
    if not stamp.isdigit() or not raw.startswith((b"{", b"[")):
        raise RecordingError(f"{where}: expected '<ns> <JSON>', got {text[:60]!r}")
    recv_ns = int(stamp)
    if raw.startswith(_STREAM_HEAD):
        end = raw.index(b'"', len(_STREAM_HEAD))
        start = raw.index(_DATA_KEY, end) + len(_DATA_KEY)
        return Line(recv_ns, raw[len(_STREAM_HEAD) : end].decode(), "", raw[start:-1].strip())
    if raw.startswith(_REST_HEAD):
        path = json.loads(raw)["rest"]
        symbol = parse_qs(urlsplit(path).query).get("symbol", [""])[0].upper()
        start = raw.index(b'"body":') + len(b'"body":')
        return Line(recv_ns, "", symbol, raw[start:-1].strip())
    message = json.loads(raw)
    if isinstance(message, dict) and "lastUpdateId" in message:
        return Line(recv_ns, "", str(message.get("symbol", "")).upper(), raw)
    return Line(recv_ns, _stream_of(message, where), "", raw)


def _stream_of(message: object, where: str) -> str:
    """Name the stream that a raw frame came from; raw frames do not say how fast it was."""
    if isinstance(message, dict):
        event, symbol = message.get("e"), str(message.get("s", message.get("o", {}).get("s", ""))).lower()
        if event == "kline":
            return f"{symbol}@kline_{message['k']['i']}"
        if event in _EVENT_STREAMS and symbol:
            return f"{symbol}@{_EVENT_STREAMS[event]}"
        if event is None and {"u", "s", "b", "a"} <= message.keys():
            return f"{symbol}@bookTicker"
    raise RecordingError(f"{where}: neither a stream frame nor a depth answer; expected one of the forms in the how-to")


def read_lines(files: Sequence[Path]) -> Iterator[Line]:
    """Yield the lines of several files as one recording. Raises: RecordingError with file and line number."""
    for path in files:
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rb") as stream:
                for number, text in enumerate(stream, 1):
                    if text.strip():
                        yield parse_line(text, f"{path}:{number}")
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read: {error}") from None
        except (ValueError, KeyError, EOFError) as error:
            raise RecordingError(f"{path}: {error}") from None


@dataclass(slots=True)
class Contents:
    """What a recording holds, from one pass over it."""

    streams: dict[str, int] = field(default_factory=dict)
    """Lines per stream name."""
    snapshots: dict[str, Line] = field(default_factory=dict)
    """First REST depth answer per symbol."""
    lines: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def symbols(self) -> list[str]:
        """Every symbol, upper case, in order of appearance."""
        names = [name.split("@")[0].upper() for name in self.streams if not name.startswith("!")]
        return list(dict.fromkeys([*names, *self.snapshots]))


def survey(files: Sequence[Path]) -> Contents:
    """Read a recording once to learn what is in it. Raises: RecordingError, also when it is empty."""
    contents = Contents()
    for line in read_lines(files):
        if not contents.lines:
            contents.first_ns = line.recv_ns
        contents.lines += 1
        contents.last_ns = line.recv_ns
        if line.stream:
            contents.streams[line.stream] = contents.streams.get(line.stream, 0) + 1
        else:
            contents.snapshots.setdefault(line.symbol, line)
    if not contents.lines:
        raise RecordingError(f"{', '.join(map(str, files))}: no lines")
    bare = contents.snapshots.pop("", None)
    if bare is not None:
        # Recordings with bare answers have one symbol per file, so the answer belongs to it.
        symbols = contents.symbols
        if len(symbols) != 1:
            raise RecordingError(
                f"a depth answer without symbol in a recording of {symbols}; wrap it as {{'rest', 'body'}}"
            )
        contents.snapshots[symbols[0]] = bare
    return contents


def infer_instrument(market: Market, symbol: str, snapshot: bytes | None) -> Instrument:
    """Describe a recorded symbol; price and quantity steps are the greatest that divide every level of its snapshot."""
    try:
        instrument = make_instrument(market, symbol)
    except ValueError:
        instrument = make_instrument(market, f"{symbol.split('_', maxsplit=1)[0]}USDT")
        instrument.symbol, instrument.base, instrument.quote = symbol, symbol, ""
    instrument.symbol = symbol
    if snapshot is None:
        return instrument
    body = json.loads(snapshot)
    levels = [*body["bids"], *body["asks"]]
    if levels:
        instrument.price_decimals, instrument.tick_units = _step([level[0] for level in levels])
        instrument.quantity_decimals, instrument.lot_units = _step([level[1] for level in levels])
        first = body["bids"][0][0] if body["bids"] else levels[0][0]
        instrument.start_ticks = max(1, int(first.replace(".", "")) // instrument.tick_units)
    return instrument


def _step(texts: Sequence[str]) -> tuple[int, int]:
    """Return decimals and the common step, in units of the last digit."""
    decimals = max(len(text.partition(".")[2]) for text in texts)
    units = [int(text.replace(".", "")) for text in texts]
    return decimals, math.gcd(*units) or 1
