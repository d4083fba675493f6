"""The SQL in deploy/sql/ is what the sink itself would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from raven.sinks.postgres import TABLES, schema_sql

SQL = Path(__file__).resolve().parents[3] / "deploy" / "sql"


@pytest.mark.parametrize(("name", "hypertables"), [("postgres.sql", False), ("timescale.sql", True)])
def test_the_file_is_current(name: str, hypertables: bool) -> None:
    assert (SQL / name).read_text() == schema_sql(hypertables=hypertables), "run `make docs` and commit"


def test_every_table_has_a_key_with_its_time() -> None:
    for name, table in TABLES.items():
        assert table.time in table.key, name
        assert set(table.key) <= set(table.columns), name


def test_hypertables_have_no_partitions_of_ours() -> None:
    text = schema_sql(hypertables=True)

    assert text.count("create_hypertable(") == len(TABLES)
    assert "PARTITION" not in text
