"""How much memory the rings get, how a lost connection is told, and what a service says before it has started."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from raven.app.compose.collecting import connection_trouble
from raven.app.compose.process import ROLES
from raven.app.from_settings import ring_bytes
from raven.app.services import SERVICES, alone
from raven.config import load

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        pytest.param(0, 4 * MIB, id="none configured: what comes on demand gets the most"),
        pytest.param(3, 4 * MIB, id="a few: the most"),
        pytest.param(100, MIB, id="a hundred: a share, as a power of two"),
        pytest.param(1000, 128 * KIB, id="a thousand: together within 128 MiB"),
        pytest.param(20_000, 64 * KIB, id="very many: never below the least"),
    ],
)
def test_symbols_share_the_memory_of_all_rings(symbols: int, expected: int) -> None:
    assert ring_bytes(0, symbols, book_depth=20) == expected


def test_a_configured_size_is_taken_whatever_the_number_of_symbols() -> None:
    assert ring_bytes(262_144, 10_000, book_depth=20) == 262_144


@pytest.mark.parametrize("depth", [20, 100, 1000])
def test_the_rings_of_a_symbol_hold_a_few_books_however_deep(depth: int) -> None:
    book_ring = ring_bytes(1, 1, book_depth=depth) // 2

    assert book_ring >= 16 * (32 * depth)


@pytest.mark.parametrize(
    ("last_error", "told"),
    [
        ("", "wss://h/ws: connecting"),
        ("wss://h/ws: cannot connect: no such host", "wss://h/ws: cannot connect: no such host"),
        ("closed by the venue", "wss://h/ws: closed by the venue"),
    ],
)
def test_a_lost_connection_is_told_with_its_address_once(last_error: str, told: str) -> None:
    assert connection_trouble("wss://h/ws", last_error) == told


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service.role in ROLES])
async def test_a_service_says_how_it_is_before_it_has_started(name: str, tmp_path: Path) -> None:
    settings = alone(load(env={}, cwd=tmp_path), SERVICES[name], monitoring=0)
    module, _, attribute = ROLES[SERVICES[name].role].partition(":")
    service = getattr(import_module(module), attribute)(SERVICES[name], settings, {})
    # What opens first, so that a start that takes long can be watched.
    await service.front.monitoring.start()

    status = service.front.status()
    await service.front.monitoring.stop()

    assert (status["service"], status["collections"]) == (name, [])
    assert "grpc" in status["ready"]
