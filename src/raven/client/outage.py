"""The time without a server: what ends a subscription, how long to wait before each attempt, what to say afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from raven.client.errors import RequestRefused, is_final, unreachable
from raven.client.records import Reconnected
from raven.client.settings import Settings
from raven.resilience.backoff import Backoff

# A restart of the server takes about a second, so the first attempts are close; after that nobody should be hammered.
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


class Outage:
    """Whether a subscription is without a server now, and since when. One task or thread uses it."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lost_at: float | None = None
        self._reason = ""
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)

    def lost(self, code: grpc.StatusCode, details: str) -> float:
        """Take the status with which the stream ended; return the seconds to wait before asking again.

        `OK` means that the server ended it. Raises: RequestRefused when asking again is of no use, ServerUnreachable
        when the client was told not to reconnect.
        """
        if is_final(code, reconnecting=self._lost_at is not None):
            raise RequestRefused(code.name, details or "the server gave no reason")
        cause = "the server ended the stream" if code is grpc.StatusCode.OK else f"{code.name}: {details}"
        if not self._settings.reconnect:
            raise unreachable(self._settings.address, cause)
        if self._lost_at is None:
            self._lost_at, self._reason = self._clock(), cause
        return self._backoff.next()

    def over(self) -> Reconnected | None:
        """Note that a message came; return what to tell about the outage that it ends, if there was one."""
        if self._lost_at is None:
            return None
        told = Reconnected(
            address=self._settings.address,
            reason=self._reason,
            downtime_s=self._clock() - self._lost_at,
            attempts=self._backoff.attempts,
        )
        self._lost_at = None
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        return told
