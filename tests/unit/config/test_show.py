import tomllib
from pathlib import Path

import pytest

from raven.config import load, mask_url, render
from raven.config.reference import reference
from raven.config.schema import ENV_ALIASES, FLAT_ALIASES, KEYS, find

CONTRACT_KEYS = """
server: host port max_connections connection_timeout heartbeat_interval_seconds port_binance_spot port_binance_futures
  port_timebar port_tibs port_tick_persistence port_bar_persistence
influx: url token org bucket database username password connection_pool_size
timescale: url
redis: url
questdb: url
nats: url
data_processing: snapshot_interval_ms high_frequency_buffer_size data_validation_enabled
high_frequency: atomic_updates cache_line_padding numa_awareness
monitoring: metrics_enabled metrics_port health_check_port metrics_interval health_check_interval log_level port_offset
dashboard: enabled host port
citadel: strict_validation max_price_deviation enable_sanitization enable_dead_letter_queue max_clock_skew_ms
feeds: symbols venues exchange_ws_url order_book_depth reconnect_delay_ms max_reconnect_delay_ms linger_seconds
shm: name enabled
journal: dir enabled commit_interval_ms
"""


def contract_keys() -> list[tuple[str, str]]:
    keys = []
    section = ""
    for word in CONTRACT_KEYS.split():
        if word.endswith(":"):
            section = word[:-1]
        else:
            keys.append((section, word))
    return keys


@pytest.mark.parametrize("path", contract_keys(), ids=".".join)
def test_every_promised_key_exists_and_says_what_it_means(path: tuple[str, str]) -> None:
    key = find(path)

    assert key is not None
    assert key.field.description


def test_the_documented_defaults_hold() -> None:
    defaults = {key.name: key.default for key in KEYS.values()}

    assert defaults["server.port"] == 50051
    assert (defaults["server.port_binance_spot"], defaults["server.port_binance_futures"]) == (50001, 50002)
    assert (defaults["server.port_timebar"], defaults["server.port_tibs"]) == (50051, 50052)
    assert (defaults["server.port_tick_persistence"], defaults["server.port_bar_persistence"]) == (50091, 50092)
    assert (defaults["monitoring.metrics_port"], defaults["monitoring.health_check_port"]) == (9090, 8080)
    assert (defaults["dashboard.port"], defaults["monitoring.port_offset"]) == (8050, 1000)
    assert (defaults["feeds.reconnect_delay_ms"], defaults["feeds.max_reconnect_delay_ms"]) == (1000, 60_000)
    assert (defaults["feeds.order_book_depth"], defaults["feeds.linger_seconds"]) == (20, 30.0)
    assert (defaults["data_processing.snapshot_interval_ms"], defaults["shm.name"]) == (5, "market_data_shm")
    assert (defaults["data_processing.high_frequency_buffer_size"], defaults["citadel.max_clock_skew_ms"]) == (
        10_000,
        0,
    )


def test_every_alias_leads_to_a_key() -> None:
    assert all(find(path) for path in (*ENV_ALIASES.values(), *FLAT_ALIASES.values()))


def test_the_printed_configuration_loads_again_as_itself(tmp_path: Path) -> None:
    loaded = load(env={"RAVEN__VENUES__BINANCE_SPOT__SYMBOLS": "A,B"}, cwd=tmp_path)
    again = tmp_path / "again.toml"
    again.write_text(render(loaded), encoding="utf-8")

    assert load(again, env={}, cwd=tmp_path).settings == loaded.settings


def test_the_printed_configuration_says_where_each_value_came_from(tmp_path: Path) -> None:
    text = render(load(None, {"server.port": 7}, env={"LOG_LEVEL": "error"}, cwd=tmp_path))

    lines = {line.split(" = ")[0]: line for line in text.splitlines() if " = " in line}
    assert lines["port_tibs"].endswith("# default")
    assert lines["log_level"].endswith("# environment LOG_LEVEL")
    assert "port = 7" in text
    assert "# --port" in text
    assert "# config/default.toml:" in text


def test_no_secret_is_ever_printed(tmp_path: Path) -> None:
    env = {
        "RAVEN__SERVER__TOKEN": "hunter2",
        "INFLUX_PASSWORD": "hunter2",
        "REDIS_URL": "redis://me:hunter2@localhost:6379/0",
        "RAVEN__TIMESCALE__URL": "postgresql://me:hunter2@localhost/db?password=hunter2",
        "RAVEN__NATS__TOKEN": "hunter2",
    }
    loaded = load(env=env, cwd=tmp_path)

    text = render(loaded) + repr(loaded.settings.server) + repr(loaded.settings.nats)

    assert "hunter2" not in text
    assert tomllib.loads(render(loaded))["redis"]["url"] == "redis://me:********@localhost:6379/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://:pw@localhost", "redis://:********@localhost"),
        ("http://h/?token=abc&x=1", "http://h/?token=********&x=1"),
        ("rediss://h?ssl_password=abc&db=1", "rediss://h?ssl_password=********&db=1"),
        ("nats://user:p:w@h:4222", "nats://user:********@h:4222"),
    ],
)
def test_passwords_in_addresses_are_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_the_reference_page_lists_every_key() -> None:
    page = reference()

    assert all(f"| `{key.path[-1]}` |" in page for key in KEYS.values())
    assert all(f"| `{name}` |" in page for name in ENV_ALIASES)
