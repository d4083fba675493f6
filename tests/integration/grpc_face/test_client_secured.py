"""The Python client where TLS and a token are asked for (fault N7 seen from the program)."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import trustme

import raven
from raven.client import OrderBook, RequestRefused, ServerUnreachable

from .conftest import MakeScene, Scene

pytestmark = pytest.mark.fault("N7")

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("localhost")
CLIENT = AUTHORITY.issue_cert("client@example.org")
TOKEN = "s3cret"


def pem(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


def trusting(certificate: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    key = certificate.private_key_pem.bytes() if certificate else None
    return grpc.ssl_channel_credentials(AUTHORITY.cert_pem.bytes(), key, pem(certificate) if certificate else None)


@pytest.fixture
async def secured(make_scene: MakeScene) -> Scene:
    made: Scene = await make_scene(
        tls_certificate=pem(SERVER),
        tls_key=SERVER.private_key_pem.bytes(),
        tls_client_ca=AUTHORITY.cert_pem.bytes(),
        token=TOKEN,
    )
    return made


async def first(scene: Scene, face: str, **options: Any) -> Any:
    """Return the first event of the book, by either face."""
    connection = raven.connect(f"localhost:{scene.port}", timeout_s=2.0, **options)

    def program() -> Any:
        with connection as feed:
            return next(feed.subscribe("BOOKUSDT", "orderbook"))

    if face == "blocking":
        return await asyncio.to_thread(program)
    async with connection as feed:
        return await anext(aiter(feed.subscribe("BOOKUSDT", "orderbook")))


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_with_certificate_and_token_it_is_served(secured: Scene, face: str) -> None:
    assert isinstance(await first(secured, face, tls=trusting(CLIENT), token=TOKEN), OrderBook)


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_a_wrong_token_is_refused_and_not_tried_again(secured: Scene, face: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        await first(secured, face, tls=trusting(CLIENT), token="another")

    assert refusal.value.status == "UNAUTHENTICATED"
    assert "another" not in str(refusal.value), "no secrets in messages"


@pytest.mark.parametrize("face", ["async", "blocking"])
async def test_a_client_that_cannot_prove_itself_is_told_in_time(secured: Scene, face: str) -> None:
    with pytest.raises(ServerUnreachable, match="no Raven server answers at localhost"):
        await first(secured, face, token=TOKEN)
