"""The schema `raven`: what of it is missing in a database, and making it, for `ravenctl init-db` and for the sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from raven.errors import ConfigurationError
from raven.observe import get_logger
from raven.sinks.postgres.tables import TABLES

__all__ = [
    "SCHEMA_VERSION",
    "Step",
    "bring_up",
    "has_hypertables",
    "lock",
    "schema_sql",
    "steps_to_take",
    "timescale_sql",
]

log = get_logger("sinks")

SCHEMA_VERSION = 1
"""Of the tables. One more of them needs no more than its entry in `TABLES`; a change needs a version."""
MIGRATIONS: Mapping[int, Sequence[str]] = {}
"""Version → the statements that change the tables of the version before; each may run twice."""

# Asking for an extension that is not loaded ends the connection.
_ABOUT_TIMESCALE = """SELECT installed_version IS NOT NULL AS is_created,
    EXISTS (SELECT FROM pg_settings WHERE name = 'shared_preload_libraries' AND setting LIKE '%timescaledb%')
        AS is_loaded,
    EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('raven.trades') AND relkind = 'p') AS is_partitioned
    FROM pg_available_extensions WHERE name = 'timescaledb'"""
_MISSING = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass('raven.' || name) IS NULL"
_HAS_SCHEMA = "SELECT to_regnamespace('raven') IS NOT NULL"
_OWNED_BY_OTHERS = """SELECT 'SCHEMA raven' FROM pg_namespace WHERE nspname = 'raven'
        AND pg_get_userbyid(nspowner) <> $1
    UNION ALL SELECT 'TABLE raven.' || relname FROM pg_class
        WHERE relnamespace = to_regnamespace('raven') AND relkind IN ('r', 'p') AND pg_get_userbyid(relowner) <> $1"""
_VERSION = "SELECT version FROM raven.schema_version"
_SET_VERSION = f"""INSERT INTO raven.schema_version
    SELECT {SCHEMA_VERSION} WHERE NOT EXISTS (SELECT FROM raven.schema_version);"""  # noqa: S608 - our own number
_RAISE_VERSION = "UPDATE raven.schema_version SET version = {0} WHERE version < {0};"
_CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS timescaledb;"
# Any number; all who create tables take the same.
_CREATING = 7_283_640_114


class Step(NamedTuple):
    """One thing that is missing."""

    what: str
    """For people, e.g. `table raven.trades`."""
    sql: str
    """What makes it; may run twice."""


def schema_sql(*, hypertables: bool = False) -> str:
    """Return the SQL that makes all that is missing: partitioned tables, or hypertables of TimescaleDB."""
    head = "-- Written by `make docs` from src/raven/sinks/postgres/. `ravenctl init-db` runs what of it is missing."
    steps = [*_foundation(), *(_table(name, hypertables=hypertables) for name in TABLES), *_migrations(1)]
    return "\n".join([head, *(step.sql for step in steps)]) + "\n"


def timescale_sql() -> str:
    """Return the SQL for TimescaleDB."""
    return schema_sql(hypertables=True)


async def steps_to_take(connection: asyncpg.Connection, *, owner: str = "", with_extension: bool = True) -> list[Step]:
    """Return what is missing in a database, in the order in which it can be made; nothing is changed.

    `owner`: to whom all of it is to belong, if not to who makes it. `with_extension`: TimescaleDB is used where it
    could be created, else only where it exists.
    Raises: ConfigurationError when the tables are of a newer Raven.
    """
    timescale = await connection.fetchrow(_ABOUT_TIMESCALE)
    steps = [Step("extension timescaledb", _CREATE_EXTENSION)] if with_extension and _could_be_used(timescale) else []
    hypertables = bool(steps) or _is_used(timescale)
    missing = {row[0] for row in await connection.fetch(_MISSING, [*TABLES, "schema_version"])}
    version: int = SCHEMA_VERSION
    if "schema_version" in missing:
        steps += _foundation()[1 if await connection.fetchval(_HAS_SCHEMA) else 0 :]
    else:
        version = await connection.fetchval(_VERSION) or 1
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"timescale.url: the tables in the schema `raven` are of version {version}, but this Raven writes "
            f"{SCHEMA_VERSION}; upgrade Raven, or give it another database"
        )
    steps += [_table(name, hypertables=hypertables) for name in TABLES if name in missing]
    steps += _migrations(version)
    return steps + (await _owner_steps(connection, owner, missing, hypertables=hypertables) if owner else [])


async def bring_up(connection: asyncpg.Connection, *, owner: str = "") -> list[Step]:
    """Make what is missing, all of it or nothing; return what that was. See `steps_to_take`."""
    done = []
    timescale = await connection.fetchrow(_ABOUT_TIMESCALE)
    if _could_be_used(timescale):
        try:
            await connection.execute(_CREATE_EXTENSION)
            done.append(Step("extension timescaledb", _CREATE_EXTENSION))
        except asyncpg.PostgresError as error:
            log.warning("no hypertables", reason=str(error), next="tables are partitioned by day instead")
    elif timescale is not None and not _is_used(timescale) and not timescale["is_partitioned"]:
        log.info("no hypertables: shared_preload_libraries has no timescaledb", next="tables are partitioned by day")
    async with connection.transaction():
        await lock(connection)
        # Even for a schema that is there, CREATE asks for the right to make one: only what is missing is made.
        for step in await steps_to_take(connection, owner=owner, with_extension=False):
            await connection.execute(step.sql)
            done.append(step)
    return done


async def lock(connection: asyncpg.Connection) -> None:
    """Let nobody else make tables until the end of this transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)


async def has_hypertables(connection: asyncpg.Connection) -> bool:
    """Say whether TimescaleDB takes care of the days."""
    return _is_used(await connection.fetchrow(_ABOUT_TIMESCALE))


def _is_used(timescale: asyncpg.Record | None) -> bool:
    # Tables that were partitioned before the extension came stay as they are.
    return timescale is not None and timescale["is_created"] and not timescale["is_partitioned"]


def _could_be_used(timescale: asyncpg.Record | None) -> bool:
    if timescale is None or timescale["is_created"] or timescale["is_partitioned"]:
        return False
    return bool(timescale["is_loaded"])


def _foundation() -> list[Step]:
    return [
        Step("schema raven", "CREATE SCHEMA IF NOT EXISTS raven;"),
        Step(
            "table raven.schema_version",
            f"CREATE TABLE IF NOT EXISTS raven.schema_version (version integer NOT NULL);\n{_SET_VERSION}",
        ),
    ]


def _table(name: str, *, hypertables: bool) -> Step:
    table = TABLES[name]
    columns = ",\n".join(f"    {column} {kind} NOT NULL" for column, kind in table.columns.items())
    body = f"CREATE TABLE IF NOT EXISTS raven.{name} (\n{columns},\n    PRIMARY KEY ({', '.join(table.key)})\n)"
    if hypertables:
        options = "chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE"
        return Step(
            f"hypertable raven.{name}",
            f"{body};\nSELECT create_hypertable('raven.{name}', '{table.time}', {options});",
        )
    return Step(
        f"table raven.{name}",
        f"{body} PARTITION BY RANGE ({table.time});\n"
        f"CREATE TABLE IF NOT EXISTS raven.{name}_default PARTITION OF raven.{name} DEFAULT;",
    )


async def _owner_steps(
    connection: asyncpg.Connection, owner: str, missing: set[str], *, hypertables: bool
) -> list[Step]:
    """Return what gives an owner all that others have, or are about to make."""
    things = [row[0] for row in await connection.fetch(_OWNED_BY_OTHERS, owner)]
    if await connection.fetchval("SELECT current_user <> $1", owner):
        if not await connection.fetchval(_HAS_SCHEMA):
            things.append("SCHEMA raven")
        for name in sorted(missing):
            has_partition = name in TABLES and not hypertables
            things += [f"TABLE raven.{name}", *([f"TABLE raven.{name}_default"] if has_partition else [])]
    # An owner of tables must be one who may make some in their schema.
    things.sort(key=lambda thing: (thing != "SCHEMA raven", thing))
    quoted = '"' + owner.replace('"', '""') + '"'
    sql = "\n".join(f"ALTER {thing} OWNER TO {quoted};" for thing in things)
    return [Step(f"{owner} the owner of the schema raven", sql)] if things else []


def _migrations(version: int) -> list[Step]:
    """Return what turns tables of a version into those of today."""
    steps = [
        Step(f"tables of version {number}", statement)
        for number, statements in MIGRATIONS.items()
        if number > version
        for statement in statements
    ]
    return (
        [*steps, Step(f"version {SCHEMA_VERSION} of the schema", _RAISE_VERSION.format(SCHEMA_VERSION))]
        if version < SCHEMA_VERSION
        else []
    )
