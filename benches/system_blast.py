"""The fastest sender there is: writes the frames of a USD-M recording, made beforehand, as fast as the server reads.

    python benches/system_blast.py FILE…

Prints one JSON line with its addresses, serves exchangeInfo and the recorded snapshot, sends what was recorded before
the snapshot, waits until that was asked for, then writes the rest in one go and a ping behind it. The pong says that
the server has taken every frame. Prints a second JSON line: frames, bytes, seconds. Run by `system_replay.py`.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from latency_exchange import SYMBOL, frame, read_request, shake_hands

from raven.recording import depth_answer, read_recording

PING = b"\x89\x04done"


class Rest(BaseHTTPRequestHandler):
    """Answers exchangeInfo and depth."""

    snapshot = b""
    was_asked = threading.Event()

    def do_GET(self) -> None:
        is_depth = "/depth" in self.path
        body = self.snapshot if is_depth else json.dumps({"symbols": [SYMBOL], "rateLimits": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if is_depth:
            self.was_asked.set()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def load(files: list[Path]) -> tuple[list[bytes], list[bytes]]:
    """Return the frames before the first snapshot and those after it; the snapshot goes to `Rest`."""
    before: list[bytes] = []
    after: list[bytes] = []
    for line in read_recording(files):
        if depth_answer(line.raw) is None:
            (after if Rest.snapshot else before).append(frame(bytes(line.raw)))
        elif not Rest.snapshot:
            Rest.snapshot = bytes(line.raw)
    return before, after


def take_connection(listener: socket.socket) -> tuple[str, socket.socket]:
    """Accept a connection and answer its subscription; return its path."""
    peer, _ = listener.accept()
    path = shake_hands(peer)
    request = read_request(peer)
    peer.sendall(frame(json.dumps({"result": None, "id": request["id"]}).encode()))
    return path, peer


def main() -> None:
    """Serve one run."""
    before, after = load([Path(name) for name in sys.argv[1:]])
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    ports = {"ws": f"ws://127.0.0.1:{listener.getsockname()[1]}", "rest": f"http://127.0.0.1:{rest.server_port}"}
    print(json.dumps(ports), flush=True)
    # Books and best prices come on one route, aggregates on another, which stays silent.
    peers = dict(take_connection(listener) for _ in range(2))
    peer = next(socket_ for path, socket_ in peers.items() if path.startswith("/public"))
    peer.sendall(b"".join(before))
    if not Rest.was_asked.wait(20):
        raise SystemExit("the server did not ask for a snapshot")
    time.sleep(1.0)
    data = b"".join(after)
    began = time.perf_counter()
    peer.sendall(data)
    peer.sendall(PING)
    heard = b""
    while b"done" not in unmasked(heard):
        heard += peer.recv(4096)
    took = time.perf_counter() - began
    print(json.dumps({"frames": len(after), "bytes": len(data), "seconds": took}), flush=True)
    sys.stdin.read()


def unmasked(pong: bytes) -> bytes:
    """Return the payload of a masked frame, as far as it has come."""
    return bytes(byte ^ pong[2 + at % 4] for at, byte in enumerate(pong[6:]))


if __name__ == "__main__":
    main()
