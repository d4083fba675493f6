"""How far an upstream was heard, kept over a restart: whoever hears it goes on from there.

Written are positions of a while ago, so that everything up to them is safe with whoever makes something of it: after a
crash a little comes twice, and nothing is missing that the upstream still has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from raven.errors import DataValidation
from raven.observe import get_logger
from raven.topics import DataType, Topic

__all__ = ["Position", "Positions"]

log = get_logger("links")

_FILE = msgspec.json.Decoder(list[tuple[str, str, str, int, int]])


class Position(NamedTuple):
    """A record of an upstream, as filter `after` names it; zeros for none."""

    sequence: int = 0
    recv_ns: int = 0


class Positions:
    """Positions by topic, and the file that has them. A file that cannot be read or written is reported."""

    def __init__(self, file: Path, *, settled_s: float = 3.0) -> None:
        """`settled_s` is after how long what was heard is safe."""
        self._file = file
        self._settled_s = settled_s
        self._known: dict[Topic, Position] = {}
        self._waiting: deque[tuple[float, dict[Topic, Position]]] = deque()
        self._is_refused = False
        if not file.exists():
            return
        try:
            for venue, symbol, kind, sequence, recv_ns in _FILE.decode(file.read_bytes()):
                self._known[Topic(venue, symbol, DataType.parse(kind))] = Position(sequence, recv_ns)
        except (OSError, msgspec.DecodeError, DataValidation) as error:
            log.warning("how far an upstream was heard cannot be read", file=str(file), reason=str(error))

    def get(self, topic: Topic) -> Position:
        """Return how far a topic was heard before; zeros when that is not known."""
        return self._known.get(topic, Position())

    def forget(self, topic: Topic) -> None:
        """Forget a topic that nobody wants any more."""
        self._known.pop(topic, None)

    def note(self, now_s: float, heard: Mapping[Topic, Position]) -> bool:
        """Take note of how far all topics are; True when something has settled since, and is to be written."""
        self._waiting.append((now_s, self._with_known(heard)))
        settled = None
        while self._waiting and self._waiting[0][0] <= now_s - self._settled_s:
            _, settled = self._waiting.popleft()
        if settled is None or settled == self._known:
            return False
        self._known = settled
        return True

    def finish(self, heard: Mapping[Topic, Position]) -> None:
        """Write how far all topics are, now that nothing comes any more."""
        self._known = self._with_known(heard)
        self._waiting.clear()
        self.write()

    def write(self) -> None:
        """Write what has settled, at once or not at all; from any thread."""
        rows = [
            (topic.venue, topic.symbol, topic.data_type.name, *position)
            for topic, position in self._known.copy().items()
        ]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            waiting = self._file.with_suffix(".new")
            waiting.write_bytes(msgspec.json.encode(rows))
            waiting.replace(self._file)
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                log.warning("after a restart an upstream is heard anew", file=str(self._file), reason=str(error))
            self._is_refused = True

    def _with_known(self, heard: Mapping[Topic, Position]) -> dict[Topic, Position]:
        """Return positions of topics that were heard, and where the others are to go on."""
        now = {topic: position if position.sequence else self.get(topic) for topic, position in heard.items()}
        return {topic: position for topic, position in now.items() if position.sequence}
