from raven.observe import Health, Status
from raven.testing import ManualClock


async def test_a_service_is_as_well_as_its_worst_critical_part(clock: ManualClock) -> None:
    health = Health("raven", "1.2.3", clock)
    seen = [health.status]

    health.set("engine", Status.HEALTHY)
    seen.append(health.status)
    health.set("redis", Status.UNHEALTHY, "connection refused", critical=False)
    seen.append(health.status)
    health.set("engine", Status.UNHEALTHY, "stopped")
    seen.append(health.status)
    health.set("engine", Status.HEALTHY)
    health.remove("redis")
    seen.append(health.status)

    assert seen == ["healthy", "healthy", "degraded", "unhealthy", "healthy"]


async def test_the_report_has_the_promised_shape_and_the_reasons(clock: ManualClock) -> None:
    health = Health("raven", "1.2.3", clock)
    health.set("feed", Status.DEGRADED, "1 of 3 symbols resyncing")
    await clock.advance(2)

    report = health.report()

    assert (report["status"], report["service"], report["version"]) == ("degraded", "raven", "1.2.3")
    assert report["uptime_seconds"] == 2
    assert report["components"]["feed"]["status"] == "degraded"
    assert report["components"]["feed"]["reason"] == "1 of 3 symbols resyncing"


async def test_since_moves_when_the_status_changes_and_not_when_it_is_repeated(clock: ManualClock) -> None:
    health = Health("raven", "1", clock)
    health.set("feed", Status.HEALTHY)
    first = health.report()["components"]["feed"]["since_ms"]

    await clock.advance(1)
    health.set("feed", Status.HEALTHY)
    same = health.report()["components"]["feed"]["since_ms"]
    health.set("feed", Status.DEGRADED)

    assert same == first
    assert health.report()["components"]["feed"]["since_ms"] == first + 1000


async def test_readiness_says_why_not(clock: ManualClock) -> None:
    health = Health("raven", "1", clock)
    waiting = ["BTCUSDT"]
    health.add_ready_check("books", lambda: f"not in sync: {', '.join(waiting)}" if waiting else None)
    before = health.ready_report()

    waiting.clear()
    after = health.ready_report()

    assert before == (
        False,
        {"status": "not_ready", "service": "raven", "version": "1", "checks": {"books": "not in sync: BTCUSDT"}},
    )
    assert after[0]
    assert after[1]["checks"] == {"books": "ok"}


async def test_what_limits_a_service_is_said_at_once_and_leaves_it_ready(clock: ManualClock) -> None:
    health = Health("raven", "1", clock)
    health.add_ready_check("books", lambda: None)
    troubles = ["storage_full: no space left", ""]
    health.add_limit_check("journal", lambda: troubles[0] or None)

    is_ready, full = health.ready_report()
    troubles.pop(0)
    is_well, freed = health.ready_report()

    assert (is_ready, full["status"]) == (True, "degraded")
    assert full["checks"] == {"books": "ok", "journal": "storage_full: no space left"}
    assert (is_well, freed["status"]) == (True, "ready")
    assert freed["checks"] == {"books": "ok", "journal": "ok"}


async def test_an_unhealthy_critical_part_makes_the_service_not_ready(clock: ManualClock) -> None:
    health = Health("raven", "1", clock)
    health.set("grpc", Status.UNHEALTHY, "port closed")

    assert health.not_ready() == {"grpc": "port closed"}
