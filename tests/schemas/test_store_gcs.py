"""The gs:// store, against an emulator and, for what the emulator lets pass, a strict stub."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google_crc32c
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from schemas import _gcs
from schemas.errors import StoreError, UsageError
from schemas.select import select
from schemas.store import Entry, Store, open_store
from tests.servers import BUCKET, Fault, StubGcs

if TYPE_CHECKING:
    from pathlib import Path

BIG = 20 << 20  # beyond one request, and more than one chunk of a resumable upload


@pytest.fixture
def store(gcs: str) -> Store:
    return open_store(f"{gcs}/corpora/one")


@pytest.fixture
def stub_store(stub_gcs: StubGcs, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(_gcs, "FIRST_PAUSE_S", 0.01)
    return open_store(f"gs://{BUCKET}/out")


@pytest.fixture
def big_file(tmp_path: Path) -> tuple[Path, bytes, int]:
    data = os.urandom(1 << 20) * (BIG >> 20)
    (tmp_path / "big.tar").write_bytes(data)
    return tmp_path / "big.tar", data, google_crc32c.value(data)


def published(store: Store) -> list[str]:
    return [entry.path for entry in store.list()]


# --- the emulator


def test_what_was_created_is_read_back_whole_and_in_ranges(store: Store) -> None:
    data = bytes(range(256)) * 40
    assert store.create("shards/a b#?.tar", data)
    assert store.read("shards/a b#?.tar") == data
    assert store.read_range("shards/a b#?.tar", 250, 12) == data[250:262]
    assert store.read_range("shards/a b#?.tar", 0, 0) == b""
    assert store.stat("shards/a b#?.tar") == Entry("shards/a b#?.tar", len(data))
    assert store.stat("shards") is None
    assert store.local_path("shards/a b#?.tar") is None


def test_a_taken_name_keeps_its_content(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"


def test_eight_threads_racing_have_one_winner_a_name(store: Store) -> None:
    start = threading.Barrier(8)

    def race(writer: int) -> list[str]:
        start.wait()
        return [n for n in map(str, range(10)) if store.create(n, f"{writer}{n}".encode())]

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(race, range(8)))
    assert sorted(name for names in won for name in names) == sorted(map(str, range(10)))
    for writer, names in enumerate(won):
        assert all(store.read(name) == f"{writer}{name}".encode() for name in names)


def test_swap_moves_only_from_what_was_expected(store: Store) -> None:
    assert not store.swap("LATEST", b"v-1", b"v-0")
    assert store.swap("LATEST", b"v-1", None)
    assert not store.swap("LATEST", b"v-2", None)
    assert store.swap("LATEST", b"v-2", b"v-1")
    assert not store.swap("LATEST", b"v-3", b"v-1")
    assert store.read("LATEST") == b"v-2"


def test_no_swap_is_lost_between_threads(store: Store) -> None:
    store.swap("LATEST", b"0", None)

    def count_up(_: int) -> None:
        done = 0
        while done < 10:
            now = store.read("LATEST")
            done += store.swap("LATEST", str(int(now) + 1).encode(), now)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count_up, range(4)))
    assert store.read("LATEST") == b"40"


def test_a_big_file_arrives_in_chunks(store: Store, big_file: tuple[Path, bytes, int]) -> None:
    file, data, crc32c = big_file
    assert store.create_from_file("a.tar", file, crc32c)
    assert store.read_range("a.tar", BIG - 5, 5) == data[-5:]
    assert store.read("a.tar") == data


def test_listing_runs_over_pages_in_order_and_stays_in_the_prefix(gcs: str) -> None:
    store, neighbour = open_store(f"{gcs}/out"), open_store(f"{gcs}/out2")
    neighbour.create("x", b"")
    names = [f"folder{i % 3}/{i:04d}" for i in range(1005)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda name: store.create(name, b""), names))
    store.create(".tmp/x", b"")
    assert published(store) == sorted(names)
    assert [e.path for e in store.list("folder1/00")] == sorted(
        name for name in names if name.startswith("folder1/00")
    )
    assert [e.path for e in store.list(".tmp/")] == [".tmp/x"]


def test_decomposed_names_are_listed_and_read_in_nfc(gcs: str) -> None:
    spelt = unicodedata.normalize("NFD", "Março/lesão.txt")
    plain = open_store(gcs)
    _gcs._client().bucket(gcs.removeprefix("gs://")).blob(spelt).upload_from_string(b"x")
    assert list(plain.list("Março/")) == [Entry("Março/lesão.txt", 1, spelt)]
    assert plain.read("Março/lesão.txt") == b"x"
    unlisted = open_store(gcs)
    assert unlisted.stat("Março/lesão.txt") == Entry("Março/lesão.txt", 1, spelt)
    assert unlisted.read_range("Março/lesão.txt", 0, 1) == b"x"


def test_delete_removes_once_and_forgives_the_second_time(store: Store) -> None:
    store.create("a", b"")
    store.delete("a")
    store.delete("a")
    assert published(store) == []


def test_a_temporary_folder_is_local_and_goes(store: Store) -> None:
    with store.temporary("run/7") as folder:
        (folder / "x").write_bytes(b"")
    assert not folder.exists()
    assert published(store) == []


def fill(store: Store, pickled: bytes, answer: Any) -> None:
    again: Store = pickle.loads(pickled)  # noqa: S301
    answer.put((store.create("from child", b"x"), again.read("a")))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_store_works_in_another_process(store: Store, method: str) -> None:
    store.create("a", b"parent")  # the parent's client has open connections
    context: Any = multiprocessing.get_context(method)
    answer = context.Queue()
    child = context.Process(target=fill, args=(store, pickle.dumps(store), answer))
    child.start()
    assert answer.get(timeout=60) == (True, b"parent")
    child.join(30)
    assert store.read("from child") == b"x"


def test_a_forked_child_shares_no_connection_with_its_parent(store: Store) -> None:
    store.create("a", b"parent")
    parents = _gcs._client()
    context: Any = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=lambda: answer.put(_gcs._client() is parents))
    child.start()
    assert answer.get(timeout=30) is False
    child.join(30)
    assert _gcs._client() is parents


def test_parquet_is_read_through_the_store(store: Store, tmp_path: Path) -> None:
    rows = pa.table({"sample_id": ["b", "a"], "age": [60, 50], "rest": ["x" * 50_000] * 2})
    for source in ("inbreast", "mias"):
        pq.write_table(rows, tmp_path / "m.parquet")
        store.create(f"v-1/manifest/{source}.parquet", (tmp_path / "m.parquet").read_bytes())
    filesystem, base = store.arrow()
    dataset = pads.dataset(f"{base}/v-1/manifest", filesystem=filesystem)
    assert dataset.to_table(columns=["age"]).column("age").to_pylist() == [60, 50, 60, 50]
    named = pads.dataset([f"{base}/v-1/manifest/mias.parquet"], filesystem=filesystem)
    assert select(named, "age > 55", ["sample_id"]).to_pydict() == {"sample_id": ["b"]}
    assert select(named, "age > 0", ["age"]).to_pydict() == {"age": [50, 60]}
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_file(f"{base}/v-1/manifest/none.parquet")
    with pytest.raises(StoreError, match="only reads"):
        filesystem.open_output_stream(f"{base}/x").close()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("none", "cannot read gs://bucket-.*/corpora/one/none: there is no such object"),
        ("../a", "'../a' is not a path inside a store"),
    ],
)
def test_what_is_not_there_is_one_sentence(store: Store, path: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        store.read(path)


@pytest.mark.usefixtures("gcs")
def test_a_bucket_that_is_not_there_is_named() -> None:
    store = open_store("gs://no-such-bucket/out")
    with pytest.raises(StoreError, match="or no bucket no-such-bucket"):
        store.create("a", b"")
    with pytest.raises(StoreError, match="cannot list gs://no-such-bucket/out/"):
        list(store.list())


def test_a_range_beyond_the_end_is_refused(store: Store) -> None:
    store.create("a", b"12345")
    with pytest.raises(StoreError, match=r"/a is shorter .* 4 bytes asked for at 3, 2 came"):
        store.read_range("a", 3, 4)
    with pytest.raises(StoreError, match=r"cannot read .*/a: "):
        store.read_range("a", 9, 1)


def test_a_root_without_a_bucket_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="gs:///x names no bucket"):
        open_store("gs:///x")


# --- the stub: promises of the service that the emulator does not keep, and faults


@pytest.mark.parametrize("size", [9, BIG])
def test_a_taken_name_is_refused_for_files_of_any_size(
    stub_gcs: StubGcs, stub_store: Store, tmp_path: Path, size: int
) -> None:
    generation = stub_gcs.put("out/a.tar", b"first")
    (tmp_path / "late").write_bytes(b"x" * size)
    crc32c = google_crc32c.value(b"x" * size)
    assert not stub_store.create_from_file("a.tar", tmp_path / "late", crc32c)
    assert stub_gcs.objects["out/a.tar"].generation == generation


def test_a_name_taken_during_a_resumable_upload_is_refused(
    stub_gcs: StubGcs, stub_store: Store, big_file: tuple[Path, bytes, int]
) -> None:
    file, _, crc32c = big_file
    taken = threading.Event()

    class Rival(Fault):
        @property
        def times(self) -> int:  # asked at each request that matches: the first chunk
            if not taken.is_set():
                taken.set()
                stub_gcs.put("out/a.tar", b"first")
            return 0

        @times.setter
        def times(self, _: int) -> None: ...

    stub_gcs.faults.append(Rival("^PUT"))
    assert not stub_store.create_from_file("a.tar", file, crc32c)
    assert stub_gcs.objects["out/a.tar"].data == b"first"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_requests_that_fail_in_passing_are_repeated(
    stub_gcs: StubGcs, stub_store: Store, status: int
) -> None:
    for method in ("GET /download", "GET /storage/v1/b/[^/]*/o", "POST /upload", "DELETE"):
        stub_gcs.faults.append(Fault(f"^{method}", status=status))
    assert stub_store.create("a", b"data")
    assert stub_store.read("a") == b"data"
    assert published(stub_store) == ["a"]
    stub_store.delete("a")
    assert not any(fault.times for fault in stub_gcs.faults)


def test_a_resumable_upload_goes_on_after_a_failed_chunk(
    stub_gcs: StubGcs, stub_store: Store, big_file: tuple[Path, bytes, int]
) -> None:
    file, data, crc32c = big_file
    stub_gcs.faults += [Fault("^POST", status=503), Fault("^PUT", status=503, times=2)]
    assert stub_store.create_from_file("a.tar", file, crc32c)
    assert stub_gcs.objects["out/a.tar"].data == data


def test_a_refusal_is_not_repeated(stub_gcs: StubGcs, stub_store: Store) -> None:
    stub_gcs.faults.append(Fault("^POST", status=403, times=9))
    with pytest.raises(StoreError, match=r"access denied .403.; check your role on the bucket"):
        stub_store.create("a", b"data")
    # the client may look at the bucket in the background, for its own traces
    assert sum(request.startswith("POST") for request in stub_gcs.log) == 1


def test_patience_ends_with_a_sentence(
    stub_gcs: StubGcs, stub_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gcs, "PATIENCE_S", 0.2)
    stub_gcs.faults.append(Fault("GET", status=503, times=1000))
    with pytest.raises(StoreError, match=r"cannot read gs://stub-bucket/out/a: 503 .*given up"):
        stub_store.read("a")


@pytest.mark.parametrize("size", [9, BIG])
def test_a_writer_whose_answer_was_lost_learns_that_it_won(
    stub_gcs: StubGcs, stub_store: Store, tmp_path: Path, size: int
) -> None:
    data = b"x" * size
    (tmp_path / "file").write_bytes(data)
    last = "^POST" if size < BIG else "^PUT"
    if size == BIG:
        stub_gcs.faults.append(Fault(last))  # let the first chunk pass
    stub_gcs.faults.append(Fault(last, lose_answer=True))
    assert stub_store.create_from_file("a", tmp_path / "file", google_crc32c.value(data))
    assert stub_gcs.objects["out/a"].data == data


def test_a_swap_whose_answer_was_lost_learns_that_it_won(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_store.create("LATEST", b"v-1")
    stub_gcs.faults.append(Fault("^POST", lose_answer=True))
    assert stub_store.swap("LATEST", b"v-2", b"v-1")
    assert stub_gcs.objects["out/LATEST"].data == b"v-2"


def test_a_late_loser_is_not_told_that_it_won(stub_gcs: StubGcs, stub_store: Store) -> None:
    stub_gcs.put("out/a", b"theirs")
    stub_gcs.faults.append(Fault("^POST", status=503))
    assert not stub_store.create("a", b"ours")
    assert stub_store.read("a") == b"theirs"


def test_an_answer_cut_short_is_read_again(stub_gcs: StubGcs, stub_store: Store) -> None:
    stub_store.create("a", bytes(range(200)))
    stub_gcs.faults.append(Fault("^GET /download", cut=50, times=2))
    assert stub_store.read_range("a", 20, 150) == bytes(range(20, 170))
    stub_gcs.faults.append(Fault("^GET /download", cut=1))
    assert stub_store.read("a") == bytes(range(200))


def test_an_object_shorter_than_the_range_is_not_read_again(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_store.create("a", b"12345")
    with pytest.raises(StoreError, match="4 bytes asked for at 3, 2 came"):
        stub_store.read_range("a", 3, 4)
    assert sum("download" in request for request in stub_gcs.log) == 1


@pytest.mark.parametrize("size", [9, BIG])
def test_a_file_that_is_not_what_was_declared_is_not_sent(
    stub_gcs: StubGcs, stub_store: Store, tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    with pytest.raises(StoreError, match="file is not the file that was written"):
        stub_store.create_from_file("a", tmp_path / "file", google_crc32c.value(b"other"))
    assert stub_gcs.log == []


def test_a_whole_read_that_was_garbled_on_its_way_is_read_again(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_store.create("a", b"as it was stored")
    stub_gcs.faults.append(Fault("^GET /download", garble=True))
    assert stub_store.read("a") == b"as it was stored"
    assert sum("download" in request for request in stub_gcs.log) == 2


@pytest.mark.parametrize("size", [9, BIG])
def test_bytes_garbled_on_their_way_are_refused_by_the_service(
    stub_gcs: StubGcs, stub_store: Store, tmp_path: Path, size: int
) -> None:
    data = b"x" * size
    (tmp_path / "file").write_bytes(data)
    stub_gcs.faults.append(Fault("upload_id|multipart", garble=True, times=2))
    with pytest.raises(StoreError, match=r"cannot write gs://stub-bucket/out/a: 400"):
        stub_store.create_from_file("a", tmp_path / "file", google_crc32c.value(data))
    assert stub_gcs.objects == {}
    assert not any(request.startswith("DELETE") for request in stub_gcs.log)


@pytest.mark.parametrize("size", [9, BIG])
def test_an_object_damaged_after_its_check_is_withdrawn(
    stub_gcs: StubGcs, stub_store: Store, tmp_path: Path, size: int
) -> None:
    data = b"x" * size
    (tmp_path / "file").write_bytes(data)
    stub_gcs.faults.append(Fault("upload_id|multipart", flip=True, times=2))
    with pytest.raises(StoreError, match=r"a did not arrive as it was sent: CRC32C .* run again"):
        stub_store.create_from_file("a", tmp_path / "file", google_crc32c.value(data))
    assert stub_gcs.objects == {}
    deletes = [request for request in stub_gcs.log if request.startswith("DELETE")]
    assert len(deletes) == 1
    assert "ifGenerationMatch=1" in deletes[0]


def test_a_damaged_object_that_was_replaced_since_is_left_alone(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_gcs.faults += [Fault("^POST", flip=True), Fault("^DELETE", status=412)]
    with pytest.raises(StoreError, match="did not arrive as it was sent"):
        stub_store.create("a", b"data")
    assert "out/a" in stub_gcs.objects


def test_a_pointer_moved_between_reading_and_writing_is_not_overwritten(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_store.create("LATEST", b"v-1")
    stub_gcs.faults.append(Fault("^GET /download", status=412))
    assert not stub_store.swap("LATEST", b"v-2", b"v-1")
    stub_gcs.faults.append(Fault("^POST", status=412))
    assert not stub_store.swap("LATEST", b"v-2", b"v-1")
    assert stub_store.read("LATEST") == b"v-1"


def test_pages_of_a_listing_are_joined_and_repeated_where_one_fails(
    stub_gcs: StubGcs, stub_store: Store
) -> None:
    stub_gcs.page_size = 3
    for name in "gfedcba":
        stub_gcs.put(f"out/{name}", b"")
    stub_gcs.put("out/folder/", b"")  # what a console leaves for an empty folder
    stub_gcs.faults.append(Fault("pageToken", status=503))
    assert published(stub_store) == list("abcdefg")
    assert sum("prefix=" in request for request in stub_gcs.log) == 4


def test_no_credentials_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(StoreError, match="no Google credentials found; run: gcloud auth"):
        open_store("gs://anything").read("a")


def test_the_client_keeps_enough_connections_for_parallel_reads(stub_gcs: StubGcs) -> None:
    client = _gcs._client()
    assert client is _gcs._client()
    adapter = client._http.get_adapter(stub_gcs.url)
    assert adapter._pool_maxsize >= 64
