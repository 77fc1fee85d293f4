"""The guard itself: tests reach this machine and nothing else."""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("reach", "seen"),
    [
        (lambda: socket.getaddrinfo("example.org", 443), "socket.getaddrinfo example.org"),
        (lambda: socket.gethostbyname("example.org"), "socket.gethostbyname example.org"),
        (lambda: socket.create_connection(("192.0.2.1", 80), 1), "socket.getaddrinfo 192.0.2.1"),
        (lambda: socket.socket().connect(("192.0.2.1", 80)), "socket.connect 192.0.2.1"),
        (
            lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
            "socket.sendto 192.0.2.1",
        ),
    ],
)
def test_leaving_this_machine_is_refused_and_remembered(
    network_guard: object, reach: Callable[[], object], seen: str
) -> None:
    reached: list[str] = network_guard.reached  # type: ignore[attr-defined]
    with pytest.raises(ConnectionRefusedError, match="tests have no network"):
        reach()
    assert reached == [seen]
    reached.clear()  # it was this test's purpose, so it must not fail for it


def test_clients_of_http_meet_a_closed_port() -> None:
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen("http://example.org/", timeout=5)


def test_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 1).close()
        socket.getaddrinfo("localhost", 80)
