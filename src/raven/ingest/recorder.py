"""Raw capture: every frame as received, every request and answer, in compressed files that a crash cannot spoil.

The ingest thread copies frames into a bounded buffer (`raven._core.Tap`, a copy in memory) and never waits; a thread
of its own compresses and writes, one gzip member per file and turn. While nothing can be written the buffer fills; what
does not fit is counted in the capture itself. docs/how-to/record-and-replay.md has the format.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import zlib
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from raven._core import Tap, __version__
from raven.clock import Clock, SystemClock
from raven.errors import ConfigurationError, InternalError
from raven.ingest.capture import Capture
from raven.observe import get_logger, record_capture, record_capture_loss
from raven.recording import CAPTURE_FORMAT, CaptureHead, note_line

__all__ = ["Recorder", "RecorderStatus"]

log = get_logger("recorder")

_HOUR_NS = 3600 * 10**9
# Text per member: bounds what is held in memory, and what a damaged member costs.
_MEMBER_BYTES = 1 << 20
# 200 MB/s and a sixth of the size on recorded frames; the best level is half as fast again for a fifth less.
_LEVEL = 3
_RETRY_S = 1.0
# Numbers of the sources that are no connection: one per venue, for answers and decisions.
_DESK = 1 << 31


@dataclass(slots=True)
class RecorderStatus:
    """What a recorder has done since it was started."""

    messages: int = 0
    """Messages written."""
    bytes: int = 0
    """Bytes written, compressed."""
    files: int = 0
    """Files begun."""
    lost: int = 0
    """Messages that the disk was too slow for; the capture says where."""
    trouble: str = ""
    """Why nothing can be written just now; empty when all is well."""


@dataclass(slots=True)
class _Source:
    """A connection, or a venue's desk."""

    venue: str
    rule: str
    category: str
    url: str
    is_connected: bool = False
    parts: int = 0
    file: _File | None = None


class Recorder(Capture):
    """Writes a capture into a folder, one folder per venue in it.

    `start` and `stop` belong to the main loop; what happens is told on the ingest thread; the work has its own thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        flush_interval_s: float = 0.25,
        sync_interval_s: float = 1.0,
        buffer_bytes: int = 64 << 20,
        clock: Clock | None = None,
    ) -> None:
        """A killed program loses what came in the last `flush_interval_s`, a machine that loses power what came in
        the last `sync_interval_s`; while the disk is full, `buffer_bytes` are kept in memory.
        """
        self.tap: Tap = Tap(buffer_bytes)
        self.status = RecorderStatus()
        self._folder = folder
        self._flush_interval_s = flush_interval_s
        self._sync_interval_s = sync_interval_s
        self._clock = clock or SystemClock()
        self._run = f"{self._clock.time_ns():x}-{os.getpid()}"
        self._sources: dict[int, _Source] = {}
        self._desks: dict[str, int] = {}
        self._ended: deque[int] = deque()
        self._pending: deque[tuple[int, int, int, bytes]] = deque()
        self._numbers: dict[str, int] = {}
        self._retry_at = self._sync_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._failure: BaseException | None = None

    @property
    def lost(self) -> int:
        """Messages that there was no room for, so far."""
        return self.tap.lost[0]

    # --- what happens, told on the ingest thread ---------------------------------------------------------------------

    def venue(self, name: str, rule: str) -> None:
        """A venue is collected from; `rule` as in `Engine.add_venue`."""
        desk = self._desks[name] = _DESK + len(self._desks)
        self._sources[desk] = _Source(name, rule, "rest", "", is_connected=True)

    def opening(self, connection: int, venue: str, category: str, url: str) -> None:
        """A connection is about to be opened; frames may come from now on. A file is begun with the first."""
        self._sources[connection] = _Source(venue, self._sources[self._desks[venue]].rule, category, url)

    def sent(self, connection: int, message: bytes) -> None:
        """Take a message of ours."""
        source = self._sources.get(connection)
        if source is not None:
            source.is_connected = True
            self._note(connection, "sent", message=message.decode("utf-8", "replace"))

    def changed_over(self, connection: int) -> None:
        """Take note that the frames to come had been held back."""
        self._note(connection, "changeover")

    def closed(self, connection: int, reason: str) -> None:
        """Take note of a connection's end; one that never was leaves no file."""
        if self._sources[connection].is_connected:
            self._note(connection, "closed", reason=reason)
        self._ended.append(connection)

    def answered(self, venue: str, recv_ns: int, path: str, body: bytes) -> None:
        """Take a REST answer with its request."""
        try:
            msgspec.json.decode(body, type=msgspec.Raw)
        except msgspec.DecodeError:
            self._note(self._desks[venue], "answer", recv_ns, message=path, hex=body.hex())
            return
        # In one line, whatever it looks like; within the strings of JSON there are no line feeds.
        line = body.translate(None, b"\r\n")
        self.tap.note(self._desks[venue], recv_ns, b'{"rest":%b,"body":%b}' % (msgspec.json.encode(path), line))

    def decided(self, venue: str, what: str, at_ns: int | None = None, **fields: str | int | bool) -> None:
        """Take note of what the engine was told about a symbol; see `raven.recording.notes`."""
        self._note(self._desks[venue], what, at_ns, **fields)

    def _note(self, source: int, what: str, at_ns: int | None = None, **fields: str | int | bool) -> None:
        self.tap.note(source, self._clock.time_ns() if at_ns is None else at_ns, note_line(what, **fields))

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin. Raises: ConfigurationError when the folder cannot be used."""
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"record.dir: {self._folder} cannot be written: {error.strerror}") from None
        self._thread.start()
        log.info("recording", folder=str(self._folder))

    async def stop(self) -> None:
        """Write what was told until now, and close."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self.close)

    async def watch(self) -> None:
        """Wait until the thread has ended. Raises: InternalError when it ended by itself."""
        await asyncio.to_thread(self._thread.join)
        if not self._stopping.is_set():
            raise InternalError(f"the recorder's thread ended: {self._failure!r}") from self._failure

    def _work(self) -> None:
        try:
            while not self._stopping.wait(self._flush_interval_s):
                self.turn()
        except BaseException as error:
            self._failure = error
            raise

    def close(self) -> None:
        """Write what waits and let go of all files."""
        self._retry_at = 0.0
        self.turn()
        # What was lost is said when there is room, so the last lines may have come just now.
        while not self.status.trouble and (parts := self.tap.take()):
            self._pending.extend(parts)
            self._write()
        left = self.tap.waiting + sum(len(text) for *_, text in self._pending)
        if left:
            log.error("the end of the capture is lost", bytes=left, reason=self.status.trouble)
        self._sync()
        for source in list(self._sources.values()):
            self._let_go(source)

    def turn(self) -> None:
        """Write what was told until now. Called by one thread."""
        now = self._clock.monotonic()
        if now >= self._retry_at:
            ended = list(self._ended)
            # All that was told until now; what comes meanwhile is for the next turn.
            until = self.tap.taken + self.tap.waiting
            while self.tap.taken < until and not self.status.trouble:
                self._pending.extend(self.tap.take())
                if sum(len(text) for *_, text in self._pending) >= _MEMBER_BYTES:
                    self._write()
            if self._pending:
                self._write()
            if not self._pending and not self.status.trouble:
                for source in ended:
                    self._let_go(self._sources.pop(source))
                    self._ended.popleft()
            if now >= self._sync_at:
                self._sync_at = now + self._sync_interval_s
                self._sync()
        lost, _ = self.tap.lost
        record_capture_loss(lost - self.status.lost, self.tap.waiting)
        self.status.lost = lost

    # --- files -------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write all that is pending; what cannot be written stays, and is tried again in a second."""
        groups: dict[tuple[int, int], list[tuple[int, int, int, bytes]]] = {}
        for part in self._pending:
            groups.setdefault((part[0], part[1] // _HOUR_NS), []).append(part)
        try:
            while groups:
                key = next(iter(groups))
                parts = groups[key]
                source = self._sources.get(key[0])
                if source is None:
                    # Frames that a socket delivers after its end; the engine ignores them, too.
                    del groups[key]
                    continue
                file = self._file(source, key, parts[0][1])
                size = file.append(b"".join(text for *_, text in parts))
                del groups[key]
                messages = sum(count for _, _, count, _ in parts)
                self.status.messages += messages
                self.status.bytes += size
                record_capture(messages, size)
        except OSError as error:
            self._fail(error)
        else:
            if self.status.trouble:
                log.info("recording again", waiting_bytes=self.tap.waiting)
                self.status.trouble = ""
        self._pending = deque(part for parts in groups.values() for part in parts)

    def _file(self, source: _Source, key: tuple[int, int], first_ns: int) -> _File:
        """Return the file of a source for an hour; what was held back over the full hour stays in the newer one."""
        number, hour = key
        if source.file is None or source.file.hour < hour:
            self._let_go(source)
            source.file = self._new_file(source, hour)
            source.parts += 1
            self.status.files += 1
            head = CaptureHead(
                format=CAPTURE_FORMAT, version=__version__, run=self._run, venue=source.venue, rule=source.rule,
                connection=-1 if number >= _DESK else number, category=source.category, url=source.url,
                part=source.parts,
            )  # fmt: skip
            source.file.head = b"%d %b\n" % (first_ns, msgspec.json.encode(head))
        return source.file

    def _new_file(self, source: _Source, hour: int) -> _File:
        folder = self._folder / source.venue
        folder.mkdir(exist_ok=True)
        stamp = datetime.fromtimestamp(hour * 3600, UTC)
        stem = f"{source.venue}-{stamp:%Y%m%dT%H}-{source.category or 'all'}"
        number = self._numbers.get(stem, 0)
        while True:
            number += 1
            try:
                file = _File(folder / f"{stem}-{number:03d}.gz", hour)
            except FileExistsError:
                continue
            self._numbers[stem] = number
            return file

    def _let_go(self, source: _Source) -> None:
        file, source.file = source.file, None
        if file is not None:
            try:
                file.sync()
            except OSError as error:
                log.error("a file of the capture may not be on the disk", file=str(file.path), reason=str(error))
            file.close()

    def _sync(self) -> None:
        for source in list(self._sources.values()):
            if source.file is not None:
                try:
                    source.file.sync()
                except OSError as error:
                    # What a failed sync has left is not known: the next lines go into another file.
                    source.file.close()
                    source.file = None
                    self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._retry_at = self._clock.monotonic() + _RETRY_S
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "storage_full: no space left" if is_full else str(error.strerror or error)
        if not self.status.trouble:
            log.error("cannot record", reason=what, next="keeps what fits into memory and tries again every second")
        self.status.trouble = what


class _File:
    """One file of a capture: gzip members, each whole or not there."""

    def __init__(self, path: Path, hour: int) -> None:
        """Create it. Raises: FileExistsError, OSError."""
        self.path = path
        self.hour = hour
        self.head = b""
        """Its first line, until that has been written."""
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._size = 0
        self._is_dirty = False

    def append(self, text: bytes) -> int:
        """Append one member and return its size. Raises: OSError; the file then ends where it ended before."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        member = packer.compress(self.head + text) + packer.flush()
        try:
            written = 0
            while written < len(member):
                written += os.write(self._handle, memoryview(member)[written:])
        except OSError:
            os.ftruncate(self._handle, self._size)
            os.lseek(self._handle, self._size, os.SEEK_SET)
            raise
        self._size += len(member)
        self._is_dirty = True
        self.head = b""
        return len(member)

    def sync(self) -> None:
        """Wait until all of it is on the disk. Raises: OSError."""
        if self._is_dirty:
            os.fdatasync(self._handle)
            self._is_dirty = False

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)
