import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from raven.observe.logs import RateLimit, configure_logs, get_logger


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_the_event_its_area_level_time_and_facts() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)

    get_logger("ingest").warning("sequence gap", venue="v", missing=3)

    (line,) = lines(stream)
    assert {key: line[key] for key in ("event", "area", "level", "venue", "missing")} == {
        "event": "sequence gap", "area": "ingest", "level": "warning", "venue": "v", "missing": 3,
    }  # fmt: skip
    assert str(line["timestamp"]).endswith("Z")
    assert list(line) == ["timestamp", "level", "area", "event", "venue", "missing"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1), ("trace", 4)])
def test_a_level_hides_what_is_below_it(level: str, expected: int) -> None:
    stream = io.StringIO()
    configure_logs(level, "json", stream)
    log = get_logger("x")

    for write in (log.debug, log.info, log.warning, log.error):
        write("said")

    assert len(lines(stream)) == expected


def test_secrets_are_masked_wherever_they_stand() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)

    get_logger("x").info("connect", url="redis://u:hunter2@h", api_token="hunter2", password="hunter2", empty_token="")

    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0]["url"] == "redis://u:********@h"
    assert lines(stream)[0]["empty_token"] == ""


def test_libraries_log_in_the_same_format() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)

    logging.getLogger("aiohttp.server").error("went %s", "wrong")

    (line,) = lines(stream)
    assert (line["event"], line["area"], line["level"]) == ("went wrong", "aiohttp.server", "error")


def test_text_is_for_people() -> None:
    stream = io.StringIO()
    configure_logs("info", "text", stream)

    get_logger("serve").info("listening", port=50051)

    assert "listening" in stream.getvalue()
    assert "port=50051" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_auto_writes_json_when_not_on_a_terminal() -> None:
    stream = io.StringIO()
    configure_logs("info", "auto", stream)

    get_logger("serve").info("listening")

    assert lines(stream)[0]["event"] == "listening"


def test_an_exception_is_written_with_its_traceback() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream)

    try:
        raise ValueError("bad")
    except ValueError as error:
        get_logger("x").error("failed", exc_info=error)

    assert "ValueError: bad" in str(lines(stream)[0]["exception"])


def test_a_repeated_event_is_told_once_and_then_with_the_number_kept_back() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0])
    passed: list[dict[str, object]] = []

    def say(**facts: object) -> None:
        try:
            passed.append(dict(limit(None, "warning", {"event": "rejected", "every_s": 10, **facts})))
        except structlog.DropEvent:
            return

    for now[0] in (0.0, 1.0, 9.9):
        say(venue="a")
    say(venue="b")
    now[0] = 10.0
    say(venue="a")

    assert passed == [
        {"event": "rejected", "venue": "a"},
        {"event": "rejected", "venue": "b"},
        {"event": "rejected", "venue": "a", "suppressed": 2},
    ]


def test_the_memory_for_repeated_events_is_bounded() -> None:
    limit = RateLimit(lambda: 0.0)

    for number in range(10_000):
        limit(None, "warning", {"event": "rejected", "every_s": 10, "symbol": str(number)})

    assert len(limit._seen) == 4096


def test_a_line_is_written_in_one_piece_so_that_threads_do_not_mix_theirs() -> None:
    pieces: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    configure_logs("info", "json", stream=Pieces())
    get_logger("feed").info("first")
    get_logger("feed").info("second")

    assert [json.loads(piece)["event"] for piece in pieces] == ["first", "second"]


def test_a_log_that_nobody_reads_any_more_does_not_stop_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    configure_logs("info", "json")
    monkeypatch.setattr("sys.stderr", Closed())

    get_logger("feed").info("stopping")
    logging.getLogger("library").warning("stopping")

    assert isinstance(sys.stderr, Closed)
