"""What every test may use: a clock moved by hand, and the recordings when they are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from raven.testing import ManualClock

PROJECT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos", action="store_true", default=bool(os.environ.get("RAVEN_CHAOS")),
        help="faults at full length: outages of minutes, a hundred rounds (also RAVEN_CHAOS=1)",
    )  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let reports say which fault a test injects."""
    for item in items:
        item.user_properties += [("fault", name) for mark in item.iter_markers("fault") for name in mark.args]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Return `figure(name, value)`: what a fault cost, for the table of `make chaos`."""
    return lambda name, value: request.node.user_properties.append((name, value))


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> bool:
    """Whether faults are injected at full length."""
    return bool(request.config.getoption("--chaos"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recordings (env RAVEN_RECORDINGS); the test is skipped when there is none."""
    folder = Path(os.environ.get("RAVEN_RECORDINGS", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}; set RAVEN_RECORDINGS to a folder that has them")
    return folder
