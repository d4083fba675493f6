"""What aggregators know of bars that are not over yet, kept over a restart."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from raven.observe import get_logger
from raven.topics import DataType, Topic

__all__ = ["BarState", "BarStates"]

log = get_logger("bars")


class BarState(NamedTuple):
    """What a builder knows."""

    words: Sequence[int]
    """As `raven._core.LiveBars.state` gave them."""
    at_ms: int
    """When that was: every trade before is in it, as far as it came; ms since 1970."""


class _Row(msgspec.Struct, array_like=True):
    venue: str
    symbol: str
    at_ms: int
    words: bytes


class _File(msgspec.Struct):
    bars: str
    """Label of the bars: another rule cannot go on with them."""
    rows: list[_Row]


_DECODER = msgspec.msgpack.Decoder(_File)


class BarStates:
    """States of bars of one rule by topic, and the file that has them; without a file they end with the process.

    A file that cannot be read or written is reported: bars then begin anew, and say so.
    """

    def __init__(self, bars: str, data_type: DataType, file: Path | None = None) -> None:
        """`bars` is the label of the rule."""
        self._bars = bars
        self._file = file
        self._states: dict[Topic, BarState] = {}
        self._is_refused = False
        if file is None or not file.exists():
            return
        try:
            kept = _DECODER.decode(file.read_bytes())
            if kept.bars != bars:
                log.info("bars of another rule are not gone on with", was=kept.bars, now=bars)
                return
            for row in kept.rows:
                self._states[Topic(row.venue, row.symbol, data_type)] = BarState(array("Q", row.words), row.at_ms)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("what was known of bars cannot be read; they begin anew", file=str(file), reason=str(error))

    def get(self, topic: Topic) -> BarState | None:
        """Return what is known of the bars of a topic."""
        return self._states.get(topic)

    def put(self, topic: Topic, state: BarState) -> None:
        """Keep what is known of the bars of a topic."""
        self._states[topic] = state

    def write(self) -> None:
        """Write all of them to the file, at once or not at all."""
        if self._file is None:
            return
        rows = [
            _Row(topic.venue, topic.symbol, state.at_ms, array("Q", state.words).tobytes())
            for topic, state in self._states.copy().items()
        ]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            waiting = self._file.with_suffix(".new")
            waiting.write_bytes(msgspec.msgpack.encode(_File(self._bars, rows)))
            waiting.replace(self._file)
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                log.warning("bars will begin anew after a restart", file=str(self._file), reason=str(error))
            self._is_refused = True
