"""How far each reader of a journal has come: a small file per reader, that survives a crash of either.

<journal>/cursors/timescale.json   {"segment": 7, "frame": 120, "offset": 4404040, "rows": 81234567}
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from raven.errors import ConfigurationError
from raven.journal.segment import segments_in

__all__ = ["Position", "bytes_after", "cursors_in", "load_cursor", "oldest_needed", "save_cursor"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a journal: everything before it was taken. The default is its beginning."""

    segment: int = 0
    """Number of the segment; 0 for the oldest there is."""
    frame: int = 0
    """Number of the next frame in it."""
    offset: int = 0
    """Where that frame begins, bytes."""
    rows: int = 0
    """Records taken so far."""


def load_cursor(journal: Path, reader: str) -> Position:
    """Return the place of a reader; the beginning for one that is new.

    Raises: ConfigurationError when the file is not a cursor.
    """
    path = _path(journal, reader)
    try:
        return Position(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Position()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not a cursor ({error}); remove it to read the journal from its beginning: "
            "a sink keeps no record twice"
        ) from None


def save_cursor(journal: Path, reader: str, position: Position) -> None:
    """Keep the place of a reader: the old one or the new one is there, whenever a crash comes. Raises: OSError."""
    path = _path(journal, reader)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        json.dump(asdict(position), file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def cursors_in(journal: Path) -> Mapping[str, Position]:
    """Return the place of every reader that has one. Raises: ConfigurationError for a file that is not a cursor."""
    return {path.stem: load_cursor(journal, path.stem) for path in sorted((journal / "cursors").glob("*.json"))}


def oldest_needed(journal: Path, readers: Collection[str] | None = None) -> int | None:
    """Return the number of the oldest segment that some reader has not finished; None when nobody reads.

    `readers` are those that count: a database that is not configured any more must not hold back the others.
    """
    places = cursors_in(journal)
    return min((place.segment for name, place in places.items() if readers is None or name in readers), default=None)


def bytes_after(journal: Path, position: Position) -> int:
    """Return how many bytes of segments stand after a place."""
    size = 0
    for path in segments_in(journal):
        number = int(path.stem)
        if number >= position.segment:
            # It may become Parquet just now.
            with suppress(FileNotFoundError):
                size += path.stat().st_size - (position.offset if number == position.segment else 0)
    return size


def _path(journal: Path, reader: str) -> Path:
    return journal / "cursors" / f"{reader}.json"
