"""Each answer of a database means one thing for whoever has the records."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from tests.servers.process import free_port

from raven.errors import ConfigurationError, DatabaseConnection, DataValidation, NetworkTimeout, RateLimited
from raven.resilience import http_writer
from raven.resilience.http_writer import Forbidden, HttpWriter, Refused

LINES = b"".join(b"m f=%di %d\n" % (number, number) for number in range(100))


class Database:
    """Answers as told and keeps what it took."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.answer: Callable[[bytes], Awaitable[web.Response]] = self._take

    async def _take(self, body: bytes) -> web.Response:
        self.taken.append(body)
        return web.Response(status=204)

    async def serve(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.read()
            self.headers.append(dict(request.headers))
            return await self.answer(body)
        finally:
            self.at_once -= 1

    def answers(self, status: int, text: str = "", **headers: str) -> None:
        async def fixed(_body: bytes) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, text=text, headers=named)

        self.answer = fixed


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    made = Database()
    app = web.Application(client_max_size=1 << 30)
    app.add_routes([web.post("/write", made.serve), web.get("/ping", made.serve)])
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[HttpWriter]:
    made = HttpWriter("influx", database.url, advice={401: "check influx.token"}, answer_timeout_s=5)
    yield made
    await made.close()


async def write(writer: HttpWriter, *bodies: bytes, in_order: bool = False) -> None:
    await writer.write("/write", {"precision": "ns"}, [memoryview(body) for body in bodies], in_order=in_order)


async def test_what_is_sent_is_taken(writer: HttpWriter, database: Database) -> None:
    await write(writer, LINES, b"m f=1i 1\n")

    assert sorted(database.taken) == sorted([LINES, b"m f=1i 1\n"])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, DatabaseConnection), (400, Refused), (401, Forbidden), (403, Forbidden),
        (404, Forbidden), (405, Forbidden), (422, Refused), (429, RateLimited), (500, DatabaseConnection),
        (502, DatabaseConnection), (503, DatabaseConnection), (504, DatabaseConnection), (507, DatabaseConnection),
    ],
)  # fmt: skip
async def test_a_status_has_its_meaning(
    writer: HttpWriter, database: Database, status: int, error: type[Exception]
) -> None:
    database.answers(status, '{"error":"its words"}', Location="http://elsewhere.example/")

    with pytest.raises(error, match=f"/write answers {status}: its words") as raised:
        await write(writer, LINES)

    assert type(raised.value) is error
    assert isinstance(raised.value, DataValidation) == (status in (400, 422))


async def test_what_a_person_can_do_is_said(writer: HttpWriter, database: Database) -> None:
    database.answers(401, "unauthorized")

    with pytest.raises(DatabaseConnection, match=r"unauthorized; check influx\.token"):
        await write(writer, LINES)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_says_when_to_come_back(writer: HttpWriter, database: Database, status: int) -> None:
    database.answers(status, Retry_After="7")

    with pytest.raises(RateLimited) as raised:
        await write(writer, LINES)

    assert raised.value.retry_after_s == 7


async def test_it_may_say_so_as_a_date(writer: HttpWriter, database: Database) -> None:
    database.answers(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))

    with pytest.raises(RateLimited) as raised:
        await write(writer, LINES)

    assert 60 < raised.value.retry_after_s <= 90


async def test_a_body_that_is_too_large_goes_in_parts_and_the_limit_is_remembered(
    writer: HttpWriter, database: Database
) -> None:
    refused = 0

    async def at_most_300_bytes(body: bytes) -> web.Response:
        nonlocal refused
        if len(body) > 300:
            refused += 1
            return web.Response(status=413)
        database.taken.append(body)
        return web.Response(status=204)

    database.answer = at_most_300_bytes

    await write(writer, LINES)
    first_time = refused
    await write(writer, LINES)

    assert b"".join(sorted(database.taken, key=lambda body: int(body.split()[2]))).count(b"\n") == 200
    assert b"".join(database.taken[: len(database.taken) // 2]) == LINES
    assert all(body.endswith(b"\n") for body in database.taken)
    assert (first_time, refused) == (2, 2)


async def test_one_record_that_is_too_large_waits_for_a_person(writer: HttpWriter, database: Database) -> None:
    database.answers(413)

    with pytest.raises(DatabaseConnection, match="one record of 9 bytes; raise its limit"):
        await write(writer, b"m f=1i 1\n")


async def test_a_refusal_is_only_told_when_nothing_else_went_wrong(writer: HttpWriter, database: Database) -> None:
    async def refuses_one_and_fails_at_the_other(body: bytes) -> web.Response:
        return web.Response(status=400 if body.startswith(b"bad") else 500)

    database.answer = refuses_one_and_fails_at_the_other

    with pytest.raises(DatabaseConnection):
        await write(writer, b"bad\n", b"good\n")


async def test_a_refused_question_is_not_held_against_records(writer: HttpWriter, database: Database) -> None:
    database.answers(400, '{"error":"syntax"}')

    with pytest.raises(DatabaseConnection, match="/ping answers 400: syntax"):
        await writer.ask("GET", "/ping", {})


async def test_who_knows_the_database_decides_about_a_refusal(database: Database) -> None:
    heard: list[str] = []
    writer = HttpWriter("influx", database.url, on_refusal=lambda refusal: heard.append(refusal.words))
    database.answers(422, '{"message":"too old"}')

    await write(writer, LINES, LINES)

    assert heard == ["too old"] * 2
    await writer.close()


async def test_bodies_go_some_at_a_time_or_in_order(writer: HttpWriter, database: Database) -> None:
    async def slowly(body: bytes) -> web.Response:
        database.taken.append(body)
        for _ in range(20):
            await asyncio.sleep(0)
        return web.Response(status=204)

    database.answer = slowly
    bodies = [b"%d\n" % number for number in range(6)]

    await write(writer, *bodies, in_order=True)
    in_order, database.taken = database.taken, []
    assert (in_order, database.most_at_once) == (bodies, 1)

    await write(writer, *bodies)
    assert (sorted(database.taken), database.most_at_once) == (bodies, http_writer.REQUESTS_AT_ONCE)


async def test_nobody_there_is_not_reachable() -> None:
    writer = HttpWriter("influx", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(DatabaseConnection, match=r"influx: http://127\.0\.0\.1:.*/write cannot be reached"):
        await write(writer, LINES)

    await writer.close()


async def test_silence_is_a_timeout(database: Database) -> None:
    async def never(_body: bytes) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    database.answer = never
    writer = HttpWriter("influx", database.url, answer_timeout_s=0.05)

    with pytest.raises(NetworkTimeout, match=r"no answer within 0\.05 s"):
        await write(writer, LINES)

    await writer.close()


async def test_a_connection_that_breaks_is_a_timeout_too() -> None:
    async def hang_up(reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        peer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    writer = HttpWriter("influx", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    with pytest.raises(NetworkTimeout, match="hung up"):
        await write(writer, LINES)

    await writer.close()
    server.close()


async def test_other_machines_get_it_compressed(
    writer: HttpWriter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_compress", True)

    await write(writer, LINES)

    assert database.headers[0]["Content-Encoding"] == "gzip"
    assert gzip.decompress(database.taken[0]) == LINES


async def test_a_password_in_the_address_is_sent_and_never_shown(database: Database) -> None:
    writer = HttpWriter("questdb", database.url.replace("//", "//us%20er:pass%2Fword@"))
    database.answers(500)

    with pytest.raises(DatabaseConnection) as raised:
        await write(writer, LINES)

    assert database.headers[0]["Authorization"] == http_writer.basic_authorization("us er", "pass/word")
    assert "word" not in str(raised.value)
    await writer.close()


@pytest.mark.parametrize("url", ["", "postgresql://host/db", "host:8086", "http://"])
def test_an_address_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"influx\.url"):
        HttpWriter("influx", url)
