"""The durable memory: everything published, in segment files on this machine, without any other server."""

from raven.journal.journal import Journal, JournalStatus
from raven.journal.reading import Batch, JournalTopic, read_journal
from raven.journal.schema import SCHEMAS
from raven.journal.segment import Damage
from raven.journal.verify import TopicCount, Verdict, verify_journal

__all__ = [
    "SCHEMAS",
    "Batch",
    "Damage",
    "Journal",
    "JournalStatus",
    "JournalTopic",
    "TopicCount",
    "Verdict",
    "read_journal",
    "verify_journal",
]
