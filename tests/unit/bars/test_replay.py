"""A recording through the engine: bars made while it is replayed are those of its trades in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.bars.test_live import bar_of, key_of
from tests.unit.bars.test_recordings import trades_of

from raven._core import Engine, Hub, LiveBars
from raven.bars import BAR_KINDS, bar_spec, build
from raven.recording import depth_answer, read_recording
from raven.topics import DataType

RECORDINGS = {
    "usdm/btcusdt_20240808": ("BTCUSDT", "futures"),
    "spot/btcusdt_20240808": ("BTCUSDT", "spot"),
    "spot/ethusdt_20240808": ("ETHUSDT", "spot"),
    "cm/btcusd_perp_20240808": ("BTCUSD_PERP", "futures"),
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "time": {"seconds": 1},
    "tick": {"ticks": 100},
    "volume": {"volume": 5.0},
    "quote_volume": {"quote_volume": 500_000.0},
    "tick_imbalance": {"initial_size": 100},
    "volume_imbalance": {"initial_size": 10.0},
    "tick_run": {"initial_size": 100},
    "volume_run": {"initial_size": 10.0},
    "vpin": {"bucket_volume": 20.0, "buckets": 5},
}
# Odd, so that bars end at every place of a step.
STEP_EVERY = 997


@pytest.mark.parametrize("name", RECORDINGS)
def test_bars_of_a_replay_are_the_offline_bars(recordings: Path, name: str) -> None:
    symbol, rule = RECORDINGS[name]
    hub, target = Hub(), Hub()
    engine = Engine(hub)
    venue = engine.add_venue("binance", rule)
    instrument = engine.add_instrument(venue, symbol, ring_bytes=1 << 22)
    connection = engine.open_connection(venue)
    (trades,) = (row[0] for row in hub.topics() if row[3] == DataType.TRADES)
    makers = {kind: LiveBars(bar_spec(kind, **PARAMETERS[kind]), hub, target) for kind in BAR_KINDS}
    readers = {kind: target.reader(maker.add(trades, ring_bytes=1 << 22)[0]) for kind, maker in makers.items()}

    for number, line in enumerate(read_recording([recordings / f"{name}.gz"])):
        answer = depth_answer(line.raw)
        if answer is not None:
            engine.on_snapshot(instrument, line.recv_ns, answer.body, limit=answer.limit)
        else:
            engine.on_frame(connection, line.recv_ns, line.raw)
        if number % STEP_EVERY == 0:
            for maker in makers.values():
                # The clock stands: bars of the clock end with the next trade.
                maker.step(0, 1_000_000)
    for maker in makers.values():
        maker.step(0, 1_000_000)

    for kind, reader in readers.items():
        replayed = {key_of(record, kind): bar_of(record) for record in reader.drain(1_000_000)}
        offline = build(trades_of(recordings, name), kind, open_bar=False, exact=True, **PARAMETERS[kind])
        columns = ["symbol", "vwap", "total_ticks", "interval"]
        assert list(replayed.values()) == offline.drop_columns(columns).to_pylist(), kind
        assert replayed, kind
