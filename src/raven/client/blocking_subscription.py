"""One subscription of a program that blocks: frames become records or batches; the server may be lost and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import grpc

from raven._core import Receiver
from raven.client.decode import decode_frame
from raven.client.outage import Outage
from raven.client.records import Event, Reconnected
from raven.client.request import DEFAULT_ROWS, DEFAULT_WAIT_S, Heard, Want
from raven.client.settings import Settings
from raven.client.subscription import PAUSE_S, REQUESTS_AT_ONCE, STREAM
from raven.proto.subscription_pb2 import SubscriptionRequest
from raven.records import Kind

if TYPE_CHECKING:
    from raven.client.tables import Batch


class BlockingSubscription:
    """An iterator over the records of a subscription; `close`, or the end of the feed, ends it from any thread."""

    def __init__(
        self, channel: grpc.Channel, settings: Settings, want: Want, silence_s: float, feed_closed: threading.Event
    ) -> None:
        # Nothing in there refers to this object: when the program lets go of it, the stream ends.
        self._stream = _Stream(channel, settings, want, silence_s, feed_closed)
        self._iterator: Iterator[Event] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the server sends: from the first message of a connection until that is lost."""
        return self._stream.is_connected

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """Wait for the next record. Raises: RequestRefused, ServerUnreachable."""
        if self._iterator is None:
            self._iterator = self._stream.events()
        return next(self._iterator)

    def close(self) -> None:
        """End the iteration, also one that waits in another thread."""
        self._stream.close()

    def batches(self, *, rows: int = DEFAULT_ROWS, wait_s: float = DEFAULT_WAIT_S) -> Generator[Batch, None, None]:
        """Yield Arrow batches; see `Subscription.batches`. A thread collects while the program works."""
        return self._stream.batches(rows, wait_s)


class _Stream:
    """What a subscription reads from, through as many connections as it takes."""

    def __init__(
        self, channel: grpc.Channel, settings: Settings, want: Want, silence_s: float, feed_closed: threading.Event
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._want = want
        self._silence_s = silence_s
        self._feed_closed = feed_closed
        self._closed = threading.Event()
        self._call: Any = None
        self.is_connected = False

    def close(self) -> None:
        """End what is iterated over, in whatever thread."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def events(self) -> Generator[Event, None, None]:
        """Yield records."""
        receiver = Receiver(has_past=self._want.has_past)
        with closing(self._frames(receiver)) as frames:
            for frame, back in frames:
                if back is not None:
                    yield back
                yield from decode_frame(frame, receiver)

    def batches(self, rows: int, wait_s: float) -> Generator[Batch, None, None]:
        """Yield batches that a thread collects."""
        receiver = Receiver(has_past=self._want.has_past)
        collecting = _Collecting(receiver, rows)
        thread = threading.Thread(target=self._collect, args=(receiver, collecting), name="raven batches", daemon=True)
        thread.start()
        try:
            while not collecting.is_over:
                yield from collecting.take(wait_s)
            if collecting.trouble is not None:
                raise collecting.trouble
        finally:
            collecting.stop()
            self.close()
            thread.join()

    def _collect(self, receiver: Receiver, collecting: _Collecting) -> None:
        try:
            with closing(self._frames(receiver)) as frames:
                for frame, _ in frames:
                    if not collecting.add(frame):
                        return
        except Exception as trouble:
            collecting.trouble = trouble
        finally:
            collecting.end()

    def _is_closed(self) -> bool:
        return self._closed.is_set() or self._feed_closed.is_set()

    def _frames(self, receiver: Receiver) -> Generator[tuple[bytes, Reconnected | None], None, None]:
        """Yield frames, and with the first one after a lost connection what to tell of that.

        `receiver` is to be shown every frame before the next one is asked for. Raises: RequestRefused,
        ServerUnreachable.
        """
        outage = Outage(self._settings)
        while not self._is_closed():
            requests = self._want.requests(self._settings.client_id, [Heard(*row) for row in receiver.heard()])
            try:
                with closing(self._read(requests)) as messages:
                    for frame in messages:
                        self.is_connected = True
                        yield frame, outage.over()
                code, details = grpc.StatusCode.OK, ""
            except _Silent as silent:
                code, details = grpc.StatusCode.UNAVAILABLE, str(silent)
            except grpc.RpcError as error:
                code, details = error.code(), error.details() or ""
            except ValueError:
                # The channel was closed before the stream could be opened.
                if not self._is_closed():
                    raise
                return
            finally:
                self.is_connected = False
            if not self._is_closed():
                self._pause(outage.lost(code, details))

    def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the feed or the subscription lives."""
        until = time.monotonic() + seconds
        while not self._is_closed() and (left := until - time.monotonic()) > 0:
            self._closed.wait(min(left, 0.25))

    def _read(self, requests: Sequence[SubscriptionRequest]) -> Generator[bytes, None, None]:
        """Open the stream once and yield its frames. Raises: _Silent, or grpc.RpcError with the stream's status."""
        done = threading.Event()

        def asking() -> Iterator[SubscriptionRequest]:
            for at, request in enumerate(requests):
                # Not faster than the server lets them wait for each other.
                if at and at % REQUESTS_AT_ONCE == 0:
                    done.wait(PAUSE_S)
                yield request
            # The request side stays open as long as the stream is read.
            done.wait()

        # Without a reader of answers they stay bytes.
        stream: Any = self._channel.stream_stream(STREAM, SubscriptionRequest.SerializeToString, None)
        call: Any = stream(asking(), metadata=self._settings.metadata())
        self._call = call
        watchdog = _Watchdog(call, self._silence_s)
        if self._silence_s:
            threading.Thread(target=watchdog.run, args=(done,), name="raven heartbeat", daemon=True).start()
        try:
            if self._is_closed():
                return
            while True:
                watchdog.waiting_since = time.monotonic()
                frame = next(call, None)
                watchdog.waiting_since = None
                if frame is None:
                    return
                yield frame
        except grpc.RpcError as error:
            # Our own watchdog cancels the call, which looks like a cancelled stream but is a silent server.
            if watchdog.has_cancelled and error.code() is grpc.StatusCode.CANCELLED:
                raise _Silent(f"no sign of the server for {self._silence_s:g} s") from None
            raise
        finally:
            done.set()
            call.cancel()


class _Collecting:
    """What the thread that reads and the thread that takes share; the lock orders both."""

    def __init__(self, receiver: Receiver, rows: int) -> None:
        self._receiver = receiver
        self._rows = rows
        self._changed = threading.Condition()
        self._has_ended = False
        self._is_wanted = True
        self.is_over = False
        """Whether all there was has been taken; of the thread that takes."""
        self.trouble: Exception | None = None
        """What ended it, written before `end`."""

    def add(self, frame: bytes) -> bool:
        """Collect a frame, and wait while there is no room for another; False when no more is wanted."""
        with self._changed:
            rows = self._receiver.collect(time.time_ns(), frame)
            if rows:
                self._changed.notify()
            self._changed.wait_for(lambda: self._receiver.rows < self._rows or not self._is_wanted)
            return self._is_wanted

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()

    def stop(self) -> None:
        """No more is wanted."""
        with self._changed:
            self._is_wanted = False
            self._changed.notify()

    def take(self, wait_s: float) -> list[Batch]:
        """Wait for rows, then until they are many, or so long; return them."""
        from raven.client.tables import make_batch  # noqa: PLC0415 - it loads Arrow

        with self._changed:
            self._changed.wait_for(lambda: self._receiver.rows or self._has_ended)
            self._changed.wait_for(lambda: self._receiver.rows >= self._rows or self._has_ended, wait_s)
            taken, names, self.is_over = self._receiver.take(), self._receiver.names(), self._has_ended
            self._changed.notify()
        return [make_batch(Kind(kind), rows, buffers, names) for kind, rows, buffers in taken]


class _Watchdog:
    """Cancels a call whose server says nothing, not even a heartbeat, while the program waits for it.

    The program's thread writes `waiting_since`, the watchdog's own thread `has_cancelled`; each only reads the other's.
    """

    def __init__(self, call: Any, silence_s: float) -> None:
        self.waiting_since: float | None = None
        self.has_cancelled = False
        self._call = call
        self._silence_s = silence_s

    def run(self, done: threading.Event) -> None:
        while not done.wait(self._silence_s / 3):
            since = self.waiting_since
            if since is not None and time.monotonic() - since >= self._silence_s:
                self.has_cancelled = True
                self._call.cancel()
                return


class _Silent(Exception):
    """The watchdog gave the stream up."""
