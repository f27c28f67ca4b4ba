from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trustme

from .peers.control import Certificates
from .remote import Peer, Remote


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(certificates.authority)
    server.private_key_pem.write_to_path(certificates.key)
    for blob in server.cert_chain_pems:
        blob.write_to_path(certificates.chain, append=True)
    return certificates


@pytest.fixture(scope="session")
def start_remote(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Peer], Remote]]:
    """Start a peer, or take the one that is running already."""
    running: dict[str, Remote] = {}
    logs = tmp_path_factory.mktemp("peers")

    def start(peer: Peer) -> Remote:
        name = str(peer)
        if name in running and running[name].spoilt:
            running.pop(name).end()
        if name not in running:
            running[name] = Remote(peer, certificates, logs / f"{name}.log")
        return running[name]

    yield start
    for remote in running.values():
        remote.end()


@pytest.fixture
def remote(request: pytest.FixtureRequest, start_remote: Callable[[Peer], Remote]) -> Remote:
    """The peer that the test is parametrised with."""
    peer: Peer = request.param
    missing = peer.missing()
    if missing:
        pytest.skip(missing)
    return start_remote(peer)
