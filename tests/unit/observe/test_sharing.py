"""What is in shared memory, as metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from raven.observe.sharing import SharedMemoryCollector


def test_a_reading_becomes_three_families() -> None:
    registry = CollectorRegistry()
    SharedMemoryCollector(lambda: (7, 4096, 2, "full")).register(registry)

    text = generate_latest(registry).decode()

    assert "raven_shm_topics 7.0" in text
    assert "raven_shm_bytes 4096.0" in text
    assert "raven_shm_refused_topics_total 2.0" in text
