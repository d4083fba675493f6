"""One record on its way into the dead letters and back: an Arrow table of one row, so that no digit is lost."""

from __future__ import annotations

import pyarrow as pa

from raven.errors import DataValidation
from raven.ports import SinkBatch

__all__ = ["batch_of_letter", "letter_of"]

_TYPE = b"raven.type"


def letter_of(batch: SinkBatch) -> tuple[str, str, bytes]:
    """Return of a batch of one record its key, its symbol, and its bytes."""
    row = {name: batch.records[name][0].as_py() for name in ("venue", "symbol", "run", "sequence", "id")}
    key = f"{batch.type} {row['venue']} {row['symbol']} id {row['id']} (run {row['run']}, sequence {row['sequence']})"
    # A slice would take the whole batch along.
    record = batch.records.take([0]).replace_schema_metadata({_TYPE: batch.type})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, record.schema) as stream:
        stream.write_table(record)
    return key, row["symbol"], out.getvalue().to_pybytes()


def batch_of_letter(payload: bytes) -> SinkBatch:
    """Return the batch that `letter_of` made the bytes of. Raises: DataValidation for other bytes."""
    try:
        table = pa.ipc.open_stream(payload).read_all()
        return SinkBatch((table.schema.metadata or {})[_TYPE].decode(), table.replace_schema_metadata())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataValidation(f"the letter holds no record that this Raven can read ({error!r}); drop it") from None
