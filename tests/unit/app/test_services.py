"""The table of services, and what one that runs alone is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from raven.app.services import SERVICES, Role, alone, find, in_order, monitoring_port, upstream_of
from raven.config import Loaded, Settings, load
from raven.errors import ConfigurationError


def loaded(tmp_path: Path, text: str) -> Loaded:
    """What a file says that is named with --config, over a `default.toml` that says what `raven` collects."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "default.toml").write_text('[feeds]\nsymbols = ["BTCUSDT"]\nvenues = ["binance_futures"]\n')
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return load(file, env={}, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "service"), [("timebar", "raven_timebar"), ("raven_tibs", "raven_tibs"), ("binance_spot", "binance_spot")]
)
def test_a_service_is_found_with_and_without_its_prefix(name: str, service: str) -> None:
    assert find(name).name == service


@pytest.mark.parametrize(("name", "hint"), [("timbar", "did you mean raven_timebar"), ("x", "there are raven, ")])
def test_a_service_that_does_not_exist_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        find(name)


def test_whom_a_service_hears_stands_before_it() -> None:
    names = list(SERVICES)

    assert all(service.upstream is None or names.index(service.upstream) < names.index(service.name)
               for service in SERVICES.values())  # fmt: skip
    assert [one.name for one in in_order([find("tibs"), find("binance_spot"), find("tibs")])] == [
        "binance_spot", "raven_tibs",
    ]  # fmt: skip


def test_a_source_does_not_collect_what_the_defaults_are_for_the_whole_server(tmp_path: Path) -> None:
    settings = alone(loaded(tmp_path, ""), find("binance_spot"))

    assert settings.feeds.venues == ["binance_spot"]
    assert settings.venue("binance_spot").symbols == []


@pytest.mark.parametrize(
    "text",
    [
        '[feeds]\nsymbols = ["ETHUSDT"]',
        '[venues.binance_spot]\nsymbols = ["ETHUSDT"]',
        '[services.binance_spot]\nsymbols = ["ETHUSDT"]',
    ],
)
def test_a_source_collects_what_somebody_asked_for(tmp_path: Path, text: str) -> None:
    settings = alone(loaded(tmp_path, text), find("binance_spot"))

    assert settings.venue("binance_spot").symbols == ["ETHUSDT"]


def test_each_service_has_its_ports_and_files_of_its_own(tmp_path: Path) -> None:
    both = loaded(tmp_path, "[server]\nport_tibs = 7000\n[monitoring]\nport_offset = 10\n")

    one, other = alone(both, find("tibs")), alone(both, find("timebar"), monitoring=81)

    assert (one.server.port, one.monitoring.health_check_port, one.monitoring.metrics_port) == (7000, 7010, 7010)
    assert (other.server.port, other.monitoring.health_check_port) == (50051, 81)
    assert one.feeds.state_dir != other.feeds.state_dir
    assert one.journal.dir != other.journal.dir


def test_a_free_port_brings_a_free_monitoring_port(tmp_path: Path) -> None:
    settings = alone(loaded(tmp_path, "[server]\nport_tibs = 0\n"), find("tibs"))

    assert (settings.server.port, settings.monitoring.health_check_port) == (0, 0)


def test_the_address_of_one_venue_is_not_used_for_another(tmp_path: Path) -> None:
    said = loaded(tmp_path, '[feeds]\nvenues = ["binance_futures"]\nexchange_ws_url = "ws://h:1"\n')

    assert alone(said, find("binance_futures")).venue("binance_futures").ws_url == "ws://h:1"
    assert alone(said, find("binance_spot")).venue("binance_spot").ws_url == ""


@pytest.mark.parametrize(
    ("text", "venue"), [("", "binance_futures"), ('[redis]\nvenue = "binance_spot"\n', "binance_spot")]
)
def test_services_agree_on_whose_channels_in_redis_have_the_short_names(tmp_path: Path, text: str, venue: str) -> None:
    said = loaded(tmp_path, f'[feeds]\nvenues = ["binance_futures"]\n{text}')

    assert [alone(said, find(name)).redis.venue for name in ("binance_spot", "binance_futures")] == [venue, venue]


def test_a_section_of_a_service_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean raven_timebar"):
        alone(loaded(tmp_path, '[services.raven_timbar]\nvenue = ""\n'), find("tibs"))


@pytest.mark.parametrize(
    ("service", "venue", "upstream"),
    [
        ("raven_timebar", "", "binance_spot"),
        ("raven_timebar", "binance_futures", "binance_futures"),
        ("bar_persistence", "binance_futures", "raven_timebar"),
        ("binance_spot", "", None),
    ],
)
def test_a_service_hears_the_source_of_its_venue(service: str, venue: str, upstream: str | None) -> None:
    settings = Settings.model_validate({"services": {service: {"venue": venue}}})

    heard = upstream_of(find(service), settings)

    assert (heard.name if heard else None) == upstream


def test_the_whole_server_is_monitored_where_its_settings_say() -> None:
    settings = Settings()

    assert {service.role: monitoring_port(service, settings) for service in SERVICES.values()}[Role.SERVER] == 8080
