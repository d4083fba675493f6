"""What one connection was asked to be, and what gRPC is told because of it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import grpc.aio

# One book of 1000 levels is about 40 kB and a batch may hold many; this bounds a frame, not what is buffered.
MAX_FRAME_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of `raven.connect`."""

    address: str
    client_id: str
    timeout_s: float
    reconnect: bool
    token: str | None
    credentials: grpc.ChannelCredentials | None
    read_ahead_bytes: int | None

    def channel_options(self) -> list[tuple[str, int]]:
        """Return gRPC's options: quick reconnects (our own backoff paces them) and detection of dead peers."""
        options = [
            ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self.read_ahead_bytes is not None:
            options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", self.read_ahead_bytes)]
        return options

    def channel(self) -> grpc.Channel:
        """Return a channel for programs that block."""
        options = self.channel_options()
        if self.credentials:
            return grpc.secure_channel(self.address, self.credentials, options=options)
        return grpc.insecure_channel(self.address, options=options)

    def aio_channel(self) -> grpc.aio.Channel:
        """Return a channel for programs on asyncio."""
        options = self.channel_options()
        if self.credentials:
            return grpc.aio.secure_channel(self.address, self.credentials, options=options)
        return grpc.aio.insecure_channel(self.address, options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()
