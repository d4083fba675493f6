"""Start parts in order, run until told to stop, then: stop accepting, drain, close, in the opposite order, within 10 s.

    lifecycle = Lifecycle()
    lifecycle.add("engine", start=engine.start, stop=engine.stop)
    lifecycle.add("grpc", start=grpc.start, drain=grpc.drain, stop=grpc.stop)   # hears the engine: added after it
    exit_code = await lifecycle.run()

SIGTERM or SIGINT begins the stop; a second one skips what is left of the draining and closes within a second.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from raven.clock import Clock, SystemClock
from raven.errors import InternalError
from raven.observe import get_logger, record_error

__all__ = ["STOP_BUDGET_S", "Lifecycle", "Part", "exit_soon", "run_program"]

log = get_logger("lifecycle")

# Promised: SIGTERM to exit within 10 s. The rest is for loop and interpreter to go.
STOP_BUDGET_S = 8.5
EXIT_GRACE_S = 0.7
# What is kept back for `stop` when draining takes all it may.
CLOSE_RESERVE_S = 1.0
# What all parts together get to close once somebody has lost patience; what cannot wait is on the disk by then.
FORCED_CLOSE_S = 1.0

Action = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is started and stopped with the program; every action is optional."""

    name: str
    start: Action | None = None
    drain: Action | None = None
    stop: Action | None = None


class Lifecycle:
    """Runs parts. One instance is one run."""

    def __init__(self, clock: Clock | None = None, *, stop_budget_s: float = STOP_BUDGET_S) -> None:
        self._clock = clock or SystemClock()
        self._stop_budget_s = stop_budget_s
        self._parts: list[Part] = []
        self._started: list[Part] = []
        self._running = False
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._close_by = float("inf")
        self._failure: BaseException | None = None
        self._watched: set[asyncio.Task[object]] = set()
        self.signal_received: int | None = None

    def add(
        self, name: str, *, start: Action | None = None, drain: Action | None = None, stop: Action | None = None
    ) -> None:
        """Add a part after those it depends on. `drain` finishes what was promised; `stop` lets go of everything.

        Raises: InternalError once the parts were started.
        """
        if self._running:
            raise InternalError(f"part {name!r} was added after the start; add every part before run()")
        self._parts.append(Part(name, start, drain, stop))

    def watch(self, task: asyncio.Task[object]) -> None:
        """End the program with an error when a task that should run for ever ends."""
        self._watched.add(task)
        task.add_done_callback(self._on_watched_done)

    def stop(self, reason: str = "asked to stop") -> None:
        """Begin the stop; safe to call again."""
        if not self._stopping.is_set():
            log.info("stopping", reason=reason)
            self._stopping.set()

    def fail(self, error: BaseException) -> None:
        """Begin the stop because of an error: the exit code will be 1."""
        self._failure = self._failure or error
        self.stop(f"{type(error).__name__}: {error}")

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stopping.is_set()

    async def run(self) -> int:
        """Start everything, wait for the stop, stop everything; return the exit code.

        0 after a signal or `stop`, 1 after a failure, 128 + signal when a second signal cut the stop short.
        Raises: what a part's `start` raised, after those already started were stopped.
        """
        self._running = True
        with self._signals():
            try:
                await self._start_all()
                await self._stopping.wait()
            except BaseException:
                self._stopping.set()
                await self._stop_all()
                raise
            await self._stop_all()
        if self._failure:
            record_error(self._failure, "lifecycle")
            return 1
        return 128 + (self.signal_received or 0) if self._forced.is_set() else 0

    async def _start_all(self) -> None:
        for part in self._parts:
            if self._stopping.is_set():
                return
            began = self._clock.monotonic()
            if part.start:
                starting = asyncio.ensure_future(part.start())
                await self._first_of(starting, self._forced)
            self._started.append(part)
            log.debug("started", component=part.name, seconds=round(self._clock.monotonic() - began, 3))

    async def _stop_all(self) -> None:
        began = self._clock.monotonic()
        order = list(reversed(self._started))
        # Drain all before closing any: what one part still holds, another one may have to deliver.
        for part in order:
            if part.drain:
                left = self._stop_budget_s - CLOSE_RESERVE_S - (self._clock.monotonic() - began)
                await self._attempt(part, "drain", part.drain, left)
        for part in order:
            if part.stop:
                left = self._stop_budget_s - (self._clock.monotonic() - began)
                await self._attempt(part, "stop", part.stop, max(left, 0.05))
        for task in self._watched:
            task.cancel()
        log.info("stopped", seconds=round(self._clock.monotonic() - began, 3))

    async def _attempt(self, part: Part, what: str, action: Action, seconds: float) -> None:
        if seconds <= 0 or (self._forced.is_set() and what == "drain"):
            log.warning("skipped", component=part.name, step=what)
            return
        doing = asyncio.ensure_future(action())
        began = self._clock.monotonic()
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        skip = asyncio.ensure_future(self._until_too_late(what))
        waiting: list[asyncio.Future[Any]] = [doing, timer, skip]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        skip.cancel()
        if not doing.done():
            doing.cancel()
            log.warning("abandoned", component=part.name, step=what, after_s=round(self._clock.monotonic() - began, 3))
        # One part that fails to stop must not keep the others from stopping.
        if not doing.cancelled() and doing.done() and (error := doing.exception()):
            record_error(error, f"{what} of {part.name}")

    async def _until_too_late(self, what: str) -> None:
        """Return when a second signal leaves no more time: draining ends at once, closing a little later."""
        await self._forced.wait()
        if what == "stop":
            # Whoever comes last gets a moment, too.
            await self._clock.sleep(max(self._close_by - self._clock.monotonic(), 0.05))

    @staticmethod
    async def _first_of(doing: asyncio.Future[Any], forced: asyncio.Event) -> None:
        skip: asyncio.Future[Any] = asyncio.ensure_future(forced.wait())
        try:
            await asyncio.wait({doing, skip}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing})
                return
            doing.result()
        finally:
            skip.cancel()

    def _on_watched_done(self, task: asyncio.Task[object]) -> None:
        self._watched.discard(task)
        if task.cancelled() or self._stopping.is_set():
            return
        self.fail(task.exception() or InternalError(f"task {task.get_name()!r} ended, but should run for ever"))

    def _on_signal(self, number: int) -> None:
        self.signal_received = number
        if self._stopping.is_set():
            log.warning("stopping at once", reason=f"second {signal.Signals(number).name}")
            self._close_by = min(self._close_by, self._clock.monotonic() + FORCED_CLOSE_S)
            self._forced.set()
        self.stop(signal.Signals(number).name)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def run_program(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` on a uvloop loop and return its exit code.

    Once `main` is done, whatever still holds the loop (a thread that does not come back) has less than a second.
    """

    async def call() -> int:
        return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(call())
        last_resort = exit_soon(code)
    last_resort.cancel()
    return code


def exit_soon(code: int, grace_s: float = EXIT_GRACE_S) -> threading.Timer:
    """End the process in `grace_s` seconds, whatever its threads do; the timer can be cancelled."""
    timer = threading.Timer(grace_s, _exit_now, (code,))
    timer.daemon = True
    timer.start()
    return timer


def _exit_now(code: int) -> None:
    log.warning("exiting with threads that did not end", threads=[thread.name for thread in threading.enumerate()])
    os._exit(code)
