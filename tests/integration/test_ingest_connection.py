"""One socket: what the venue may do on it, and what we do then."""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest
import trustme
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from raven._core import EVENTS_PENDING
from raven.clock import SystemClock
from raven.errors import NetworkTimeout
from raven.ingest.connection import Connection, SocketRules
from raven.resilience.pacing import Pacer

LIMIT = 10_000


class Engine:
    """Keeps frames; raises or asks for attention when told to."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.answer = 0
        self.error: Exception | None = None

    def on_frame(self, connection: int, recv_ns: int, frame: Any) -> int:
        self.frames.append((connection, recv_ns, bytes(frame)))
        if self.error is not None:
            raise self.error
        return self.answer

    def texts(self) -> list[bytes]:
        return [frame for _, _, frame in self.frames]


class Peer(WSListener):
    """The venue's end of the socket."""

    def __init__(self) -> None:
        self.transport: WSTransport | None = None
        self.heard: list[tuple[WSMsgType, bytes]] = []
        self.gone = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard.append((frame.msg_type, frame.get_payload_as_bytes()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone = True

    def say(self, kind: WSMsgType, payload: bytes, *, fin: bool = True) -> None:
        assert self.transport is not None
        self.transport.send(kind, payload, fin)


class Line:
    """Both ends."""

    def __init__(self, connection: Connection, peer: Peer, engine: Engine, events: list[int]) -> None:
        self.connection = connection
        self.peer = peer
        self.engine = engine
        self.events = events


Connect = Callable[..., Awaitable[Line]]


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the other end has no event for us
            await asyncio.sleep(0.002)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    peers: list[Peer] = []
    servers: list[asyncio.Server] = []
    connections: list[Connection] = []

    def accept(request: WSUpgradeRequest) -> Peer:
        peers.append(Peer())
        return peers[-1]

    async def connect(*, held: bool = False, messages: float = 100, tls: ssl.SSLContext | None = None) -> Line:
        server = await ws_create_server(accept, "127.0.0.1", 0, enable_auto_pong=False, ssl=tls)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        url = f"wss://localhost:{port}/stream" if tls else f"ws://127.0.0.1:{port}/stream"
        engine, events = Engine(), []
        rules = SocketRules(2.0, LIMIT, lambda frame: bytes(frame[:2]) == b"{}")
        pacer = Pacer(messages, 1.0, SystemClock())
        connection = await Connection.open(url, engine, 7, lambda: events.append(1), rules, pacer, held=held)
        connections.append(connection)
        return Line(connection, peers[-1], engine, events)

    yield connect
    for connection in connections:
        connection.close("test over")
        await connection.closed
    for server in servers:
        server.close()


async def test_a_frame_goes_to_the_engine_as_it_came_with_the_time_it_came(connect: Connect) -> None:
    line = await connect()
    before = time.time_ns()

    line.peer.say(WSMsgType.TEXT, b'{"stream":"x"}')
    await until(lambda: line.engine.frames)

    ((handle, recv_ns, frame),) = line.engine.frames
    assert (handle, frame) == (7, b'{"stream":"x"}')
    assert before <= recv_ns <= time.time_ns()
    assert line.events == []


async def test_what_the_engine_has_to_tell_is_fetched_at_once(connect: Connect) -> None:
    line = await connect()
    line.engine.answer = EVENTS_PENDING

    line.peer.say(WSMsgType.TEXT, b"a")
    line.peer.say(WSMsgType.TEXT, b"b")
    await until(lambda: len(line.engine.frames) == 2)

    assert line.events == [1, 1]


@pytest.mark.parametrize("payload", [b"", b"1723075200000", b"x" * 125])
async def test_a_ping_is_answered_with_its_own_payload(connect: Connect, payload: bytes) -> None:
    line = await connect()

    line.peer.say(WSMsgType.PING, payload)
    await until(lambda: line.peer.heard)

    assert line.peer.heard == [(WSMsgType.PONG, payload)]
    assert line.engine.frames == []


async def test_a_message_in_pieces_is_put_together(connect: Connect) -> None:
    line = await connect()

    line.peer.say(WSMsgType.TEXT, b"one ", fin=False)
    line.peer.say(WSMsgType.PING, b"between")
    line.peer.say(WSMsgType.CONTINUATION, b"two ", fin=False)
    line.peer.say(WSMsgType.CONTINUATION, b"three")
    line.peer.say(WSMsgType.TEXT, b"whole")
    await until(lambda: len(line.engine.frames) == 2)

    assert line.engine.texts() == [b"one two three", b"whole"]


async def test_a_frame_that_is_too_long_for_the_engine_is_for_the_engine_to_refuse(connect: Connect) -> None:
    line = await connect()

    line.peer.say(WSMsgType.TEXT, b"x" * (LIMIT + 1))
    await until(lambda: line.engine.frames)

    assert not line.connection.closed.done()


@pytest.mark.parametrize("pieces", [1, 50])
async def test_a_message_that_is_too_long_for_memory_ends_the_connection(connect: Connect, pieces: int) -> None:
    line = await connect()

    piece = b"x" * (5 * LIMIT // pieces)
    for number in range(pieces):
        kind = WSMsgType.CONTINUATION if number else WSMsgType.TEXT
        line.peer.say(kind, piece, fin=number == pieces - 1)
    reason = await asyncio.wait_for(line.connection.closed, 5)
    await until(lambda: line.peer.gone)

    assert "too long" in reason or "exceeding max allowed size" in reason
    assert (WSMsgType.CLOSE, (1009).to_bytes(2, "big")) in [(kind, body[:2]) for kind, body in line.peer.heard]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ((1001).to_bytes(2, "big") + b"24 hours", "venue closed 1001 24 hours"),
        ((4999).to_bytes(2, "big"), "venue closed 4999"),
        (b"", "venue closed without a code"),
    ],
)
async def test_a_close_frame_is_answered_and_its_reason_kept(connect: Connect, body: bytes, reason: str) -> None:
    line = await connect()

    line.peer.say(WSMsgType.CLOSE, body)

    assert await asyncio.wait_for(line.connection.closed, 5) == reason
    await until(lambda: line.peer.heard)
    assert line.peer.heard == [(WSMsgType.CLOSE, body[:2])]


async def test_a_bug_that_one_frame_brings_out_does_not_end_the_connection(connect: Connect) -> None:
    line = await connect()
    line.engine.error = RuntimeError("a bug")
    line.peer.say(WSMsgType.TEXT, b"bad")
    await until(lambda: line.engine.frames)

    line.engine.error = None
    line.peer.say(WSMsgType.TEXT, b"good")
    await until(lambda: len(line.engine.frames) == 2)

    assert not line.connection.closed.done()


async def test_a_held_connection_lets_answers_through_and_data_when_it_is_let_go(connect: Connect) -> None:
    line = await connect(held=True)
    for payload in (b"first", b"{}answer", b"second"):
        line.peer.say(WSMsgType.TEXT, payload)
    await until(lambda: line.engine.frames and line.connection.has_held)
    await asyncio.sleep(0.01)
    assert line.engine.texts() == [b"{}answer"]

    line.connection.let_go()
    line.peer.say(WSMsgType.TEXT, b"third")
    await until(lambda: len(line.engine.frames) == 4)

    assert line.engine.texts() == [b"{}answer", b"first", b"second", b"third"]
    assert [stamp for _, stamp, _ in line.engine.frames[1:]] == sorted(stamp for _, stamp, _ in line.engine.frames[1:])


async def test_our_messages_stay_within_the_venues_limit(connect: Connect) -> None:
    line = await connect(messages=5)
    began = time.monotonic()

    for number in range(11):
        await line.connection.send(b"%d" % number)
    took_s = time.monotonic() - began
    await until(lambda: len(line.peer.heard) == 11)

    assert 2.0 <= took_s < 3.0


async def test_sending_on_a_socket_that_has_gone_says_so(connect: Connect) -> None:
    line = await connect()
    line.connection.close("we are done")
    await line.connection.closed

    with pytest.raises(NetworkTimeout, match="lost before a request could be sent"):
        await line.connection.send(b"x")
    assert line.connection.closed.result() == "we are done"


async def test_a_peer_that_reads_and_says_nothing_is_asked_and_then_left(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raven.ingest.connection._ASK_AFTER_S", 0.1)
    monkeypatch.setattr("raven.ingest.connection._ANSWER_WITHIN_S", 0.1)
    line = await connect()

    await asyncio.wait_for(line.connection.closed, 5)

    assert line.peer.heard[0][0] is WSMsgType.PING


@pytest.mark.parametrize("trusted", [True, False])
async def test_only_a_certificate_that_the_system_trusts_will_do(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    (authority if trusted else trustme.CA()).configure_trust(ours)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ours)

    if trusted:
        line = await connect(tls=theirs)
        line.peer.say(WSMsgType.TEXT, b"secret")
        await until(lambda: line.engine.texts() == [b"secret"])
        return
    with pytest.raises(NetworkTimeout, match=r"(?i)certificate.verify.failed"):
        await connect(tls=theirs)


async def test_a_tls_connection_that_is_cut_without_a_goodbye_ends_at_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ours)
    line = await connect(tls=theirs)
    line.peer.say(WSMsgType.TEXT, b"the last word")
    await until(lambda: line.engine.texts() == [b"the last word"])

    # A reset in the middle of the TLS stream: no close_notify, no WebSocket close.
    socket = line.peer.transport.underlying_transport.get_extra_info("socket")
    socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    line.peer.transport.underlying_transport.abort()

    reason = await asyncio.wait_for(line.connection.closed, 5)
    assert reason, "somebody has to be told why"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 429 Too Many Requests\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b""])
async def test_a_refused_handshake_is_a_failure_to_retry(answer: bytes) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
    pacer = Pacer(5, 1.0, SystemClock())
    with pytest.raises(NetworkTimeout, match="cannot connect"):
        await Connection.open(url, Engine(), 1, lambda: None, SocketRules(2.0, LIMIT, lambda frame: False), pacer)
    server.close()


async def test_a_handshake_that_hangs_is_given_up() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
    pacer = Pacer(5, 1.0, SystemClock())

    with pytest.raises(NetworkTimeout, match=r"no answer within 0\.2 s"):
        await Connection.open(url, Engine(), 1, lambda: None, SocketRules(0.2, LIMIT, lambda frame: False), pacer)
    for writer in writers:
        writer.close()
    server.close()
