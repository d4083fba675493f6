"""A journal that lacks something says so, unless a gap record explains it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from raven._core import Hub
from raven.ctl.cli import app
from raven.journal import Journal, compact, parquet_folder, verify_journal
from raven.journal.segment import Frame, frames_of
from raven.topics import DataType


def journal_of(folder: Path, *batches: int, ring_bytes: int = 1 << 20) -> None:
    """Write trades in as many commits as there are numbers."""
    hub = Hub()
    journal = Journal(hub, folder)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), ring_bytes)
    journal.turn()
    first = 1
    for count in batches:
        trades.trades(count, first, 5, 5, price_scale=0, quantity_scale=0)
        first += count
        journal.turn()
    journal.close()


def test_a_whole_journal_is_sound(tmp_path: Path) -> None:
    journal_of(tmp_path, 10, 20)
    verdict = verify_journal(tmp_path)
    (topic,) = verdict.topics
    assert verdict.is_sound
    assert (topic.symbol, topic.records, topic.last_sequence, topic.missing) == ("BTCUSDT", 30, 30, 0)


def test_what_a_gap_record_explains_is_not_missing(tmp_path: Path) -> None:
    journal_of(tmp_path, 5_000, 3, ring_bytes=1 << 12)
    verdict = verify_journal(tmp_path)
    (topic,) = verdict.topics
    assert verdict.is_sound
    assert topic.told > 4_000
    assert topic.told + topic.records == 5_003


def test_a_frame_that_was_lost_is_damage_and_its_records_are_missing(tmp_path: Path) -> None:
    journal_of(tmp_path, 10, 20, 5)
    (path,) = tmp_path.glob("*.segment")
    frames = [frame for frame in frames_of(path) if isinstance(frame, Frame)]
    content = bytearray(path.read_bytes())
    content[frames[2].offset + 100] ^= 1
    path.write_bytes(content)

    verdict = verify_journal(tmp_path)

    assert not verdict.is_sound
    assert [(one.offset, one.frames) for one in verdict.damage] == [(frames[2].offset, 1)]
    assert [(topic.records, topic.missing) for topic in verdict.topics] == [(15, 20)]


def test_the_command_shows_it_and_its_exit_code_tells(tmp_path: Path) -> None:
    journal_of(tmp_path, 10)
    told = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "all of it is there" in told.output
    assert "BTCUSDT" in told.output

    (path,) = tmp_path.glob("*.segment")
    path.write_bytes(b"x" * 50 + path.read_bytes()[50:])
    told = CliRunner().invoke(app, ["verify", str(tmp_path), "--json"])
    assert told.exit_code == 1
    document = msgspec.json.decode(told.stdout)
    assert (document["sound"], document["topics"][0]["records"]) == (False, 10)
    assert document["topics"][0]["symbol"] == "BTCUSDT", "the end of the segment names its topics once more"


def test_a_folder_without_a_journal_is_an_error_with_the_folders_name(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert told.exit_code == 1
    assert "no journal there" in told.output


@pytest.fixture
def compacted(tmp_path: Path) -> Path:
    """Two runs in Parquet, 30 trades and 7, and the newest in a segment."""
    for batches in ((10, 20), (7,), (1,)):
        journal_of(tmp_path, *batches)
    compact(tmp_path)
    return tmp_path


def first_file(journal: Path) -> Path:
    return sorted(parquet_folder(journal).glob("date=*/*/type=trades/*/*.parquet"))[0]


def test_what_has_become_parquet_is_counted_with_the_rest(compacted: Path) -> None:
    verdict = verify_journal(compacted)
    assert verdict.is_sound
    assert sorted(topic.records for topic in verdict.topics) == [1, 7, 30]
    assert (verdict.segments, verdict.parquet_files) == (1, 2)


def test_one_run_half_in_parquet_and_half_in_a_segment_misses_nothing(tmp_path: Path) -> None:
    hub = Hub()
    journal = Journal(hub, tmp_path, segment_max_bytes=1)
    journal.open()
    trades = hub.create_topic("binance_spot", "BTCUSDT", int(DataType.TRADES), 1 << 20)
    for first in (1, 11, 21):
        trades.trades(10, first, 5, 5, price_scale=0, quantity_scale=0)
        journal.turn()
    journal.close()
    compact(tmp_path)

    verdict = verify_journal(tmp_path)

    assert [(one.records, one.last_sequence, one.missing) for one in verdict.topics] == [(30, 30, 0)]
    assert verdict.is_sound


@pytest.mark.fault("D4")
@pytest.mark.parametrize("how", ["bit flip", "truncation", "zero page", "missing", "swapped"])
def test_a_parquet_file_that_is_not_what_was_written_is_named_and_the_rest_is_intact(compacted: Path, how: str) -> None:
    path = first_file(compacted)
    content = bytearray(path.read_bytes())
    if how == "bit flip":
        content[len(content) // 2] ^= 1
    elif how == "truncation":
        del content[-9:]
    elif how == "zero page":
        content[: min(512, len(content))] = bytes(min(512, len(content)))
    elif how == "swapped":
        other = path.with_name("0000000002.parquet")
        content = bytearray(other.read_bytes())
        other.write_bytes(path.read_bytes())
    path.write_bytes(content)
    if how == "missing":
        path.unlink()

    verdict = verify_journal(compacted)
    told = CliRunner().invoke(app, ["verify", str(compacted)])

    named = {problem.path.name for problem in verdict.problems}
    assert named == ({"0000000001.parquet", "0000000002.parquet"} if how == "swapped" else {"0000000001.parquet"})
    assert sorted(topic.records for topic in verdict.topics) == ([1] if how == "swapped" else [1, 7])
    assert told.exit_code == 1
    assert "0000000001.parquet" in told.output.replace("\n", "")


def test_what_retention_removed_is_told_as_removed_and_not_as_missing(compacted: Path) -> None:
    path = first_file(compacted)
    manifest = path.with_name("_manifest.json")
    content = msgspec.json.decode(manifest.read_bytes())
    content["removed"] = {path.name: content["files"].pop(path.name) | {"why": "older than retention_days"}}
    manifest.write_bytes(msgspec.json.encode(content))
    path.unlink()

    verdict = verify_journal(compacted)

    assert verdict.is_sound
    assert sorted((one.records, one.removed) for one in verdict.topics) == [(0, 30), (1, 0), (7, 0)]


def test_a_file_from_elsewhere_is_named(compacted: Path) -> None:
    path = first_file(compacted)
    path.with_name("stranger.parquet").write_bytes(path.read_bytes())
    (problem,) = verify_journal(compacted).problems
    assert problem.path.name == "stranger.parquet"
    assert "not in the manifest" in str(problem)
