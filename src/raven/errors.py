"""Everything Raven raises on purpose, in one tree.

    RavenError                    kind              retryable
    ├── DataValidation            DataValidation    no    the data itself is wrong; the same bytes fail again
    │   └── SequenceGap           DataValidation    yes   ids were skipped; a resync heals it
    ├── DatabaseConnection        DatabaseConnection yes  a storage backend cannot be reached or refuses for now
    ├── NetworkTimeout            NetworkTimeout    yes   a peer did not answer, or hung up
    │   └── RateLimited           NetworkTimeout    yes   the peer said when to come back; earlier is forbidden
    ├── ConfigurationError        ConfigurationError no   settings or arguments; a person must change them
    │   └── MissingDependency     ConfigurationError no   an optional package is not installed
    └── InternalError             InternalError     no    a bug or a broken promise inside Raven

A message says what happened, where, what was expected and what to do. `retryable` says whether doing the same again may
succeed without anybody changing anything; retry loops ask it and nothing else.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigurationError",
    "DataValidation",
    "DatabaseConnection",
    "InternalError",
    "MissingDependency",
    "NetworkTimeout",
    "RateLimited",
    "RavenError",
    "SequenceGap",
]


class RavenError(Exception):
    """Base of the tree. `kind` is the stable name for logs and metrics, `retryable` what a retry loop asks."""

    kind: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DataValidation(RavenError):
    """Data that can never be accepted as it is: malformed, out of range, or against a rule of the venue."""

    kind = "DataValidation"


class SequenceGap(DataValidation):
    """Updates were skipped: the book cannot be trusted until it is taken anew."""

    retryable = True


class DatabaseConnection(RavenError):
    """A storage backend cannot be reached or does not take writes now."""

    kind = "DatabaseConnection"
    retryable = True


class NetworkTimeout(RavenError):
    """A peer did not answer in time, or the connection was lost."""

    kind = "NetworkTimeout"
    retryable = True


class RateLimited(NetworkTimeout):
    """The peer asked us to slow down. `retry_after_s` is its demand, in seconds: no request before that."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConfigurationError(RavenError):
    """A setting, file or argument is wrong; the message names the key, where it was set, and what is accepted."""

    kind = "ConfigurationError"


class MissingDependency(ConfigurationError):
    """An optional package is needed for what was configured; the message has the command that installs it."""


class InternalError(RavenError):
    """A bug, or a promise between Raven's own parts that was broken."""

    kind = "InternalError"
