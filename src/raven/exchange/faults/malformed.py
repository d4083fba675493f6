"""Ways to spoil a frame, one for each kind of bad input a client must survive."""

from collections.abc import Callable

_DEEP = b"[" * 10_000


def _truncate(payload: bytes) -> bytes:
    return payload[: len(payload) * 2 // 3]


def _number(text: bytes) -> Callable[[bytes], bytes]:
    """Replace the first decimal text of the payload (a price in every event there is) by something else."""

    def replace(payload: bytes) -> bytes:
        for key in (b'"p":"', b'"b":"', b'"b":[["', b'"a":[["'):
            start = payload.find(key)
            if start >= 0:
                start += len(key)
                return payload[:start] + text + payload[payload.index(b'"', start) :]
        return payload[:-1] + b',"p":"' + text + b'"}'

    return replace


def _symbol(text: bytes) -> Callable[[bytes], bytes]:
    def replace(payload: bytes) -> bytes:
        start = payload.find(b'"s":"')
        if start < 0:
            return payload
        start += 5
        return payload[:start] + text + payload[payload.index(b'"', start) :]

    return replace


_SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": _truncate,
    "trailing": lambda payload: payload + b"}garbage",
    "not_json": lambda payload: b"<html>502 Bad Gateway</html>",
    "empty_object": lambda payload: b"{}",
    "deep": lambda payload: _DEEP,
    "duplicate_key": lambda payload: payload[:1] + b'"s":"XXX",' + payload[1:],
    "invalid_utf8": _symbol(b"\xff\xfe"),
    "nul": _symbol(b"BTC\x00USDT"),
    "unknown_symbol": _symbol(b"NOSUCHSYMBOL"),
    "unknown_event": lambda payload: payload.replace(b'"e":"', b'"e":"x', 1),
    "wrong_type": lambda payload: payload.replace(b'"E":', b'"E":"soon","was":', 1),
    "exponent": _number(b"1e999"),
    "not_a_number": _number(b"NaN"),
    "negative": _number(b"-1.00"),
    "zero": _number(b"0.00"),
    "forty_digits": _number(b"1234567890123456789012345678901234567890.5"),
    "huge_id": lambda payload: (
        payload.replace(b'"u":', b'"u":9', 1) if b'"u":' in payload else payload.replace(b'"t":', b'"t":99999999999', 1)
    ),
    "time_zero": lambda payload: payload.replace(b'"E":', b'"E":0,"F0":', 1),
}
MALFORMED_KINDS = tuple(_SPOILERS)
"""Every way there is."""


def spoil(payload: bytes, how: str) -> bytes:
    """Return a payload spoiled in one of MALFORMED_KINDS."""
    return _SPOILERS[how](payload)
