"""The journal of the whole program: what it kept before `kill -9` is there, whole and in order; a restart goes on."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from raven.journal import Batch, Damage, read_journal
from raven.records import GapReason, Kind
from raven.topics import DataType

ROUNDS = 3
MORE_BYTES = 100_000


def records_of(folder: Path) -> dict[tuple[str, str, DataType], list[dict[str, Any]]]:
    """Return every record by run, symbol and type; nothing is damaged."""
    found: dict[tuple[str, str, DataType], list[dict[str, Any]]] = defaultdict(list)
    for batch in read_journal(folder):
        assert not isinstance(batch, Damage), str(batch)
        for row in batch.records.to_pylist():
            topic = batch.topics[row["topic"]]
            found[batch.run, topic.symbol, topic.data_type].append(row | {"kind": batch.kind})
    return found


@pytest.mark.fault("D1", "P1")
def test_what_was_kept_before_a_kill_is_whole_and_a_restart_goes_on(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    for _ in range(ROUNDS):
        with program("--demo") as raven:
            before = sum(path.stat().st_size for path in folder.glob("*.segment"))
            deadline = time.monotonic() + 20
            while sum(path.stat().st_size for path in folder.glob("*.segment")) < before + MORE_BYTES:
                assert time.monotonic() < deadline, raven.lines[-3:]
                time.sleep(0.02)
            raven.end(signal.SIGKILL)
    with program("--demo") as raven:
        assert raven.end(signal.SIGTERM) == 0

    found = records_of(folder)

    # The last run was ended at once and may have nothing to say.
    assert len({run for run, _, _ in found}) >= ROUNDS
    for (_, symbol, data_type), rows in found.items():
        kinds = {row["kind"] for row in rows}
        if data_type is DataType.TRADES:
            # A sequence of 0 is the journal's own word about the end of the run before.
            sequences = [row["sequence"] for row in rows if row["sequence"]]
            ids = [row["id"] for row in rows if row["kind"] is Kind.TRADE]
            assert sequences == list(range(1, len(sequences) + 1)), symbol
            assert Kind.GAP in kinds or all(after == id + 1 for id, after in pairwise(ids)), symbol
        if data_type is DataType.ORDERBOOK:
            assert all(row["bid_prices"][0] < row["ask_prices"][0] for row in rows if row["kind"] is Kind.BOOK)
    told = [row for rows in found.values() for row in rows if row["kind"] is Kind.GAP and row["sequence"] == 0]
    assert {row["reason"] for row in told} == {GapReason.JOURNAL}, "what a crash may have cost is said"
    assert sum(len(rows) for rows in found.values()) > 1_000


def test_everything_that_was_published_until_the_end_is_in_the_journal(
    program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    monkeypatch.setenv("RAVEN__JOURNAL__ENABLED", "true")
    monkeypatch.setenv("RAVEN__JOURNAL__DIR", str(folder))
    recording = tmp_path / "recording.txt"
    trade = '{{"e":"trade","E":{0},"T":{0},"s":"BTCUSDT","t":{1},"p":"61800.2{2}","q":"0.{2}10","X":"MARKET","m":true}}'
    start_ms, count = 1_700_000_000_000, 500
    diff = '{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT","U":1,"u":9,"pu":0,"b":[["61800","1"]],"a":[]}'
    lines = [
        f'{start_ms}000000 {{"stream":"btcusdt@depth@100ms","data":{diff % (start_ms, start_ms)}}}',
        f'{start_ms}000000 {{"lastUpdateId":10,"bids":[["61800","1.0"]],"asks":[["61900","1.0"]]}}',
    ]
    for at in range(1, count + 1):
        event = trade.format(start_ms + at, at, at % 10)
        lines.append(f'{start_ms + at}000000 {{"stream":"btcusdt@trade","data":{event}}}')
    recording.write_text("\n".join(lines) + "\n")

    with program("--replay", str(recording), "--speed", "0") as raven:
        deadline = time.monotonic() + 20
        while not any("the recording has ended" in line for line in raven.lines):
            assert time.monotonic() < deadline, raven.lines[-3:]
            time.sleep(0.02)
        assert raven.end(signal.SIGTERM) == 0

    batches = [batch for batch in read_journal(folder, [Kind.TRADE]) if isinstance(batch, Batch)]
    rows = [row for batch in batches for row in batch.records.to_pylist()]
    assert [row["id"] for row in rows] == list(range(1, count + 1))
    # Exact: the mantissa and its scale are the exchange's digits.
    for row in rows:
        digit = row["id"] % 10
        assert row["price"] * 10 ** (2 - row["price_scale"]) == 6_180_020 + digit
        assert row["quantity"] * 10 ** (2 - row["quantity_scale"]) == 10 * digit + 1
        assert row["exchange_ns"] == (start_ms + row["id"]) * 1_000_000
