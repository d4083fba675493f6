"""A TCP proxy that does to a connection what networks do: delay, cut, reset, swallow.

It knows nothing of the protocol. Change `fault` at any time: it holds for connections that are open, too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import TracebackType

__all__ = ["ChaosProxy", "Fault"]

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to connections; nothing by default."""

    refuse: bool = False
    """New connections are reset at once, open ones immediately."""
    latency_s: float = 0.0
    """Each chunk waits so long, both ways."""
    bytes_per_second: float = 0.0
    """Limit of each direction; 0 for none."""
    swallow_requests: bool = False
    """What clients send is read and forgotten."""
    swallow_answers: bool = False
    """The server gets everything and does its work; nobody hears of it."""
    cut_after: int = 0
    """A connection is reset when its client has sent so many bytes since the fault began; 0 never."""


class ChaosProxy:
    """Listens on a free loopback port and hands everything to `port`; an asynchronous context manager."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.fault = Fault()
        self.connections = 0
        """How many were ever made."""
        self.cuts = 0
        """How many this proxy has reset."""
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "the proxy is not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> ChaosProxy:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        # Without their connections they end by themselves.
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def cut(self) -> None:
        """Reset every open connection now."""
        for writer in list(self._open):
            self._reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        above: asyncio.StreamWriter | None = None
        try:
            if self.fault.refuse:
                self._reset(writer)
                return
            from_above, above = await asyncio.open_connection(*self._upstream)
            self._open.add(above)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, above, is_request=True))
                both.create_task(self._pump(from_above, writer, is_request=False))
        except (OSError, ExceptionGroup):
            # One side is gone: so is the other.
            self._reset(writer)
        finally:
            for one in (writer, above):
                if one is not None:
                    self._open.discard(one)
                    one.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        passed, seen = 0, self.fault
        while chunk := await reader.read(_CHUNK):
            fault = self.fault
            if fault is not seen:
                passed, seen = 0, fault
            if fault.refuse:
                raise ConnectionResetError
            if fault.latency_s:
                await asyncio.sleep(fault.latency_s)
            if fault.bytes_per_second:
                await asyncio.sleep(len(chunk) / fault.bytes_per_second)
            if is_request and fault.cut_after and passed + len(chunk) >= fault.cut_after:
                writer.write(chunk[: fault.cut_after - passed])
                await writer.drain()
                raise ConnectionResetError
            passed += len(chunk)
            if not (fault.swallow_requests if is_request else fault.swallow_answers):
                writer.write(chunk)
                await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        """Close with RST instead of FIN."""
        if writer.transport.is_closing():
            return
        self.cuts += 1
        connection: socket.socket | None = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
