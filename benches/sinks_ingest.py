"""What a database costs the feed: the ingest thread's time per frame with a journal, and with a sink that reads it.

    python benches/sinks_ingest.py [--rounds 5]

Each round gives a recording of BTCUSDT to the engine three times, at the pace of `benches/journal.py`: with a journal
alone, with a PostgreSQL that takes everything meanwhile, and with one that cannot be reached. All of it is one process,
and the server is on the same machine. Needs the recordings that RAVEN_RECORDINGS points at and Debian's package
`postgresql`; writes `results/sinks_ingest.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from journal import RECORDING, engine_of, frames, give
from system_parts import ROOT, keep, percentile

sys.path.insert(0, str(ROOT))

from tests.servers.postgres import PostgresServer, folder_for_postgres, skip_without_postgres
from tests.servers.process import free_port

from raven._core import Hub
from raven.app.sinks import SinkPlan, Sinks
from raven.journal import Journal
from raven.recording import RecordedLine
from raven.resilience.breaker import BreakerSettings
from raven.roles.persistence import PersistenceSettings

PACE = 100


async def times(lines: list[RecordedLine], url: str) -> list[int]:
    """Take the time of every frame, ns, sorted."""
    with tempfile.TemporaryDirectory(prefix="raven-journal-") as name:
        folder = Path(name)
        hub = Hub()
        engine, instrument, connection = engine_of(hub)
        journal = Journal(hub, folder / "journal")
        async with AsyncExitStack() as started:
            await journal.start()
            started.push_async_callback(journal.stop)
            if url:
                plan = SinkPlan("timescale", {"url": url}, PersistenceSettings())
                letters = folder / "letters.sqlite"
                sinks = Sinks([plan], folder / "journal", letters, max_attempts=5, breakers=BreakerSettings())
                await sinks.start()
                started.push_async_callback(sinks.stop)
            return await asyncio.to_thread(_feed, lines, engine, instrument, connection)


def _feed(lines: list[RecordedLine], engine: Any, instrument: int, connection: int) -> list[int]:
    took = []
    for at, line in enumerate(lines):
        if at % PACE == 0:
            time.sleep(0.002)
        began = time.perf_counter_ns()
        give(engine, instrument, connection, line)
        took.append(time.perf_counter_ns() - began)
    return sorted(took)


def one_round(lines: list[RecordedLine], server: PostgresServer) -> dict[str, Any]:
    """Measure all three, in turn."""
    row: dict[str, Any] = {}
    away = f"postgresql://raven@127.0.0.1:{free_port()}/postgres"
    server.query("DROP SCHEMA IF EXISTS raven CASCADE")
    for name, url in (("off", ""), ("on", server.url), ("away", away)):
        took = asyncio.run(times(lines, url))
        row |= {f"p50_ns_{name}": percentile(took, 50), f"p99_ns_{name}": percentile(took, 99)}
    row["rows"] = int(server.query("SELECT count(*) FROM raven.trades")[0])
    assert row["rows"], "the database got nothing"
    for name in ("on", "away"):
        row[f"p99_ratio_{name}"] = round(row[f"p99_ns_{name}"] / row["p99_ns_off"], 3)
    print(row, flush=True)
    return row


def main() -> None:
    """Measure it, or say what is missing."""
    options = argparse.ArgumentParser(description="What a database costs the feed.")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    try:
        skip_without_postgres()
    except pytest.skip.Exception as why:
        print(f"skipped, {why}")
        return
    if not RECORDING.exists():
        print(f"skipped, {RECORDING} is not there")
        return
    lines = frames()
    with folder_for_postgres() as folder:
        server = PostgresServer(folder)
        server.start()
        try:
            rounds = [one_round(lines, server) for _ in range(chosen.rounds)]
        finally:
            server.stop()
    keep("sinks_ingest", "timescale", rounds, "frame by frame from Python")


if __name__ == "__main__":
    main()
