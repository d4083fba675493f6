"""What services of one configuration trust when they call one another: the settings of one end fit the other."""

from __future__ import annotations

from pathlib import Path

import grpc

from raven.config import Settings
from raven.errors import ConfigurationError

__all__ = ["credentials"]


def credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    """Return what a caller of a service with these settings trusts, None without TLS. Raises: ConfigurationError."""
    server = settings.server
    if not server.tls_certificate:
        return None
    try:
        certificate, key = Path(server.tls_certificate).read_bytes(), Path(server.tls_key).read_bytes()
        authority = Path(server.tls_client_ca).read_bytes() if server.tls_client_ca else certificate
    except OSError as error:
        raise ConfigurationError(f"server.tls_certificate, tls_key, tls_client_ca: {error}") from None
    mutual = (key, certificate) if server.tls_client_ca else (None, None)
    return grpc.ssl_channel_credentials(authority, *mutual)
