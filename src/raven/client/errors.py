"""What can go wrong for a client, as part of the tree in `raven.errors`.

NetworkTimeout
└── ServerUnreachable     yes   no server answers, or it hung up and `reconnect` is off
ConfigurationError
└── RequestRefused        no    the server refuses this request; `status` is the gRPC status name
"""

from __future__ import annotations

import grpc

from raven.errors import ConfigurationError, NetworkTimeout

# The server means what it says: asking again in the same words gets the same answer.
_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


class ServerUnreachable(NetworkTimeout):
    """No server answers at the address, or the connection was lost and the client was told not to reconnect."""


class RequestRefused(ConfigurationError):
    """The server understood the request and refuses it; the message is the server's own."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{message} [{status}]")
        self.status = status


def is_final(code: grpc.StatusCode, *, reconnecting: bool) -> bool:
    """Say whether a status is an answer, and not an accident that trying again may heal.

    "Full" at the first try is an answer; when a hundred clients come back at once it is not.
    """
    return code in _FINAL and not (reconnecting and code is grpc.StatusCode.RESOURCE_EXHAUSTED)


def unreachable(address: str, reason: str) -> ServerUnreachable:
    """Return the error for a server that does not answer, with what to do about it."""
    return ServerUnreachable(
        f"no Raven server answers at {address} ({reason}); start one with `raven --demo` (or `make run` in a clone), "
        'or pass the right address: raven.connect("host:port")'
    )
