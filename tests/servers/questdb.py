"""A private QuestDB: its jar from Maven Central with a Java 17 or later, in a folder of its own.

`mvn dependency:get -Dartifact=org.questdb:questdb:9.2.2 -Dtransitive=false` fetches it; RAVEN_QUESTDB_JAR names
another one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.process import ServerProcess, free_port

__all__ = ["QuestdbServer", "questdb_jar", "questdb_server", "require_questdb"]

_CONFIG = """
http.bind.to=127.0.0.1:{port}
http.min.enabled=false
pg.enabled=false
line.tcp.enabled=false
line.udp.enabled=false
telemetry.enabled=false
metrics.enabled=false
shared.worker.count=2
{more}
"""


def questdb_jar() -> Path | None:
    """Return the newest jar there is."""
    named = os.environ.get("RAVEN_QUESTDB_JAR")
    if named:
        return Path(named)
    found = sorted((Path.home() / ".m2/repository/org/questdb/questdb").glob("*/questdb-*.jar"))
    return found[-1] if found else None


class QuestdbServer(ServerProcess):
    """Keeps its data in `folder`; `more`: further lines of its configuration."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        (folder / "conf").mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "conf" / "server.conf").write_text(_CONFIG.format(port=port, more=more))
        command = [
            "java",
            "-Xmx512m",
            # What it says when a full disk kills it belongs into its log, not into the folder of the tests.
            "-XX:+ErrorFileToStdout",
            "-p",
            str(questdb_jar()),
            "-m",
            "io.questdb/io.questdb.ServerMain",
            "-d",
            str(folder),
        ]
        super().__init__(command, folder / "questdb.log", self._answers_sql)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows that a statement finds."""
        url = f"{self.url}/exec?{urllib.parse.urlencode({'query': statement})}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            result = json.load(answer)
        names = [column["name"] for column in result.get("columns", [])]
        return [dict(zip(names, row, strict=True)) for row in result.get("dataset", [])]

    def count(self, table: str) -> int:
        """Return how many rows a table has, when all that it was sent is in it."""
        until = time.monotonic() + 60
        pending = f"SELECT * FROM wal_tables() WHERE name = '{table}' AND sequencerTxn <> writerTxn AND NOT suspended"
        while self.query(pending):
            assert time.monotonic() < until, f"{table}: the write-ahead log is not applied"
            time.sleep(0.05)
        return int(self.query(f'SELECT count() AS rows FROM "{table}"')[0]["rows"])

    def _answers_sql(self) -> bool:
        return bool(self.query("SELECT 1"))


@pytest.fixture
def questdb_server(tmp_path: Path) -> Iterator[QuestdbServer]:
    """A running, empty server; skipped where there is none."""
    require_questdb()
    server = QuestdbServer(tmp_path / "questdb")
    server.start()
    yield server
    server.stop()


def require_questdb() -> None:
    """Skip the test where Java or the jar is missing."""
    if shutil.which("java") is None:
        pytest.skip("java is missing; Debian has it in the package openjdk-17-jre-headless")
    if questdb_jar() is None:
        pytest.skip("QuestDB's jar is missing; mvn dependency:get -Dartifact=org.questdb:questdb:9.2.2")
