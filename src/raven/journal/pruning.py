"""Which parts of a Parquet file may hold what happened in a range of time, as its statistics tell."""

from __future__ import annotations

import pyarrow.parquet as pq

__all__ = ["newest_of", "row_groups_within"]


def row_groups_within(file: pq.ParquetFile, start_ns: int | None, end_ns: int | None) -> list[int]:
    """Return the row groups with records from `start_ns` on and before `end_ns`, ns since 1970; None: no limit.

    A group counts if either of its times, of the exchange and of arrival, may lie in the range.
    """
    groups = range(file.metadata.num_row_groups)
    if start_ns is None and end_ns is None:
        return list(groups)
    return [group for group in groups if _is_within(file, group, start_ns, end_ns)]


def newest_of(file: pq.ParquetFile) -> tuple[str, int]:
    """Return run and highest sequence of a file, from its statistics; `("", 0)` when it has none."""
    found = ("", 0)
    for group in range(file.metadata.num_row_groups):
        columns = _statistics(file, group)
        if "run" in columns and "sequence" in columns:
            run, sequence = columns["run"].max, columns["sequence"].max
            found = (run, max(sequence, found[1]) if run == found[0] else sequence)
    return found


def _is_within(file: pq.ParquetFile, group: int, start_ns: int | None, end_ns: int | None) -> bool:
    columns = _statistics(file, group)
    times = [columns[name] for name in ("exchange_time", "recv_time") if name in columns]
    if len(times) < 2:
        return True
    is_too_old = start_ns is not None and max(one.max_raw for one in times) < start_ns
    is_too_new = end_ns is not None and min(one.min_raw for one in times) >= end_ns
    return not (is_too_old or is_too_new)


def _statistics(file: pq.ParquetFile, group: int) -> dict[str, pq.Statistics]:
    row_group = file.metadata.row_group(group)
    columns = [row_group.column(number) for number in range(row_group.num_columns)]
    return {
        column.path_in_schema: column.statistics
        for column in columns
        if column.is_stats_set and column.statistics.has_min_max
    }
