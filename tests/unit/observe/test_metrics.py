import math

import pytest
from structlog.testing import capture_logs

from raven.errors import NetworkTimeout
from raven.observe import metrics
from raven.observe.labels import LabelCap
from raven.observe.metrics import (
    REGISTRY,
    record_breaker,
    record_connected,
    record_disconnected,
    record_error,
    record_response,
)
from raven.observe.native import EngineSource, InstrumentCounts, NativeCollector, NativeCounts
from raven.observe.reference import reference

CONTRACT = """
websocket_connected websocket_disconnects_total messages_processed_total messages_error_total
processing_latency_microseconds orderbook_updates_total sequence_errors_total trades_processed_total
redis_publishes_total redis_errors_total grpc_active_connections response_latency_seconds errors_total
process_resident_memory_bytes
""".split()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Counted:
    def __init__(self, counts: NativeCounts) -> None:
        self._counts = counts

    def counts(self) -> NativeCounts:
        return self._counts


def samples(counts: NativeCounts, cap: LabelCap | None = None) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for family in NativeCollector(Counted(counts), cap or LabelCap("symbol")).collect():
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_the_page_lists_every_promised_name() -> None:
    page = reference()

    assert [name for name in CONTRACT if f"`{name}`" not in page] == []


def test_our_own_names_start_with_raven() -> None:
    names = [line.split("`")[1] for line in reference().splitlines() if line.startswith("| `")]

    assert [name for name in names if not name.startswith("raven_") and name not in CONTRACT] == []


def test_a_lost_connection_is_counted_for_every_symbol_on_it() -> None:
    before = value("websocket_disconnects_total", symbol="BTCUSDT", venue="lost")

    record_connected("lost", ["BTCUSDT", "ETHUSDT"])
    connected = value("websocket_connected", symbol="ETHUSDT", venue="lost")
    record_disconnected("lost", ["BTCUSDT", "ETHUSDT"], "reset")

    assert connected == 1
    assert value("websocket_connected", symbol="ETHUSDT", venue="lost") == 0
    assert value("websocket_disconnects_total", symbol="BTCUSDT", venue="lost") == before + 1
    assert value("raven_reconnects_total", venue="lost", reason="reset") == 1


def test_an_error_is_counted_by_its_kind() -> None:
    before = value("errors_total", kind="NetworkTimeout"), value("errors_total", kind="InternalError")

    record_error(NetworkTimeout("no answer"), "test")
    record_error(KeyError("surprise"), "test")

    assert value("errors_total", kind="NetworkTimeout") == before[0] + 1
    assert value("errors_total", kind="InternalError") == before[1] + 1


def test_a_breaker_that_probes_in_vain_does_not_fill_the_log() -> None:
    with capture_logs() as lines:
        for state in ("open", "half_open", "open", "closed"):
            record_breaker("influx", state, "nobody there")

    assert [(line["log_level"], line.get("every_s")) for line in lines] == [
        ("warning", 60), ("debug", None), ("warning", 60), ("info", None),
    ]  # fmt: skip


def test_a_response_is_measured() -> None:
    before = value("response_latency_seconds_count", method="Subscribe")

    record_response("Subscribe", 0.002)

    assert value("response_latency_seconds_count", method="Subscribe") == before + 1


def test_native_counters_appear_under_the_promised_names() -> None:
    counters = {"received": 10, "trades": 4, "books": 5, "rejected": 1, "sequence_errors": 2, "pending": 3}
    found = samples(
        NativeCounts(
            instruments=[InstrumentCounts("v", "BTCUSDT", "synced", counters)],
            totals={"frames": 9, "bytes": 900},
            rejects={"bad_number": 1},
            grpc={"connections": 2, "lost": 7},
        )
    )

    assert found["messages_processed_total", "BTCUSDT", "trade", "v"] == 4
    assert found["messages_processed_total", "BTCUSDT", "orderbook", "v"] == 5
    assert found["messages_error_total", "BTCUSDT", "v"] == 1
    assert found["orderbook_updates_total", "BTCUSDT", "v"] == 5
    assert found["trades_processed_total", "BTCUSDT", "v"] == 4
    assert found["sequence_errors_total", "BTCUSDT", "v"] == 2
    assert found["raven_pending_events", "BTCUSDT", "v"] == 3
    assert found["raven_books", "v", "synced"] == 1
    assert found["raven_books", "v", "stale"] == 0
    assert found["raven_rejected_events_total", "bad_number"] == 1
    assert found["raven_frames_total",] == 9
    assert found["grpc_active_connections",] == 2
    assert found["raven_grpc_lost_events_total",] == 7


def test_the_latency_histogram_is_cumulative_and_counts_what_lies_beyond() -> None:
    bounds = [1.024, 1.28, 2.048, math.inf]
    instruments = [InstrumentCounts("v", "BTCUSDT", "synced", {}, [1, 2, 3, 4], 12.5)]

    found = samples(NativeCounts(instruments=instruments, latency_bounds=bounds))

    name = "processing_latency_microseconds_bucket"
    assert [found[name, "BTCUSDT", "v", bound] for bound in ("1.024", "2.048", "+Inf")] == [1, 6, 10]
    assert (name, "BTCUSDT", "v", "1.28") not in found
    assert found["processing_latency_microseconds_count", "BTCUSDT", "v"] == 10
    assert found["processing_latency_microseconds_sum", "BTCUSDT", "v"] == 12.5


def test_symbols_beyond_the_cap_are_summed_as_other() -> None:
    cap = LabelCap("symbol", limit=2)
    instruments = [InstrumentCounts("v", f"S{n}", "synced", {"trades": 10}) for n in range(5)]

    found = samples(NativeCounts(instruments=instruments), cap)

    assert found["trades_processed_total", "S0", "v"] == 10
    assert found["trades_processed_total", "other", "v"] == 30
    assert ("trades_processed_total", "S4", "v") not in found


def test_the_cap_reports_every_overflow() -> None:
    told: list[int] = []
    cap = LabelCap("symbol", limit=1)
    cap.on_overflow = lambda: told.append(1)

    assert [cap.admit("a"), cap.admit("b"), cap.admit("a")] == ["a", "other", "a"]
    assert told == [1]
    assert metrics.SYMBOLS.on_overflow is not None


def test_the_engine_is_read_through_its_own_names() -> None:
    core = pytest.importorskip("raven._core", reason="the native engine is not built")
    engine = core.Engine(core.Hub())
    venue = engine.add_venue("v", "futures")
    handle = engine.add_instrument(venue, "BTCUSDT", price_scale=1, quantity_scale=3)
    connection = engine.open_connection(venue)
    engine.on_frame(connection, 1, b'{"e":"aggTrade","E":1723075200000,"a":5,"s":"BTCUSDT","p":"61000.6","q":"0.125",'
                    b'"f":1,"l":1,"T":1723075200000,"m":false}')  # fmt: skip

    found = samples(EngineSource(engine, lambda: [("v", "BTCUSDT", handle)], lambda: {"connections": 1}).counts())

    assert found["trades_processed_total", "BTCUSDT", "v"] == 1
    assert found["raven_books", "v", "waiting"] == 1
    assert found["raven_frames_total",] == 1
    assert found["processing_latency_microseconds_count", "BTCUSDT", "v"] == 1
    assert found["grpc_active_connections",] == 1


def test_what_runs_is_a_metric_and_the_cap_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.SYMBOLS, "limit", metrics.SYMBOLS.limit)

    metrics.configure_metrics("raven", "1.2.3", 17)

    assert value("raven_build_info", version="1.2.3", service="raven") == 1
    assert metrics.SYMBOLS.limit == 17
