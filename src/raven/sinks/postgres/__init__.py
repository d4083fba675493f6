"""PostgreSQL and TimescaleDB: a table per type in the schema `raven`, written with COPY (deploy/sql/)."""

from raven.sinks.postgres.schema import Step, schema_sql, timescale_sql
from raven.sinks.postgres.sink import PostgresSink, copy_text
from raven.sinks.postgres.tables import TABLES, Table

__all__ = ["TABLES", "PostgresSink", "Step", "Table", "copy_text", "schema_sql", "timescale_sql"]
