"""Structured logs: one event, its facts as keys. JSON lines for machines, coloured text on a terminal.

    log = get_logger("ingest")
    log.warning("frame rejected", venue="binance_spot", reason="bad_number", every_s=10)

`every_s` limits a repeated event: after one line, equal ones (same event, level and identifying keys) stay silent for
that many seconds, and the next line says how many were `suppressed`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from raven.config.secrets import MASK, mask_url

__all__ = ["RateLimit", "configure_logs", "get_logger", "mask_secrets"]

LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}
SECRET_WORDS = ("password", "token", "secret", "api_key", "authorization")
# Two events that differ only in other keys are repetitions of each other.
IDENTIFYING = ("venue", "symbol", "component", "reason", "kind", "client")
REMEMBERED_EVENTS = 4096

# What every line has comes first, so that lines can be read in columns.
READING_ORDER = ("timestamp", "level", "area", "event")

EventDict = MutableMapping[str, Any]


def get_logger(area: str) -> FilteringBoundLogger:
    """Return the logger of one area of the program (`ingest`, `serve`, …); usable before `configure_logs`."""
    return cast("FilteringBoundLogger", structlog.get_logger(area=area))


def configure_logs(
    level: str = "info", style: Literal["auto", "json", "text"] = "auto", stream: TextIO | None = None
) -> None:
    """Send all logs, also those of libraries, to `stream` (stderr as it is at the time of writing) in one style."""
    text = style == "text" or (style == "auto" and (stream or sys.stderr).isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    renderer: Any
    if text:
        shared[2] = structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False)
        renderer = structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty(), pad_event_to=32)
        final: list[Any] = [renderer]
    else:
        final = [
            structlog.processors.format_exc_info,
            _in_reading_order,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    structlog.configure(
        processors=[RateLimit(), *shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(max(LEVELS[level], logging.DEBUG)),
        # One write per line: threads log at the same time, and a line with another one inside is no JSON.
        logger_factory=lambda *_: structlog.WriteLogger(cast("TextIO", stream or _Stderr())),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _area_of_library],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler(cast("TextIO", stream or _Stderr()))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries chatter at info; theirs is shown from warn on unless the user asked for debug.
    root.setLevel(LEVELS[level] if level in {"trace", "debug", "error"} else logging.WARNING)


def mask_secrets(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace values of keys that sound secret, and passwords inside addresses."""
    for key, value in event.items():
        if any(word in key.lower() for word in SECRET_WORDS) and value:
            event[key] = MASK
        elif isinstance(value, str) and "://" in value:
            event[key] = mask_url(value)
    return event


def _in_reading_order(_: Any, __: str, event: EventDict) -> EventDict:
    return {key: event.pop(key) for key in READING_ORDER if key in event} | dict(event)


def _area_of_library(logger: Any, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")
    event["area"] = record.name if record else getattr(logger, "name", "library")
    return event


class RateLimit:
    """Drops an event that has `every_s` and was logged less than as many seconds ago; counts what it dropped."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: OrderedDict[tuple[Any, ...], tuple[float, int]] = OrderedDict()

    def __call__(self, _: Any, method: str, event: EventDict) -> EventDict:
        """Pass the event on, or raise `structlog.DropEvent`."""
        every_s = event.pop("every_s", None)
        if every_s is None:
            return event
        key = (event.get("event"), method, *(event.get(name) for name in IDENTIFYING))
        now = self._monotonic()
        last, suppressed = self._seen.pop(key, (now - every_s, 0))
        if now - last < every_s:
            self._seen[key] = (last, suppressed + 1)
            raise structlog.DropEvent
        self._seen[key] = (now, 0)
        if len(self._seen) > REMEMBERED_EVENTS:
            self._seen.popitem(last=False)
        if suppressed:
            event["suppressed"] = suppressed
        return event


class _Stderr:
    """Writes to whatever stderr is now: the live view and tests replace it after logs were configured.

    Where nobody reads any more (a closed pipe, a full disk) lines are dropped: a log must not keep the program from
    collecting, nor from stopping when it is told to.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()
