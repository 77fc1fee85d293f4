"""What every test shares: no network, one thread a library, the shared folder, gs:// roots."""

from __future__ import annotations

import os

# read by libraries when they are imported, so before any of them is
os.environ.update(
    {
        "GCE_METADATA_HOST": "127.0.0.1:1",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # else gcsfs waits 60 s a call on emulators
        "PJRT_DEVICE": "CPU",
        "OMP_NUM_THREADS": "1",
        "WDS_SECURE": "1",
        # children are not watched by the guard below; a closed port stops their HTTP clients
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost,::1",
    }
)

import ipaddress
import itertools
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import FakeGcs, StubGcs

BUCKETS = itertools.count(1)


class NetworkGuard:
    """An audit hook: it sees C extensions that use Python's sockets too, and cannot be undone."""

    def __init__(self) -> None:
        self.watching = False
        self.reached: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse and remember a look-up or a connection that leaves this machine."""
        if not self.watching or not event.startswith("socket."):
            return
        host = _host_of(event, arguments)
        if host is not None and not _is_here(host):
            self.reached.append(f"{event} {host}")
            msg = f"tests have no network: {event} {host}"
            raise ConnectionRefusedError(msg)


def _host_of(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        name = arguments[0]
        return name.decode() if isinstance(name, bytes) else name
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        own, address = arguments[0], arguments[1]
        # connecting a datagram socket sends nothing: a way to learn one's own address
        quiet = event == "socket.connect" and own.type == socket.SOCK_DGRAM
        if isinstance(address, tuple) and not quiet:
            return str(address[0])
    return None


def _is_here(host: str) -> bool:
    if host in {"", "localhost", "localhost.localdomain", socket.gethostname()}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def network_guard() -> Iterator[NetworkGuard]:
    """Close the network for the session."""
    guard = NetworkGuard()
    sys.addaudithook(guard)
    guard.watching = True
    yield guard
    guard.watching = False


@pytest.fixture(autouse=True)
def no_network(network_guard: NetworkGuard) -> Iterator[None]:
    """Fail a test that tried to leave this machine, even where the code swallowed the refusal."""
    network_guard.reached.clear()
    yield
    if network_guard.reached:
        reached = "; ".join(network_guard.reached)
        network_guard.reached.clear()
        pytest.fail(f"the test tried to reach the network: {reached}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real films and facts beside the project, or skip."""
    folder = (Path(__file__).parents[1] / "../shared").resolve()
    if not folder.is_dir():
        pytest.skip("needs the real films of ../shared, which is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """Run one emulator for this process: each xdist worker has its own, on its own port."""
    from tests.servers import FakeGcs

    server = FakeGcs()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def gcs(fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the root gs://bucket-N of a fresh, empty bucket in the emulator."""
    name = f"bucket-{next(BUCKETS)}"
    fake_gcs.make_bucket(name)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    return f"gs://{name}"


@pytest.fixture
def stub_gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubGcs]:
    """Run a strict object store that fails on demand; its root is gs://stub-bucket."""
    from tests.servers import StubGcs

    server = StubGcs()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    try:
        yield server
    finally:
        server.close()
