"""Which venue is meant: from the symbols of a request to topics."""

from __future__ import annotations

import asyncio

from raven.errors import RavenError
from raven.fanout.filters import Delivery
from raven.fanout.ports import Collector
from raven.fanout.refusal import Refused, Status, Unobtainable, nearest, shorten, unobtainable
from raven.fanout.requests import EVERY_SYMBOL, Wish
from raven.observe.logs import get_logger
from raven.topics import DataType, Topic

log = get_logger("fanout")

Failures = dict[str, Unobtainable]
"""What could not be had, by topic or symbol."""


async def locate(collector: Collector, wish: Wish, timeout_s: float) -> tuple[dict[Topic, Delivery], Failures]:
    """Find the topics of a wish, and what of it no venue has.

    A venue filter decides; without one the first configured venue wins that is configured for the symbol, then the
    first that lists it. `*` means the configured symbols of the venues asked, as they are now.
    Raises: Refused INVALID_ARGUMENT for a venue that is not configured.
    """
    venues = list(collector.venues())
    if wish.filters.venue is not None:
        if wish.filters.venue not in venues:
            configured = ", ".join(venues) or "none"
            raise Refused(
                Status.INVALID_ARGUMENT,
                f"venue is {shorten(wish.filters.venue)}{nearest(wish.filters.venue, venues)}; this server "
                f"collects from: {configured}",
            )
        venues = [wish.filters.venue]
    configured_by = {venue: frozenset(collector.symbols(venue)) for venue in venues}
    pairs = [(symbol, kind) for symbol in wish.symbols if symbol != EVERY_SYMBOL for kind in wish.kinds]
    found = await asyncio.gather(
        *(_venue_of(collector, configured_by, symbol, kind, timeout_s) for symbol, kind in pairs)
    )
    topics: dict[Topic, Delivery] = {}
    failures: Failures = {}
    for (symbol, kind), venue in zip(pairs, found, strict=True):
        if isinstance(venue, Unobtainable):
            failures[f"{symbol} {kind.name}"] = venue
        else:
            topics[Topic(venue, symbol, kind)] = wish.filters.delivery(kind)
    if EVERY_SYMBOL in wish.symbols:
        everything = await _every_symbol(collector, configured_by, wish.kinds, timeout_s)
        if not everything:
            names = ", ".join(kind.name for kind in wish.kinds)
            failures[EVERY_SYMBOL] = Unobtainable(
                f"'*' means every configured symbol, and none is configured that has {names} on "
                f"{', '.join(venues) or 'any venue'}"
            )
        topics.update({topic: wish.filters.delivery(topic.data_type) for topic in everything})
    return topics, failures


async def _venue_of(
    collector: Collector, configured_by: dict[str, frozenset[str]], symbol: str, kind: DataType, timeout_s: float
) -> str | Unobtainable:
    preferred = [venue for venue, symbols in configured_by.items() if symbol in symbols]
    others = [venue for venue in configured_by if venue not in preferred]
    trouble: Unobtainable | None = None
    for venue in preferred + others:
        answer = await _offers(collector, venue, symbol, kind, timeout_s)
        if isinstance(answer, Unobtainable):
            trouble = trouble or answer
        elif answer:
            return venue
    if trouble is not None:
        return trouble
    asked = ", ".join(configured_by) or "none configured"
    known = sorted(frozenset().union(*configured_by.values()))
    return Unobtainable(f"no venue ({asked}) has {kind.name} of {shorten(symbol)}{nearest(symbol, known)}")


async def _every_symbol(
    collector: Collector, configured_by: dict[str, frozenset[str]], kinds: tuple[DataType, ...], timeout_s: float
) -> list[Topic]:
    candidates = [
        Topic(venue, symbol, kind)
        for venue, symbols in configured_by.items()
        for symbol in sorted(symbols)
        for kind in kinds
    ]
    offered = await asyncio.gather(
        *(_offers(collector, topic.venue, topic.symbol, topic.data_type, timeout_s) for topic in candidates)
    )
    return [topic for topic, answer in zip(candidates, offered, strict=True) if answer is True]


async def _offers(
    collector: Collector, venue: str, symbol: str, kind: DataType, timeout_s: float
) -> bool | Unobtainable:
    try:
        async with asyncio.timeout(timeout_s):
            return await collector.offers(venue, symbol, kind)
    except Unobtainable as refusal:
        return refusal
    except RavenError as error:
        return unobtainable(error)
    except TimeoutError:
        return Unobtainable(
            f"{venue} did not say within {timeout_s:g} s whether it has {shorten(symbol)}; ask again",
            Status.UNAVAILABLE,
        )
    except Exception:
        log.exception("asking a venue for a symbol failed", venue=venue, symbol=symbol)
        return Unobtainable(
            f"{venue} could not be asked for {shorten(symbol)}; the server's log has the details", Status.INTERNAL
        )
