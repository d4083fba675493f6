"""A book that keeps itself in sync: the newest state of one symbol, and whether to trust it.

    async with feed.live_book("BTCUSDT", depth=20) as book:
        while await book.changed():
            print(book.best_bid, book.best_ask, book.is_stale)

The server sends whole states, so nothing is put together here, and a program that is busy misses states, never the
newest one. Of the task or thread that hears the server, `LiveBook` keeps one immutable `OrderBook`; every property
reads that one, so take `book.state` once where several values must belong together.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raven.client.blocking_subscription import BlockingSubscription
from raven.client.records import Event, Gap, Level, OrderBook
from raven.client.subscription import Subscription
from raven.errors import MissingDependency, NetworkTimeout
from raven.records import Flags

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

_UNTRUSTED = Flags.STALE | Flags.RESYNCING


class BookView:
    """What both faces of a live book say of it. Prices and quantities as in `OrderBook`, times ns since 1970."""

    def __init__(self, subscription: Subscription | BlockingSubscription) -> None:
        self._subscription = subscription
        self._state: OrderBook | None = None
        self._is_after_gap = False
        self._changes = 0

    @property
    def state(self) -> OrderBook:
        """The newest state, as one record that does not change. Raises: NetworkTimeout when none came yet."""
        if self._state is None:
            raise NetworkTimeout("no state of the book came yet; wait for the first one, or enter the book with `with`")
        return self._state

    @property
    def best_bid(self) -> Level | None:
        """Highest bid as `(price, quantity)`; None when there is none."""
        return self.state.best_bid

    @property
    def best_ask(self) -> Level | None:
        """Lowest ask as `(price, quantity)`; None when there is none."""
        return self.state.best_ask

    @property
    def mid(self) -> float | None:
        """Halfway between both; None when a side is empty."""
        return self.state.mid

    @property
    def spread(self) -> float | None:
        """Best ask less best bid; None when a side is empty."""
        return self.state.spread

    @property
    def depth(self) -> tuple[int, int]:
        """Number of bids and of asks."""
        return len(self.state.bids), len(self.state.asks)

    @property
    def sequence(self) -> int:
        """Of the state: per topic and server, by one."""
        return self.state.sequence

    @property
    def exchange_ns(self) -> int:
        """When the venue made the state."""
        return self.state.exchange_ns

    @property
    def recv_ns(self) -> int:
        """When the server received it."""
        return self.state.recv_ns

    @property
    def changes(self) -> int:
        """How many states came so far."""
        return self._changes

    @property
    def is_stale(self) -> bool:
        """Whether not to trade on it; `stale_reason` says why."""
        return bool(self.stale_reason)

    @property
    def stale_reason(self) -> str:
        """Why the state may not be the venue's present one; empty when all is well."""
        if self._state is None:
            return "no state came yet"
        if not self._subscription.is_connected:
            return "the server is away"
        if self._is_after_gap:
            return "updates are missing since"
        return " and ".join(flag.name.lower() for flag in self._state.quality & _UNTRUSTED if flag.name)

    def bids(self, levels: int | None = None) -> npt.NDArray[np.float64]:
        """Return bids, best first: an array of `(price, quantity)` rows. Raises: MissingDependency without numpy."""
        return _array(self.state.bids[:levels])

    def asks(self, levels: int | None = None) -> npt.NDArray[np.float64]:
        """Return asks, best first: an array of `(price, quantity)` rows. Raises: MissingDependency without numpy."""
        return _array(self.state.asks[:levels])

    def to_arrow(self) -> pa.RecordBatch:
        """Return the levels as `side` (`bid`, `ask`), `level` (0 is the best), `price`, `quantity`."""
        import pyarrow as pa  # noqa: PLC0415 - loads slowly, and only this needs it

        state = self.state
        rows = [
            (side, at, price, quantity)
            for side, levels in (("bid", state.bids), ("ask", state.asks))
            for at, (price, quantity) in enumerate(levels)
        ]
        columns = zip(*rows, strict=True) if rows else ((),) * 4
        types = (pa.string(), pa.int32(), pa.float64(), pa.float64())
        arrays = [pa.array(list(values), type_) for values, type_ in zip(columns, types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, names=["side", "level", "price", "quantity"])

    def _take(self, event: Event) -> bool:
        """Take what came; True when that may change what is said here."""
        if isinstance(event, OrderBook):
            # A state stands for all that was before it.
            self._state, self._is_after_gap = event, False
            self._changes += 1
            return True
        if isinstance(event, Gap) and not event.repaired:
            self._is_after_gap = True
            return True
        return False


class LiveBook(BookView):
    """A live book of an asyncio program: `async with` waits for its first state, and ends it. One task waits for
    changes, any may read.
    """

    def __init__(self, subscription: Subscription, timeout_s: float) -> None:
        super().__init__(subscription)
        self._stream = subscription
        self._timeout_s = timeout_s
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Wait for the first state. Raises: NetworkTimeout when none comes in time, RequestRefused."""
        self._task = asyncio.create_task(self._follow(), name="raven live book")
        self._task.add_done_callback(lambda _: self._news.set())
        try:
            if not await self.changed(self._timeout_s):
                raise NetworkTimeout(_late(self._timeout_s))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def changed(self, timeout_s: float | None = None) -> bool:
        """Wait until something came since the last call; False when nothing did in time, or the feed was closed.

        That the server went away is no change: it shows in `is_stale`, so give a time where that matters.
        Raises: what ended the subscription, like RequestRefused.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        if self._task is None or self._task.done():
            if self._task is not None and not self._task.cancelled():
                self._task.result()
            return False
        has_changed = self._news.is_set()
        self._news.clear()
        return has_changed

    async def _follow(self) -> None:
        async for event in self._stream:
            if self._take(event):
                self._news.set()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class BlockingLiveBook(BookView):
    """A live book of a program that blocks: a thread hears the server. `with` waits for its first state and ends it."""

    def __init__(self, subscription: BlockingSubscription, timeout_s: float) -> None:
        super().__init__(subscription)
        self._stream = subscription
        self._timeout_s = timeout_s
        self._news = threading.Event()
        self._trouble: Exception | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._follow, name="raven live book", daemon=True)

    def __enter__(self) -> Self:
        """Wait for the first state. Raises: NetworkTimeout when none comes in time, RequestRefused."""
        self._thread.start()
        try:
            if not self.changed(self._timeout_s):
                raise NetworkTimeout(_late(self._timeout_s))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def changed(self, timeout_s: float | None = None) -> bool:
        """Wait until something came since the last call; see `LiveBook.changed`."""
        self._news.wait(timeout_s)
        if self._has_ended:
            if self._trouble is not None:
                raise self._trouble
            return False
        has_changed = self._news.is_set()
        self._news.clear()
        return has_changed

    def _follow(self) -> None:
        try:
            for event in self._stream:
                if self._take(event):
                    self._news.set()
        except Exception as trouble:
            self._trouble = trouble
        finally:
            self._has_ended = True
            self._news.set()

    def _stop(self) -> None:
        self._stream.close()
        self._thread.join()


def _array(levels: Sequence[Level]) -> npt.NDArray[np.float64]:
    try:
        import numpy as np  # noqa: PLC0415 - only arrays need it
    except ImportError:
        raise MissingDependency("arrays of levels need numpy: pip install numpy") from None
    return np.array(levels, dtype=np.float64).reshape(-1, 2)


def _late(timeout_s: float) -> str:
    return (
        f"no state of the book came within {timeout_s:g} s; is the symbol traded, and does the server hear its venue?"
    )
