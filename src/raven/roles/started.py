"""What was started by hand, kept over a restart: whoever started it expects it to go on until it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from raven.errors import DataValidation
from raven.observe import get_logger
from raven.topics import DataType, Topic

__all__ = ["Started"]

log = get_logger("control")

_FILE = msgspec.json.Decoder(list[tuple[str, str, str]])


class Started:
    """Topics, in the order in which they were started, and the file that has them.

    Without a file they are forgotten with the process. A file that cannot be read or written is reported, and what is
    known is kept.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._topics: dict[Topic, None] = {}
        if file is not None and file.exists():
            try:
                rows = _FILE.decode(file.read_bytes())
                self._topics = {Topic(venue, symbol, DataType.parse(kind)): None for venue, symbol, kind in rows}
            except (OSError, msgspec.DecodeError, DataValidation) as error:
                log.warning("what was started by hand cannot be read", file=str(file), reason=str(error))

    def __iter__(self) -> Iterator[Topic]:
        return iter(list(self._topics))

    def __contains__(self, topic: Topic) -> bool:
        return topic in self._topics

    def __len__(self) -> int:
        return len(self._topics)

    def add(self, topics: Iterable[Topic]) -> None:
        """Keep these, too."""
        self._keep(self._topics | dict.fromkeys(topics))

    def remove(self, topics: Iterable[Topic]) -> None:
        """Forget these."""
        gone = set(topics)
        self._keep({topic: None for topic in self._topics if topic not in gone})

    def _keep(self, topics: dict[Topic, None]) -> None:
        changed, self._topics = topics != self._topics, topics
        if self._file is None or not changed:
            return
        rows = [(topic.venue, topic.symbol, topic.data_type.name) for topic in topics]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            waiting = self._file.with_suffix(".new")
            waiting.write_bytes(msgspec.json.encode(rows))
            waiting.replace(self._file)
        except OSError as error:
            log.warning("what was started by hand is forgotten at the end", file=str(self._file), reason=str(error))
