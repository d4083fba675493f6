"""History: what the journal has, as answers to `GetHistoricalData` and as the past of subscriptions.

Records of one symbol and type come in order; symbols and types one after the other, as the request names them. One
batch is in memory at a time, and a client that reads slowly makes nobody wait but the thread that reads for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from raven._core import Encoded
from raven.errors import DataValidation
from raven.fanout import Question, Refused, Status
from raven.journal import Journal
from raven.journal.past import Past, Records
from raven.observe.logs import get_logger
from raven.topics import DataType, Topic

__all__ = ["JournalHistory"]

log = get_logger("serve")

# Questions that are answered at once; others wait their turn.
AT_ONCE = 8
MOST_WAITING = 64
# How long a client may take nothing before its answer ends.
PIECE_TIMEOUT_S = 30.0


class Answers(Protocol):
    """Whoever carries pieces of an answer to a client: `raven._core.GrpcServer` is one."""

    def reply_piece(self, call_id: int, frames: Encoded, timeout_seconds: float) -> bool:
        """Send a part; False when the client has gone. Raises: TimeoutError when it takes nothing."""


class JournalHistory:
    """What one journal has."""

    def __init__(self, journal: Journal, folder: Path, default_depth: int) -> None:
        """Books of answers have `default_depth` levels a side; those of subscriptions as many as they ask for."""
        self._depth = default_depth
        self._journal = journal
        self._folder = folder
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="history")
        self._asked = 0

    def past(self, topic: Topic, topic_id: int, start_ns: int, depth: int) -> _TopicPast:
        """Begin to read what happened of a topic from a moment on. Raises: DataValidation for a type not kept."""
        past = Past(self._folder, topic.symbol, topic.data_type, venue=topic.venue, start_ns=start_ns, number=topic_id)
        return _TopicPast(past, self._journal, topic, topic_id, depth)

    async def answer(self, question: Question, call_id: int, answers: Answers) -> int:
        """Send what is asked for; return how many records that were.

        Raises: Refused when the question is at fault, too many are asked at once, or the client takes nothing.
        """
        wanted = question.checked()
        if self._asked >= MOST_WAITING:
            raise Refused(
                Status.RESOURCE_EXHAUSTED, f"{self._asked} questions for history wait already; ask again later"
            )
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._send, question, wanted, call_id, answers)
        except DataValidation as error:
            raise Refused(Status.INVALID_ARGUMENT, error.message) from None
        except TimeoutError:
            raise Refused(
                Status.RESOURCE_EXHAUSTED, f"nothing of the answer was read for {PIECE_TIMEOUT_S:g} s"
            ) from None
        finally:
            self._asked -= 1

    def _send(self, question: Question, wanted: list[tuple[str, DataType]], call_id: int, answers: Answers) -> int:
        sent = 0
        for records in self._records(question, wanted):
            part = records
            if question.limit and sent + len(records.words) > question.limit:
                part = Records(records.kind, records.topic, records.words.slice(0, question.limit - sent))
            if not answers.reply_piece(call_id, part.encode(depth=self._depth), PIECE_TIMEOUT_S):
                break
            sent += len(part.words)
            if sent == question.limit:
                break
        return sent

    def _records(self, question: Question, wanted: list[tuple[str, DataType]]) -> Iterator[Records]:
        until = self._journal.commit_now()
        for symbol, kind in wanted:
            past = Past(
                self._folder,
                symbol,
                kind,
                start_ns=question.start_ms * 1_000_000 or None,
                end_ns=question.end_ms * 1_000_000 or None,
            )
            yield from past.read(until)


class _TopicPast:
    """The past of one topic of this run; see `raven.fanout.ports.Past`."""

    def __init__(self, past: Past, journal: Journal, topic: Topic, topic_id: int, depth: int) -> None:
        self._past = past
        self._journal = journal
        self._topic = topic
        self._topic_id = topic_id
        self._depth = depth

    def pieces(self) -> Iterator[Encoded]:
        until = self._journal.commit_now()
        for records in self._past.read(until):
            yield records.encode(depth=self._depth)

    @property
    def last_sequence(self) -> int | None:
        if not self._journal.keeps(self._topic_id):
            return None
        (run, sequence), (old_run, old_sequence) = self._past.last, self._past.last_in_parquet
        if run == self._journal.run and sequence:
            return sequence
        if old_run != self._journal.run:
            return 0
        topic = self._topic
        if self._journal.beginnings(topic.venue, topic.symbol, topic.data_type) > 1:
            raise DataValidation(
                f"{topic} began more than once since the server started, and what is kept of it cannot be told apart "
                "before its next record; try again, or subscribe without 'start'"
            )
        return old_sequence
