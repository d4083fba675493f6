"""One subscription of an asyncio program: reads frames, yields records, survives the loss of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from raven.client.decode import decode
from raven.client.outage import Outage
from raven.client.records import Event
from raven.client.request import Want
from raven.client.settings import Settings
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub

END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


class Subscription:
    """An async iterator over the records of a subscription; `async for` over it, `break` when you have enough.

    A frame is read when the records of the one before are used up, so a program that is slow holds up the server's
    cursor for it and nothing else: what it then misses arrives as a `Gap` record (or as skipped book states), and
    nothing piles up in memory.
    """

    def __init__(
        self,
        stub: MarketDataServiceStub,
        settings: Settings,
        want: Want,
        silence_s: float,
    ) -> None:
        self._stub = stub
        self._settings = settings
        self._want = want
        self._silence_s = silence_s
        self._waiting_since: float | None = None
        self._hung = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        outage = Outage(self._settings)
        # A stream that has begun had its past: after a lost connection it goes on with the present.
        want, live = self._want, self._want.live()
        while True:
            try:
                async with aclosing(self._messages(want)) as messages:
                    async for message in messages:
                        want = live
                        if (back := outage.over()) is not None:
                            yield back
                        for event in decode(message):
                            yield event
                code, details = grpc.StatusCode.OK, ""
            except _StreamEnded as end:
                code, details = end.code, end.details
            await asyncio.sleep(outage.lost(code, details))

    async def _messages(self, want: Want) -> AsyncGenerator[MarketDataMessage, None]:
        """Open the stream once and yield its frames.

        Raises: _StreamEnded with its status; a server that fell silent counts as UNAVAILABLE.
        """
        call: Any = self._stub.StreamMarketData(metadata=self._settings.metadata())
        self._hung = False
        watchdog = asyncio.create_task(self._watch(call)) if self._silence_s else None
        try:
            await call.write(want.message(self._settings.client_id))
            while True:
                self._waiting_since = time.monotonic()
                message = await call.read()
                self._waiting_since = None
                if message is END:
                    return
                yield message
        except asyncio.CancelledError:
            # Our own watchdog cancels the call, which looks like a cancelled task but is none.
            task = asyncio.current_task()
            if not self._hung or (task is not None and task.cancelling()):
                raise
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
            if watchdog is not None:
                watchdog.cancel()
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


class _StreamEnded(Exception):
    """The stream is over; the status says whether that is an answer or an accident."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
