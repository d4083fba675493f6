"""Two processes never write the same state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raven.app.compose.state import StateFolder
from raven.errors import ConfigurationError


async def test_a_folder_is_that_of_one_until_it_lets_go_and_the_next_is_told_who_has_it(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path / "state"), StateFolder(tmp_path / "state")
    await first.take()

    with pytest.raises(ConfigurationError, match=rf"pid {os.getpid()}.*RAVEN__FEEDS__STATE_DIR"):
        await second.take()
    await first.let_go()
    await second.take()
    await second.let_go()


async def test_a_folder_that_cannot_be_made_is_no_reason_not_to_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    await StateFolder(tmp_path / "file" / "state").take()

    assert "what survives a restart cannot be kept" in capsys.readouterr().out
