"""TLS and client certificates (fault N7): who may talk to the server is decided in the handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = pytest.mark.fault("N7")

if TYPE_CHECKING:
    from tests.integration.grpc_face.conftest import MakeScene, Scene

AUTHORITY = trustme.CA()
SERVER = AUTHORITY.issue_cert("localhost")
CLIENT = AUTHORITY.issue_cert("client@example.org")
STRANGER = trustme.CA().issue_cert("client@example.org")


def pem(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


def tls(**more: Any) -> dict[str, Any]:
    return {"tls_certificate": pem(SERVER), "tls_key": SERVER.private_key_pem.bytes(), **more}


def mutual() -> dict[str, Any]:
    return tls(tls_client_ca=AUTHORITY.cert_pem.bytes())


async def is_served(scene: Scene, credentials: grpc.ChannelCredentials | None) -> bool:
    """Ask for its health over a connection of its own."""
    address = f"localhost:{scene.port}"
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.aio.secure_channel(address, credentials, options=options)
        if credentials
        else grpc.aio.insecure_channel(address, options=options)
    )
    async with channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


def trusting(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        certificate.private_key_pem.bytes() if certificate else None,
        pem(certificate) if certificate else None,
    )


async def test_a_client_that_trusts_the_authority_is_served_and_others_are_not(make_scene: MakeScene) -> None:
    scene = await make_scene(**tls())
    assert await is_served(scene, trusting(AUTHORITY))
    assert not await is_served(scene, trusting(trustme.CA())), "a client must not trust a certificate it cannot check"
    assert not await is_served(scene, None), "plain text on a TLS port"
    assert await is_served(scene, trusting(AUTHORITY)), "the failed handshakes harmed nobody"


async def test_with_client_certificates_only_those_of_the_authority_are_served(make_scene: MakeScene) -> None:
    scene = await make_scene(**mutual())
    assert await is_served(scene, trusting(AUTHORITY, CLIENT))
    assert not await is_served(scene, trusting(AUTHORITY)), "no certificate"
    assert not await is_served(scene, trusting(AUTHORITY, STRANGER)), "a certificate of somebody else's authority"
    assert await is_served(scene, trusting(AUTHORITY, CLIENT))


@pytest.mark.parametrize("broken", ["tls_certificate", "tls_key", "tls_client_ca"])
async def test_a_file_that_is_no_certificate_is_refused_at_the_start(make_scene: MakeScene, broken: str) -> None:
    with pytest.raises(ValueError, match=broken.removeprefix("tls_").split("_")[-1]):
        await make_scene(**mutual() | {broken: b"rubbish"})
