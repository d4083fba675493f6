"""Writing records into PostgreSQL and TimescaleDB, with COPY.

Every table has a key, so a record that comes again is recognised. Nearly always none does: a batch is copied straight
into its table, over two connections at once when it is large, because a connection is served by one core and that is
what bounds it. When the database finds a record that it has, the batch goes through a staging table instead, and only
what is new is taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import DataValidation, InternalError, RavenError
from raven.journal.line_protocol import decimal_text
from raven.observe import get_logger
from raven.ports import SinkBatch
from raven.sinks.postgres.connection import ANSWER_TIMEOUT_S, Judging, connected
from raven.sinks.postgres.schema import Step, bring_up, has_hypertables, lock, steps_to_take
from raven.sinks.postgres.tables import TABLES, Table

__all__ = ["PostgresSink", "copy_text"]

log = get_logger("sinks")

# Rows per piece of a COPY: one is made while the one before is sent.
_PIECE_ROWS = 12_500
_CONNECTIONS = 2
# Batches of fewer rows go over one connection, in one transaction.
_ROWS_TO_SHARE = 10_000
# Of times outside these nobody knows what they mean; they go to the default partition.
_FIRST_DAY = date(2009, 1, 1)
_DAYS_AHEAD = 2
_TEXT = pa.string()


class PostgresSink:
    """Two connections to one database."""

    def __init__(self, url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = url
        self._answer_timeout_s = answer_timeout_s
        self._connections: list[asyncpg.Connection] = []
        self._has_hypertables = False
        self._partitions: set[str] = set()

    async def open(self) -> None:
        """Connect and create what is missing. Raises: ConfigurationError when the tables are of a newer Raven."""
        await self.close()
        try:
            async with Judging():
                await self._open()
        except RavenError:
            await self.close()
            raise

    async def init(self, *, owner: str = "", dry_run: bool = False) -> list[Step]:
        """Make what is missing in the database and return it; with `dry_run` only say what that would be.

        `owner`: to whom it is to belong; without it to the user of the URL.

        Raises: see `Judging`; ConfigurationError when the tables are of a newer Raven.
        """
        async with Judging():
            connection = await connected(self._url, self._answer_timeout_s)
            try:
                return await (steps_to_take if dry_run else bring_up)(connection, owner=owner)
            finally:
                connection.terminate()

    async def write(self, batch: SinkBatch) -> None:
        """Keep every record of the batch. A small one is there wholly or not at all."""
        table = TABLES.get(batch.type)
        if table is None:
            raise InternalError(f"there is no table for {batch.type!r}; known are {', '.join(TABLES)}")
        if not self._connections:
            await self.open()
        first = self._connections[0]
        try:
            async with Judging():
                await self._prepare_days(first, batch, table)
                if table.is_often_replaced or not await self._copy(batch, table):
                    await self._merge(first, batch, table)
        except DataValidation:
            raise
        except RavenError:
            # What these connections were doing nobody knows.
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connections."""
        connections, self._connections = self._connections, []
        self._partitions.clear()
        for connection in connections:
            connection.terminate()

    # --- inside -----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        for _ in range(_CONNECTIONS):
            self._connections.append(await connected(self._url, self._answer_timeout_s))
        first = self._connections[0]
        for step in await bring_up(first):
            log.info("made in the database", what=step.what)
        self._has_hypertables = await has_hypertables(first)

    async def _copy(self, batch: SinkBatch, table: Table) -> bool:
        """Copy a batch straight into its table; False when the database has records of it already."""
        rows = len(batch.records)
        share = rows if rows < _ROWS_TO_SHARE else -(-rows // len(self._connections))
        parts = [SinkBatch(batch.type, batch.records.slice(first, share)) for first in range(0, rows, share or 1)]
        copying = (self._copy_over(one, part, table) for one, part in zip(self._connections, parts, strict=False))
        # Both come to an end before anything else is sent over their connections.
        errors = [error for error in await asyncio.gather(*copying, return_exceptions=True) if error is not None]
        for error in errors:
            # Repetitions within the batch, in another order, block the two connections mutually.
            if not isinstance(error, asyncpg.UniqueViolationError | asyncpg.DeadlockDetectedError):
                raise error
        if errors:
            log.info("records came again; what is new of them is taken over", type=batch.type)
        return not errors

    async def _copy_over(self, connection: asyncpg.Connection, batch: SinkBatch, table: Table) -> None:
        async with connection.transaction():
            await connection.copy_to_table(
                batch.type, schema_name="raven", columns=list(table.columns), source=_pieces(batch, table)
            )

    async def _merge(self, connection: asyncpg.Connection, batch: SinkBatch, table: Table) -> None:
        key, columns = ", ".join(table.key), ", ".join(table.columns)
        others = [name for name in table.columns if name not in table.key]
        best_first = [f"{name} DESC" for name in table.rank]
        newer = f"DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in others)} WHERE"
        newer += f" ({_of('EXCLUDED', table.rank)}) > ({_of(batch.type, table.rank)})"
        async with connection.transaction():
            await connection.execute(f"CREATE TEMPORARY TABLE staging (LIKE raven.{batch.type}) ON COMMIT DROP")
            await connection.copy_to_table("staging", columns=list(table.columns), source=_pieces(batch, table))
            # Every name is one of TABLES.
            await connection.execute(
                f"INSERT INTO raven.{batch.type} ({columns})"  # noqa: S608
                f" SELECT DISTINCT ON ({key}) {columns} FROM staging ORDER BY {', '.join((key, *best_first))}"
                f" ON CONFLICT ({key}) {newer if table.rank else 'DO NOTHING'}"
            )

    async def _prepare_days(self, connection: asyncpg.Connection, batch: SinkBatch, table: Table) -> None:
        """Create the partitions of the days of a batch and of tomorrow."""
        if self._has_hypertables:
            return
        today = datetime.now(UTC).date()
        days = {day for day in _days(batch.records[table.time]) if _FIRST_DAY <= day <= today + timedelta(_DAYS_AHEAD)}
        for day in sorted(days | {today, today + timedelta(1)}):
            name = f"{batch.type}_{day:%Y%m%d}"
            if name not in self._partitions:
                try:
                    # Under the same lock as at the start: two processes may come to a new day at once.
                    async with connection.transaction():
                        await lock(connection)
                        await connection.execute(
                            f"CREATE TABLE IF NOT EXISTS raven.{name} PARTITION OF raven.{batch.type}"
                            f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(1)}')"
                        )
                except asyncpg.CheckViolationError:
                    # A clock was wrong when these came. Those of that day go on to stand with them.
                    log.warning("a day has no partition of its own: records of it are in the default one", table=name)
                self._partitions.add(name)


def _of(record: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{record}.{name}" for name in columns)


async def _pieces(batch: SinkBatch, table: Table) -> AsyncIterator[bytes]:
    """Yield a batch as COPY takes it, piece by piece; the next is made while one is sent."""
    parts = [batch.records.slice(first, _PIECE_ROWS) for first in range(0, len(batch.records), _PIECE_ROWS)]
    waiting = None
    for part in parts:
        making = asyncio.get_running_loop().create_task(asyncio.to_thread(copy_text, part, table))
        if waiting is not None:
            yield await waiting
        waiting = making
    if waiting is not None:
        yield await waiting


def copy_text(records: pa.Table, table: Table) -> bytes:
    """Return records in the text format of COPY: one line each, columns separated by tabs."""
    texts = [_text(_array(records[name])) for name in table.columns]
    rows = pc.binary_join_element_wise(*texts[:-1], pc.binary_join_element_wise(texts[-1], "\n", ""), "\t")
    _, offsets, data = rows.buffers()
    ends = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[ends[rows.offset] : ends[rows.offset + len(rows)]])


def _array(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.combine_chunks()


def _text(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind):
        return _escaped(values)
    if pa.types.is_decimal(kind):
        return decimal_text(values)
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "t", "f")
    if pa.types.is_timestamp(kind):
        # Microseconds are what the database has.
        return values.cast(pa.timestamp("us"), safe=False).cast(_TEXT)
    if pa.types.is_list(kind):
        lengths = pc.list_value_length(values).cast(pa.int32())
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
        items = pc.binary_join(pa.ListArray.from_arrays(offsets, _text(values.flatten())), ",")
        return pc.binary_join_element_wise("{", items, "}", "")
    return values.cast(_TEXT)


def _escaped(values: pa.Array) -> pa.Array:
    encoded = values.dictionary_encode()
    spelled = [
        value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(spelled, _TEXT).take(encoded.indices)


def _days(times: pa.ChunkedArray) -> set[date]:
    return set(pc.unique(times.cast(pa.date32(), safe=False)).to_pylist())
