"""A server seen from afar: forwards connections to a local port, requests later by some time.

`python -m benchmarks.latency PORT SECONDS` prints the port that it listens on and serves until its
standard input ends. Answers are spliced from socket to socket in the kernel, so that the process
costs next to nothing beside what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Faraway", "faraway"]

_PIPE = 1 << 20
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class _Link:
    """One connection of a client, and ours to the server behind."""

    def __init__(self, client: socket.socket, server: socket.socket, delay: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.client, self.server, self.delay = client, server, delay
        self.out, self.into = os.pipe()
        fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, _PIPE)
        self.held, self.open = 0, True
        self.loop.add_reader(client, self._request)
        self.loop.add_reader(server, self._answer)

    def _request(self) -> None:
        try:
            data = self.client.recv(1 << 16)
        except OSError:
            data = b""
        if data:
            self.loop.call_later(self.delay, self._forward, data)
        else:
            self.close()

    def _forward(self, data: bytes) -> None:
        if self.open:
            self.server.setblocking(True)  # requests of reads are smaller than any socket's buffer
            try:
                self.server.sendall(data)
            except OSError:
                self.close()
            else:
                self.server.setblocking(False)

    def _answer(self) -> None:
        try:
            count = os.splice(self.server.fileno(), self.into, _PIPE, flags=_FLAGS)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self.held += count
        if count:
            self._pass_on()
        else:
            self.close()

    def _pass_on(self) -> None:
        """Give the client what is held; wait for it, and not for the server, while it is slow."""
        while self.held:
            try:
                self.held -= os.splice(self.out, self.client.fileno(), self.held, flags=_FLAGS)
            except BlockingIOError:
                self.loop.remove_reader(self.server)
                self.loop.add_writer(self.client, self._pass_on)
                return
            except OSError:
                self.close()
                return
        if self.loop.remove_writer(self.client):
            self.loop.add_reader(self.server, self._answer)

    def close(self) -> None:
        if self.open:
            self.open = False
            self.loop.remove_writer(self.client)
            for end in (self.client, self.server):
                self.loop.remove_reader(end)
                end.close()
            os.close(self.out)
            os.close(self.into)


async def _serve(port: int, delay: float) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        waiting = asyncio.create_task(_accept(listener, port, delay))
        await ended.wait()
        waiting.cancel()


async def _accept(listener: socket.socket, port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        client, _ = await loop.sock_accept(listener)
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Link(client, server, delay)


class Faraway:
    """The forwarding process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"

    @property
    def busy_s(self) -> float:
        """Processor time until now (proc(5): fields 14 and 15 of stat)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def faraway(port: int, delay: float) -> Iterator[Faraway]:
    """Run the forwarding process before a local port; `delay` in seconds."""
    command = [sys.executable, "-m", "benchmarks.latency", str(port), str(delay)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        yield Faraway(process, int(process.stdout.readline()))
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
