import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from raven.errors import ConfigurationError
from raven.observe import Health, MonitoringServer, Status


@pytest.fixture
def health() -> Health:
    return Health("raven", "9.9.9")


@pytest.fixture
async def server(health: Health) -> AsyncIterator[MonitoringServer]:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    server = MonitoringServer(health, "127.0.0.1", [0, 0], registry=registry)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def at(server: MonitoringServer, path: str, which: int = 0) -> str:
    return f"http://127.0.0.1:{server.ports[which]}{path}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_health_is_200_while_healthy_or_degraded_and_503_while_unhealthy(
    health: Health, server: MonitoringServer, http: aiohttp.ClientSession
) -> None:
    seen = []
    for status in Status:
        health.set("feed", status, "because")
        async with http.get(at(server, "/health")) as response:
            body = await response.json()
            seen.append((response.status, body["status"], body["components"]["feed"]["reason"]))
            assert (body["service"], body["version"]) == ("raven", "9.9.9")

    assert seen == [(200, "healthy", "because"), (200, "degraded", "because"), (503, "unhealthy", "because")]


async def test_ready_is_503_and_says_why_until_the_job_can_be_done(
    health: Health, server: MonitoringServer, http: aiohttp.ClientSession
) -> None:
    reasons = ["books: waiting for 1 of 3"]
    health.add_ready_check("books", lambda: reasons[0] if reasons else None)
    async with http.get(at(server, "/ready")) as response:
        before = response.status, (await response.json())["checks"]
    reasons.clear()
    async with http.get(at(server, "/ready")) as response:
        after = response.status, (await response.json())["checks"]

    assert before == (503, {"books": "books: waiting for 1 of 3"})
    assert after == (200, {"books": "ok"})


async def test_metrics_are_prometheus_text_and_openmetrics_when_asked_for(
    server: MonitoringServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(at(server, "/metrics")) as response:
        text, text_type = await response.text(), response.headers["Content-Type"]
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with http.get(at(server, "/metrics"), headers=accept) as response:
        openmetrics, openmetrics_type = await response.text(), response.headers["Content-Type"]

    assert text_type.startswith("text/plain; version=")
    assert openmetrics_type.startswith("application/openmetrics-text")
    assert [s.value for f in parse_text(text) for s in f.samples if s.name == "things_total"] == [3]
    assert [s.value for f in parse_openmetrics(openmetrics) for s in f.samples if s.name == "things_total"] == [3]


async def test_every_port_answers_everything(
    health: Health, server: MonitoringServer, http: aiohttp.ClientSession
) -> None:
    answers = []
    for path in ("/health", "/ready", "/metrics"):
        async with http.get(at(server, path, which=1)) as response:
            answers.append(response.status)

    assert answers == [200, 200, 200]


async def test_anything_else_is_told_what_there_is(server: MonitoringServer, http: aiohttp.ClientSession) -> None:
    async with http.get(at(server, "/")) as response:
        nowhere = response.status, (await response.json())["error"]
    async with http.post(at(server, "/health")) as response:
        posted = response.status

    assert nowhere == (404, "nothing here; there is /health, /ready, /metrics, /status")
    assert posted == 405


async def test_metrics_can_be_switched_off(health: Health, http: aiohttp.ClientSession) -> None:
    server = MonitoringServer(health, "127.0.0.1", [0], registry=CollectorRegistry(), metrics_enabled=False)
    await server.start()
    async with http.get(at(server, "/metrics")) as response:
        status, body = response.status, await response.json()
    await server.stop()

    assert status == 404
    assert "monitoring.metrics_enabled" in body["error"]


async def test_one_port_given_twice_is_opened_once(health: Health) -> None:
    port = free_port()
    server = MonitoringServer(health, "127.0.0.1", [port, port], registry=CollectorRegistry())

    await server.start()

    assert server.ports == (port, port)
    await server.stop()


async def test_a_taken_port_is_named_with_the_way_out_and_none_stays_open(health: Health) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, other = taken.getsockname()[1], free_port()
        server = MonitoringServer(health, "127.0.0.1", [other, port], registry=CollectorRegistry())

        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*--monitoring-port"):
            await server.start()

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", other)) != 0
