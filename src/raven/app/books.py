"""The book as of a time: from a journal the newest state it kept, from a capture exact to the event.

A moment is one of the exchange's clock (`exchange_time`), as everywhere in history. The answer says how exact it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from raven._core import Hub, Record
from raven.clock import parse_time
from raven.errors import ConfigurationError, DataValidation
from raven.ingest.playback import Playback
from raven.instruments import plain, spellings
from raven.recording import RecordedLine, capture_heads, depth_answer, note_of, read_recording, recording_files
from raven.records import Flags, Kind
from raven.topics import DataType

__all__ = ["BookAt", "book_at"]

Level = tuple[Decimal, Decimal]
"""Price and quantity, exact."""

_UNTRUSTED = Flags.STALE | Flags.RESYNCING
_HOUR_NS = 3600 * 10**9
# Diffs that came so long before a snapshot may belong to it; the server waits no longer than this for one.
_BEFORE_SNAPSHOT_NS = 30 * 10**9
# How much the two clocks may differ when a snapshot (our clock) is looked for (the exchange's clock).
_SKEW_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class BookAt:
    """A book, and how sure it is that this was the book."""

    venue: str
    symbol: str
    at_ns: int
    """The moment that was asked for, ns since 1970."""
    exchange_ns: int
    """When the exchange sent the last change in it."""
    recv_ns: int
    """When that was received."""
    update_id: int
    """The exchange's id of that change."""
    sequence: int
    """Of the state in its topic; 0 when it comes from a capture."""
    flags: Flags
    bids: Sequence[Level]
    """Best first."""
    asks: Sequence[Level]
    is_exact: bool
    """Whether no change between `exchange_ns` and `at_ns` can be missing, and the book was in sync."""
    how: str
    """Why it is, or is not."""

    def canonical(self, depth: int = 0) -> str:
        """Return `price:quantity,…|price:quantity,…`, prices ascending, the text that book hashes are taken over.

        `depth` cuts both sides to their best levels; 0: all there are.
        """
        sides = (reversed(self.bids[: depth or None]), iter(self.asks[: depth or None]))
        return "|".join(",".join(f"{_plain(p)}:{_plain(q)}" for p, q in side) for side in sides)


def book_at(
    symbol: str,
    at: int | str | datetime,
    *,
    journal: Path | str | None = None,
    capture: Path | str | None = None,
    venue: str = "",
) -> BookAt:
    """Return the book of a symbol as of a moment: ns since 1970, a datetime, or a text like `2026-11-20T12:30:00.5Z`.

    `journal` holds the best levels that were published; `capture` (of `raven --record`) gives every level. Without
    `venue` there must be one venue that has the symbol.

    Raises: ConfigurationError without a source or with both; DataValidation when there is no book at that moment.
    """
    if (journal is None) == (capture is None):
        raise ConfigurationError("name one source of the book: a journal or a capture")
    at_ns = _moment(at)
    if capture is not None:
        return _from_capture(Path(capture), venue, plain(symbol), at_ns)
    return _from_journal(Path(journal or ""), venue, symbol, at_ns)


def _moment(at: int | str | datetime) -> int:
    if isinstance(at, int):
        return at
    return parse_time(at if isinstance(at, str) else at.isoformat(), time.time_ns())


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _no_book(symbol: str, at_ns: int, where: Path) -> DataValidation:
    moment = datetime.fromtimestamp(at_ns / 1e9).astimezone().isoformat()
    return DataValidation(f"{where}: no book of {symbol} at {moment} or before; is the time right, and the symbol?")


# --- from a journal ---------------------------------------------------------------------------------------------------


def _from_journal(folder: Path, venue: str, symbol: str, at_ns: int) -> BookAt:
    state = _last_state(folder, venue, symbol, at_ns)
    if state is None:
        raise _no_book(symbol, at_ns, folder)
    symbol = state["symbol"]
    following = _next_state(folder, state["venue"], symbol, at_ns)
    is_exact, how = _judge(state, following)
    bids, asks = (
        list(zip(state[f"{side}_prices"], state[f"{side}_quantities"], strict=True)) for side in ("bid", "ask")
    )
    return BookAt(
        venue=state["venue"], symbol=symbol, at_ns=at_ns, exchange_ns=state["exchange_time"],
        recv_ns=state["recv_time"], update_id=state["id"], sequence=state["sequence"], flags=Flags(state["flags"]),
        bids=bids, asks=asks, is_exact=is_exact, how=how,
    )  # fmt: skip


def _last_state(folder: Path, venue: str, symbol: str, at_ns: int) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    # Looked for in a short time first: states follow each other closely, and the past is long.
    for start_ns in (at_ns - _HOUR_NS, None):
        for table in _states(folder, venue, symbol, start_ns, at_ns + 1):
            found[table["venue"][0].as_py()] = table.slice(len(table) - 1)
        if len(found) > 1:
            raise DataValidation(f"{symbol} is in the journal of {', '.join(sorted(found))}; name one venue")
        if found:
            return _row(next(iter(found.values())))
    return None


def _next_state(folder: Path, venue: str, symbol: str, at_ns: int) -> dict[str, Any] | None:
    for end_ns in (at_ns + _HOUR_NS, None):
        for table in _states(folder, venue, symbol, at_ns + 1, end_ns):
            return _row(table.slice(0, 1))
    return None


def _states(folder: Path, venue: str, symbol: str, start_ns: int | None, end_ns: int | None) -> Iterator[Any]:
    from raven.journal.history import Wanted, history  # noqa: PLC0415 - Arrow is slow to import, captures do without

    return history(folder, Wanted(spellings(symbol), DataType.ORDERBOOK, venue, start_ns, end_ns))


def _row(table: Any) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415 - as above

    for name in ("exchange_time", "recv_time"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
    row: dict[str, Any] = table.to_pylist()[0]
    return row


def _judge(state: dict[str, Any], following: dict[str, Any] | None) -> tuple[bool, str]:
    if state["flags"] & _UNTRUSTED:
        return False, "the book was out of sync then; this is its last good state"
    if following is None:
        return False, "the journal ends here: whether it changed before that moment is not known"
    if following["run"] != state["run"]:
        return False, "the server ended after this state: whether the book changed before that moment is not known"
    between = following["sequence"] - state["sequence"] - 1
    if between > 0:
        return False, f"{between} later states up to the next kept one were not kept; see journal.books_interval_ms"
    return True, "the next published state came after that moment"


# --- from a capture ---------------------------------------------------------------------------------------------------


def _from_capture(folder: Path, venue: str, symbol: str, at_ns: int) -> BookAt:
    files = recording_files([folder])
    venues = sorted({head.venue for head in capture_heads(files)})
    if not venues:
        raise DataValidation(f"{folder}: no capture; expected what `raven --record` writes")
    if venue not in venues and (venue or len(venues) > 1):
        raise DataValidation(f"{folder}: a capture of {', '.join(venues)}; name one of these venues")
    venue = venue or venues[0]
    files = [file for file in files if any(head.venue == venue for head in capture_heads([file]))]
    snapshots = [
        line.recv_ns
        for line in read_recording(_desk_files(files), on_damage=lambda _: None)
        if (answer := depth_answer(line.raw)) is not None and answer.symbol == symbol
    ]
    # A capture of a replay has the receive times of today: there all of them are tried.
    near = [one for one in snapshots if one <= at_ns + _SKEW_NS] or snapshots
    for snapshot_ns in sorted(near, reverse=True):
        found = _played(files, venue, symbol, at_ns, snapshot_ns)
        if found is not None:
            return found
    raise _no_book(symbol, at_ns, folder)


def _desk_files(files: Sequence[Path]) -> list[Path]:
    """Return the files of a capture that hold answers and decisions."""
    return [file for file in files if any(head.connection < 0 for head in capture_heads([file]))]


def _played(files: Sequence[Path], venue: str, symbol: str, at_ns: int, snapshot_ns: int) -> BookAt | None:
    """Play from a snapshot on; None when no book came of it until that moment."""
    from_ns = snapshot_ns - _BEFORE_SNAPSHOT_NS
    # An hour's file ends with the hour: those that ended before are not opened.
    needed = [
        file for file in files
        if file in _desk_files([file]) or (_first_ns(file) // _HOUR_NS + 1) * _HOUR_NS >= from_ns
    ]  # fmt: skip
    hub = Hub()
    playback, reader, last, count = Playback(hub, needed), None, None, 0
    is_over = False
    for _ in _relevant(playback, needed, symbol, from_ns, snapshot_ns):
        count += 1
        if reader is None:
            topic = hub.find(venue, symbol, DataType.ORDERBOOK)
            reader = None if topic is None else hub.reader(topic)
            continue
        states = [one for one in reader.drain() if one.kind == Kind.BOOK]
        is_over = any(one.exchange_ns > at_ns for one in states)
        last = next((one for one in reversed(states) if one.exchange_ns <= at_ns), last)
        if is_over:
            break
    if last is None:
        return None
    # Once more, up to the last message before that moment: now the engine has that book, every level of it.
    again = Playback(Hub(), needed)
    for number, _ in enumerate(_relevant(again, needed, symbol, from_ns, snapshot_ns), 1):
        if number >= count - is_over:
            break
    book = _from_engine(again, venue, symbol, at_ns, last)
    if not is_over:
        return replace(book, is_exact=False, how="the capture ends before that moment")
    return book


def _relevant(
    playback: Playback, files: Sequence[Path], symbol: str, from_ns: int, snapshot_ns: int
) -> Iterator[RecordedLine]:
    """Feed what matters to one book: all decisions, and from `from_ns` on what names the symbol."""
    name = symbol.encode()
    for line in read_recording(files, notes=True, on_damage=playback.damage.append):
        is_note = note_of(line.raw) is not None
        if not is_note:
            if name not in line.raw or line.recv_ns < from_ns:
                continue
            if line.recv_ns < snapshot_ns and depth_answer(line.raw) is not None:
                continue
        playback.feed(line)
        yield line


def _first_ns(file: Path) -> int:
    return next((line.recv_ns for line in read_recording([file], notes=True, on_damage=lambda _: None)), 0)


def _from_engine(playback: Playback, venue: str, symbol: str, at_ns: int, last: Record) -> BookAt:
    instrument = playback.instrument(venue, symbol)
    if instrument is None:
        raise DataValidation(f"{symbol} was no longer collected from {venue} at that moment")
    text = playback.engine.canonical(instrument).decode()
    bids, asks = ([_level(level) for level in side.split(",") if level] for side in text.split("|"))
    is_synced = playback.engine.state(instrument) == "synced"
    return BookAt(
        venue=venue, symbol=symbol, at_ns=at_ns, exchange_ns=last.exchange_ns, recv_ns=last.recv_ns,
        update_id=last.id, sequence=0, flags=Flags(last.flags), bids=bids[::-1], asks=asks, is_exact=is_synced,
        how="every change up to that moment, from a snapshot of the exchange" if is_synced
        else "the book was out of sync then; this is its last good state",
    )  # fmt: skip


def _level(text: str) -> Level:
    price, _, quantity = text.partition(":")
    return Decimal(price), Decimal(quantity)
