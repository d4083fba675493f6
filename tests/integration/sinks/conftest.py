"""Private servers for the tests of sinks."""

from tests.servers.influx import influx_server

__all__ = ["influx_server"]
