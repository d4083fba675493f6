"""REST requests to one venue: within its weight budget, and never before a ban ends."""

from __future__ import annotations

import aiohttp

from raven.errors import DataValidation, NetworkTimeout, RateLimited
from raven.ingest.budgets import Budget
from raven.observe import get_logger
from raven.ports import Request, Venue

__all__ = ["RestClient"]

log = get_logger("ingest")

_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
# Without a Retry-After: the shortest ban that is reported for each status.
_DEFAULT_BAN_S = {429: 60.0, 418: 120.0}
# exchangeInfo of a large venue is some 20 MB.
_MAX_BODY_BYTES = 64 * 1024 * 1024


class RestClient:
    """Asks one venue."""

    def __init__(self, venue: Venue, budget: Budget, *, timeout_s: float) -> None:
        self.budget = budget
        self._venue = venue
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, request: Request) -> bytes:
        """Return the body of an answer.

        Raises: RateLimited (nothing was sent, or the venue refused: come back after `retry_after_s`), NetworkTimeout
        (no answer, half an answer, or a server error: retryable), DataValidation (the venue refuses it for good).
        """
        self._check_ban()
        await self.budget.weight.take(request.weight)
        # Somebody else's request may have been refused while this one waited for its share.
        self._check_ban()
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers={"User-Agent": "raven"})
        url = f"{self._venue.rest_url}{request.path}"
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                self._account(answer)
                body = await _whole_body(answer, url)
                self._judge(answer, body, url)
                return body
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = f"no answer within {self._timeout.total:g} s" if isinstance(error, TimeoutError) else str(error)
            raise NetworkTimeout(f"{url}: {reason or type(error).__name__}") from error

    def _check_ban(self) -> None:
        left = self.budget.banned_s
        if left > 0:
            raise RateLimited(f"{self._venue.name} wants no request for another {left:.0f} s", left)

    def _account(self, answer: aiohttp.ClientResponse) -> None:
        used = answer.headers.get(_USED_WEIGHT, "")
        if used.isdigit():
            self.budget.weight.note(float(used))

    def _judge(self, answer: aiohttp.ClientResponse, body: bytes, url: str) -> None:
        if answer.status in _DEFAULT_BAN_S:
            wanted = answer.headers.get("Retry-After", "")
            seconds = float(wanted) if wanted.replace(".", "", 1).isdigit() else _DEFAULT_BAN_S[answer.status]
            self.budget.ban(seconds)
            log.warning("rate limited", venue=self._venue.name, status=answer.status, retry_after_s=seconds)
            raise RateLimited(f"{url}: {answer.status}, come back in {seconds:g} s", seconds)
        if answer.status >= 500:
            raise NetworkTimeout(f"{url}: {answer.status} {body[:200]!r}")
        if answer.status != 200:
            raise DataValidation(f"{url}: {answer.status} {body[:200]!r}; is the address right?")

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _whole_body(answer: aiohttp.ClientResponse, url: str) -> bytes:
    """Return everything that comes: one read returns only what has arrived so far."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(1 << 20):
        parts.append(part)
        size += len(part)
        if size > _MAX_BODY_BYTES:
            raise DataValidation(f"{url}: the answer is longer than {_MAX_BODY_BYTES} bytes")
    return b"".join(parts)
