"""What a recording gives to an exchange that replays it: the lines by stream, its symbols, and how they are quoted.

How a line is written is known to `raven.recording`. Bodies are cut out of it byte for byte, never written anew.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from raven.errors import DataValidation
from raven.exchange.instruments import Instrument, make_instrument
from raven.exchange.markets import Market
from raven.recording import Damage, capture_heads, depth_answer, read_recording, stream_name

_STREAM_HEAD = b'{"stream":"'
_DATA_KEY = b'"data":'


class Line(NamedTuple):
    """One message of a recording."""

    recv_ns: int
    stream: str
    """Stream name, or empty for a REST answer."""
    symbol: str
    """Symbol of a REST answer, upper case; empty if the line does not say."""
    body: bytes
    """Data of the frame, or the REST answer, as recorded."""


def parse_line(recv_ns: int, raw: bytes) -> Line:
    """Take a message apart. Raises: DataValidation when it is neither a stream frame nor a depth answer."""
    answer = depth_answer(raw)
    if answer is not None:
        return Line(recv_ns, "", answer.symbol, answer.body)
    try:
        if raw.startswith(_STREAM_HEAD):
            end = raw.index(b'"', len(_STREAM_HEAD))
            start = raw.index(_DATA_KEY, end) + len(_DATA_KEY)
            return Line(recv_ns, raw[len(_STREAM_HEAD) : end].decode(), "", raw[start:-1].strip())
        stream = stream_name(json.loads(raw))
    except ValueError:
        stream = ""
    if not stream:
        raise DataValidation(f"neither a stream frame nor a depth answer: {raw[:60]!r}; the how-to lists the forms")
    return Line(recv_ns, stream, "", raw)


def read_lines(files: Sequence[Path], on_damage: Callable[[Damage], None] = lambda _: None) -> Iterator[Line]:
    """Yield the messages of several files as one recording; `on_damage` hears what cannot be read.

    A capture has replies to requests, too, and whatever else a venue said: what is of no stream is left out.

    Raises: DataValidation with file and line number.
    """
    is_capture = bool(capture_heads(files))
    for recorded in read_recording(files, on_damage=on_damage):
        try:
            line = parse_line(recorded.recv_ns, recorded.raw.strip())
        except DataValidation as error:
            if is_capture:
                continue
            raise DataValidation(f"{files[recorded.file]}:{recorded.line}: {error.message}") from None
        yield line


@dataclass(slots=True)
class Contents:
    """What a recording holds, from one pass over it."""

    streams: dict[str, int] = field(default_factory=dict)
    """Lines per stream name."""
    snapshots: dict[str, Line] = field(default_factory=dict)
    """First REST depth answer per symbol."""
    venues: list[str] = field(default_factory=list)
    """Names of the venues, when it is a capture."""
    lines: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def symbols(self) -> list[str]:
        """Every symbol, upper case, in order of appearance."""
        names = [name.split("@")[0].upper() for name in self.streams if not name.startswith("!")]
        return list(dict.fromkeys([*names, *self.snapshots]))


def survey(files: Sequence[Path], on_damage: Callable[[Damage], None] = lambda _: None) -> Contents:
    """Read a recording once to learn what is in it; `on_damage` hears what cannot be read.

    Raises: DataValidation, also when it is empty.
    """
    contents = Contents(venues=sorted({head.venue for head in capture_heads(files)}))
    for line in read_lines(files, on_damage):
        if not contents.lines:
            contents.first_ns = line.recv_ns
        contents.lines += 1
        contents.last_ns = line.recv_ns
        if line.stream:
            contents.streams[line.stream] = contents.streams.get(line.stream, 0) + 1
        else:
            contents.snapshots.setdefault(line.symbol, line)
    if not contents.lines:
        raise DataValidation(f"{', '.join(map(str, files))}: no lines")
    bare = contents.snapshots.pop("", None)
    if bare is not None:
        # Recordings with bare answers have one symbol per file, so the answer belongs to it.
        symbols = contents.symbols
        if len(symbols) != 1:
            raise DataValidation(
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
