import tomllib
from pathlib import Path

import pytest

from raven.config import Loaded, load, render
from raven.errors import ConfigurationError

FLAT_YAML = """\
symbols: [btcusdt, ETHUSDT]
exchange_ws_url: wss://fstream.binance.com/stream
redis_url: redis://127.0.0.1:6379
order_book_depth: 50
health_port: 8081
shm_name: other_shm
reconnect_delay_ms: 500
max_reconnect_delay_ms: 30000
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load_here(folder: Path, config: Path | None = None, **env: str) -> Loaded:
    return load(config, env=env, cwd=folder)


def test_each_layer_beats_the_ones_before_it(tmp_path: Path) -> None:
    layers = [{}, {}]
    ports = []
    ports.append(load_here(tmp_path).settings.server.port)
    write(tmp_path, "config/default.toml", "[server]\nport = 1001\n")
    ports.append(load_here(tmp_path).settings.server.port)
    write(tmp_path, "config/production.toml", "[server]\nport = 1002\n")
    ports.append(load_here(tmp_path, RUN_MODE="production").settings.server.port)
    write(tmp_path, "production.toml", "[server]\nport = 1003\n")
    ports.append(load_here(tmp_path, RUN_MODE="production").settings.server.port)
    file = write(tmp_path, "mine.yaml", "server:\n  port: 1004\n")
    ports.append(load_here(tmp_path, file, RUN_MODE="production").settings.server.port)
    layers = [{"SERVER_PORT": "1005"}, {"SERVER_PORT": "1", "RAVEN_PORT": "1006"}]
    layers.append({**layers[1], "RAVEN__SERVER__PORT": "1007"})
    ports += [load_here(tmp_path, file, **env).settings.server.port for env in layers]
    ports.append(load(file, {"server.port": 1008}, env=layers[2], cwd=tmp_path).settings.server.port)

    assert ports == [50051, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008]


def test_run_mode_prod_reads_prod_toml_of_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, "prod.toml", "[server]\nmax_connections = 7\n")

    assert load_here(tmp_path, RUN_MODE="prod").settings.server.max_connections == 7


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    file = write(tmp_path, "mine.toml", "\n[server]\nhost = '0.0.0.0'\n[venues.binance_spot]\nsymbols = ['A']\n")

    loaded = load(file, {"server.port": 5}, env={"METRICS_PORT": "9191", "RAVEN__SHM__NAME": "x"}, cwd=tmp_path)

    assert loaded.origins["server", "host"] == f"{file}:3"
    assert loaded.origins["venues", "binance_spot", "symbols"] == f"{file}:5"
    assert loaded.origins["server", "port"] == "--port"
    assert loaded.origins["monitoring", "metrics_port"] == "environment METRICS_PORT"
    assert loaded.origins["shm", "name"] == "environment RAVEN__SHM__NAME"
    assert ("redis", "url") not in loaded.origins


def test_the_flat_yaml_of_the_market_data_service_loads(tmp_path: Path) -> None:
    settings = load_here(tmp_path, write(tmp_path, "service.yaml", FLAT_YAML)).settings

    assert settings.feeds.symbols == ["BTCUSDT", "ETHUSDT"]
    assert settings.feeds.exchange_ws_url == "wss://fstream.binance.com"
    assert settings.redis.url == "redis://127.0.0.1:6379"
    assert settings.feeds.order_book_depth == 50
    assert settings.monitoring.health_check_port == 8081
    assert settings.shm.name == "other_shm"
    assert (settings.feeds.reconnect_delay_ms, settings.feeds.max_reconnect_delay_ms) == (500, 30_000)


def test_database_is_another_name_of_influx(tmp_path: Path) -> None:
    file = write(tmp_path, "a.toml", "[database]\ninflux_url = 'http://h:8086'\nusername = 'u'\n[influx]\norg = 'o'\n")

    influx = load_here(tmp_path, file).settings.influx

    assert (influx.url, influx.username, influx.org) == ("http://h:8086", "u", "o")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.toml",
            "[server]\n\nprot = 1\n",
            r"server\.prot \(.*a\.toml:3\) is not a setting; did you mean server\.port\?",
        ),
        ("a.yaml", "server:\n  prot: 1\n", r"server\.prot \(.*a\.yaml:2\) .* did you mean server\.port\?"),
        ("a.yaml", "order_book_dept: 1\n", r"did you mean order_book_depth\?|did you mean feeds\.order_book_depth\?"),
        ("a.toml", "[servre]\nport = 1\n", r"servre .*a\.toml:1\) is not a setting; did you mean server\?"),
        ("a.toml", "server = 5\n", r"server \(.*a\.toml:1\) is a section"),
        ("a.toml", "[venues.x]\nws_ur = ''\n", r"did you mean venues\.x\.ws_url\?"),
        (
            "a.toml",
            "[server]\nport = 'many'\n",
            r"server\.port \(.*a\.toml:2\) is 'many', input should be a valid integer",
        ),
        ("a.toml", "[server\n", r"a\.toml.* is not valid TOML"),
        ("a.yaml", "a: [1\nb: 2\n", r"a\.yaml:\d is not valid YAML"),
        ("a.yaml", "- 1\n", r"holds a list; expected keys and values"),
        ("a.yaml", "symbols: [A]\nsymbols: [B]\n", r"a\.yaml:2 sets symbols again; it is set in line 1"),
        ("a.json", "{}", r"ends in \.json; expected \.toml, \.yaml or \.yml"),
        ("a.toml", "[venues.BINANCE]\nsymbols = []\n", r"venues\.BINANCE"),
        ("a.toml", "[feeds]\nsymbols = ['BTC USDT']\n", r"'BTC USDT' is not a symbol"),
        ("a.toml", "[feeds]\nsymbols = ['a|b']\n", r"'a\|b' is not a symbol"),
        ("a.toml", "[feeds]\nexclude = ['a b']\n", r"'a b' is not a symbol"),
        ("a.toml", "[venues.x.overrides]\n'A/B' = 'C D'\n", r"A/B: 'C D' is no symbol of a venue"),
        ("a.toml", "[monitoring]\nlog_level = 'loud'\n", r"expected one of trace, debug, info, warn, error"),
        ("a.toml", "[redis]\nurl = 'localhost'\n", r"redis\.url .* not a URL"),
        (
            "a.toml",
            "[journal.types.quotes]\nretention_day = 1\n",
            r"did you mean journal\.types\.quotes\.retention_days\?",
        ),
        (
            "a.toml",
            "[journal.types.qoutes]\nretention_days = 1\n",
            r"journal\.types: 'qoutes' is not one of orderbook, trades",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_a_way_out(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_here(tmp_path, write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            "RAVEN__SERVER__PROT",
            "RAVEN__SERVER__PROT in the environment names no setting; did you mean RAVEN__SERVER__PORT",
        ),
        ("RAVEN__SERVR__PORT", "did you mean RAVEN__SERVER__PORT"),
        ("RAVEN__MONITRING", "did you mean RAVEN__MONITORING"),
    ],
)
def test_an_unknown_variable_names_the_nearest(tmp_path: Path, variable: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_here(tmp_path, **{variable: "1"})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"2 problems:\n.*server\.port.*\n.*server\.max_connections"):
        load_here(tmp_path, RAVEN__SERVER__PORT="x", RAVEN__SERVER__MAX_CONNECTIONS="0")


def test_a_run_mode_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RUN_MODE=prodution names no file: looked for"):
        load_here(tmp_path, RUN_MODE="prodution")


@pytest.mark.parametrize("mode", ["../etc", "a/b", "a b"])
def test_a_run_mode_is_a_plain_word(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a plain word"):
        load_here(tmp_path, RUN_MODE=mode)


@pytest.mark.parametrize("mode", ["development", "staging", "production"])
def test_the_shipped_files_are_valid_from_any_folder(tmp_path: Path, mode: str) -> None:
    loaded = load_here(tmp_path, RUN_MODE=mode)

    assert loaded.settings.feeds.venues
    assert loaded.settings.feeds.symbols
    assert [path.name for path in loaded.files] == ["default.toml", f"{mode}.toml"]


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml does not exist; check --config"):
        load_here(tmp_path, tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"SERVER__PORT": "9090"}, "server.port and monitoring.metrics_port are both 9090"),
        ({"SERVER__TLS_KEY": "k"}, "TLS needs both"),
        ({"SERVER__TLS_CLIENT_CA": "k"}, "mutual TLS needs"),
        ({"FEEDS__MAX_RECONNECT_DELAY_MS": "10"}, "the cap must not be below"),
        ({"JOURNAL__RETENTION_FIRST": "books"}, "journal.retention_first: 'books' is not one of"),
        ({"JOURNAL__TYPES__TRADES__ARCHIVE_DAYS": "9"}, "journal.types.trades.archive_days is set without"),
        (
            {"JOURNAL__DOWNSAMPLE_DAYS": "30", "JOURNAL__TYPES__QUOTES__RETENTION_DAYS": "7"},
            r"journal.types.quotes: retention_days \(7\) is not after downsample_days \(30\)",
        ),
        ({"FEEDS__VENUES": "a,b", "FEEDS__EXCHANGE_WS_URL": "ws://h"}, r"set venues\.<name>\.ws_url for each"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_here(tmp_path, **{f"RAVEN__{key}": value for key, value in keys.items()})


def test_both_monitoring_ports_may_be_one_and_zero_means_any(tmp_path: Path) -> None:
    settings = load(
        None,
        {"monitoring.metrics_port": 8080, "server.port": 0, "dashboard.port": 0},
        env={},
        cwd=tmp_path,
    ).settings

    assert settings.monitoring.metrics_port == settings.monitoring.health_check_port == 8080


@pytest.mark.parametrize(
    "written",
    [
        "wss://fstream.binance.com",
        "wss://fstream.binance.com/",
        "wss://fstream.binance.com/stream",
        "wss://fstream.binance.com/ws",
        "wss://fstream.binance.com/market/stream",
    ],
)
def test_a_venue_address_is_reduced_to_its_base(tmp_path: Path, written: str) -> None:
    settings = load_here(tmp_path, RAVEN__VENUES__BINANCE_FUTURES__WS_URL=written).settings

    assert settings.venue("binance_futures").ws_url == "wss://fstream.binance.com"


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("ws://stream", "ws://stream"),
        ("ws://ws:9000/ws", "ws://ws:9000"),
        ("ws://market/", "ws://market"),
        ("wss://proxy.local/futures/stream/", "wss://proxy.local/futures"),
    ],
)
def test_a_host_with_the_name_of_a_route_stays(tmp_path: Path, written: str, base: str) -> None:
    settings = load_here(tmp_path, RAVEN__VENUES__X__WS_URL=written).settings

    assert settings.venue("x").ws_url == base


def test_a_venue_chooses_from_what_it_has_and_says_what_it_calls_it(tmp_path: Path) -> None:
    text = (
        "[feeds]\nsymbols = ['btc/usdt', '*/USDC']\ninclude = ['*USDT']\nexclude = ['A*']\n"
        "[venues.x]\ninclude = ['*']\nexclude = ['B?']\n[venues.x.overrides]\n'shib/usdt' = 'shib1000usdt*1000'\n"
    )
    settings = load(write(tmp_path, "a.toml", text), env={}, cwd=tmp_path).settings

    x, y = settings.venue("x"), settings.venue("y")

    assert x.symbols == y.symbols == ["BTC/USDT", "*/USDC"]
    assert (x.include, x.exclude) == (["*"], ["A*", "B?"])
    assert (y.include, y.exclude) == (["*USDT"], ["A*"])
    assert (x.overrides, y.overrides) == ({"SHIB/USDT": "SHIB1000USDT*1000"}, {})


def test_an_override_fits_into_the_environment_and_is_printed_as_it_can_be_read(tmp_path: Path) -> None:
    env = {"RAVEN__VENUES__X__OVERRIDES": "PEPE/USDT=1000PEPEUSDT, A/B=AB"}
    loaded = load(env=env, cwd=tmp_path)

    printed = render(loaded)

    assert loaded.settings.venue("x").overrides == {"PEPE/USDT": "1000PEPEUSDT", "A/B": "AB"}
    assert tomllib.loads(printed)["venues"]["x"]["overrides"] == loaded.settings.venue("x").overrides


def test_a_type_of_the_journal_has_days_of_its_own_and_else_those_of_all(tmp_path: Path) -> None:
    text = "[journal]\ndownsample_days = 3\nretention_days = 30\n[journal.types.trades]\nretention_days = 0\n"
    loaded = load_here(tmp_path, write(tmp_path, "a.toml", text), RAVEN__JOURNAL__TYPES__QUOTES__DOWNSAMPLE_DAYS="0")
    journal = loaded.settings.journal

    assert [journal.days_of(name) for name in ("trades", "quotes", "orderbook")] == [(3, 0, 0), (0, 0, 30), (3, 0, 30)]
    assert tomllib.loads(render(loaded))["journal"]["types"]["trades"]["retention_days"] == 0


def test_a_venue_hears_the_symbols_of_feeds_and_its_own(tmp_path: Path) -> None:
    settings = load_here(
        tmp_path, RAVEN__FEEDS__SYMBOLS="btcusdt, ethusdt", RAVEN__VENUES__X__SYMBOLS='["ETHUSDT","xrpusdt"]'
    ).settings

    assert settings.venue("x").symbols == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
    assert settings.venue("y").symbols == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize(("written", "level"), [("INFO", "info"), ("warning", "warn"), ("Trace", "trace")])
def test_log_levels_are_known_in_any_case(tmp_path: Path, written: str, level: str) -> None:
    assert load_here(tmp_path, LOG_LEVEL=written).settings.monitoring.log_level == level


def test_an_empty_alias_is_not_set(tmp_path: Path) -> None:
    assert load_here(tmp_path, REDIS_URL="", SERVER_PORT=" ").settings.server.port == 50051
