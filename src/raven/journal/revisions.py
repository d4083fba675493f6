"""Which state of a bar counts, for databases that cannot be told so themselves.

A correction has a higher revision than the bar it replaces, but need not come after it: a restart builds bars again, a
dead letter is tried later. So whoever writes asks first what is there, and leaves out what counts less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from raven.topics import DataType

__all__ = ["BAR_TYPES", "RANK", "bar_key", "newest", "stretches"]

BAR_TYPES = tuple(one.name.lower() for one in DataType if one.name.endswith("_BARS"))
"""Types of the bars that Raven makes, as in `SinkBatch.type`."""
RANK = ("revision", "complete", "recv_time")
"""Of two states of a bar that one counts which is greater in the first of these columns in which they differ."""

_HOUR_NS = 3_600_000_000_000


def bar_key(record_type: str) -> tuple[str, ...]:
    """Return the columns that make a bar one of its kind.

    Several bars may open in one millisecond: the first trade tells them apart, and `part` where one large print went
    into several. Bars of the clock are known by their time alone, for a late trade may become their first.
    """
    key = ("venue", "symbol", "interval", "open_time")
    return key if record_type == "time_bars" else (*key, "first_trade_id", "part")


def newest(states: pa.Table, key: Sequence[str], present: pa.Table | None = None) -> pa.Array:
    """Say of each row of `states` whether it is to be written: of each bar that one is that counts.

    `present`: what there is already, with the same columns; a state that counts no more than that is not written.
    """
    columns = [*key, *RANK]
    numbers = pa.array(range(len(states)), pa.int64())
    ranked = states.select(columns).append_column("row", numbers)
    if present is not None and len(present):
        there = present.select(columns).append_column("row", pa.repeat(pa.scalar(-1, pa.int64()), len(present)))
        ranked = pa.concat_tables([ranked, there.cast(ranked.schema)])
    # Of equals the one that is there, or came first, is last: nothing is written for nothing.
    ranked = ranked.sort_by([*((name, "ascending") for name in RANK), ("row", "descending")])
    counting = ranked.group_by(list(key), use_threads=False).aggregate([("row", "last")])["row_last"]
    return pc.is_in(numbers, counting.combine_chunks())


def stretches(times_ns: pa.Array) -> Iterator[tuple[int, int]]:
    """Yield first and last time of stretches that hold all these times; between two of them is more than an hour."""
    times = sorted(pc.unique(times_ns).to_pylist())
    first = 0
    for at in range(1, len(times) + 1):
        if at == len(times) or times[at] - times[at - 1] > _HOUR_NS:
            yield times[first], times[at - 1]
            first = at
