"""A hub, a private Redis, and what subscribers hear."""

from __future__ import annotations

from tests.servers.redis import redis_server

__all__ = ["redis_server"]
