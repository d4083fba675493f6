"""`ravenctl init-db` makes what is missing in PostgreSQL, once, and says what that was."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.batches import trades
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from typer.testing import CliRunner

from raven.ctl.cli import app
from raven.journal.revisions import BAR_TYPES
from raven.sinks.postgres import TABLES, PostgresSink, schema
from raven.sinks.postgres.schema import SCHEMA_VERSION


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    postgres_server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    return postgres_server


@pytest.fixture
def plain(server: PostgresServer) -> Iterator[str]:
    """The address for a user without any rights, called `plain`."""
    server.query("CREATE ROLE plain LOGIN")
    yield server.url.replace("raven@", "plain@")
    server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    server.query("DROP ROLE plain")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["init-db", *arguments])
    return result.exit_code, result.output


def tables(server: PostgresServer) -> set[str]:
    return set(server.query("SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                            "WHERE nspname = 'raven' AND relkind = 'p'"))  # fmt: skip


def test_everything_is_made_and_named_and_a_second_time_nothing(server: PostgresServer) -> None:
    code, out = run("--url", server.url)

    assert code == 0
    made = [line.rpartition(" made ")[2] for line in out.splitlines()]
    assert made == ["schema raven", "table raven.schema_version", *(f"table raven.{name}" for name in TABLES)]
    assert tables(server) == set(TABLES)
    assert run("--url", server.url) == (0, f"{server.url}: nothing was missing\n")


def test_a_dry_run_prints_sql_that_does_the_same_and_changes_nothing(server: PostgresServer) -> None:
    code, sql = run("--url", server.url, "--dry-run")
    assert code == 0
    assert tables(server) == set()

    server.query(sql)

    assert tables(server) == set(TABLES)
    assert run("--url", server.url, "--dry-run") == (0, "-- nothing is missing\n")


def test_only_the_table_that_is_missing_is_made(server: PostgresServer) -> None:
    run("--url", server.url)
    server.query("DROP TABLE raven.quotes")

    assert run("--url", server.url)[1] == f"{server.url}: made table raven.quotes\n"


def test_a_database_of_a_raven_that_had_no_bars_gets_their_tables_and_keeps_what_it_has(server: PostgresServer) -> None:
    run("--url", server.url)
    for name in BAR_TYPES:
        server.query(f"DROP TABLE raven.{name}")
    server.query("INSERT INTO raven.gaps VALUES ('v','s',now(),now(),1,'trades',1,1,1,'reconnect',false,1,0,'r')")

    code, out = run("--url", server.url)

    assert code == 0
    assert out.splitlines() == [f"{server.url}: made table raven.{name}" for name in BAR_TYPES]
    assert server.query("SELECT count(*) FROM raven.gaps") == ["1"]


def test_older_tables_are_brought_up_to_date_and_keep_what_they_have(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--url", server.url)
    server.query("INSERT INTO raven.gaps VALUES ('v','s',now(),now(),1,'trades',1,1,1,'reconnect',false,1,0,'r')")
    monkeypatch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    change = "ALTER TABLE raven.gaps ADD COLUMN IF NOT EXISTS note text NOT NULL DEFAULT '';"
    monkeypatch.setattr(schema, "MIGRATIONS", {SCHEMA_VERSION + 1: (change,)})

    code, out = run("--url", server.url)

    assert code == 0
    assert out.splitlines() == [
        f"{server.url}: made tables of version {SCHEMA_VERSION + 1}",
        f"{server.url}: made version {SCHEMA_VERSION + 1} of the schema",
    ]
    assert server.query("SELECT symbol, note FROM raven.gaps") == ["s|"]
    assert run("--url", server.url) == (0, f"{server.url}: nothing was missing\n")


def test_tables_of_a_newer_raven_are_left_alone(server: PostgresServer) -> None:
    run("--url", server.url)
    server.query(f"UPDATE raven.schema_version SET version = {SCHEMA_VERSION + 1}")

    code, out = run("--url", server.url)

    assert code == 1
    assert f"are of version {SCHEMA_VERSION + 1}, but this Raven writes {SCHEMA_VERSION}" in out


def test_a_user_who_may_not_make_tables_is_told_what_to_do(server: PostgresServer, plain: str) -> None:
    code, out = run("--url", plain)

    assert code == 1
    assert "permission denied for database postgres" in out
    assert "let one who has it run `ravenctl init-db" in out
    assert tables(server) == set()
    assert run("--url", plain, "--dry-run")[0] == 0


async def test_an_owner_can_have_everything_made_by_somebody_else_and_needs_no_other_right(
    server: PostgresServer, plain: str
) -> None:
    _, sql = await asyncio.to_thread(run, "--url", server.url, "--owner", "plain", "--dry-run")

    code, out = await asyncio.to_thread(run, "--url", server.url, "--owner", "plain")

    assert code == 0
    assert out.splitlines()[-1] == f"{server.url}: made plain the owner of the schema raven"
    again = await asyncio.to_thread(run, "--url", server.url, "--owner", "plain")
    assert again == (0, f"{server.url}: nothing was missing\n")
    sink = PostgresSink(plain)
    await sink.write(trades(5))
    await sink.close()
    assert server.query("SELECT count(*) FROM raven.trades") == ["5"]
    server.query("DROP SCHEMA raven CASCADE")
    server.query(sql)
    assert (await asyncio.to_thread(run, "--url", server.url, "--owner", "plain"))[1].endswith("nothing was missing\n")


@pytest.mark.usefixtures("plain")
def test_what_somebody_else_made_can_be_given_to_its_owner_later(server: PostgresServer) -> None:
    run("--url", server.url)

    _, out = run("--url", server.url, "--owner", "plain")

    assert out == f"{server.url}: made plain the owner of the schema raven\n"
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'raven'"
    assert server.query(owners) == ["plain"]


def test_the_address_of_the_configuration_is_taken(server: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "raven.toml"
    path.write_text(f"[timescale]\nurl = '{server.url}'\n", encoding="utf-8")

    assert run("--config", str(path))[0] == 0
    assert tables(server) == set(TABLES)


def test_no_database_is_named_or_there(tmp_path: Path) -> None:
    url = f"postgresql://raven:nevermore@127.0.0.1:{free_port()}/market"
    code, out = run("--url", url)

    assert code == 1
    assert "error: timescale: " in out
    assert "nevermore" not in out
    result = CliRunner().invoke(app, ["init-db"], env={"RAVEN_CONFIG_DIR": str(tmp_path)})
    assert "timescale.url is empty" in str(result.exception)
