"""Test doubles that ship with Raven, for its own tests and for those of plug-in authors and users."""

from raven.testing.clock import ManualClock

__all__ = ["ManualClock"]
