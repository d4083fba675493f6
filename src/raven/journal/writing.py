"""How a Parquet file is written: small, whole or not at all, and read back before anything is removed for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raven.errors import InternalError
from raven.journal.partitions import SEGMENTS, sync
from raven.journal.tables import decoded

__all__ = ["ROW_GROUP", "write_blocks"]

ROW_GROUP = 1 << 20
"""Records that are compressed together."""
_ZSTD_LEVEL = 9
# Columns that grow by little, or hardly change: their differences are tiny.
_GROWING = ("exchange_time", "recv_time", "id", "sequence", "first_fill_id", "last_fill_id")
# Values that come back soon or never: for zstd the repetitions are cheaper than the entries of a dictionary.
_PLAIN = ("price", "bid_price", "ask_price", "bid_quantity", "ask_quantity")


def write_blocks(path: Path, blocks: Callable[[], Iterator[pa.Table]], pieces: Sequence[tuple[int, int]] = ()) -> int:
    """Write tables, one row group for each, read them back, and wait until they are on the disk; return the bytes.

    `blocks` is called twice: to write, and to compare. `pieces` are the segments that the records came from.
    Raises: InternalError when what was written is not what is read back; OSError.
    """
    schema = next(blocks()).schema
    encodings = {name: "DELTA_BINARY_PACKED" for name in _GROWING if name in schema.names}
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=[name for name in schema.names if name not in encodings and name not in _PLAIN],
        column_encoding=encodings,
        # Without them a flipped bit may decompress to another value.
        write_page_checksum=True,
    ) as writer:
        for table in blocks():
            writer.write_table(table, row_group_size=len(table))
        if pieces:
            writer.add_key_value_metadata({SEGMENTS: json.dumps(list(pieces))})
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number, table in enumerate(blocks()):
            if not decoded(file.read_row_group(number)).equals(decoded(table)):
                raise InternalError(f"{path}: what was written is not what was read back; what it was made of is kept")
    sync(path)
    return path.stat().st_size
