"""QuestDB 9.2 and later: lines over HTTP into a table per type. docs/how-to/connect-questdb.md has the columns.

Prices and quantities are its DECIMAL, so no digit is lost. Each table has keys, and a row that comes again replaces
itself (DEDUP UPSERT KEYS). It does so whatever its revision: before bars are written, those that are there are asked
for theirs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import DatabaseConnection, NetworkTimeout
from raven.journal.line_protocol import (
    BOOK_NUMBERS,
    Field,
    Lines,
    book_fields,
    columns_of,
    decimal_text,
    float_field,
    integer,
    lines,
    parts_of,
    quoted,
    tag_text,
)
from raven.journal.revisions import BAR_TYPES, RANK, bar_key, newest, stretches
from raven.observe import get_logger
from raven.ports import SinkBatch
from raven.resilience.http_writer import MAX_BODY_BYTES, HttpWriter

__all__ = ["QuestdbSink", "questdb_lines", "table_statement"]

log = get_logger("sinks")

# Few different values: these become SYMBOLs.
_SYMBOLS = ("venue", "symbol", "side", "data_type", "reason", "interval", "run")
_LISTS = ("bid_prices", "bid_quantities", "ask_prices", "ask_quantities")
# What tells records of one symbol and moment apart, by type; for all others it is the run and its sequence.
_KEYS: Mapping[str, tuple[str, ...]] = {
    # The exchange's own number: a trade is the same one whoever collected it, in whatever run.
    "trades": ("id",),
    # Those that the journal found itself have no sequence.
    "gaps": ("data_type", "reason", "count", "first_id", "last_id", "sequence", "run"),
}
_OTHER_KEYS = ("sequence", "run")
# How often the write-ahead log is looked at while it is applied.
_APPLYING_S = 0.02
_NUMBER = "DECIMAL(38,18)"
_ADVICE = {
    400: "Raven needs QuestDB 9.2 or later",
    401: "check user and password in questdb.url",
    403: "this user may not write; check user and password in questdb.url",
    404: "check that questdb.url is the HTTP address of a QuestDB (port 9000)",
}


class QuestdbSink:
    """Writes to one QuestDB, at its HTTP port; user and password stand in the URL."""

    def __init__(self, url: str, *, answer_timeout_s: float = 30.0) -> None:
        self._writer = HttpWriter("questdb", url, advice=_ADVICE, answer_timeout_s=answer_timeout_s)
        self._answer_timeout_s = answer_timeout_s
        self._tables: set[str] = set()

    async def open(self) -> None:
        """Look whether the server is there, and let it go on with tables that it has suspended (after a full disk)."""
        self._tables.clear()
        suspended = await self._sql("SELECT name FROM wal_tables() WHERE suspended")
        for (table,) in suspended.get("dataset", ()):
            log.warning("questdb has suspended a table", table=table, next="RESUME WAL")
            await self._sql(f'ALTER TABLE "{table}" RESUME WAL')

    async def write(self, batch: SinkBatch) -> None:
        """Write a batch; the answer to a body means that it stands in QuestDB's write-ahead log."""
        if batch.type not in self._tables:
            await self._prepare(batch)
            self._tables.add(batch.type)
        if batch.type in BAR_TYPES and len(batch.records):
            batch = await self._without_older(batch)
        # Of one candle the last state must win.
        in_order = "open_time" in batch.records.column_names
        for part in parts_of(batch):
            text = await asyncio.to_thread(questdb_lines, part)
            await self._writer.write("/write", {"precision": "n"}, text.bodies(MAX_BODY_BYTES), in_order=in_order)

    async def close(self) -> None:
        """Close the connections."""
        await self._writer.close()

    async def _prepare(self, batch: SinkBatch) -> None:
        """Create the table of a type, or add the columns that an older one does not have."""
        columns = _columns(batch.records.schema)
        await self._sql(_create(batch.type, columns))
        present = await self._sql(f'SHOW COLUMNS FROM "{batch.type}"')
        names = {row[0] for row in present.get("dataset", ())}
        for name in columns.keys() - names:
            await self._sql(f'ALTER TABLE "{batch.type}" ADD COLUMN IF NOT EXISTS "{name}" {columns[name]}')

    async def _without_older(self, batch: SinkBatch) -> SinkBatch:
        """Leave out what counts less than what is there, or than what else is in the batch."""
        key = bar_key(batch.type)
        states = await asyncio.to_thread(_states, batch.records, key)
        await self._applied(batch.type)
        rows = []
        for first, last in stretches(states["open_time"]):
            rows += (await self._sql(_present(batch.type, states.schema, first, last))).get("dataset", ())
        columns = zip(*rows, strict=True) if rows else ([] for _ in states.schema)
        present = pa.table([pa.array(column, field.type) for column, field in zip(columns, states.schema, strict=True)],
                           schema=states.schema)  # fmt: skip
        return SinkBatch(batch.type, batch.records.filter(newest(states, key, present)))

    async def _applied(self, table: str) -> None:
        """Wait until what is in the write-ahead log of a table can be read."""
        until = time.monotonic() + self._answer_timeout_s
        # A type of ours.
        waiting = f"SELECT suspended FROM wal_tables() WHERE name = '{table}' AND sequencerTxn <> writerTxn"  # noqa: S608
        while rows := (await self._sql(waiting)).get("dataset"):
            if rows[0][0]:
                raise DatabaseConnection(f"questdb has suspended the table {table}; it is resumed when Raven connects")
            if time.monotonic() > until:
                raise NetworkTimeout(f"questdb has not applied its log of {table} in {self._answer_timeout_s:g} s")
            await asyncio.sleep(_APPLYING_S)

    async def _sql(self, statement: str) -> dict[str, Any]:
        said = await self._writer.ask("GET", "/exec", {"query": statement})
        try:
            answer = json.loads(said)
        except ValueError:
            raise DatabaseConnection(f"questdb: /exec does not answer as a QuestDB does; {_ADVICE[404]}") from None
        return answer if isinstance(answer, dict) else {}


def _states(records: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Return what QuestDB knows bars by, and how much each counts; times in ns since 1970."""
    columns = columns_of(records.select([*key, *RANK]))
    return pa.table({name: _state(values) for name, values in columns.items()})


def _state(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
    return values if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type) else tag_text(values)


def _present(table: str, states: pa.Schema, first_ns: int, last_ns: int) -> str:
    """Return the query for the states of the bars that opened in a stretch of time."""
    named = ", ".join(f'cast("{name}" AS long)' if name.endswith("_time") else f'"{name}"' for name in states.names)
    return (
        f'SELECT {named} FROM "{table}"'  # noqa: S608 - a type of ours
        f" WHERE open_time >= '{_iso(first_ns)}' AND open_time <= '{_iso(last_ns)}'"
    )


def _iso(time_ns: int) -> str:
    # Bars open at a millisecond.
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def table_statement(record_type: str, schema: pa.Schema) -> str:
    """Return the statement that creates the table of a type, unless it is there."""
    return _create(record_type, _columns(schema))


def _create(record_type: str, columns: Mapping[str, str]) -> str:
    timestamp = next(iter(columns))
    keys = () if timestamp == "open_time" else _KEYS.get(record_type, _OTHER_KEYS)
    if record_type in BAR_TYPES:
        keys = tuple(name for name in bar_key(record_type) if name not in (timestamp, "venue", "symbol"))
    named = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    key = ", ".join(f'"{name}"' for name in (timestamp, "venue", "symbol", *keys))
    return (
        f'CREATE TABLE IF NOT EXISTS "{record_type}" ({named}) TIMESTAMP("{timestamp}") PARTITION BY DAY WAL '
        f"DEDUP UPSERT KEYS({key})"
    )


def _columns(schema: pa.Schema) -> dict[str, str]:
    """Return the columns of a table and their types; the first one is its time."""
    columns = {_time_column(schema.names): "TIMESTAMP_NS"}
    columns |= {name: _column_type(name, schema.field(name).type) for name in schema.names if name not in _LISTS}
    if "bid_prices" in schema.names:
        columns |= dict.fromkeys(BOOK_NUMBERS, _NUMBER) | {"bids": "VARCHAR", "asks": "VARCHAR"}
    return columns


def questdb_lines(batch: SinkBatch) -> Lines:
    """Return a batch as lines for the table of its type."""
    columns = columns_of(batch.records)
    timestamp = _time_column(batch.records.column_names)
    symbols = {name: columns[name] for name in _SYMBOLS if name in columns}
    fields = {name: _field(values) for name, values in columns.items() if name not in (*_SYMBOLS, *_LISTS, timestamp)}
    if "bid_prices" in columns:
        fields |= book_fields(columns, "d")
    times = columns[timestamp].cast(pa.timestamp("ns", tz="UTC"))
    return lines(batch.type, symbols, fields, times.cast(pa.int64()))


def _time_column(names: list[str]) -> str:
    """Return the column by which a table is ordered: a bar that comes again has the same open time."""
    return "open_time" if "open_time" in names else "exchange_time"


def _column_type(name: str, kind: pa.DataType) -> str:
    if name in _SYMBOLS:
        return "SYMBOL"
    if pa.types.is_decimal(kind):
        return _NUMBER
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_NS"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_floating(kind):
        return "DOUBLE"
    return "LONG" if pa.types.is_integer(kind) else "VARCHAR"


def _field(values: pa.Array) -> Field:
    kind = values.type
    if pa.types.is_decimal(kind):
        return Field(decimal_text(values), "d")
    if pa.types.is_boolean(kind):
        return Field(pc.if_else(values, "t", "f"))
    if pa.types.is_timestamp(kind):
        return Field(integer(values).text, "n")
    if pa.types.is_floating(kind):
        return float_field(values)
    return integer(values) if pa.types.is_integer(kind) else quoted(values)
