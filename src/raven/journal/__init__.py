"""The durable memory: everything published, in segment files on this machine, without any other server."""

from raven.journal.compaction import Compacted, compact
from raven.journal.journal import Journal, JournalStatus
from raven.journal.partitions import parquet_folder
from raven.journal.reading import Batch, JournalTopic, read_journal
from raven.journal.schema import SCHEMAS
from raven.journal.segment import Damage
from raven.journal.verify import TopicCount, Verdict, verify_journal

__all__ = [
    "SCHEMAS",
    "Batch",
    "Compacted",
    "Damage",
    "Journal",
    "JournalStatus",
    "JournalTopic",
    "TopicCount",
    "Verdict",
    "compact",
    "parquet_folder",
    "read_journal",
    "verify_journal",
]
