"""The past of a topic on its way to a stream, and the seam behind which the present goes on.

    journal ──► pieces ──► the stream, as fast as its client takes them
                              └─ all read: go on right behind the newest record of them, without a hole or a repetition

A topic that is published faster than it is read has moved on meanwhile: then what is missing is read, too, and so on,
until what comes next is still in the topic's ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from raven.errors import RavenError
from raven.fanout.clients import Held, Stream
from raven.fanout.data_types import EVENTS
from raven.fanout.filters import Position
from raven.fanout.ports import History, Past, Streams
from raven.fanout.refusal import Status, Unobtainable
from raven.observe.logs import get_logger
from raven.topics import Topic

log = get_logger("fanout")

NO_HISTORY = "this server keeps no history: set journal.enabled = true (or the url of a database) and start it again"
# Rounds of reading what was published meanwhile; each is shorter than the one before.
_SEAM_TRIES = 20
# Streams that are sent their past at the same time; each needs a thread for as long as its client takes. Others wait.
_PASTS_AT_ONCE = 32
# How long a client may take nothing of its past.
_PUSH_TIMEOUT_S = 30.0


def attach(streams: Streams, stream: Stream, topic: Topic, held: Held) -> None:
    """Let a stream read a topic from now on. Raises: KeyError when the topic has ended."""
    delivery = held.delivery
    streams.attach(
        stream.stream_id,
        held.topic_id,
        depth=delivery.depth,
        conflate_ms=delivery.conflate_ms,
        overflow=delivery.overflow,
        # A state is worth having at once; an old trade is not news.
        from_latest=topic.data_type not in EVENTS,
    )


def take_up(streams: Streams, stream: Stream, held: Held, after: Position) -> bool:
    """Let a stream read a topic on from behind what its client had; False when that cannot be done.

    Raises: KeyError when the topic has ended.
    """
    delivery = held.delivery
    return streams.take_up(
        stream.stream_id,
        held.topic_id,
        after.sequence,
        after.recv_ns,
        depth=delivery.depth,
        conflate_ms=delivery.conflate_ms,
        overflow=delivery.overflow,
    )


class PastSender:
    """Sends streams their past; `refuse` ends a stream that cannot have it."""

    def __init__(
        self, streams: Streams, history: History | None, refuse: Callable[[Stream, Status, str], None]
    ) -> None:
        self._streams = streams
        self._history = history
        self._refuse = refuse
        self._threads = ThreadPoolExecutor(_PASTS_AT_ONCE, thread_name_prefix="past")

    async def send(self, stream: Stream, topic: Topic, held: Held, start_ns: int) -> None:
        """Send a stream the past of a topic, and let it go on with the present right behind that."""
        try:
            if self._history is None:
                raise Unobtainable(NO_HISTORY, Status.UNIMPLEMENTED)
            past = self._history.past(topic, held.topic_id, start_ns, held.delivery.depth)
            # One topic after the other, so that a stream of many takes no more than its share of the threads.
            async with stream.past_lock:
                for _ in range(_SEAM_TRIES):
                    loop = asyncio.get_running_loop()
                    if not await loop.run_in_executor(self._threads, self._push, stream, topic, held, past):
                        return
                    if self._go_on(stream, topic, held, past.last_sequence):
                        return
                    # The topic was faster than the disk: what is missing is in the journal by now.
            raise Unobtainable(
                f"{topic} moves faster than its past can be read; subscribe without 'start'", Status.UNAVAILABLE
            )
        except Unobtainable as refusal:
            self._refuse(stream, refusal.status, refusal.message)
        except RavenError as error:
            self._refuse(stream, Status.UNAVAILABLE, error.message)
        except TimeoutError:
            self._refuse(
                stream, Status.RESOURCE_EXHAUSTED, f"the past of {topic} waits for a client that takes nothing"
            )
        except Exception:
            log.exception("the past of a topic could not be sent", topic=topic.name, stream=stream.stream_id)
            self._refuse(stream, Status.INTERNAL, "the server failed on the past; its log has the details")

    def close(self) -> None:
        """Begin nothing more; what a thread is about to push ends with its stream."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _push(self, stream: Stream, topic: Topic, held: Held, past: Past) -> bool:
        """Send what there is; False when nobody wants it any more. Runs on a thread."""
        for piece in past.pieces():
            if stream.held.get(topic) is not held or not self._streams.push(stream.stream_id, piece, _PUSH_TIMEOUT_S):
                return False
        return stream.held.get(topic) is held

    def _go_on(self, stream: Stream, topic: Topic, held: Held, after: int | None) -> bool:
        """Attach a stream behind its past; False when what follows is on the disk only."""
        delivery = held.delivery
        try:
            if after is None:
                attach(self._streams, stream, topic, held)
                return True
            return self._streams.resume(
                stream.stream_id,
                held.topic_id,
                after,
                depth=delivery.depth,
                conflate_ms=delivery.conflate_ms,
                overflow=delivery.overflow,
            )
        except KeyError:
            raise Unobtainable("the topic has just ended; subscribe again", Status.UNAVAILABLE) from None
