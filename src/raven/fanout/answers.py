"""The sentences that subscribers read when a request was good: what they have now, and what could not be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raven.fanout.refusal import Unobtainable
from raven.fanout.requests import Answer
from raven.topics import Topic

# More reasons than this in one message help nobody; their number is told.
MAX_REASONS = 5


def subscribed(
    client_id: str, topics: Iterable[Topic], failures: Mapping[str, Unobtainable], streams: int, interest_ttl_s: float
) -> Answer:
    """Answer a unary `Subscribe`; `streams` is how many open streams the topics flow into."""
    names = tuple(sorted(topic.name for topic in topics))
    if streams:
        where = f"flowing into {streams} open stream{'' if streams == 1 else 's'}"
    else:
        kept = f"kept {interest_ttl_s:.0f} s without one"
        where = f"waiting for a StreamMarketData stream with client_id {client_id!r} ({kept})"
    done = f"subscribed to {count(names)}, {where}"
    if not failures:
        return Answer(True, done, names)
    refusal = ending(failures)
    return Answer(False, f"{refusal.message}; {done}" if names else refusal.message, names, refusal.status)


def unsubscribed(client_id: str, gone: Iterable[Topic], kept: Iterable[Topic]) -> Answer:
    """Answer a unary `Unsubscribe`; with nothing gone, say what the client holds."""
    names = tuple(sorted(topic.name for topic in gone))
    if names:
        return Answer(True, f"unsubscribed from {count(names)}", names)
    held = sorted(topic.name for topic in kept)
    has = ", ".join(held[:MAX_REASONS]) + (", …" if len(held) > MAX_REASONS else "") if held else "nothing"
    return Answer(False, f"client {client_id!r} holds no such topic; it holds {has}", ())


def explain(failures: Mapping[str, Unobtainable]) -> str:
    """Return every reason once, the first few in full."""
    reasons = list(dict.fromkeys(failure.message for failure in failures.values()))
    more = len(reasons) - MAX_REASONS
    return "; ".join(reasons[:MAX_REASONS]) + (f"; and {more} more like these" if more > 0 else "")


def ending(failures: Mapping[str, Unobtainable]) -> Unobtainable:
    """Return what to say when these could not be had: every reason, and the status of the first."""
    return Unobtainable(explain(failures), next(iter(failures.values())).status)


def count(names: tuple[str, ...]) -> str:
    """Return `1 topic` or `2 topics`."""
    return f"{len(names)} topic{'' if len(names) == 1 else 's'}"
