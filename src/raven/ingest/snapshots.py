"""Snapshots for books that are out of sync: one queue per venue, within its request budget.

The engine asks (event `resync`), buffers diffs meanwhile, and says whether an answer fitted. Books that somebody saw
before come first, then those that wait longest. At most one request per symbol is under way, and between two of them
lies a pause that grows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from raven._core import PUBLISHED, REJECTED
from raven.clock import Clock
from raven.errors import DataValidation, NetworkTimeout, RateLimited
from raven.ingest.capture import Capture
from raven.ingest.engine_port import BookEngine
from raven.ingest.rest import RestClient
from raven.ingest.settings import IngestSettings
from raven.observe import record_snapshot_request
from raven.observe.metrics import record_error
from raven.ports import Venue
from raven.resilience.backoff import Backoff

__all__ = ["SnapshotQueue"]

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
# Times are sums of floats: what is due in less than this would be looked at again and again.
_SHORTEST_S = 0.001
# The engine's reason for the first snapshot of a book: nobody has seen that book yet.
_FIRST = "start"


@dataclass(slots=True)
class _Job:
    symbol: str
    reason: str
    since: float
    backoff: Backoff
    not_before: float
    is_first: bool
    is_running: bool = False


class SnapshotQueue:
    """Fetches what the engine asks for."""

    def __init__(
        self,
        venue: Venue,
        engine: BookEngine,
        rest: RestClient,
        settings: IngestSettings,
        clock: Clock,
        capture: Capture | None = None,
    ) -> None:
        self._venue = venue
        self._engine = engine
        self._rest = rest
        self._settings = settings
        self._clock = clock
        self._capture = capture or Capture()
        self._jobs: dict[int, _Job] = {}
        self._wake = asyncio.Event()

    def request(self, instrument: int, symbol: str, reason: str) -> None:
        """Queue a snapshot; asked again for the same symbol, the next try comes after its pause."""
        now = self._clock.monotonic()
        job = self._jobs.get(instrument)
        if job is None:
            backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            self._jobs[instrument] = _Job(symbol, reason, now, backoff, now, reason == _FIRST)
        elif not job.is_running:
            job.reason = reason
        self._wake.set()

    def synced(self, instrument: int) -> None:
        """Forget a symbol whose book is exact again."""
        self._jobs.pop(instrument, None)

    forget = synced

    def waiting(self) -> dict[str, float]:
        """Return the symbols without a book, each with the seconds after which its snapshot should come at the latest.

        An estimate for people: what stands before it in the queue, at the budget's pace, or the end of a ban.
        """
        weight = self._venue.depth_request("", self._settings.snapshot_levels).weight
        budget, now = self._rest.budget, self._clock.monotonic()
        jobs = sorted(self._jobs.values(), key=lambda job: (job.not_before > now, job.is_first, job.since))
        return {
            job.symbol: round(max(budget.banned_s, job.not_before - now, budget.weight.queue_s(weight * place)), 1)
            for place, job in enumerate(jobs, start=1)
        }

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as workers:
            for number in range(self._settings.snapshot_workers):
                workers.create_task(self._work(), name=f"snapshots {self._venue.name} {number}")

    async def _work(self) -> None:
        while True:
            instrument, pause = self._next()
            if instrument is None:
                await self._sleep(pause)
                continue
            job = self._jobs[instrument]
            job.is_running = True
            try:
                await self._fetch(instrument, job)
            except Exception as error:
                # One broken answer must not end the snapshots of all other symbols.
                record_error(error, f"snapshot of {job.symbol} at {self._venue.name}")
            finally:
                job.is_running = False
                job.not_before = max(job.not_before, self._clock.monotonic() + job.backoff.next())

    def _next(self) -> tuple[int | None, float]:
        """Return the symbol whose turn it is, or how long nobody's is."""
        ban = self._rest.budget.banned_s
        if ban > 0:
            return None, min(ban, _LONGEST_PAUSE_S)
        now = self._clock.monotonic()
        idle = [(instrument, job) for instrument, job in self._jobs.items() if not job.is_running]
        due = [(job.is_first, job.since, instrument) for instrument, job in idle if job.not_before <= now]
        if due:
            return min(due)[2], 0.0
        return None, min((job.not_before - now for _, job in idle), default=_LONGEST_PAUSE_S)

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        reasons = self._wake.wait(), self._clock.sleep(max(_SHORTEST_S, seconds))
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(reason) for reason in reasons]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _fetch(self, instrument: int, job: _Job) -> None:
        began = self._clock.monotonic()
        levels = self._settings.snapshot_levels
        outcome, reason = "ok", job.reason
        try:
            request = self._venue.depth_request(job.symbol, levels)
            body = await self._rest.get(request)
            if self._jobs.get(instrument) is not job:
                return  # Nobody wants it any more, or the stream it belonged to was lost meanwhile.
            limit = self._venue.depth_limit(levels)
            recv_ns = self._clock.time_ns()
            self._capture.answered(self._venue.name, recv_ns, request.path, body)
            bits = self._engine.on_snapshot(instrument, recv_ns, body, limit=limit)
            outcome = "ok" if bits & PUBLISHED else "refused" if bits & REJECTED else "stale"
            self._engine.handle_events()
        except RateLimited as error:
            outcome, reason = "rate_limited", error.message
            job.not_before = began + error.retry_after_s
        except NetworkTimeout as error:
            outcome, reason = "timeout", error.message
        except DataValidation as error:
            outcome, reason = "http_error", error.message
        record_snapshot_request(self._venue.name, job.symbol, outcome, self._clock.monotonic() - began, reason)
