"""A journal that lacks something says so, unless a gap record explains it."""

from __future__ import annotations

from pathlib import Path

import msgspec
from typer.testing import CliRunner

from raven._core import Hub
from raven.ctl.cli import app
from raven.journal import Journal, verify_journal
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
