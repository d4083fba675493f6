"""How fast bars are made, beside others who make them, and what they cost the thread that takes the market in.

    python benches/bars.py [--only offline|live] [--rows 1000000] [--runs 5] [--rounds 20]

`offline` makes bars of one day of random trades in one run, on one core: the native core alone, `raven.bars.build` of
an Arrow table, polars, a loop in Python and mlfinpy. mlfinpy wants older libraries than we do and lives in an
environment of its own: `python -m venv DIR && DIR/bin/pip install mlfinpy scikit-learn`, then
`RAVEN_MLFINPY=DIR/bin/python`; without it there are no figures of it.
`live` takes in 50,000 trades a second of 500 symbols, without bars and with bars of all nine kinds on another thread,
in turn in one run. Writes `results/bars.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from system_parts import ROOT, keep, percentile

from raven._core import Engine, Hub, LiveBars
from raven.bars import bar_spec, build
from raven.topics import DataType

CORE = (os.cpu_count() or 1) - 1
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DAY_MS = 86_400_000
# Of which the median counts, within a run; mlfinpy is given one.
REPEATS = 5
START_MS = 1_700_000_000_000 // DAY_MS * DAY_MS
PRICE_SCALE, QUANTITY_SCALE = 1, 3
# About as many bars as minutes in the day.
IMBALANCE: dict[str, Any] = {"initial_size": 500, "initial_p_buy": 0.5}

SYMBOLS, TRADES_PER_S, CROWD, ROUND_FRAMES = 500, 50_000, 25, 50_000
# As in a server.
GIL_SWITCH_S, STEP_S = 0.0005, 0.005
LIVE: dict[str, dict[str, Any]] = {
    "time": {"seconds": 1},
    "tick": {"ticks": 20},
    "volume": {"volume": 20.0},
    "quote_volume": {"quote_volume": 2000.0},
    "tick_imbalance": {"initial_size": 20},
    "volume_imbalance": {"initial_size": 20.0},
    "tick_run": {"initial_size": 20},
    "volume_run": {"initial_size": 20.0},
    "vpin": {"bucket_volume": 20.0, "buckets": 50},
}


# --- offline --------------------------------------------------------------------------------------------------------


def a_day(rows: int) -> tuple[bytes, pa.Table]:
    """Return random trades, as columns of integers and as a table: half of them repeat the side of the one before."""
    chance = np.random.default_rng(4)
    time_ms = START_MS + np.sort(chance.integers(0, DAY_MS, rows))
    price = 600_000 + np.cumsum(chance.integers(-1, 2, rows))
    quantity = 1 + chance.lognormal(3, 1, rows).astype(np.int64)
    number = np.arange(1, rows + 1)
    last_own = np.maximum.accumulate(np.where(chance.random(rows) < 0.5, np.arange(rows), 0))
    sells = (chance.random(rows) < 0.5)[last_own]
    columns = [column.astype("<i8").tobytes() for column in (time_ms, price, quantity, number)]
    table = {
        "timestamp": time_ms,
        "price": price / 10**PRICE_SCALE,
        "quantity": quantity / 10**QUANTITY_SCALE,
        "side": np.where(sells, "sell", "buy").tolist(),
        "trade_id": number,
    }
    return b"".join([*columns, sells.astype("u1").tobytes()]), pa.table(table)


def offline(rows: int, runs: int, mlfinpy: str) -> None:
    """Let everybody make bars of the same trades, in turn."""
    program = native_program()
    os.sched_setaffinity(0, {CORE})
    pa.set_cpu_count(1)
    columns, table = a_day(rows)
    frame = pl.DataFrame(table).with_columns(pl.from_epoch("timestamp", time_unit="ms"))
    lists = [column.to_pylist() for column in table.columns]
    makers: dict[str, Callable[[], int]] = {
        "build_time": lambda: len(build(table, "time", seconds=60)),
        "build_tick_imbalance": lambda: len(build(table, "tick_imbalance", **IMBALANCE)),
        "polars_dynamic_time": lambda: len(by_polars(frame.group_by_dynamic("timestamp", every="1m"))),
        "polars_truncate_time": lambda: len(by_polars(frame.group_by(pl.col("timestamp").dt.truncate("1m")))),
        "python_time": lambda: time_bars_in_python(lists),
        "python_tick_imbalance": lambda: imbalance_bars_in_python(lists),
    }
    results = []
    with tempfile.TemporaryDirectory(prefix="raven-bars-") as folder:
        file, arrays = Path(folder) / "trades", Path(folder) / "trades.npz"
        file.write_bytes(columns)
        np.savez(arrays, **{name: table[name].to_numpy() for name in ("timestamp", "price", "quantity")})
        for _ in range(runs):
            row = {key: float(value) for key, value in natively(program, file, rows).items()}
            for name, make in makers.items():
                took, bars = [], 0
                for _ in range(REPEATS):
                    began = time.perf_counter()
                    bars = make()
                    took.append(time.perf_counter() - began)
                row |= {f"{name}_per_s": round(rows / statistics.median(took)), f"{name}_bars": bars}
            results.append(row | (by_mlfinpy(mlfinpy, arrays, rows) if mlfinpy else {}))
    keep("bars", "offline", results, f"{rows:,} trades, one core")


def native_program() -> Path:
    """Build the native core's own bench and return the program."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
    command = ["cargo", "build", "-q", "--release", "-p", "raven-core", "--example", "bars_bench"]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return TARGET / "release" / "examples" / "bars_bench"


def natively(program: Path, file: Path, rows: int) -> dict[str, int]:
    """Run the native core alone."""
    labels = {"time": "1m", "tick_imbalance": bar_spec("tick_imbalance", **IMBALANCE).label}
    numbers = [str(number) for number in (rows, PRICE_SCALE, QUANTITY_SCALE, REPEATS)]
    found = json.loads(subprocess.check_output([str(program), str(file), *numbers, *labels.values()], text=True))
    figures = {}
    for name, label in labels.items():
        figures |= {f"native_{name}_per_s": found[label]["trades_per_s"], f"native_{name}_bars": found[label]["bars"]}
    return figures


def by_polars(groups: Any) -> pl.DataFrame:
    """Let polars make plain candles."""
    price, quantity = pl.col("price"), pl.col("quantity")
    candles: pl.DataFrame = groups.agg(
        price.first().alias("open"),
        price.max().alias("high"),
        price.min().alias("low"),
        price.last().alias("close"),
        quantity.sum().alias("volume"),
    )
    return candles


def time_bars_in_python(lists: list[list[Any]]) -> int:
    """Make plain candles as one writes it in an afternoon."""
    bars = []
    end, opened, high, low, close, volume = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for time_ms, price, quantity in zip(lists[0], lists[1], lists[2], strict=True):
        if time_ms >= end:
            if end:
                bars.append((end, opened, high, low, close, volume))
            end = time_ms - time_ms % 60_000 + 60_000
            opened = high = low = price
            volume = 0.0
        if price > high:
            high = price
        elif price < low:
            low = price
        close = price
        volume += quantity
    bars.append((end, opened, high, low, close, volume))
    return len(bars)


def imbalance_bars_in_python(lists: list[list[Any]]) -> int:
    """Make tick imbalance bars by our rule, with candles but without anything else that our bars have."""
    bars = []
    initial = float(IMBALANCE["initial_size"])
    size, imbalance = initial, 0.0
    threshold, cap = size**0.5, 10 * size
    theta, ticks, opened, high, low, volume = 0, 0, 0.0, 0.0, 0.0, 0.0
    for price, quantity, side in zip(lists[1], lists[2], lists[3], strict=True):
        if ticks == 0:
            opened = high = low = price
            volume = 0.0
        ticks += 1
        theta += 1 if side == "buy" else -1
        volume += quantity
        if price > high:
            high = price
        elif price < low:
            low = price
        if ticks > 1 and (abs(theta) > threshold or ticks >= cap):
            bars.append((opened, high, low, price, volume, theta))
            imbalance = 0.1 * (theta / ticks) + 0.9 * imbalance
            size = min(max(0.1 * ticks + 0.9 * size, initial / 2), initial * 2)
            threshold, cap = max(abs(size * imbalance), size**0.5), 10 * min(size, initial)
            theta = ticks = 0
    return len(bars)


_MLFINPY = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy, pandas
from mlfinpy.data_structure import get_ema_tick_imbalance_bars, get_time_bars
trades = numpy.load(sys.argv[1])
frame = pandas.DataFrame({"date_time": pandas.to_datetime(trades["timestamp"], unit="ms"), "price": trades["price"],
                          "volume": trades["quantity"]})
def took(make):
    began = time.perf_counter()
    bars = make()
    bars = bars[0] if isinstance(bars, tuple) else bars
    return time.perf_counter() - began, len(bars)
print(json.dumps([
    took(lambda: get_time_bars(frame, resolution="MIN", num_units=1, verbose=False)),
    took(lambda: get_ema_tick_imbalance_bars(frame, exp_num_ticks_init=500, expected_imbalance_window=500,
                                             exp_num_ticks_constraints=[250, 1000], verbose=False)),
]))
"""


def by_mlfinpy(python: str, arrays: Path, rows: int) -> dict[str, float]:
    """Let mlfinpy do it, in the environment where it is; it knows no sides and goes by the tick rule."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    output = subprocess.check_output([python, "-c", _MLFINPY, str(arrays)], text=True, env=environment)
    figures: dict[str, float] = {}
    for name, (took, bars) in zip(("time", "tick_imbalance"), json.loads(output.splitlines()[-1]), strict=True):
        figures |= {f"mlfinpy_{name}_per_s": round(rows / took), f"mlfinpy_{name}_bars": bars}
    return figures


# --- live -----------------------------------------------------------------------------------------------------------


def live(rounds: int) -> None:
    """Take the time of every frame, without bars and with those of all kinds, in turn."""
    sys.setswitchinterval(GIL_SWITCH_S)
    frames = [a_frame(number) for number in range(ROUND_FRAMES)]
    chance = random.Random(1)
    results = []
    for _ in range(rounds):
        row: dict[str, float] = {}
        for case in chance.sample(["off", "bars"], 2):
            took, late, bars = time_frames(frames, has_bars=case == "bars")
            row |= {f"p50_ns_{case}": percentile(took, 50), f"p99_ns_{case}": percentile(took, 99)}
            row |= {f"p99_late_ns_{case}": percentile(late, 99), f"bars_{case}": bars}
        row["p99_ratio"] = row["p99_ns_bars"] / row["p99_ns_off"]
        row["p99_late_ratio"] = row["p99_late_ns_bars"] / row["p99_late_ns_off"]
        results.append({key: round(row[key], 3) for key in sorted(row)})
        print(results[-1], flush=True)
    keep("bars", "live", results, f"{SYMBOLS} symbols, {TRADES_PER_S:,} trades/s, {len(LIVE)} kinds")


def a_frame(number: int) -> bytes:
    """Return a trade as the venue sends it, of one symbol after the other."""
    at_ms = START_MS + number * 1000 // TRADES_PER_S
    trade = {"e": "trade", "E": at_ms, "T": at_ms, "s": f"S{number % SYMBOLS}USDT", "t": number // SYMBOLS + 1}
    trade |= {"p": f"{100 + number % 7 / 10:.1f}", "q": f"0.{number % 900 + 100}", "X": "MARKET", "m": number % 3 == 0}
    return json.dumps(trade, separators=(",", ":")).encode()


def time_frames(frames: list[bytes], *, has_bars: bool) -> tuple[list[int], list[int], int]:
    """Return what every frame takes, and how long after it was due it was done, ns; and the number of bars made.

    Frames come in little crowds, as from a socket; the thread sleeps in between, and has to be woken.
    """
    hub, made = Hub(), Hub()
    engine = Engine(hub)
    venue = engine.add_venue("binance_futures", "futures")
    for number in range(SYMBOLS):
        engine.add_instrument(venue, f"S{number}USDT", ring_bytes=1 << 16)
    connection = engine.open_connection(venue)
    kinds = [LiveBars(bar_spec(kind, **parameters), hub, made) for kind, parameters in LIVE.items()]
    topics = []
    for kind in kinds if has_bars else ():
        for number in range(SYMBOLS):
            trades = hub.find("binance_futures", f"S{number}USDT", int(DataType.TRADES))
            assert trades is not None, "engines make the topics of their instruments"
            topics.append((kind, kind.add(trades)[0]))
    took, late = [], []
    with bars_beside(kinds if has_bars else []) as published:
        due = time.perf_counter_ns()
        for at, frame in enumerate(frames):
            if at % CROWD == 0:
                # After a delay the next ones are late, too: they would have come all the same.
                due += round(CROWD * 1e9 / TRADES_PER_S)
                time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
            began = time.perf_counter_ns()
            engine.on_frame(connection, due, frame)
            done = time.perf_counter_ns()
            took.append(done - began)
            late.append(done - due)
    seen = sum(counts[1] for kind, topic in topics if (counts := kind.counts(topic)))
    assert seen == len(frames) * len(LIVE) * has_bars, f"{seen} trades are in bars"
    return sorted(took), sorted(late), sum(published)


@contextmanager
def bars_beside(kinds: list[LiveBars]) -> Iterator[list[int]]:
    """Make bars on another thread as an aggregator does, and at the end of what is left; yields how many there were."""
    published: list[int] = []
    ended = threading.Event()

    def step() -> list[int]:
        return [kind.step(START_MS, 5_000) for kind in kinds]

    def work() -> None:
        while not ended.wait(STEP_S):
            step()
        published.extend(step())

    thread = threading.Thread(target=work)
    if kinds:
        thread.start()
    yield published
    ended.set()
    if kinds:
        thread.join()


def main() -> None:
    """Run what is asked for."""
    options = argparse.ArgumentParser(description="How fast bars are made, and what they cost the ingest thread.")
    options.add_argument("--only", choices=["offline", "live"])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--rounds", type=int, default=20)
    chosen = options.parse_args()
    # First, since the other one binds the process to a core.
    if chosen.only != "offline":
        live(chosen.rounds)
    if chosen.only != "live":
        offline(chosen.rows, chosen.runs, os.environ.get("RAVEN_MLFINPY", ""))


if __name__ == "__main__":
    main()
