"""Saying no to a subscriber: which status, and a sentence that helps.

Two kinds of "no" exist, and a client can tell them apart:

- `Refused` becomes a gRPC error status. The request itself is at fault (malformed, too large, over a quota, not
  implemented) and nothing of it was done.
- `Unobtainable` concerns one topic of a good request. A unary `Subscribe` then answers `success = false`, lists the
topics it did obtain and explains the others; inside a stream, where there is no answer to put it in, the stream ends
with the status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

from raven.errors import RavenError


class Status(IntEnum):
    """The gRPC status codes this server uses. Source: the gRPC specification, "Status codes and their use in gRPC"."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Refused(Exception):
    """A request that is answered with a gRPC status; nothing of it was done."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Unobtainable(Exception):
    """One topic that cannot be had: the collector raises it, the subscriber reads its message.

    `status` is what a stream ends with: NOT_FOUND when no venue lists the symbol, UNAVAILABLE when trying again may
    help.
    """

    def __init__(self, message: str, status: Status = Status.NOT_FOUND) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def unobtainable(error: RavenError) -> Unobtainable:
    """Return what a subscriber is told when collecting fails with an error of the house's tree."""
    return Unobtainable(error.message, Status.UNAVAILABLE if error.retryable else Status.NOT_FOUND)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the most similar known word, or nothing when none is similar."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""


def shorten(text: str, length: int = 40) -> str:
    """Return `text` as it may appear in a message: quoted, and cut when it is long."""
    return repr(text) if len(text) <= length else f"{text[:length]!r}… ({len(text)} characters)"
