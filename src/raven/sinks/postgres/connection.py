"""Connecting to PostgreSQL, and what its failures mean in Raven's words."""

from __future__ import annotations

import asyncpg

from raven.config.secrets import mask_url
from raven.errors import ConfigurationError, DatabaseConnection, DataValidation, NetworkTimeout, RavenError

__all__ = ["ANSWER_TIMEOUT_S", "Judging", "connected"]

ANSWER_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 5.0


async def connected(url: str, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> asyncpg.Connection:
    """Return a connection whose times are UTC. Raises: DatabaseConnection when nobody is there, what asyncpg raises."""
    try:
        return await asyncpg.connect(
            url,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=answer_timeout_s,
            server_settings={"application_name": "raven", "timezone": "UTC"},
        )
    except TimeoutError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise DatabaseConnection(f"timescale: {mask_url(url)} cannot be reached: {reason}") from error


class Judging:
    """Says in Raven's words what a failure of the database means.

    Raises: ConfigurationError (a person must act), DataValidation (a record cannot be kept), DatabaseConnection,
    NetworkTimeout (tried again later).
    """

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, RavenError):
            return
        words = f"timescale: {str(error) or type(error).__name__}"
        if isinstance(error, TimeoutError):
            raise NetworkTimeout("timescale: no answer in time") from error
        if isinstance(error, asyncpg.PostgresError):
            state = error.sqlstate or ""
            # Data exceptions, violated constraints, and rows that are too long for an index.
            if state[:2] in ("22", "23", "54"):
                raise DataValidation(words) from error
            if state == "42501":
                advice = "give its user the right, or let one who has it run `ravenctl init-db --url … --owner USER`"
                raise ConfigurationError(f"{words}; check timescale.url, {advice}") from error
            if state[:2] in ("28", "3D", "3F"):
                raise ConfigurationError(f"{words}; check timescale.url and the rights of its user") from error
            raise DatabaseConnection(words) from error
        # The second: what the driver says when a server ends a connection in the midst of a COPY.
        if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError):
            raise DatabaseConnection(words) from error
