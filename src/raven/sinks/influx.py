"""InfluxDB: 1.x through `/write`, 2.x and 3 through `/api/v2/write`. docs/how-to/connect-influxdb.md has the fields.

InfluxDB knows a point by measurement, tags and time, and a later point replaces an earlier one. Most trades share their
millisecond with another, so the digits of a time that the exchange does not fill are made from the record's own number:
no two records meet in one point, and the same record always comes to the same one.

What comes later replaces, whatever its revision: so before bars are written, those that are there are asked for theirs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raven.errors import DatabaseConnection
from raven.journal.line_protocol import (
    Field,
    Lines,
    book_fields,
    columns_of,
    decimal_text,
    float_field,
    has_more_digits_than_a_double,
    integer,
    lines,
    parts_of,
    quoted,
    tag_text,
)
from raven.journal.revisions import BAR_TYPES, RANK, newest, stretches
from raven.observe import get_logger
from raven.ports import SinkBatch
from raven.resilience.http_writer import MAX_BODY_BYTES, Forbidden, HttpWriter, Refused, basic_authorization

__all__ = ["InfluxSink", "influx_lines"]

log = get_logger("sinks")

_TAGS = ("venue", "symbol", "side", "data_type", "reason", "interval", "part")
_BAR_TAGS = ("venue", "symbol", "interval", "part")
# The point's own time, the ways in which a run of the server numbers its records, and what is written in other words.
_NO_FIELDS = (
    *_TAGS,
    "exchange_time",
    "open_time",
    "sequence",
    "run",
    "bid_prices",
    "bid_quantities",
    "ask_prices",
    "ask_quantities",
)
# Nothing is said by a zero here, and nearly all are zero.
_ONLY_IF_NOT_ZERO = ("flags", "first_fill_id", "last_fill_id")
_US = 1_000
_MS = 1_000_000
_DROPPED_FOR_AGE = "points beyond retention policy"
_LIMITS = re.compile(r"limit exceeded|max-series-per-database|max-values-per-tag")


class InfluxSink:
    """Writes to one bucket (with a token) or one database (without)."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        org: str = "",
        bucket: str = "market_data",
        database: str = "market_data",
        username: str = "",
        password: str = "",
        connection_pool_size: int = 20,
        answer_timeout_s: float = 30.0,
    ) -> None:
        headers = {}
        if token:
            headers["Authorization"] = f"Token {token}"
        elif username:
            headers["Authorization"] = basic_authorization(username, password)
        self._database = "" if token else database
        self._is_blind = False
        if token:
            self._path, self._params = "/api/v2/write", {"org": org, "bucket": bucket, "precision": "ns"}
            # To queries of 1.x a bucket is the database, and the retention policy, that its name says.
            as_database, _, policy = bucket.partition("/")
            self._read_from = {"db": as_database} | ({"rp": policy} if policy else {})
            advice = {
                401: "check influx.token",
                403: f"influx.token may not write to bucket {bucket!r}",
                404: f"check influx.org ({org!r}), and that bucket {bucket!r} exists (influx.bucket): create it there",
            }
        else:
            self._path, self._params = "/write", {"db": database, "precision": "ns"}
            self._read_from = {"db": database}
            advice = {
                401: "check influx.username and influx.password (InfluxDB 2 and 3: set influx.token)",
                403: f"user {username!r} may not write to database {database!r}",
                404: f"check that this is an InfluxDB and database {database!r} exists (influx.database)",
            }
        self._writer = HttpWriter(
            "influx",
            url,
            headers=headers,
            advice=advice,
            on_refusal=_judge,
            connections=connection_pool_size,
            answer_timeout_s=answer_timeout_s,
        )

    async def open(self) -> None:
        """Look whether the server is there; without a token, also create the database."""
        await self._writer.ask("GET", "/ping", {})
        if self._database:
            name = self._database.replace("\\", "\\\\").replace('"', '\\"')
            try:
                await self._writer.ask("POST", "/query", {"q": f'CREATE DATABASE "{name}"'})
            except DatabaseConnection as error:
                # A user who may write need not be one who may create; the first write shows which.
                log.info("influx database not created", database=self._database, why=error.message)

    async def write(self, batch: SinkBatch) -> None:
        """Write a batch; the answer to a body means that InfluxDB has synced it."""
        if batch.type in BAR_TYPES and len(batch.records):
            batch = await self._without_older(batch)
        # Of one candle the last state must win.
        in_order = "open_time" in batch.records.column_names
        for part in parts_of(batch):
            text = await asyncio.to_thread(influx_lines, part)
            await self._writer.write(self._path, self._params, text.bodies(MAX_BODY_BYTES), in_order=in_order)

    async def close(self) -> None:
        """Close the connections."""
        await self._writer.close()

    async def _without_older(self, batch: SinkBatch) -> SinkBatch:
        """Leave out what counts less than what is there, or than what else is in the batch."""
        states = await asyncio.to_thread(_states, batch)
        present = await self._present(batch.type, states["time"])
        return SinkBatch(batch.type, batch.records.filter(newest(states, _POINT, present)))

    async def _present(self, record_type: str, times: pa.ChunkedArray) -> pa.Table | None:
        """Return the states of the bars around these times; None when their user may only write."""
        select = f'SELECT "revision", "complete", "recv_ns" FROM "{record_type}"'  # noqa: S608 - a type of ours
        by = ", ".join(f'"{name}"' for name in _BAR_TAGS)
        query = "; ".join(
            f"{select} WHERE time >= {first} AND time <= {last} GROUP BY {by}" for first, last in stretches(times)
        )
        try:
            answer = await self._writer.ask("GET", "/query", self._read_from | {"q": query, "epoch": "ns"})
        except Forbidden as error:
            if not self._is_blind:
                log.warning("influx does not say which bars it has", why=error.message, next="what comes last stays")
            self._is_blind = True
            return None
        return await asyncio.to_thread(_states_in, answer)


_POINT = (*_BAR_TAGS, "time")


def _states(batch: SinkBatch) -> pa.Table:
    """Return what InfluxDB knows each bar of a batch by, and how much it counts."""
    columns = _tagged(columns_of(batch.records))
    tags = {name: tag_text(columns[name]) for name in _BAR_TAGS}
    return pa.table(
        tags
        | {"time": _point_times(batch.type, columns), "revision": columns["revision"], "complete": columns["complete"]}
        | {"recv_time": columns["recv_time"].cast(pa.int64())}
    )


def _states_in(answer: bytes) -> pa.Table:
    """Return the same of the answer to a query."""
    found: dict[str, list[Any]] = {name: [] for name in _STATE.names}
    for result in json.loads(answer)["results"]:
        if "error" in result:
            raise DatabaseConnection(f"influx: it does not say which bars it has: {result['error']}")
        for series in result.get("series", ()):
            # A point without these is not ours.
            rows = [row for row in series["values"] if None not in row]
            for name, values in zip(("time", *RANK), zip(*rows, strict=True), strict=False):
                found[name] += values
            for name in _BAR_TAGS:
                found[name] += [series.get("tags", {}).get(name) or ""] * len(rows)
    return pa.table(found, schema=_STATE)


_STATE = pa.schema(
    [(name, pa.string()) for name in _BAR_TAGS]
    + [("time", pa.int64()), ("revision", pa.int64()), ("complete", pa.bool_()), ("recv_time", pa.int64())]
)


def _judge(refusal: Refused) -> None:
    """Tell refusals of records from those that say something about the database."""
    if _LIMITS.search(refusal.words):
        raise DatabaseConnection(f"{refusal.message}; raise this limit of InfluxDB, the records wait") from refusal
    if _DROPPED_FOR_AGE not in refusal.words:
        raise refusal
    # It has stored the other points of the body.
    log.warning("influx keeps no records of that age", answer=refusal.words)


def influx_lines(batch: SinkBatch) -> Lines:
    """Return a batch as lines: the measurement is its type."""
    columns = _tagged(columns_of(batch.records))
    tags = {name: columns[name] for name in _TAGS if name in columns}
    return lines(batch.type, tags, _fields(columns), _point_times(batch.type, columns))


def _tagged(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return columns in which the number of a part is the text of a tag; nearly all are 0, and have no such tag."""
    if "part" not in columns:
        return columns
    part = columns["part"]
    return columns | {"part": pc.if_else(pc.equal(part, 0), "", part.cast(pa.string()))}


def _point_times(record_type: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the time of each point, ns since 1970."""
    if "open_time" in columns:
        # A bar that comes again, changed, is meant to replace the old one.
        opened = columns["open_time"].cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64())
        has_others = record_type in BAR_TYPES and record_type != "time_bars"
        return pc.add(opened, _remainder(columns["first_trade_id"], _MS)) if has_others else opened
    times = columns["exchange_time"].cast(pa.int64())
    numbers = _numbers(record_type, columns)
    is_whole_ms = pc.equal(_remainder(times, _MS), 0)
    whole_us = pc.subtract(times, _remainder(times, _US))
    return pc.if_else(is_whole_ms, pc.add(times, _remainder(numbers, _MS)), pc.add(whole_us, _remainder(numbers, _US)))


def _numbers(record_type: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return what tells records of one symbol, type and moment apart."""
    if record_type == "trades":
        # The exchange's: a trade is the same one whoever collected it, in whatever run.
        return columns["id"]
    if record_type == "gaps":
        # Those that the journal found itself have no sequence.
        whole = [columns[name] for name in ("sequence", "count", "first_id", "last_id")]
        return pc.abs(pc.add(pc.add(whole[0], whole[1]), pc.add(whole[2], whole[3])))
    return columns["sequence"]


def _remainder(values: pa.Array, divisor: int) -> pa.Array:
    return pc.subtract(values, pc.multiply(pc.divide(values, divisor), divisor))


def _fields(columns: Mapping[str, pa.Array]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    exact: dict[str, pa.Array] = {}
    # What stands in a point stays there unless a later one says otherwise.
    is_replaced = "open_time" in columns
    for name, column in columns.items():
        if name in _NO_FIELDS:
            continue
        is_left_out = name in _ONLY_IF_NOT_ZERO and not is_replaced
        values = pc.if_else(pc.equal(column, 0), None, column) if is_left_out else column
        if len(values) and values.null_count == len(values):
            continue
        kind = values.type
        if pa.types.is_decimal(kind):
            text = decimal_text(values)
            fields[name], exact[name] = Field(text), text
        elif pa.types.is_boolean(kind):
            fields[name] = Field(pc.if_else(values, "t", "f"))
        elif pa.types.is_floating(kind):
            fields[name] = float_field(values)
        elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
            fields["recv_ns" if name == "recv_time" else name] = integer(values)
        else:
            fields[name] = quoted(values)
    if "bid_prices" in columns:
        fields |= book_fields(columns)
    return fields | _exact_field(exact, always=is_replaced)


def _exact_field(texts: Mapping[str, pa.Array], *, always: bool) -> dict[str, Field]:
    """Spell out the values that have more digits than a double: `exact="price=0.12345678901234567"`.

    `always`: an empty text where there is nothing, because a bar that comes again must replace that of the old one.
    """
    parts = []
    for name, text in texts.items():
        is_long = has_more_digits_than_a_double(text)
        if pc.any(is_long).as_py():
            parts.append(pc.if_else(is_long, pc.binary_join_element_wise(f"{name}=", text, " ", ""), ""))
    rows = len(next(iter(texts.values()), ()))
    if not parts:
        return {"exact": Field(pa.repeat('""', rows))} if always and rows else {}
    joined = pc.ascii_rtrim(pc.binary_join_element_wise(*parts, ""), " ")
    if not always:
        joined = pc.if_else(pc.equal(joined, ""), None, joined)
    return {"exact": Field(pc.binary_join_element_wise('"', joined, '"', ""))}
