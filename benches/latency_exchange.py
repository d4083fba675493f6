"""The least of an exchange: speaks enough of the venue's protocol for trades of one symbol, and sends them at a pace.

    python benches/latency_exchange.py RATE SECONDS FILE

Prints one JSON line with its addresses, waits for a subscription, then sends `@aggTrade` frames as blocking sends, one
every 1/RATE s, and writes `trade id, time of the send` of each to FILE (two little-endian i64, ns since 1970). Run by
`latency.py`. It is no part of the built-in exchange because it must know the very moment of each send.
"""

from __future__ import annotations

import array
import base64
import ctypes
import hashlib
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FIRST_ID = 2_000_000_000
SYMBOL = {
    "symbol": "BTCUSDT", "status": "TRADING",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"},
    ],
}  # fmt: skip
# Linux: how late the kernel may end a sleep to save wake-ups; 50,000 ns is usual.
_PR_SET_TIMERSLACK = 29


class Rest(BaseHTTPRequestHandler):
    """Answers exchangeInfo."""

    def do_GET(self) -> None:
        body = json.dumps({"symbols": [SYMBOL], "rateLimits": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def shake_hands(peer: socket.socket) -> str:
    """Answer the WebSocket handshake; return the path that was asked for."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(4096)
    lines = request.decode().split("\r\n")
    key = next(line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("sec-websocket-key:"))
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall((answer + f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n").encode())
    return lines[0].split(" ")[1]


def read_request(peer: socket.socket) -> dict[str, object]:
    """Read one short masked text frame."""
    head = _exactly(peer, 2)
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(_exactly(peer, 2), "big")
    mask, body = _exactly(peer, 4), _exactly(peer, length)
    request: dict[str, object] = json.loads(bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))
    return request


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise SystemExit("the server hung up")
        data += part
    return data


def frame(payload: bytes) -> bytes:
    """Return an unmasked text frame."""
    length = len(payload)
    if length < 126:
        return bytes([0x81, length]) + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def trade(number: int, now_ms: int) -> bytes:
    """Return one trade as the venue sends it."""
    return frame(
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"61800.30","q":"0.006",'
        b'"f":%d,"l":%d,"T":%d,"m":false}}' % (now_ms, number, number, number, now_ms)
    )


def send(peer: socket.socket, rate: float, seconds: float) -> array.array[int]:
    """Send at a pace; return id and time of every send."""
    sent = array.array("q")
    interval_ns = int(1e9 / rate)
    clock, wall = time.monotonic_ns, time.time_ns
    due = clock() + 10_000_000
    for number in range(FIRST_ID, FIRST_ID + int(rate * seconds)):
        left = due - clock()
        if left > 0:
            time.sleep(left / 1e9)
        message = trade(number, wall() // 1_000_000)
        now = wall()
        peer.send(message)
        sent.extend((number, now))
        due += interval_ns
    return sent


def main() -> None:
    """Serve one run."""
    rate, seconds, file = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    ports = {"ws": f"ws://127.0.0.1:{listener.getsockname()[1]}", "rest": f"http://127.0.0.1:{rest.server_port}"}
    print(json.dumps(ports), flush=True)
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shake_hands(peer)
    request = read_request(peer)
    peer.sendall(frame(json.dumps({"result": None, "id": request["id"]}).encode()))
    time.sleep(1.0)
    sent = send(peer, rate, seconds)
    Path(file).write_bytes(sent.tobytes())
    print("done", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
