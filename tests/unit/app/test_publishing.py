"""Redis of the configuration, and what a service says about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline import until

from raven._core import Hub
from raven.app.compose.publishing import Publishing
from raven.config import Settings, load
from raven.errors import ConfigurationError
from raven.topics import DataType


def settings(folder: Path, text: str) -> Settings:
    (folder / "raven.toml").write_text(text)
    return load(folder / "raven.toml", env={}, cwd=folder).settings


async def channels(chosen: Settings) -> list[str]:
    """Return the names of the channels of a symbol that both venues have."""
    hub = Hub()
    # Kept, because a topic ends with its writer.
    topics = [
        hub.create_topic(venue, "BTCUSDT", int(DataType.TRADES), 4096) for venue in ("binance_futures", "binance_spot")
    ]
    publishing = Publishing(hub, chosen)
    assert publishing.redis is not None
    redis = publishing.redis
    await redis.start()
    await until(lambda: len(redis.channels()) == len(topics))
    await redis.stop()
    return sorted(row[0] for row in redis.channels())


def test_without_a_url_there_is_nothing_and_nothing_to_say(tmp_path: Path) -> None:
    publishing = Publishing(Hub(), settings(tmp_path, ""))

    assert (publishing.redis, publishing.troubles()) == (None, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", ["binance_spot:trades:BTCUSDT", "trades:BTCUSDT"], id="the first venue has the short names"),
        pytest.param(
            'venue = "binance_spot"',
            ["binance_futures:trades:BTCUSDT", "trades:BTCUSDT"],
            id="or the one that is named",
        ),
        pytest.param(
            'prefix = "eu:"', ["eu:binance_spot:trades:BTCUSDT", "eu:trades:BTCUSDT"], id="a prefix is before all"
        ),
    ],
)
async def test_the_configuration_says_whose_names_are_short(tmp_path: Path, text: str, expected: list[str]) -> None:
    said = f'[feeds]\nvenues = ["binance_futures", "binance_spot"]\n[redis]\nurl = "redis://localhost:1"\n{text}\n'

    assert await channels(settings(tmp_path, said)) == expected


def test_a_venue_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = '[redis]\nurl = "redis://localhost:1"\nvenue = "binance_future"\n'

    with pytest.raises(ConfigurationError, match=r"redis\.venue.*binance_future.*did you mean 'binance_futures'"):
        Publishing(Hub(), settings(tmp_path, said))
