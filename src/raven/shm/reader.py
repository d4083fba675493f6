"""The reader's side of shared memory: what there is, and one cursor per topic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, NamedTuple, Self

from raven._core import Record, SharedReader, SharedTopic
from raven.errors import ConfigurationError, NetworkTimeout
from raven.records import Kind
from raven.shm.batch import Batch
from raven.topics import DataType

__all__ = ["Reader", "TopicName", "TopicReader"]

# So often somebody who waits looks whether the writer still lives, and lets Ctrl-C through.
_LOOK_S = 0.1


class TopicName(NamedTuple):
    """One stream of one symbol."""

    venue: str
    symbol: str
    data_type: int
    """A `raven.topics.DataType`."""
    depth: int
    """Levels a side of books, else 0."""
    has_ended: bool
    """Whether nothing will come any more."""


class Reader(AbstractContextManager["Reader"]):
    """The shared memory of a Raven on this machine, for reading only: it can disturb nobody."""

    def __init__(self, name: str = "market_data_shm") -> None:
        """`name`: as in `[shm] name`. Raises: ConfigurationError when nobody writes it, or another release does."""
        try:
            self._native: SharedReader | None = SharedReader(name)
        except (OSError, ValueError) as error:
            raise ConfigurationError(str(error)) from None

    def topics(self) -> list[TopicName]:
        """List what is in it now."""
        return [TopicName(*row) for row in self._open().topics()]

    def open(
        self,
        venue: str,
        symbol: str,
        data_type: DataType,
        depth: int = 0,
        *,
        start: Literal["now", "latest", "oldest"] = "now",
    ) -> TopicReader:
        """Open a topic: for what comes from `now` on, on its `latest` record, or on the `oldest` there is.

        For books `depth` asks for the smallest tier with as many levels. Raises: ConfigurationError without the topic.
        """
        native = self._open()
        try:
            return TopicReader(native, native.topic(venue, symbol, int(data_type), depth, start=start))
        except KeyError as error:
            raise ConfigurationError(str(error.args[0])) from None

    @property
    def is_alive(self) -> bool:
        """Whether the writer lives. After its restart open a new Reader."""
        return self._open().is_alive()

    @property
    def pid(self) -> int:
        """Process id of the writer."""
        return self._open().pid

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last said that it runs, ns since 1970; it does so every second."""
        return self._open().heartbeat_ns

    def close(self) -> None:
        """Let go. Topics that were opened stay readable until they are let go, too."""
        self._native = None

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _open(self) -> SharedReader:
        if self._native is None:
            raise ConfigurationError("this Reader is closed; open a new one")
        return self._native


class TopicReader:
    """A cursor on one topic. One thread uses it at a time; open one per thread."""

    def __init__(self, memory: SharedReader, native: SharedTopic) -> None:
        self._memory = memory
        self._native = native
        self.read = native.read
        """Return the next `Record`, None when there is none: the fastest way to poll. See `records`."""

    def records(self, *, timeout_s: float | None = None, spin: bool = False) -> Iterator[Record]:
        """Iterate over records one by one, waiting for more.

        It ends with the topic, or when nothing came for `timeout_s`. A record of kind `GAP` stands where records were
        overwritten before they were read; its word `GapWord.COUNT` says how many. `spin` waits without a pause: the
        lowest latency, at the price of a core. Raises: NetworkTimeout when the writer is gone.
        """
        read = self.read
        while True:
            while (record := read()) is not None:
                yield record
            if not self._wait(timeout_s, spin=spin):
                return

    def batches(
        self, max_records: int = 8192, *, timeout_s: float | None = None, spin: bool = False
    ) -> Iterator[Batch]:
        """Iterate over batches of about so many records at most, each of one kind, waiting for more; see `records`."""
        take = self._native.take
        while True:
            while (taken := take(max_records)) is not None:
                kind, rows, words = taken
                yield Batch(Kind(kind), rows, words)
            if not self._wait(timeout_s, spin=spin):
                return

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were read, exactly."""
        return self._native.lost

    @property
    def lag(self) -> int:
        """Records that wait in the ring."""
        return self._native.lag

    @property
    def has_ended(self) -> bool:
        """Whether everything was read and nothing will come."""
        return self._native.has_ended

    def _wait(self, timeout_s: float | None, *, spin: bool) -> bool:
        """Wait for more; False at the end of the topic or of the time."""
        native = self._native
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not native.has_ended:
            rest = _LOOK_S if deadline is None else min(_LOOK_S, deadline - time.monotonic())
            if native.wait(max(0.0, rest), spin):
                return True
            if not self._memory.is_alive() and not native.wait(0.0, spin):
                raise NetworkTimeout(
                    f"the writer of {self._memory.path} (process {self._memory.pid}) is gone and everything it wrote "
                    "was read; open a new Reader once Raven runs again"
                )
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return False
