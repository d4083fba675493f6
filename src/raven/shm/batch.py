"""Records of one kind that were read together: as a numpy view of their words, or as Arrow columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raven._core import SharedTopic
from raven.errors import DataValidation, MissingDependency
from raven.journal.schema import SCHEMAS, record_batch
from raven.records import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch"]

# Name, numpy type, byte; the rest of a record's six header words has no meaning outside the ring.
_HEAD = (
    ("kind", "u1", 4), ("flags", "u1", 5), ("sequence", "u8", 8), ("recv_ns", "i8", 16), ("exchange_ns", "i8", 24),
    ("id", "u8", 32), ("price_scale", "u1", 40), ("quantity_scale", "u1", 41),
)  # fmt: skip
_HEAD_BYTES = 48
# Columns of `SCHEMAS` in front of a record's own words.
_HEAD_COLUMNS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Records of one kind of one topic, in order; prices and quantities are integers with a scale, nothing is rounded.

    Arrow's own interface works, too: `polars.DataFrame(batch)`, `pyarrow.record_batch(batch)`.
    """

    kind: Kind
    """What the rows are. `GAP`: records that were overwritten before they were read; `count` says how many."""
    rows: int
    """How many."""
    words: bytes
    """The records as they were in the ring, one behind the other; see docs/reference/shm.md."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.rows

    def numpy(self) -> NDArray[np.void]:
        """Return a view with one field per column, such as `batch.numpy()["price"]`; nothing is copied.

        Raises: DataValidation for books, whose records differ in length (use `arrow`), MissingDependency.
        """
        if self.kind is Kind.BOOK:
            raise DataValidation("books differ in length, so they are no numpy table; use arrow()")
        try:
            import numpy as np  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingDependency("numpy() needs numpy: pip install numpy") from None
        return np.frombuffer(self.words, _dtype(self.kind))

    def arrow(self) -> pa.RecordBatch:
        """Return the columns of `raven.journal.SCHEMAS` but `topic`; books have lists of levels."""
        columns = record_batch(self.kind, self.rows, SharedTopic.columns(self.kind, self.words))
        return pa.RecordBatch.from_arrays(columns.columns[1:], schema=_schema(self.kind))

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        """Hand the rows to any library that speaks Arrow."""
        return self.arrow().__arrow_c_array__(requested_schema)


@cache
def _dtype(kind: Kind) -> np.dtype[np.void]:
    import numpy as np  # noqa: PLC0415 - an extra, and here by now

    body = SCHEMAS[kind].names[_HEAD_COLUMNS:]
    fields = [*_HEAD, *((name, "i8", _HEAD_BYTES + 8 * at) for at, name in enumerate(body))]
    names, formats, offsets = (list(column) for column in zip(*fields, strict=True))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": _HEAD_BYTES + 8 * len(body)})


@cache
def _schema(kind: Kind) -> pa.Schema:
    return pa.schema(list(SCHEMAS[kind])[1:])
