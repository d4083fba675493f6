"""Sections of what Raven writes to: its own journal and shared memory, and servers, each off until its `url` is set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from raven.config.fields import Names, Section, Url, setting

__all__ = [
    "InfluxSettings",
    "JournalSettings",
    "JournalTypeSettings",
    "NatsSettings",
    "QuestdbSettings",
    "RecordSettings",
    "RedisSettings",
    "ShmSettings",
    "SinksSettings",
    "TimescaleSettings",
]


TypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class JournalTypeSettings(Section):
    """How long one type is kept, as `[journal.types.quotes]`; what is not said here is as in `[journal]`."""

    downsample_days: int = setting(-1, "In place of `journal.downsample_days`; 0: never.", unit="days", ge=-1)
    archive_days: int = setting(-1, "In place of `journal.archive_days`; 0: never.", unit="days", ge=-1)
    retention_days: int = setting(-1, "In place of `journal.retention_days`; 0: never.", unit="days", ge=-1)


class JournalSettings(Section):
    """The embedded memory on disk: everything published, in segment files. No other server is needed."""

    enabled: bool = setting(False, "Keep everything published in segment files. So does the `url` of a database.")
    dir: str = setting("data/journal", "Folder of the segment files.", min_length=1)
    commit_interval_ms: int = setting(100, "Longest time between two commits to disk.", unit="ms", ge=1)
    books_interval_ms: int = setting(
        -1, "The last state of each book in every such interval is kept, and each change of its quality. 0: every "
        "published state; -1: as `data_processing.snapshot_interval_ms`.", unit="ms", ge=-1,
    )  # fmt: skip
    segment_max_bytes: int = setting(268_435_456, "A segment is closed at this size.", unit="bytes", ge=1_048_576)
    compact: bool = setting(True, "Turn finished segments into Parquet while the server runs.")
    compact_interval_seconds: float = setting(300.0, "How often that is looked for.", unit="s", ge=1)
    downsample_days: int = setting(
        0, "After so many days one record a minute is kept: of trades a bar, of quotes, books and funding the last; "
        "0: never.", unit="days", ge=0,
    )  # fmt: skip
    archive_days: int = setting(0, "After so many days files go to `archive_dir`; 0: never.", unit="days", ge=0)
    archive_dir: str = setting("", "Folder for old files, usually on another disk; it can be read like a journal.")
    retention_days: int = setting(
        0, "After so many days files are removed, from the archive too; 0: never.", unit="days", ge=0
    )
    retention_bytes: int = setting(
        0, "Size of segments and Parquet above which days are removed, the oldest first, and last what a database has "
        "not had; 0: no limit.", unit="bytes", ge=0,
    )  # fmt: skip
    retention_first: Names = setting(
        [], "Types that leave before all others when there is too much (`orderbook`, `quotes`, …), in this order."
    )
    types: dict[TypeName, JournalTypeSettings] = Field(default_factory=dict)

    def days_of(self, name: str) -> tuple[int, int, int]:
        """Return after how many days a type is downsampled, archived and removed."""
        own = self.types.get(name, JournalTypeSettings())
        return (
            self.downsample_days if own.downsample_days < 0 else own.downsample_days,
            self.archive_days if own.archive_days < 0 else own.archive_days,
            self.retention_days if own.retention_days < 0 else own.retention_days,
        )


class SinksSettings(Section):
    """Databases of any kind: how records are brought into them, and what happens when they fail."""

    batch_rows: int = setting(50_000, "Records per batch, about.", ge=1, le=1_000_000)
    batch_interval_ms: int = setting(500, "Longest time that records wait for others.", unit="ms", ge=10)
    retry_delay_ms: int = setting(100, "Pause after the first failure; pauses double, with jitter.", unit="ms", ge=1)
    max_retry_delay_ms: int = setting(
        2000, "Longest pause: a database that is back is noticed within it.", unit="ms", ge=1
    )
    breaker_failures: int = setting(5, "Failures in a row that open the circuit breaker.", ge=1)
    breaker_open_ms: int = setting(500, "How long it stays open before a probe; doubles.", unit="ms", ge=1)
    breaker_max_open_ms: int = setting(2000, "Longest time that it stays open.", unit="ms", ge=1)
    dead_letters: str = setting("data/dead_letters.sqlite", "File of records that a database refused.", min_length=1)
    max_attempts: int = setting(5, "Tries of a dead letter before it is parked.", ge=1)


class RecordSettings(Section):
    """Raw capture: what goes over the wire, as it comes. `raven --record DIR` switches it on, too."""

    enabled: bool = setting(False, "Write every frame, request and answer to files.")
    dir: str = setting("data/capture", "Folder of the files; each venue has one in it.", min_length=1)
    flush_interval_ms: int = setting(250, "A program that is killed loses what came in this time.", unit="ms", ge=10)
    sync_interval_ms: int = setting(1000, "A machine that loses power loses what came in this time.", unit="ms", ge=10)
    buffer_bytes: int = setting(
        67_108_864, "Kept in memory while the disk is full or slow; what does not fit is lost, and it says so.",
        unit="bytes", ge=1_048_576,
    )  # fmt: skip


class ShmSettings(Section):
    """Rings in shared memory for other processes of the machine, see docs/how-to/use-shared-memory.md."""

    enabled: bool = setting(False, "Make the rings of what is collected in shared memory.")
    name: str = setting(
        "market_data_shm", "Name of the file in /dev/shm; one process may write it.", pattern=r"^[A-Za-z0-9_.-]{1,200}$"
    )
    size_mb: int = setting(
        1024, "Most memory that rings may take there; they take it as topics come. What finds no room is not shared.",
        unit="MiB", ge=4, le=1_048_576,
    )  # fmt: skip


class RedisSettings(Section):
    """Redis pub/sub: channels `trades:{SYMBOL}` and `orderbook:{SYMBOL}`, see docs/how-to/use-redis.md."""

    url: Url = setting(
        "", "`redis://[user:password@]host:6379[/db]`, `rediss://…` with TLS, `unix://…`; empty publishes nothing."
    )
    username: str = setting("", "User, when not in the URL.")
    password: SecretStr = setting(SecretStr(""), "Password, when not in the URL.")
    prefix: str = setting(
        "", "Before every channel and key: for several Ravens on one Redis.", pattern=r"^[A-Za-z0-9_.:{}-]{0,100}$"
    )
    venue: str = setting(
        "", "Whose channels have no venue in their names; those of others are `{venue}:trades:{SYMBOL}`. Empty: the "
        "first of `feeds.venues`.", pattern=r"^[a-z0-9_]*$",
    )  # fmt: skip
    depth: int = setting(0, "Levels per side of a book; 0: `feeds.order_book_depth`.", ge=0, le=1000)
    latest: bool = setting(False, "Keep the latest payload of each channel in the key `latest:{channel}`.")
    latest_ttl_seconds: float = setting(60.0, "Such a key ends so long after its last change.", unit="s", ge=0.001)
    streams: bool = setting(False, "Append each payload to the stream `stream:{channel}`, as its field `data`.")
    stream_length: int = setting(10_000, "Entries that a stream keeps, about (`MAXLEN ~`).", ge=1)
    max_age_ms: int = setting(
        5000, "What is older when its turn comes (Redis was away) is dropped and counted; 0: only what the rings have "
        "no room for.", unit="ms", ge=0,
    )  # fmt: skip
    timeout_ms: int = setting(500, "Longest wait for an answer; then the breaker opens.", unit="ms", ge=10)


class InfluxSettings(Section):
    """InfluxDB for ticks. `[database]` is another name of this section and `influx_url` another name of `url`."""

    url: Url = setting("", "`http://host:8086`; empty writes nothing. Also `--database-url`.")
    token: SecretStr = setting(SecretStr(""), "API token (InfluxDB 2 and 3); with one, `/api/v2/write` is used.")
    org: str = setting("", "Organisation (InfluxDB 2).")
    bucket: str = setting("market_data", "Bucket (InfluxDB 2), database (InfluxDB 3); it must exist.")
    database: str = setting("market_data", "Database (InfluxDB 1); it is created.")
    username: str = setting("", "User (InfluxDB 1).")
    password: SecretStr = setting(SecretStr(""), "Password (InfluxDB 1).")
    connection_pool_size: int = setting(20, "Connections to the server at most; four are used.", ge=1, le=1000)
    types: Names = setting(
        [],
        "What is written there: `trades`, `quotes`, `candles_1m`, … (docs/reference/parquet.md); empty: everything.",
    )


class TimescaleSettings(Section):
    """TimescaleDB or PostgreSQL for bars."""

    url: Url = setting("", "`postgresql://[user:password@]host:5432/database`; empty writes nothing.")
    types: Names = setting(
        [],
        "What is written there: `trades`, `quotes`, `candles_1m`, … (docs/reference/parquet.md); empty: everything.",
    )


class QuestdbSettings(Section):
    """QuestDB."""

    url: Url = setting("", "`http://[user:password@]host:9000`; empty writes nothing.")
    types: Names = setting(
        [],
        "What is written there: `trades`, `quotes`, `candles_1m`, … (docs/reference/parquet.md); empty: everything.",
    )


class NatsSettings(Section):
    """NATS JetStream, the way to other machines."""

    url: Url = setting("", "`nats://[user:password@]host:4222`; empty connects nowhere.")
    token: SecretStr = setting(SecretStr(""), "Token, when not in the URL.")
