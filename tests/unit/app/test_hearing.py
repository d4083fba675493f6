"""Whom a service hears, and what people are told when it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from raven._core import Hub
from raven.app.compose import hearing
from raven.app.compose.hearing import Hearing
from raven.app.compose.persistence import wanted_types
from raven.app.lifecycle import Lifecycle
from raven.app.services import find
from raven.config import Settings
from raven.errors import ConfigurationError, DataValidation, NetworkTimeout
from raven.observe import Health
from raven.ports import LinkStatus
from raven.topics import DataType


class Heard:
    """Stands for a link: it says of itself what a test wants."""

    def __init__(self, rest: str, *_: object, **options: Any) -> None:
        self.rest = rest
        self.options = options
        self.now = LinkStatus(rest, connected=True)

    def status(self) -> LinkStatus:
        return self.now

    def counters(self) -> dict[str, int]:
        return {"records": 10, "missing": 3}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> None:
    real = hearing.load
    monkeypatch.setattr(hearing, "load", lambda shelf, name, what: Heard if what == "link" else real(shelf, name, what))


def front_of(name: str) -> Any:
    """Return what of a front a link is shown in."""
    health, face = Health(name, "1"), SimpleNamespace(stats=lambda: {"connections": 2})
    return SimpleNamespace(
        health=health, face=face, metrics=CollectorRegistry(), add_probe=lambda probe: probe(health)
    )  # fmt: skip


def settings(**services: dict[str, Any]) -> Settings:
    return Settings.model_validate({"services": services})


def hear(name: str, told: Settings | None = None, *beside: str) -> Hearing:
    made = {one: SimpleNamespace(hub=Hub(), collector=None) for one in beside}
    return Hearing(find(name), told or Settings(), made)


@pytest.mark.parametrize(
    ("name", "told", "beside", "address", "venue"),
    [
        pytest.param("timebar", {}, [], "grpc://127.0.0.1:50001", "binance_spot", id="the one of the table"),
        pytest.param("timebar", {}, ["binance_spot"], "local:binance_spot", "binance_spot", id="the one beside it"),
        pytest.param(
            "timebar", {"venue": "binance_futures"}, [], "grpc://127.0.0.1:50002", "binance_futures",
            id="that of its venue",
        ),
        pytest.param(
            "tibs", {"upstream": "grpc://10.0.0.5:50002"}, [], "grpc://10.0.0.5:50002", "binance_futures",
            id="as it is told, and whoever usually has that port",
        ),
        pytest.param(
            "tibs", {"upstream": "grpc://feed:6000", "venue": "binance_coinm"}, ["binance_spot"], "grpc://feed:6000",
            "binance_coinm", id="as it is told, wherever that is",
        ),
        pytest.param("bar_persistence", {}, [], "grpc://127.0.0.1:50051", "binance_spot", id="an aggregator"),
    ],
)  # fmt: skip
def test_whom_a_service_hears(name: str, told: dict[str, Any], beside: list[str], address: str, venue: str) -> None:
    heard = hear(name, settings(**{find(name).name: told}), *beside)

    assert (heard.address, heard.venue) == (address, venue)


def test_the_venue_of_bars_is_that_of_the_aggregator_they_come_from() -> None:
    assert hear("bar_persistence", settings(raven_timebar={"venue": "binance_futures"})).venue == "binance_futures"


def test_the_venue_of_bars_may_follow_from_the_port_that_their_aggregator_hears() -> None:
    told = settings(raven_timebar={"upstream": "grpc://10.0.0.5:50002"})

    assert hear("bar_persistence", told).venue == "binance_futures"


def test_services_that_only_hear_one_another_are_refused() -> None:
    told = settings(raven_timebar={"upstream": "grpc://h:50052"}, raven_tibs={"upstream": "grpc://h:50051"})

    with pytest.raises(ConfigurationError, match="no source at the end of its line"):
        hear("bar_persistence", told)


def test_a_link_shows_the_token_of_the_configuration() -> None:
    told = Settings.model_validate({"server": {"token": "secret"}})

    assert hear("timebar", told).link.options["token"] == "secret"  # type: ignore[attr-defined]
    assert hear("timebar").link.options["token"] is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"upstream": "http://h:1"}, "expected grpc://host:port"),
        ({"upstream": "grpc://h"}, "expected grpc://host:port"),
        ({"venue": "binance_sopt"}, "did you mean 'binance_spot'"),
    ],
)
def test_an_upstream_or_venue_that_makes_no_sense_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        hear("timebar", settings(raven_timebar=told))


def test_a_lost_upstream_is_told_with_the_program_to_start() -> None:
    heard, front = hear("timebar"), front_of("raven_timebar")
    heard.link.now = LinkStatus("", connected=False, trouble="nobody listens; trying again")  # type: ignore[attr-defined]

    heard.show_in(front)

    assert front.health.not_ready() == {"upstream": "nobody listens; trying again; start it with `binance_spot`"}
    assert heard.report()["connected"] is False


def test_an_upstream_that_is_there_is_no_trouble() -> None:
    heard, front = hear("timebar"), front_of("raven_timebar")

    heard.show_in(front)

    assert front.health.not_ready() == {}
    said = generate_latest(front.metrics).decode()
    assert 'raven_upstream_connected{upstream="binance_spot"} 1.0' in said
    assert 'raven_upstream_missing_records_total{upstream="binance_spot"} 3.0' in said
    assert "grpc_active_connections 2.0" in said


@pytest.mark.parametrize(
    ("name", "told", "types"),
    [
        ("tick_persistence", {}, [DataType.TRADES]),
        ("tick_persistence", {"tick_persistence": {"types": ["quotes", "trades"]}}, [DataType.QUOTES, DataType.TRADES]),
        # `raven` has the port of raven_timebar.
        ("tick_persistence", {"tick_persistence": {"upstream": "grpc://h:50051"}}, [DataType.TRADES]),
        ("bar_persistence", {}, [DataType.CANDLES_1M]),
        ("bar_persistence", {"bar_persistence": {"upstream": "grpc://h:50052"}}, [DataType.TICK_IMBALANCE_BARS]),
        ("bar_persistence", {"bar_persistence": {"upstream": "grpc://h:6000"}}, [DataType.CANDLES_1M]),
    ],
)  # fmt: skip
def test_what_persistence_asks_for(name: str, told: dict[str, Any], types: list[DataType]) -> None:
    heard = hear(name, settings(**told))

    assert list(wanted_types(find(name), settings(**told), heard.name)) == types


class Collects:
    """A collector that refuses as often as it is told."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.asked: list[str] = []

    def venues(self) -> list[str]:
        return ["binance_spot"]

    async def acquire(self, holder: str, venue: str, symbol: str, data_type: DataType) -> int:
        self.asked.append(symbol)
        if self.refusals:
            raise self.refusals.pop(0)
        return 1


async def test_what_is_configured_is_asked_for_until_the_upstream_gives_or_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = settings(raven_timebar={"symbols": ["AUSDT", "BUSDT", "CUSDT"]})
    collector = Collects(NetworkTimeout("away"), DataValidation("no such symbol"))
    monkeypatch.setattr(hearing, "_FIRST_PAUSE_S", 0.0)
    lifecycle = Lifecycle()
    hear("timebar", told).collect(lifecycle, collector, [DataType.TRADES])  # type: ignore[arg-type]

    async def watch() -> None:
        while len(collector.asked) < 4:
            await hearing.asyncio.sleep(0)
        lifecycle.stop()

    lifecycle.add("test", start=watch)
    assert await lifecycle.run() == 0
    assert collector.asked == ["AUSDT", "BUSDT", "CUSDT", "AUSDT"]


async def test_a_symbol_that_breaks_something_keeps_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    told = settings(raven_timebar={"symbols": ["AUSDT", "BUSDT"]})
    collector = Collects(ValueError("nobody foresaw this"))
    lifecycle = Lifecycle()
    hear("timebar", told).collect(lifecycle, collector, [DataType.TRADES])  # type: ignore[arg-type]

    async def watch() -> None:
        for _ in range(20):
            await hearing.asyncio.sleep(0)
        lifecycle.stop()

    lifecycle.add("test", start=watch)
    await lifecycle.run()

    assert collector.asked == ["AUSDT", "BUSDT"]
    assert "nobody foresaw this" in "".join(capsys.readouterr())
