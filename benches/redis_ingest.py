"""What Redis costs the feed: the ingest thread's time per frame without Redis, with one, and with one that hangs.

    python benches/redis_ingest.py [--rounds 10]

Frames of a recording of BTCUSDT are due as in `benches/journal.py`; `late` is from when a frame was due until it was
done: what the call waits for is in this one only. Redis is on the same machine, and all cases come in another order
each round. Needs the recordings that RAVEN_RECORDINGS points at, and `redis-server`. Writes
`results/redis_ingest.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from journal import CROWD, FRAMES_PER_S, RECORDING, ROUND_FRAMES, engine_of, frames, give
from system_parts import ROOT, keep, percentile

sys.path.insert(0, str(ROOT))

from tests.servers.redis import RedisServer, require_redis

from raven._core import Hub
from raven.observe import configure_logs
from raven.recording import RecordedLine
from raven.serve.redis import RedisPlan, RedisPublisher

CASES = ("off", "on", "hung")


def time_frames(lines: list[RecordedLine], server: RedisServer, case: str) -> tuple[list[int], list[int], int]:
    """Return what every frame takes, and how late it was done, ns; and how many messages Redis confirmed."""
    hub = Hub()
    engine, instrument, connection = engine_of(hub)
    publisher = RedisPublisher(hub, RedisPlan(server.url, venue="binance_futures", max_age_s=0))
    if case != "off":
        asyncio.run(publisher.start())
        while publisher.breaker.state != "closed" or len(publisher.channels()) < 2:
            time.sleep(0.01)
    if case == "hung":
        server.suspend()
    took, late = [], []
    due = time.perf_counter_ns()
    for at, line in enumerate(lines):
        if at % CROWD == 0:
            due += round(CROWD * 1e9 / FRAMES_PER_S)
            time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
        began = time.perf_counter_ns()
        give(engine, instrument, connection, line)
        done = time.perf_counter_ns()
        took.append(done - began)
        late.append(done - due)
    if case == "hung":
        server.resume()
    asyncio.run(publisher.stop())
    return sorted(took), sorted(late), sum(row[4] for row in publisher.channels())


def one_round(lines: list[RecordedLine], server: RedisServer, order: list[str]) -> dict[str, Any]:
    """Measure all cases."""
    row: dict[str, Any] = {}
    for case in order:
        took, late, published = time_frames(lines, server, case)
        assert case != "on" or published > len(lines) // 10, "Redis got nothing"
        row |= {f"p50_ns_{case}": percentile(took, 50), f"p99_ns_{case}": percentile(took, 99)}
        row |= {f"p99_late_ns_{case}": percentile(late, 99), f"published_{case}": published}
    for case in CASES:
        row[f"p99_ratio_{case}"] = round(row[f"p99_ns_{case}"] / row["p99_ns_off"], 3)
        row[f"p99_late_ratio_{case}"] = round(row[f"p99_late_ns_{case}"] / row["p99_late_ns_off"], 3)
    return row


def main() -> None:
    """Measure it, or say what is missing."""
    options = argparse.ArgumentParser(description="What Redis costs the feed.")
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args()
    require_redis()
    if not RECORDING.exists():
        print(f"skipped, {RECORDING} is not there")
        return
    configure_logs("error")
    # As in the server, see `raven.app.compose.process`.
    sys.setswitchinterval(0.0005)
    lines, chance = frames()[:ROUND_FRAMES], random.Random(1)
    with tempfile.TemporaryDirectory(prefix="raven-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            rounds = [one_round(lines, server, chance.sample(CASES, len(CASES))) for _ in range(chosen.rounds)]
        finally:
            server.stop()
    keep("redis_ingest", "redis", rounds, "frame by frame from Python")


if __name__ == "__main__":
    main()
