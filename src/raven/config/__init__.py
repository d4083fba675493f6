"""Settings: typed sections, layered files, environment and command line, and where each value came from."""

from raven.config.backends import (
    InfluxSettings,
    JournalSettings,
    NatsSettings,
    QuestdbSettings,
    RedisSettings,
    ShmSettings,
    TimescaleSettings,
)
from raven.config.load import Loaded, load
from raven.config.secrets import MASK, mask_url
from raven.config.sections import (
    CitadelSettings,
    DashboardSettings,
    DataProcessingSettings,
    FeedsSettings,
    HighFrequencySettings,
    MonitoringSettings,
    ServerSettings,
    VenueLimits,
    VenueSettings,
)
from raven.config.settings import Settings
from raven.config.show import render

__all__ = [
    "MASK",
    "CitadelSettings",
    "DashboardSettings",
    "DataProcessingSettings",
    "FeedsSettings",
    "HighFrequencySettings",
    "InfluxSettings",
    "JournalSettings",
    "Loaded",
    "MonitoringSettings",
    "NatsSettings",
    "QuestdbSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "ShmSettings",
    "TimescaleSettings",
    "VenueLimits",
    "VenueSettings",
    "load",
    "mask_url",
    "render",
]
