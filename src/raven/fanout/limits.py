"""How much one request and one client may ask for.

A request that is too large is INVALID_ARGUMENT (the client must change it); a quota that is used up is
RESOURCE_EXHAUSTED (the same request may pass later, or after an unsubscribe). Every message names the value, the
limit, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raven.fanout.refusal import Refused, Status, shorten


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows; the defaults fit a desk, not the open internet."""

    max_clients: int = 10_000
    """Clients known at one time, with a stream or with standing interest."""
    max_streams_per_client: int = 16
    max_topics_per_client: int = 10_000
    """Distinct `(venue, symbol, data type)` over all streams and the standing interest of a client."""
    max_symbols_per_request: int = 1000
    max_client_id_length: int = 128
    """Characters; ids appear in logs and in `ravenctl clients`."""
    max_symbol_length: int = 64
    max_filters: int = 16
    max_filter_length: int = 64
    """Characters of a filter's key, and of its value."""
    max_pending_requests: int = 64
    """Requests of one client that wait for an earlier one (a symbol that is just starting)."""

    def check_client_id(self, client_id: str) -> None:
        """Raises: Refused INVALID_ARGUMENT for an id that is too long or cannot be printed on one line."""
        _check_text("client_id", client_id, self.max_client_id_length)

    def check_symbols(self, symbols: Sequence[str]) -> None:
        """Raises: Refused INVALID_ARGUMENT for too many symbols, an empty one, one too long or with spaces or control
        characters.
        """
        if len(symbols) > self.max_symbols_per_request:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"symbols has {len(symbols)} entries, at most {self.max_symbols_per_request} fit in one request; "
                "send several requests, or '*' for every configured symbol",
            )
        for position, symbol in enumerate(symbols):
            self.check_symbol(symbol, f"symbols[{position}]")

    def check_symbol(self, symbol: str, what: str = "symbol") -> None:
        """Raises: Refused INVALID_ARGUMENT for a symbol that is empty, too long or has spaces or control characters."""
        if not symbol or any(character.isspace() for character in symbol):
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"{what} is {shorten(symbol)}; write the venue's own symbol without spaces, like 'BTCUSDT'",
            )
        _check_text(what, symbol, self.max_symbol_length)

    def check_filters(self, filters: Mapping[str, str]) -> None:
        """Raises: Refused INVALID_ARGUMENT for too many filters or a key or value that is too long."""
        if len(filters) > self.max_filters:
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"filters has {len(filters)} entries, at most {self.max_filters} are read; remove some",
            )
        for key, value in filters.items():
            _check_text("a filter's key", key, self.max_filter_length)
            _check_text(f"filters[{key!r}]", value, self.max_filter_length)

    def check_topics(self, client_id: str, held: int, added: int) -> None:
        """Raises: Refused RESOURCE_EXHAUSTED when `held` topics and `added` more exceed the client's quota."""
        if held + added > self.max_topics_per_client:
            raise Refused(
                Status.RESOURCE_EXHAUSTED,
                f"client {shorten(client_id)} holds {held} topics and asks for {added} more; the limit is "
                f"{self.max_topics_per_client} topics per client; unsubscribe from some, or split over several "
                "client ids",
            )


def _check_text(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise Refused(Status.INVALID_ARGUMENT, f"{what} is {shorten(text)}; at most {limit} characters are allowed")
    if not text.isprintable():
        raise Refused(Status.INVALID_ARGUMENT, f"{what} is {shorten(text)}; control characters are not allowed")
