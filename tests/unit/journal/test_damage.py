"""D4, D8: what is damaged on the disk costs what it hit, and a sync that failed is never trusted again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from raven._core import Hub
from raven.journal import Batch, Damage, Journal, read_journal, verify_journal
from raven.journal.segment import segments_in
from raven.records import Kind
from raven.topics import DataType


def journal_of(folder: Path, segments: int) -> None:
    """Write ten trades into each of so many segments, with ids from 1 on."""
    hub = Hub()
    journal = Journal(hub, folder, segment_max_bytes=1)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)
    for number in range(segments):
        trades.trades(10, number * 10 + 1, 5, 5, price_scale=0, quantity_scale=0)
        journal.turn()
    journal.close()


def ids(folder: Path) -> list[int]:
    found = [one for one in read_journal(folder, [Kind.TRADE]) if isinstance(one, Batch)]
    return [number for one in found for number in one.records["id"].to_pylist()]


def damage(folder: Path) -> list[Damage]:
    return verify_journal(folder).damage


@pytest.mark.fault("D4")
def test_a_page_of_zeros_costs_the_frames_that_it_hit(tmp_path: Path) -> None:
    journal_of(tmp_path, 3)
    path = segments_in(tmp_path)[1]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)

    verdict = verify_journal(tmp_path)

    assert ids(tmp_path) == [*range(1, 11), *range(21, 31)]
    assert {one.path for one in verdict.damage} == {path}
    assert [one.missing for one in verdict.topics] == [10]


@pytest.mark.fault("D4")
def test_a_segment_that_is_missing_is_as_many_records_missing(tmp_path: Path) -> None:
    journal_of(tmp_path, 3)
    segments_in(tmp_path)[1].unlink()

    verdict = verify_journal(tmp_path)

    assert not verdict.is_sound
    assert verdict.absent == [2]
    assert [(one.records, one.missing) for one in verdict.topics] == [(20, 10)]
    assert ids(tmp_path) == [*range(1, 11), *range(21, 31)]


@pytest.mark.fault("D4")
def test_segments_that_changed_their_places_are_named(tmp_path: Path) -> None:
    journal_of(tmp_path, 3)
    first, second, _ = segments_in(tmp_path)
    first.rename(tmp_path / "elsewhere")
    second.rename(first)
    (tmp_path / "elsewhere").rename(second)

    verdict = verify_journal(tmp_path)

    assert not verdict.is_sound
    assert [problem.path for problem in verdict.problems] == [second]
    assert sorted(ids(tmp_path)) == list(range(1, 31)), "no record is lost by that"


@pytest.mark.fault("D8")
def test_a_sync_that_failed_ends_its_segment_and_is_not_tried_again_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    journal = Journal(hub, tmp_path)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)
    trades.trades(10, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    synced: list[str] = []
    sync = os.fdatasync

    def broken(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        if len(synced) == 1:
            raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fdatasync", broken)
    trades.trades(7, 11, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    assert journal.status.trouble == "Input/output error"
    monkeypatch.setattr(journal, "_retry_at", 0.0)
    trades.trades(3, 18, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    journal.close()

    assert synced[:2] == ["0000000001.segment", "0000000002.segment"]
    assert "0000000001.segment" not in synced[1:]
    assert ids(tmp_path) == [*range(1, 11), 18, 19, 20]
    assert journal.status.lost == 7
    assert verify_journal(tmp_path).is_sound
    assert damage(tmp_path) == []


@pytest.mark.fault("D8")
def test_a_disk_that_fails_at_everything_costs_what_comes_and_not_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that the kernel has made read-only after an error: also closing, cutting and removing fail."""
    hub = Hub()
    journal = Journal(hub, tmp_path)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)
    trades.trades(10, 1, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        for name in ("fdatasync", "writev", "ftruncate", "close"):
            patch.setattr(os, name, broken)
        patch.setattr(Path, "unlink", broken)
        for first in (11, 18):
            trades.trades(7, first, 5, 5, price_scale=0, quantity_scale=0)
            journal.turn()
            journal._retry_at = 0.0
        assert journal.status.trouble == "Read-only file system"
    trades.trades(3, 25, 5, 5, price_scale=0, quantity_scale=0)
    journal.turn()
    journal.close()

    assert ids(tmp_path) == [*range(1, 11), 25, 26, 27]
    assert journal.status.lost == 14
    assert verify_journal(tmp_path).is_sound
