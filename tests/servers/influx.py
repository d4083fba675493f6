"""A private InfluxDB 1.x: the real `influxd` of Debian's package `influxdb`, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.process import ServerProcess, free_port

__all__ = ["InfluxServer", "influx_server"]

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
index-version = "{index}"
{data}
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
{http}
[monitor]
store-enabled = false
[subscriber]
enabled = false
"""


class InfluxServer(ServerProcess):
    """Keeps its data in `folder`; `data` and `http` are further lines of these sections of its configuration."""

    def __init__(
        self, folder: Path, *, data: str = "", http: str = "", index: str = "tsi1", database: str = "market_data"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.database = database
        config = folder / "influxdb.conf"
        config.write_text(_CONFIG.format(rpc=free_port(), port=port, folder=folder, data=data, http=http, index=index))
        super().__init__(["influxd", "-config", str(config)], folder / "influxd.log", self._pings)

    def query(self, text: str, **params: str) -> list[dict[str, Any]]:
        """Return the rows that InfluxQL finds, tags included; times are ns since 1970."""
        data = urllib.parse.urlencode({"q": text, "db": self.database, "epoch": "ns", **params}).encode()
        with urllib.request.urlopen(f"{self.url}/query", data, timeout=60) as answer:
            result = json.load(answer)["results"][0]
        assert "error" not in result, result["error"]
        return [
            series.get("tags", {}) | dict(zip(series["columns"], row, strict=True))
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def count(self, measurement: str, field: str = "recv_ns") -> int:
        """Return how many points a measurement has."""
        rows = self.query(f'SELECT COUNT("{field}") AS points FROM "{measurement}"')
        return int(rows[0]["points"]) if rows else 0

    def post(self, lines: str) -> None:
        """Write lines as somebody else would."""
        url = f"{self.url}/write?db={self.database}&precision=ns"
        with urllib.request.urlopen(url, lines.encode(), timeout=60) as answer:
            assert answer.status == 204

    def _pings(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
            return bool(answer.status == 204)


@pytest.fixture
def influx_server(tmp_path: Path) -> Iterator[InfluxServer]:
    """A running, empty server; skipped where there is none."""
    require_influxd()
    server = InfluxServer(tmp_path / "influx")
    server.start()
    yield server
    server.stop()


def require_influxd() -> None:
    """Skip the test where the server is not installed."""
    if shutil.which("influxd") is None:
        pytest.skip("influxd is missing; Debian has it in the package influxdb")
