"""When a venue said "not before", that holds over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from raven.resilience.bans import Bans
from raven.testing import ManualClock


async def test_a_ban_ends_when_it_ends(clock: ManualClock, tmp_path: Path) -> None:
    bans = Bans(clock, tmp_path / "state" / "bans.json")
    bans.add("venue", 120)
    await clock.advance(100)

    assert Bans(clock, tmp_path / "state" / "bans.json").left_s("venue") == pytest.approx(20)
    assert bans.left_s("another") == 0
    await clock.advance(20)
    assert bans.left_s("venue") == 0


def test_a_shorter_ban_does_not_end_a_longer_one(clock: ManualClock) -> None:
    bans = Bans(clock)
    bans.add("venue", 120)

    bans.add("venue", 60)

    assert bans.left_s("venue") == pytest.approx(120)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"venue": "soon"}'])
def test_a_broken_file_bans_nobody(clock: ManualClock, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bans.json"
    file.write_bytes(content)

    assert Bans(clock, file).left_s("venue") == 0


def test_a_file_that_cannot_be_written_does_not_lift_the_ban(clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    bans = Bans(clock, tmp_path / "file" / "bans.json")

    bans.add("venue", 60)

    assert bans.left_s("venue") == pytest.approx(60)
