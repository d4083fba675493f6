"""What remembers, put together from the configuration: the journal, who keeps house in it, databases, history.

Arrow and drivers are imported only when something is to be kept: a server without memory does without 40 MB.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from raven._core import Hub
from raven.app.from_settings import books_interval_ms
from raven.config import Settings
from raven.config.backends import InfluxSettings, QuestdbSettings, TimescaleSettings
from raven.ingest.recorder import Recorder
from raven.resilience.breaker import BreakerSettings
from raven.topics import Topic

if TYPE_CHECKING:
    from raven.app.sinks import Sinks
    from raven.journal import Journal
    from raven.journal.keeping import Keeper
    from raven.serve.history import JournalHistory

__all__ = ["history", "journal", "keeper", "recorder", "sinks"]


def journal(hub: Hub, settings: Settings, keeps: Callable[[Topic], bool] | None = None) -> Journal | None:
    """Return the journal of the configuration, not started; None when it is switched off. `keeps`: see `Journal`."""
    chosen = settings.journal
    if not settings.keeps_journal:
        return None
    from raven.journal import Journal

    return Journal(
        hub,
        Path(chosen.dir),
        commit_interval_s=chosen.commit_interval_ms / 1000,
        books_every_s=books_interval_ms(settings) / 1000,
        segment_max_bytes=chosen.segment_max_bytes,
        keeps=keeps,
    )


def sinks(settings: Settings) -> Sinks | None:
    """Return the databases of the configuration, not started; None when there is none.

    Raises: ConfigurationError for one that makes no sense, or whose driver is not installed.
    """
    chosen: dict[str, InfluxSettings | TimescaleSettings | QuestdbSettings] = {
        "influx": settings.influx,
        "timescale": settings.timescale,
        "questdb": settings.questdb,
    }
    wanted = {name: section for name, section in chosen.items() if section.url}
    if not wanted:
        return None
    from raven.app.sinks import SinkPlan, Sinks
    from raven.roles.persistence import PersistenceSettings

    how = settings.sinks
    plans = []
    for name, section in wanted.items():
        options = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value
            for key, value in section
            if key != "types"
        }
        persistence = PersistenceSettings(
            batch_rows=how.batch_rows,
            batch_s=how.batch_interval_ms / 1000,
            first_pause_s=how.retry_delay_ms / 1000,
            longest_pause_s=how.max_retry_delay_ms / 1000,
            types=tuple(section.types),
        )
        plans.append(SinkPlan(name, options, persistence))
    breakers = BreakerSettings(how.breaker_failures, how.breaker_open_ms / 1000, how.breaker_max_open_ms / 1000)
    return Sinks(plans, Path(settings.journal.dir), Path(how.dead_letters), how.max_attempts, breakers)


def recorder(settings: Settings) -> Recorder | None:
    """Return the recorder of the configuration, not started; None when it is switched off."""
    chosen = settings.record
    if not chosen.enabled:
        return None
    return Recorder(
        Path(chosen.dir),
        flush_interval_s=chosen.flush_interval_ms / 1000,
        sync_interval_s=chosen.sync_interval_ms / 1000,
        buffer_bytes=chosen.buffer_bytes,
    )


def keeper(settings: Settings) -> Keeper | None:
    """Return who keeps house in the journal; None without a journal."""
    if not settings.keeps_journal:
        return None
    from raven.journal.keeping import Keeper, KeeperSettings
    from raven.journal.retention import Days, Retention

    chosen = settings.journal
    retention = Retention(
        Days(chosen.downsample_days, chosen.archive_days, chosen.retention_days),
        {name: Days(*chosen.days_of(name)) for name in chosen.types},
        Path(chosen.archive_dir) if chosen.archive_dir else None,
        chosen.retention_bytes,
        chosen.retention_first,
    )
    sections = {name: getattr(settings, name) for name in ("influx", "timescale", "questdb")}
    readers = {name: list(section.types) for name, section in sections.items() if section.url}
    return Keeper(Path(chosen.dir), KeeperSettings(chosen.compact_interval_seconds, chosen.compact, retention, readers))


def history(journal: Journal | None, settings: Settings) -> JournalHistory | None:
    """Return who answers for the past; None without a journal."""
    if journal is None:
        return None
    from raven.serve.history import JournalHistory

    return JournalHistory(journal, Path(settings.journal.dir), settings.feeds.order_book_depth)
