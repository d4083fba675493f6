"""Private servers for the tests of sinks."""

from tests.servers.influx import influx_server
from tests.servers.postgres import postgres_server

__all__ = ["influx_server", "postgres_server"]
