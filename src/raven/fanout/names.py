"""What a venue calls what somebody asks for: the one place where a request's spelling becomes a venue's symbol."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from raven.instruments import Instrument, plain

__all__ = ["Names", "names_of"]


@runtime_checkable
class Names(Protocol):
    """Whoever knows the lists of venues; a collector that does is one."""

    def known_as(self, venue: str, text: str) -> str:
        """Return the venue's symbol for a symbol or name, as far as it is known now; see `Listing.known_as`."""

    async def resolve(self, venue: str, text: str) -> Instrument:
        """Return the instrument that a symbol or name means on a venue; may fetch the venue's list the first time.

        Raises: RavenError with a message for whoever asked.
        """


class _PlainNames:
    """For a collector that knows no lists: a name is a symbol with a stroke in it."""

    def known_as(self, venue: str, text: str) -> str:
        return plain(text)

    async def resolve(self, venue: str, text: str) -> Instrument:
        return Instrument(plain(text), 0, 0)


def names_of(collector: object) -> Names:
    """Return the names that a collector knows, or those that can be told without knowing."""
    return collector if isinstance(collector, Names) else _PlainNames()


def note(text: str, venue: str, instrument: Instrument) -> str:
    """Say what somebody gets who asked for one coin and gets a unit of many; empty when there is nothing to say."""
    if instrument.factor == 1 or text.upper() == instrument.symbol:
        return ""
    return f"{text.upper()} is {instrument.symbol} on {venue}: prices are of {instrument.factor} {instrument.base}"
