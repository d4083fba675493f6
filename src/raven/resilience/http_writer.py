"""Posting lines to a database over HTTP, and what each of its answers means for whoever has the records.

Everything sent may be sent again: such a database replaces a record by itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

import aiohttp

from raven.errors import ConfigurationError, DatabaseConnection, DataValidation, NetworkTimeout, RateLimited, RavenError

__all__ = ["MAX_BODY_BYTES", "Forbidden", "HttpWriter", "Refused", "basic_authorization"]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
# Reverse proxies refuse more than 1 MiB unless they are told otherwise; larger bodies have not been faster.
MAX_BODY_BYTES = 1_000_000
# With two, a database on this machine works on one body while it receives the next; a distant one gains by four.
REQUESTS_AT_ONCE = 4
# Fast rather than small: lines shrink to a fifth all the same.
_GZIP_LEVEL = 1
_GZIP_WINDOW = 31
_LONGEST_QUOTE = 400
_RETRY_AFTER_S = 1.0


class Refused(DataValidation):
    """The database refuses a body for what stands in it; an unknown part of it may be kept. `words`: its own."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


class Forbidden(DatabaseConnection):
    """The database does not let us, or does not have what we ask for (401, 403, 404, 405): a person must act."""


class _TooLarge(Exception):
    """Not an error yet: the body goes in halves."""


class HttpWriter:
    """The connections to one database; used inside one event loop.

    `name`: its section of the configuration, for errors. User and password in `url` become basic authorization, unless
    `headers` bring an authorization. `advice`: what a person can do about a status, e.g. `{401: "check influx.token"}`.
    `on_refusal` is asked about a refused body: it raises what that means, or returns when the database is right.

    All methods raise: NetworkTimeout (no answer, or the connection broke: it may have taken everything), RateLimited
    (it says when to come back), DatabaseConnection (not reachable, an error of its own, or something that a person must
    put right there), Refused (for what was sent).
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        advice: Mapping[int, str] | None = None,
        on_refusal: Callable[[Refused], None] | None = None,
        connections: int = REQUESTS_AT_ONCE,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigurationError(f"{name}.url is not the address of an HTTP server; expected http://host:port")
        self._name = name
        self._advice = advice or {}
        self._on_refusal = on_refusal or _raise
        self._at_once = min(connections, REQUESTS_AT_ONCE)
        self._max_body_bytes = MAX_BODY_BYTES
        self._headers = dict(headers or {})
        if address.username is not None:
            user, password = unquote(address.username), unquote(address.password or "")
            self._headers.setdefault("Authorization", basic_authorization(user, password))
        self._address = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
        # Within one machine it would only cost time.
        self._compress = address.hostname not in ("localhost", "127.0.0.1", "::1")
        self._timeout = aiohttp.ClientTimeout(total=answer_timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._session: aiohttp.ClientSession | None = None

    async def write(
        self, path: str, params: Mapping[str, str], bodies: Iterable[memoryview], *, in_order: bool = False
    ) -> None:
        """Post all bodies, some at a time unless `in_order`; one that is too large goes in halves, split between lines.

        Of several failures the one is raised after which the same records may come again.
        """
        waiting = iter(bodies)

        async def post_them() -> None:
            for body in waiting:
                await self._post_in_parts(path, params, body)

        outcomes = await asyncio.gather(
            *(post_them() for _ in range(1 if in_order else self._at_once)), return_exceptions=True
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise min(failures, key=_how_bad)

    async def ask(self, method: str, path: str, params: Mapping[str, str]) -> bytes:
        """Return the answer to a request without a body; its refusal is a DatabaseConnection, no record is at fault."""
        try:
            return await self._request(method, path, params, None)
        except (Refused, _TooLarge) as refusal:
            advice = self._advice.get(400, "look at its address and version")
            raise DatabaseConnection(f"{refusal}; {advice}") from refusal

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post_in_parts(self, path: str, params: Mapping[str, str], body: memoryview) -> None:
        if len(body) > self._max_body_bytes:
            await self._post_halves(path, params, body)
            return
        try:
            await self._request("POST", path, params, body)
        except _TooLarge:
            self._max_body_bytes = min(self._max_body_bytes, max(len(body) // 2, 1))
            await self._post_halves(path, params, body)

    async def _post_halves(self, path: str, params: Mapping[str, str], body: memoryview) -> None:
        cut = bytes(body).rfind(b"\n", 0, len(body) // 2) + 1 or bytes(body).find(b"\n") + 1
        if cut in (0, len(body)):
            self._max_body_bytes = MAX_BODY_BYTES
            raise DatabaseConnection(
                f"{self._where(path)} answers 413 (too large) to one record of {len(body)} bytes; raise its limit"
            )
        for half in (body[:cut], body[cut:]):
            await self._post_in_parts(path, params, half)

    async def _request(self, method: str, path: str, params: Mapping[str, str], body: memoryview | None) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._at_once)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        data: bytes | memoryview | None = body
        headers = {}
        if body is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
            if self._compress:
                data = await asyncio.to_thread(zlib.compress, body, _GZIP_LEVEL, _GZIP_WINDOW)
                headers["Content-Encoding"] = "gzip"
        try:
            # A redirection would carry the credentials to somebody else.
            async with self._session.request(
                method, f"{self._address}{path}", params=params, data=data, headers=headers, allow_redirects=False
            ) as answer:
                said = await answer.read()
                if answer.status >= 300:
                    self._judge(path, answer, said)
                return said
        except TimeoutError as error:
            raise NetworkTimeout(f"{self._where(path)} gave no answer within {self._timeout.total:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise DatabaseConnection(f"{self._where(path)} cannot be reached: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkTimeout(f"{self._where(path)} hung up: {error or type(error).__name__}") from error

    def _judge(self, path: str, answer: aiohttp.ClientResponse, said: bytes) -> None:
        """Raise what a status other than success means, unless it means nothing bad."""
        status, words = answer.status, _words_of(said)
        message = f"{self._where(path)} answers {status}: {words[:_LONGEST_QUOTE] or answer.reason}"
        if status == 413:
            raise _TooLarge(message)
        if status == 429 or (status == 503 and "Retry-After" in answer.headers):
            raise RateLimited(message, _retry_after_s(answer.headers.get("Retry-After", "")))
        if status in (400, 422):
            self._on_refusal(Refused(message, words))
            return
        advice = self._advice.get(status, "")
        kind = Forbidden if status in (401, 403, 404, 405) else DatabaseConnection
        raise kind(f"{message}; {advice}" if advice else message)

    def _where(self, path: str) -> str:
        return f"{self._name}: {self._address}{path}"


def basic_authorization(user: str, password: str) -> str:
    """Return the value of the header Authorization for a user and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _raise(refusal: Refused) -> None:
    raise refusal


def _how_bad(failure: BaseException) -> int:
    """Order failures: what is no refusal of records comes first, because nothing may be put aside because of it."""
    if isinstance(failure, RateLimited):
        return 1
    if isinstance(failure, RavenError):
        return 2 if failure.retryable else 3
    return 0


def _words_of(said: bytes) -> str:
    """Return what the server says, without the wrapping that InfluxDB and QuestDB give it."""
    text = said.decode(errors="replace").strip()
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    if not isinstance(answer, dict):
        return text
    first = answer.get("error") or answer.get("message")
    return f"{first} {answer['data']}" if first and answer.get("data") else str(first or text)


def _retry_after_s(header: str) -> float:
    """Return the seconds to wait: the header has a number or a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return _RETRY_AFTER_S
