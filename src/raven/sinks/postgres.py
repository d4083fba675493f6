"""PostgreSQL and TimescaleDB: a table per type in the schema `raven`, written with COPY (deploy/sql/).

Every table has a key, so a record that comes again is recognised. Nearly always none does: a batch is copied straight
into its table, over two connections at once when it is large, because a connection is served by one core and that is
what bounds it. When the database finds a record that it has, the batch goes through a staging table instead, and only
what is new is taken over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import (
    ConfigurationError,
    DatabaseConnection,
    DataValidation,
    InternalError,
    NetworkTimeout,
    RavenError,
)
from raven.journal.line_protocol import decimal_text
from raven.observe import get_logger
from raven.ports import SinkBatch

__all__ = ["TABLES", "PostgresSink", "Table", "copy_text", "schema_sql", "timescale_sql"]

log = get_logger("sinks")

SCHEMA_VERSION = 1
_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 30.0
# Rows per piece of a COPY: one is made while the one before is sent.
_PIECE_ROWS = 12_500
_CONNECTIONS = 2
# Batches of fewer rows go over one connection, in one transaction.
_ROWS_TO_SHARE = 10_000
# Of times outside these nobody knows what they mean; they go to the default partition.
_FIRST_DAY = date(2009, 1, 1)
_DAYS_AHEAD = 2
_TEXT = pa.string()
_SET_VERSION = f"""INSERT INTO raven.schema_version
    SELECT {SCHEMA_VERSION} WHERE NOT EXISTS (SELECT FROM raven.schema_version);"""  # noqa: S608 - our own number
# Asking for an extension that is not loaded ends the connection.
_ABOUT_TIMESCALE = """SELECT installed_version IS NOT NULL AS is_created,
    EXISTS (SELECT FROM pg_settings WHERE name = 'shared_preload_libraries' AND setting LIKE '%timescaledb%')
        AS is_loaded,
    EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('raven.trades') AND relkind = 'p') AS is_partitioned
    FROM pg_available_extensions WHERE name = 'timescaledb'"""
_MISSING = "SELECT count(*) FROM unnest($1::text[]) AS name WHERE to_regclass('raven.' || name) IS NULL"
# Any number; all who create tables take the same.
_CREATING = 7_283_640_114


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema `raven`."""

    columns: dict[str, str]
    """Name → SQL type, as in docs/reference/parquet.md; none may be null."""
    key: tuple[str, ...]
    """What makes a record one of its kind."""
    time: str = "exchange_time"
    """What it is partitioned by, day by day."""
    newest_wins: bool = False
    """A record with the key of another replaces it if it arrived later; else the first stays."""


_HEAD = {"venue": "text", "symbol": "text", "exchange_time": "timestamptz", "recv_time": "timestamptz", "id": "bigint"}
_TAIL = {"sequence": "bigint", "flags": "bigint", "run": "text"}
_RECORD_KEY = ("venue", "symbol", "exchange_time", "run", "sequence")


def _table(body: dict[str, str], key: tuple[str, ...] = _RECORD_KEY, **options: object) -> Table:
    return Table(_HEAD | body | _TAIL, key, **options)  # type: ignore[arg-type]


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "numeric")


_CANDLES = _table(
    {"open_time": "timestamptz"}
    | _numbers("open", "high", "low", "close", "volume", "buy_volume")
    | {"interval_s": "bigint", "ticks": "bigint", "closed": "boolean"},
    ("venue", "symbol", "open_time"),
    time="open_time",
    newest_wins=True,
)
TABLES = {
    "trades": _table(
        _numbers("price", "quantity") | {"side": "text", "first_fill_id": "bigint", "last_fill_id": "bigint"},
        ("venue", "symbol", "exchange_time", "id"),
    ),
    "quotes": _table(_numbers("bid_price", "bid_quantity", "ask_price", "ask_quantity")),
    "orderbook": _table(
        {
            f"{side}_{name}": kind
            for side in ("bid", "ask")
            for name, kind in (("prices", "numeric[]"), ("quantities", "numeric[]"), ("proven", "bigint"))
        }
    ),
    "candles_1m": _CANDLES,
    "candles_5m": _CANDLES,
    "candles_1h": _CANDLES,
    "funding_rates": _table(
        _numbers("mark_price", "index_price", "rate", "settle_price") | {"next_funding_time": "timestamptz"}
    ),
    "liquidations": _table(_numbers("price", "average_price", "quantity") | {"side": "text"}),
    "gaps": _table(
        {"data_type": "text", "count": "bigint", "first_id": "bigint", "last_id": "bigint", "reason": "text"}
        | {"repaired": "boolean"},
        ("venue", "symbol", "exchange_time", "data_type", "reason", "run", "sequence"),
    ),
}
"""By `SinkBatch.type`."""


def schema_sql(*, hypertables: bool = False) -> str:
    """Return the SQL that creates what is missing: partitioned tables, or hypertables of TimescaleDB."""
    parts = [
        "-- Written by `make docs` from src/raven/sinks/postgres.py. Raven runs it by itself when it connects.",
        "CREATE SCHEMA IF NOT EXISTS raven;",
        "CREATE TABLE IF NOT EXISTS raven.schema_version (version integer NOT NULL);",
        _SET_VERSION,
    ]
    for name, table in TABLES.items():
        columns = ",\n".join(f"    {column} {kind} NOT NULL" for column, kind in table.columns.items())
        body = f"CREATE TABLE IF NOT EXISTS raven.{name} (\n{columns},\n    PRIMARY KEY ({', '.join(table.key)})\n)"
        if hypertables:
            options = "chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE"
            parts += [f"{body};", f"SELECT create_hypertable('raven.{name}', '{table.time}', {options});"]
        else:
            parts += [
                f"{body} PARTITION BY RANGE ({table.time});",
                f"CREATE TABLE IF NOT EXISTS raven.{name}_default PARTITION OF raven.{name} DEFAULT;",
            ]
    return "\n".join(parts) + "\n"


def timescale_sql() -> str:
    """Return the SQL for TimescaleDB."""
    return schema_sql(hypertables=True)


class PostgresSink:
    """Two connections to one database."""

    def __init__(self, url: str, *, answer_timeout_s: float = _ANSWER_TIMEOUT_S) -> None:
        self._url = url
        self._answer_timeout_s = answer_timeout_s
        self._connections: list[asyncpg.Connection] = []
        self._has_hypertables = False
        self._partitions: set[str] = set()

    async def open(self) -> None:
        """Connect and create what is missing. Raises: ConfigurationError when the tables are of a newer Raven."""
        await self.close()
        try:
            async with _Judging():
                version = await self._open()
            if version != SCHEMA_VERSION:
                raise ConfigurationError(
                    f"timescale.url: the tables in the schema `raven` are of version {version}, but this Raven writes "
                    f"{SCHEMA_VERSION}; upgrade Raven, or give it another database"
                )
        except RavenError:
            await self.close()
            raise

    async def write(self, batch: SinkBatch) -> None:
        """Keep every record of the batch. A small one is there wholly or not at all."""
        table = TABLES.get(batch.type)
        if table is None:
            raise InternalError(f"there is no table for {batch.type!r}; known are {', '.join(TABLES)}")
        if not self._connections:
            await self.open()
        first = self._connections[0]
        try:
            async with _Judging():
                await self._prepare_days(first, batch, table)
                if table.newest_wins or not await self._copy(batch, table):
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

    async def _open(self) -> int:
        """Connect, create what is missing, return the version of what is there."""
        for _ in range(_CONNECTIONS):
            self._connections.append(await self._connect())
        first = self._connections[0]
        self._has_hypertables = await self._find_timescale(first)
        async with first.transaction():
            await first.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)
            # Even for a schema that is there, CREATE asks for the right to make one.
            if await first.fetchval(_MISSING, [*TABLES, "schema_version"]):
                await first.execute(schema_sql(hypertables=self._has_hypertables))
            version: int = await first.fetchval("SELECT version FROM raven.schema_version")
            return version

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=self._answer_timeout_s,
            server_settings={"application_name": "raven", "timezone": "UTC"},
        )

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
        newer = f"DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in others)}"
        newer += f" WHERE EXCLUDED.recv_time >= {batch.type}.recv_time"
        async with connection.transaction():
            await connection.execute(f"CREATE TEMPORARY TABLE staging (LIKE raven.{batch.type}) ON COMMIT DROP")
            await connection.copy_to_table("staging", columns=list(table.columns), source=_pieces(batch, table))
            # Every name is one of TABLES.
            await connection.execute(
                f"INSERT INTO raven.{batch.type} ({columns})"  # noqa: S608
                f" SELECT DISTINCT ON ({key}) {columns} FROM staging ORDER BY {key}, recv_time DESC"
                f" ON CONFLICT ({key}) {newer if table.newest_wins else 'DO NOTHING'}"
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
                        await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)
                        await connection.execute(
                            f"CREATE TABLE IF NOT EXISTS raven.{name} PARTITION OF raven.{batch.type}"
                            f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(1)}')"
                        )
                except asyncpg.CheckViolationError:
                    # A clock was wrong when these came. Those of that day go on to stand with them.
                    log.warning("a day has no partition of its own: records of it are in the default one", table=name)
                self._partitions.add(name)

    async def _find_timescale(self, connection: asyncpg.Connection) -> bool:
        found = await connection.fetchrow(_ABOUT_TIMESCALE)
        # Tables that were partitioned before the extension came stay as they are.
        if found is None or found["is_partitioned"]:
            return False
        if found["is_created"]:
            return True
        if not found["is_loaded"]:
            log.info(
                "no hypertables: shared_preload_libraries has no timescaledb", next="tables are partitioned by day"
            )
            return False
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except asyncpg.PostgresError as error:
            log.warning("no hypertables", reason=str(error), next="tables are partitioned by day instead")
            return False
        return True


class _Judging:
    """Says in Raven's words what a failure of the database means."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, RavenError):
            return
        words = f"timescale: {str(error) or type(error).__name__}"
        if isinstance(error, TimeoutError):
            raise NetworkTimeout("timescale: no answer in time") from error
        if isinstance(error, asyncpg.PostgresError):
            state = error.sqlstate or ""
            # Data exceptions, violated constraints, and rows that are too long for an index.
            if state[:2] in ("22", "23", "54"):
                raise DataValidation(words) from error
            if state[:2] in ("28", "3D", "3F") or state == "42501":
                raise ConfigurationError(f"{words}; check timescale.url and the rights of its user") from error
            raise DatabaseConnection(words) from error
        # The second: what the driver says when a server ends a connection in the midst of a COPY.
        if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError):
            raise DatabaseConnection(words) from error


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
