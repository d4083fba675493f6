"""One subscription of an asyncio program: reads frames, yields records or batches, survives the loss of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from raven._core import Receiver
from raven.client.decode import decode_frame
from raven.client.outage import Outage
from raven.client.records import Event, Reconnected
from raven.client.request import DEFAULT_ROWS, DEFAULT_WAIT_S, Heard, Want
from raven.client.settings import Settings
from raven.proto.subscription_pb2 import SubscriptionRequest
from raven.records import Kind

if TYPE_CHECKING:
    from raven.client.tables import Batch

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it
STREAM = "/raven.MarketDataService/StreamMarketData"
# Requests that a server lets wait for an earlier one are fewer than twice as many.
REQUESTS_AT_ONCE = 32
PAUSE_S = 0.2


class Subscription:
    """An async iterator over the records of a subscription; `async for` over it, `break` when you have enough.

    A frame is read when the records of the one before are used up, so a program that is slow holds up the server's
    cursor for it and nothing else: what it then misses arrives as a `Gap` record (or as skipped book states), and
    nothing piles up in memory.
    """

    def __init__(
        self, channel: grpc.aio.Channel, settings: Settings, want: Want, silence_s: float, feed_closed: asyncio.Event
    ) -> None:
        self._channel = channel
        self._feed_closed = feed_closed
        self._settings = settings
        self._want = want
        self._silence_s = silence_s
        self._waiting_since: float | None = None
        self._hung = False
        self.is_connected = False
        """Whether the server sends: from the first message of a connection until that is lost."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        receiver = Receiver(has_past=self._want.has_past)
        async with aclosing(self._frames(receiver)) as frames:
            async for frame, back in frames:
                if back is not None:
                    yield back
                for event in decode_frame(frame, receiver):
                    yield event

    async def batches(self, *, rows: int = DEFAULT_ROWS, wait_s: float = DEFAULT_WAIT_S) -> AsyncGenerator[Batch, None]:
        """Yield the same as Arrow batches, decoded by native code, each of one kind (see `Batch`).

        What waits is handed out when it has about `rows` rows (eight levels of a book count as one), or `wait_s`
        seconds after the first of them came. While the program works on a batch the next ones are collected, up to
        `rows`; after that it is slow, as above. What is missing is a row of a batch of kind `gaps`, which also tells of
        what a lost connection cost.
        """
        receiver = Receiver(has_past=self._want.has_past)
        collecting = _Collecting(receiver, rows)
        task = asyncio.create_task(self._collect(receiver, collecting), name="raven batches")
        task.add_done_callback(lambda _: collecting.end())
        try:
            while True:
                await collecting.arrived.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(collecting.full.wait(), wait_s)
                is_over = task.done()
                for batch in collecting.take():
                    yield batch
                if is_over:
                    # Raises what ended it.
                    task.result()
                    return
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _collect(self, receiver: Receiver, collecting: _Collecting) -> None:
        async with aclosing(self._frames(receiver)) as frames:
            async for frame, _ in frames:
                collecting.note(receiver.collect(time.time_ns(), frame))
                await collecting.room.wait()

    async def _frames(self, receiver: Receiver) -> AsyncGenerator[tuple[bytes, Reconnected | None], None]:
        """Yield frames, and with the first one after a lost connection what to tell of that.

        `receiver` is to be shown every frame before the next one is asked for. Raises: RequestRefused,
        ServerUnreachable.
        """
        outage = Outage(self._settings)
        while not self._feed_closed.is_set():
            requests = self._want.requests(self._settings.client_id, [Heard(*row) for row in receiver.heard()])
            try:
                async with aclosing(self._read(requests)) as messages:
                    async for frame in messages:
                        self.is_connected = True
                        yield frame, outage.over()
                code, details = grpc.StatusCode.OK, ""
            except _StreamEnded as end:
                code, details = end.code, end.details
            finally:
                self.is_connected = False
            if not self._feed_closed.is_set():
                pause_s = outage.lost(code, details)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._feed_closed.wait(), pause_s)

    async def _read(self, requests: Sequence[SubscriptionRequest]) -> AsyncGenerator[bytes, None]:
        """Open the stream once and yield its frames.

        Raises: _StreamEnded with its status; a server that fell silent counts as UNAVAILABLE.
        """
        # Without a reader of answers they stay bytes.
        stream: Any = self._channel.stream_stream(STREAM, SubscriptionRequest.SerializeToString, None)
        call: Any = stream(metadata=self._settings.metadata())
        self._hung = False
        tasks = [asyncio.create_task(self._watch(call))] if self._silence_s else []
        try:
            await _write(call, requests[:REQUESTS_AT_ONCE])
            if len(requests) > REQUESTS_AT_ONCE:
                tasks.append(asyncio.create_task(_write_rest(call, requests[REQUESTS_AT_ONCE:])))
            while True:
                self._waiting_since = time.monotonic()
                frame = await call.read()
                self._waiting_since = None
                if frame is END:
                    return
                yield frame
        except asyncio.CancelledError:
            # Our own watchdog cancels the call, and so does the end of the feed, which looks like a cancelled task but
            # is none.
            task = asyncio.current_task()
            is_ours = self._hung or self._feed_closed.is_set()
            if not is_ours or (task is not None and task.cancelling()):
                raise
            if self._feed_closed.is_set():
                return
            raise _StreamEnded(
                grpc.StatusCode.UNAVAILABLE, f"no sign of the server for {self._silence_s:g} s"
            ) from None
        except grpc.aio.AioRpcError as error:
            raise _StreamEnded(error.code(), error.details() or "") from None
        except asyncio.InvalidStateError:
            # Writing to a call that has ended already: its status says why.
            raise _StreamEnded(await call.code(), await call.details() or "") from None
        finally:
            self._waiting_since = None
            for started in tasks:
                started.cancel()
            call.cancel()

    async def _watch(self, call: Any) -> None:
        """Cancel a call whose server says nothing, not even a heartbeat, while we wait for it."""
        while True:
            await asyncio.sleep(self._silence_s / 3)
            since = self._waiting_since
            if since is not None and time.monotonic() - since >= self._silence_s:
                self._hung = True
                call.cancel()
                return


async def _write(call: Any, requests: Sequence[SubscriptionRequest]) -> None:
    for request in requests:
        await call.write(request)


async def _write_rest(call: Any, requests: Sequence[SubscriptionRequest]) -> None:
    """Send the many requests of a stream that is taken up again, not faster than the server lets them wait."""
    # A call that has ended meanwhile says so to whoever reads it.
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for at in range(0, len(requests), REQUESTS_AT_ONCE):
            await asyncio.sleep(PAUSE_S)
            await _write(call, requests[at : at + REQUESTS_AT_ONCE])


class _Collecting:
    """What the task that reads and the program that takes say to each other."""

    def __init__(self, receiver: Receiver, rows: int) -> None:
        self._receiver = receiver
        self._rows = rows
        self.arrived, self.full, self.room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.room.set()

    def note(self, rows: int) -> None:
        """So many rows wait."""
        if rows:
            self.arrived.set()
        if rows >= self._rows:
            self.full.set()
            self.room.clear()

    def end(self) -> None:
        """Nothing more comes."""
        self.arrived.set()
        self.full.set()

    def take(self) -> list[Batch]:
        """Take what waits."""
        from raven.client.tables import make_batch  # noqa: PLC0415 - it loads Arrow

        taken = self._receiver.take()
        self.arrived.clear()
        self.full.clear()
        self.room.set()
        names = self._receiver.names()
        return [make_batch(Kind(kind), rows, buffers, names) for kind, rows, buffers in taken]


class _StreamEnded(Exception):
    """The stream is over; the status says whether that is an answer or an accident."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
