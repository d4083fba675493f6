"""A source: collects from one venue what configuration, a consumer or `ravenctl` asks for, and nothing before."""

from __future__ import annotations

from collections.abc import Mapping

from raven.app.compose.collecting import Collecting
from raven.app.compose.front import Front, Report
from raven.app.compose.publishing import Publishing
from raven.app.from_settings import venue_plans
from raven.app.lifecycle import Lifecycle
from raven.app.services import Service
from raven.config import Settings

__all__ = ["Source"]


class Source:
    """venue → ingest → hub → gRPC."""

    def __init__(self, service: Service, settings: Settings, _: Mapping[str, object]) -> None:
        self.collecting = Collecting(settings, venue_plans(settings))
        report = Report(lag_s=self.collecting.lag_s, events=self.collecting.events)
        self.hub, self.collector = self.collecting.hub, self.collecting.ingest
        self.front = Front(service, settings, self.hub, self.collector, report=report)
        self.collecting.show_in(self.front)
        self._publishing = Publishing(self.hub, settings)
        self._publishing.show_in(self.front)

    def add_to(self, lifecycle: Lifecycle) -> None:
        """Let it start and stop with the program."""
        self.front.open_monitoring(lifecycle)
        self._publishing.add_to(lifecycle)
        self.collecting.add_to(lifecycle)
        self.front.open_grpc(lifecycle)
