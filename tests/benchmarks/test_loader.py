"""The loader's benchmark: its contenders deliver the same pixels, and its checks can fail."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import loader_corpus
from benchmarks.latency import faraway
from benchmarks.loader_contenders import SHAPE, contender
from benchmarks.loader_process import Answer, Process

COUNT = 11


def drawn() -> Iterator[Any]:
    return loader_corpus.films(COUNT, (96, 48))


def expected() -> list[str]:
    small = (cv2.resize(film, SHAPE[::-1], interpolation=cv2.INTER_AREA) for film in drawn())
    made = [hashlib.sha256(film.astype(np.float32).tobytes()).hexdigest() for film in small]
    assert len(set(made)) == COUNT
    return made


@pytest.fixture(scope="module", params=["png", "jxl"])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    loader_corpus.write(str(root), drawn(), request.param, 4)
    return root


@pytest.mark.parametrize("kind", ["floor", "webdataset"])
def test_peers_deliver_the_films_that_were_drawn(kind: str, corpus: Path) -> None:
    with closing(Process(kind, str(corpus))) as process:
        answer = process.epoch(1, True, 0, digest=True)
    assert answer.by_row == expected()
    answer.refuse_unless_all(COUNT)


def test_ours_delivers_them_and_resumes_at_a_batch_with_other_workers(corpus: Path) -> None:
    with closing(Process("ours", str(corpus))) as process:
        whole = process.epoch(2, True, 3, digest=True)
        rest = process.epoch(1, True, 3, start=1, digest=True)
    whole.refuse_unless_all(COUNT)
    assert whole.by_row == expected()
    assert (rest.rows, rest.digests) == (whole.rows[8:], whole.digests[8:])


def test_undecoded_payloads_are_read_with_their_sizes(corpus: Path) -> None:
    batches = list(contender("ours", str(corpus), 0, False).epoch(0, 0))
    found = {
        row: size
        for batch in batches
        for row, size in zip(batch["row"].tolist(), batch["size"].tolist(), strict=True)
    }
    assert [found[row] for row in sorted(found)] == _sizes(corpus)


def _sizes(corpus: Path) -> list[int]:
    import pyarrow.parquet as pq

    table = pq.read_table(next(corpus.glob("v-*/manifest/*.parquet")), columns=["image_size"])
    sizes: list[int] = table["image_size"].to_pylist()
    return sizes


def test_an_epoch_with_a_film_twice_is_refused() -> None:
    Answer(1.0, [2, 0, 1], []).refuse_unless_all(3)
    with pytest.raises(SystemExit, match="showed 2 of 3 films"):
        Answer(1.0, [2, 0, 2], []).refuse_unless_all(3)


class _Big(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = bytes(range(256)) * 20_000

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_faraway_server_answers_the_same_bytes_later() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Big)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with faraway(server.server_port, 0.2) as proxy:
            connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=20)
            for _ in range(2):
                began = time.monotonic()
                connection.request("GET", "/")
                assert connection.getresponse().read() == _Big.body
                assert time.monotonic() - began >= 0.2
            connection.close()
            assert proxy.busy_s >= 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
