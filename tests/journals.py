"""What a journal holds, for comparing two of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raven.journal import Batch, read_journal

__all__ = ["differences", "journal_tables"]

Key = tuple[str, str, str, str]
"""Venue, symbol, data type, kind of record."""


def journal_tables(folder: Path) -> dict[Key, pa.Table]:
    """Return the records of every topic and kind; the numbers of topics are a journal's own business."""
    found: dict[Key, list[pa.Table]] = defaultdict(list)
    for batch in read_journal(folder):
        assert isinstance(batch, Batch), str(batch)
        records = pa.table(batch.records)
        for number, topic in batch.topics.items():
            rows = records.filter(pc.equal(records["topic"], number)).drop_columns(["topic"])
            if len(rows):
                found[topic.venue, topic.symbol, topic.data_type.name, batch.kind.name].append(rows)
    return {key: pa.concat_tables(tables).combine_chunks() for key, tables in found.items()}


def differences(first: dict[Key, pa.Table], second: dict[Key, pa.Table]) -> dict[Key, list[str]]:
    """Return the columns that differ, by topic and kind; `["rows"]` where the numbers of records do."""
    found = {}
    for key in first.keys() | second.keys():
        one, other = first.get(key), second.get(key)
        if one is None or other is None or len(one) != len(other):
            found[key] = ["rows"]
        elif wrong := [name for name in one.column_names if not one[name].equals(other[name])]:
            found[key] = wrong
    return found
