"""Which venue is meant: from the symbols of a request to topics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from raven.errors import RavenError
from raven.fanout.filters import Delivery
from raven.fanout.names import names_of, note
from raven.fanout.ports import Collector
from raven.fanout.refusal import Refused, Status, Unobtainable, nearest, shorten, unobtainable
from raven.fanout.requests import EVERY_SYMBOL, Wish
from raven.instruments import Instrument
from raven.observe.logs import get_logger
from raven.topics import DataType, Topic

log = get_logger("fanout")

Failures = dict[str, Unobtainable]
"""What could not be had, by topic or symbol."""


@dataclass(slots=True)
class Found:
    """What a wish comes to."""

    topics: dict[Topic, Delivery] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    """What whoever asked should know, each once."""


async def locate(collector: Collector, wish: Wish, timeout_s: float) -> Found:
    """Find the topics of a wish, by each venue's own symbols, and what of it no venue has.

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
    pairs = [(text, kind) for text in wish.symbols if text != EVERY_SYMBOL for kind in wish.kinds]
    answers = await asyncio.gather(
        *(_topic_of(collector, configured_by, text, kind, timeout_s) for text, kind in pairs)
    )
    found = Found()
    for (text, kind), answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Unobtainable):
            found.failures[f"{text} {kind.name}"] = answer
        else:
            venue, instrument = answer
            found.topics[Topic(venue, instrument.symbol, kind)] = wish.filters.delivery(kind)
            if said := note(text, venue, instrument):
                found.notes[said] = None
    if EVERY_SYMBOL in wish.symbols:
        everything = await _every_symbol(collector, configured_by, wish.kinds, timeout_s)
        if not everything:
            names = ", ".join(kind.name for kind in wish.kinds)
            found.failures[EVERY_SYMBOL] = Unobtainable(
                f"'*' means every configured symbol, and none is configured that has {names} on "
                f"{', '.join(venues) or 'any venue'}"
            )
        found.topics.update({topic: wish.filters.delivery(topic.data_type) for topic in everything})
    return found


async def _topic_of(
    collector: Collector, configured_by: dict[str, frozenset[str]], text: str, kind: DataType, timeout_s: float
) -> tuple[str, Instrument] | Unobtainable:
    names = names_of(collector)
    preferred = [venue for venue, symbols in configured_by.items() if names.known_as(venue, text) in symbols]
    others = [venue for venue in configured_by if venue not in preferred]
    trouble: Unobtainable | None = None
    unknown: list[str] = []
    for venue in preferred + others:
        answer = await _offered(collector, venue, text, kind, timeout_s)
        if isinstance(answer, Instrument):
            return venue, answer
        if answer is not None and answer.status is Status.NOT_FOUND:
            unknown.append(answer.message)
        elif answer is not None:
            trouble = trouble or answer
    if trouble is not None:
        return trouble
    if unknown and len(unknown) == len(configured_by):
        return Unobtainable("; ".join(unknown))
    asked = ", ".join(configured_by) or "none configured"
    known = sorted(frozenset().union(*configured_by.values()))
    return Unobtainable(f"no venue ({asked}) has {kind.name} of {shorten(text)}{nearest(text, known)}")


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
        *(_offered(collector, topic.venue, topic.symbol, topic.data_type, timeout_s) for topic in candidates)
    )
    return [topic for topic, answer in zip(candidates, offered, strict=True) if isinstance(answer, Instrument)]


async def _offered(
    collector: Collector, venue: str, text: str, kind: DataType, timeout_s: float
) -> Instrument | Unobtainable | None:
    """Return the instrument that a venue has this kind of data for, None when it has none, or what went wrong."""
    try:
        async with asyncio.timeout(timeout_s):
            instrument = await names_of(collector).resolve(venue, text)
            return instrument if await collector.offers(venue, instrument.symbol, kind) else None
    except Unobtainable as refusal:
        return refusal
    except RavenError as error:
        return unobtainable(error)
    except TimeoutError:
        return Unobtainable(
            f"{venue} did not say within {timeout_s:g} s whether it has {shorten(text)}; ask again",
            Status.UNAVAILABLE,
        )
    except Exception:
        log.exception("asking a venue for a symbol failed", venue=venue, symbol=text)
        return Unobtainable(
            f"{venue} could not be asked for {shorten(text)}; the server's log has the details", Status.INTERNAL
        )
