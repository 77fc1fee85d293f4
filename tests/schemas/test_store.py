"""The local store: what is published appears whole, once, and for good."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from pyarrow import table

from schemas import _local
from schemas.errors import StoreError, UsageError
from schemas.store import Entry, Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "out")


def published(store: Store) -> list[str]:
    return [entry.path for entry in store.list()]


def left_behind(store: Store) -> list[str]:
    return [entry.path for entry in store.list(".tmp/")]


def run_python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    script = textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_what_was_created_is_read_back_whole_and_in_ranges(store: Store) -> None:
    data = bytes(range(256)) * 40
    assert store.create("shards/mias/a.tar", data)
    assert store.read("shards/mias/a.tar") == data
    assert store.read_range("shards/mias/a.tar", 250, 12) == data[250:262]
    assert store.read_range("shards/mias/a.tar", 0, 0) == b""
    assert store.stat("shards/mias/a.tar") == Entry("shards/mias/a.tar", len(data))


def test_a_taken_name_keeps_its_content(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"
    assert left_behind(store) == []


def test_files_are_created_with_the_permissions_of_the_umask(store: Store) -> None:
    before = os.umask(0o027)
    try:
        store.create("a", b"")
    finally:
        os.umask(before)
    assert os.stat(Path(store.root, "a")).st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: s.read("none"), "cannot read .*/none: there is no such file"),
        (lambda s: s.read("folder"), "cannot read .*/folder: it is a folder"),
        (lambda s: s.create("file/under", b""), "cannot write .*: a file stands where a folder"),
        (
            lambda s: s.read_range("file", 3, 5),
            "/file is shorter .* 5 bytes asked for at 3, 1 came",
        ),
        (lambda s: s.read_range("file", 9, 1), "1 bytes asked for at 9, 0 came"),
        (lambda s: s.read_range("file", -1, 1), "neither may be negative"),
        (lambda s: s.read("../file"), "'../file' is not a path inside a store"),
        (lambda s: s.read("/etc/passwd"), "'/etc/passwd' is not a path inside a store"),
        (lambda s: s.create("a//b", b""), "'a//b' is not a path inside a store"),
        (lambda s: open_store(f"{s.root}/nowhere").list(), "there is no folder .*/nowhere"),
    ],
)
def test_a_failure_says_what_and_where(
    store: Store, call: Callable[[Store], object], sentence: str
) -> None:
    store.create("file", b"four")
    store.create("folder/x", b"")
    with pytest.raises(StoreError, match=sentence):
        call(store)


def test_another_scheme_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="s3:// is not known; use a local folder or gs://"):
        open_store("s3://bucket/x")


def test_stat_of_what_is_not_there_is_none(store: Store) -> None:
    store.create("folder/x", b"")
    assert store.stat("none") is None
    assert store.stat("folder") is None
    assert store.stat("folder/x/y") is None


def test_delete_removes_once_and_forgives_the_second_time(store: Store) -> None:
    store.create("a", b"")
    store.delete("a")
    store.delete("a")
    assert published(store) == []


# --- listing


def test_a_listing_is_sorted_by_path_and_hides_unfinished_work(store: Store) -> None:
    for path in ("b/x", "a/b", "a.b", "a/._b", "B", "b.tmp/x"):
        store.create(path, path.encode())
    with store.temporary("run") as folder:
        (folder / "half.tar").write_bytes(b"")
        assert published(store) == ["B", "a.b", "a/._b", "a/b", "b.tmp/x", "b/x"]
        assert len(left_behind(store)) == 1
    assert [e.path for e in store.list("b")] == ["b.tmp/x", "b/x"]
    assert [e.path for e in store.list("a/b")] == ["a/b"]
    assert list(store.list("nothing/")) == []


def test_a_root_that_is_not_there_holds_no_receipts(tmp_path: Path) -> None:
    assert list(open_store(tmp_path / "new").list("shards/")) == []


def test_linked_folders_are_followed_and_loops_are_cut(tmp_path: Path) -> None:
    (tmp_path / "disk2/patient").mkdir(parents=True)
    (tmp_path / "disk2/patient/film.dcm").write_bytes(b"12")
    (tmp_path / "disk2/patient/up").symlink_to(tmp_path / "disk2")
    root = tmp_path / "release"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "disk2")
    (root / "self").symlink_to(root / "self")
    (root / "dangling").symlink_to(tmp_path / "not fetched")
    (root / "film.dcm").symlink_to(tmp_path / "disk2/patient/film.dcm")
    os.mkfifo(root / "pipe")
    assert list(open_store(root).list()) == [
        Entry("film.dcm", 2),
        Entry("images/patient/film.dcm", 2),
    ]


def test_decomposed_names_are_listed_and_read_in_nfc(tmp_path: Path) -> None:
    spelt = unicodedata.normalize("NFD", "Março/lesão.txt")
    Path(tmp_path, spelt).parent.mkdir()
    Path(tmp_path, spelt).write_bytes(b"x")
    store = open_store(tmp_path)
    assert list(store.list("Março/")) == [Entry("Março/lesão.txt", 1, spelt)]
    assert store.stat("Março/lesão.txt") == Entry("Março/lesão.txt", 1, spelt)
    assert store.read("Março/lesão.txt") == b"x"
    assert store.read_range("Março/lesão.txt", 0, 1) == b"x"


def test_names_that_are_not_utf8_are_read_as_latin1(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/n\xe3o.txt", "wb") as file:
        file.write(b"x")
    store = open_store(tmp_path)
    assert published(store) == ["não.txt"]
    assert store.read("não.txt") == b"x"


def test_two_spellings_of_one_name_are_refused(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        Path(tmp_path, unicodedata.normalize(form, "lesão")).write_bytes(b"")
    with pytest.raises(StoreError, match="differ only in their Unicode form: lesão"):
        published(open_store(tmp_path))


# --- big files


def test_a_finished_file_moves_to_its_name(store: Store) -> None:
    data = os.urandom(3 << 20)
    with store.temporary("run") as folder:
        (folder / "a.tar").write_bytes(data)
        assert store.create_from_file("shards/a.tar", folder / "a.tar", google_crc32c.value(data))
        (folder / "b.tar").write_bytes(b"late")
        late = google_crc32c.value(b"late")
        assert not store.create_from_file("shards/a.tar", folder / "b.tar", late)
    assert store.read("shards/a.tar") == data
    assert left_behind(store) == []
    assert os.listdir(Path(store.root, ".tmp")) == []


def test_a_file_with_another_checksum_is_not_published(store: Store) -> None:
    with store.temporary("run") as folder:
        (folder / "a.tar").write_bytes(b"damaged")
        with pytest.raises(StoreError, match=r"a.tar is not the file that was written: CRC32C"):
            store.create_from_file("a.tar", folder / "a.tar", google_crc32c.value(b"whole"))
    assert published(store) == []


def test_a_file_of_another_file_system_is_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "a.tar"
    elsewhere.write_bytes(b"data")
    link = os.link

    def link_within_one_disk(source: str, target: str) -> None:
        if source == str(elsewhere):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within_one_disk)
    assert store.create_from_file("a.tar", elsewhere, google_crc32c.value(b"data"))
    assert store.read("a.tar") == b"data"
    assert left_behind(store) == []


def test_workers_of_one_run_have_folders_of_their_own(store: Store) -> None:
    with store.temporary("run") as one:
        with store.temporary("run") as two:
            assert one != two
            assert one.parent == two.parent == Path(store.root, ".tmp/run")
        assert one.is_dir()
    assert not one.parent.exists()


# --- the pointer


def test_swap_moves_only_from_what_was_expected(store: Store) -> None:
    assert not store.swap("LATEST", b"v-1", b"v-0")
    assert store.swap("LATEST", b"v-1", None)
    assert not store.swap("LATEST", b"v-2", None)
    assert store.swap("LATEST", b"v-2", b"v-1")
    assert not store.swap("LATEST", b"v-3", b"v-1")
    assert store.read("LATEST") == b"v-2"
    assert published(store) == ["LATEST"]
    assert left_behind(store) == []


def count_up(root: str, steps: int) -> None:
    store = open_store(root)
    done = 0
    while done < steps:
        now = store.read("LATEST")
        done += store.swap("LATEST", str(int(now) + 1).encode(), now)


def test_no_swap_is_lost_between_processes(store: Store) -> None:
    store.swap("LATEST", b"0", None)
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=count_up, args=(store.root, 25)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert store.read("LATEST") == b"50"


# --- faults


def create_all(root: str, letter: bytes, start: Any, wins: Any) -> None:
    store = open_store(root)
    start.wait()
    wins.put([i for i in range(200) if store.create(f"folder{i % 7}/{i:03d}", letter * 30_000)])


def test_two_processes_racing_have_one_winner_a_name(store: Store) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, wins = spawn.Barrier(2), spawn.Queue()
    workers = [
        spawn.Process(target=create_all, args=(store.root, letter, start, wins))
        for letter in (b"a", b"b")
    ]
    for worker in workers:
        worker.start()
    won = [number for _ in workers for number in wins.get(timeout=60)]
    for worker in workers:
        worker.join(60)
    assert sorted(won) == list(range(200))
    contents = {store.read(path) for path in published(store)}
    assert contents <= {b"a" * 30_000, b"b" * 30_000}
    assert len(published(store)) == 200
    assert left_behind(store) == []


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_a_killed_writer_leaves_nothing_visible(store: Store, moment: str) -> None:
    child = run_python(
        """
        import os, sys, time
        from schemas.store import open_store

        def stop(*_):
            print("now", flush=True)
            time.sleep(60)

        store = open_store(sys.argv[1])
        store.create("before", b"")
        setattr(os, sys.argv[2], stop)
        store.create("folder/a", b"x" * 1_000_000)
        """,
        store.root,
        moment,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "now\n"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert published(store) == ["before"]
    assert len(left_behind(store)) == 1
    assert store.create("folder/a", b"again")
    assert store.read("folder/a") == b"again"


def test_a_file_beyond_the_size_limit_leaves_nothing(store: Store) -> None:
    child = run_python(
        """
        import resource, sys
        from schemas.errors import StoreError
        from schemas.store import open_store

        store = open_store(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            store.create("a", b"x" * 1_000_000)
        except StoreError as error:
            print(error)
        """,
        store.root,
    )
    said, _ = child.communicate(timeout=30)
    assert f"cannot write {store.root}/a: the file is larger than this system allows" in said
    assert published(store) == []
    assert left_behind(store) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 256 KiB, where this user may."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False, timeout=10)
    except OSError as error:
        pytest.skip(f"needs the command mount: {error}")
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=10)


def test_a_full_disk_is_one_sentence_and_no_half_file(small_disk: Path) -> None:
    store = open_store(small_disk)
    assert store.create("small", b"x" * 1000)
    with pytest.raises(StoreError, match=r"cannot write .*/big: the disk is full; free some space"):
        store.create("big", b"x" * 1_000_000)
    assert published(store) == ["small"]
    assert left_behind(store) == []
    assert store.create("after", b"x" * 1000)


def test_a_full_disk_is_reported_at_the_moment_of_fsync(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.create("before", b"")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*/a: the disk is full"):
        store.create("a", b"x")
    assert published(store) == ["before"]
    assert left_behind(store) == []


def test_a_folder_that_may_not_be_written_is_one_sentence(store: Store) -> None:
    store.create("a", b"")
    for folder in (store.root, f"{store.root}/.tmp"):
        os.chmod(folder, 0o555)  # noqa: S103 - others must come in to be refused
    root = os.geteuid() == 0  # whom permissions do not stop
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match=r"cannot write .*/b: permission denied; check who"):
            store.create("b", b"")
    finally:
        if root:
            os.seteuid(0)
        os.chmod(store.root, 0o755)  # noqa: S103


@pytest.fixture(params=["link", "renameat2", "lock"])
def naming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Act as a usual disk, as exFAT, and as a FUSE mount that cannot rename without replacing."""

    def refuse(*_: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param != "link":
        monkeypatch.setattr(os, "link", refuse)
    if request.param == "lock":
        monkeypatch.setattr(_local, "_rename_no_replace", lambda *_: False)
    return str(request.param)


@pytest.mark.usefixtures("naming")
def test_names_are_given_once_on_any_file_system(store: Store) -> None:
    assert store.create("folder/a", b"first")
    with store.temporary("run") as folder:
        (folder / "x").write_bytes(b"second")
        crc32c = google_crc32c.value(b"second")
        assert not store.create_from_file("folder/a", folder / "x", crc32c)
        assert store.create_from_file("folder/b", folder / "x", crc32c)
    assert [store.read(path) for path in published(store)] == [b"first", b"second"]
    assert left_behind(store) == []


@pytest.mark.usefixtures("naming")
def test_a_writer_that_comes_first_in_the_meantime_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_is_faster(_: str) -> None:
        Path(store.root, "a").write_bytes(b"theirs")

    monkeypatch.setattr(_local, "_sync_file", another_is_faster)
    assert not store.create("a", b"ours")
    assert store.read("a") == b"theirs"
    assert left_behind(store) == []


def test_rename_without_replace_refuses_a_taken_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        _local._rename_no_replace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "b"


# --- other processes, Parquet


def test_a_store_pickles(store: Store) -> None:
    store.create("a", b"x")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"x"  # noqa: S301


def test_parquet_is_read_in_place(store: Store) -> None:
    filesystem, base = store.arrow()
    rows = table({"sample_id": ["a", "b"], "age": [50, 60]})
    Path(store.root).mkdir()
    pq.write_table(rows, Path(store.root, "m.parquet"))
    dataset = pads.dataset([f"{base}/m.parquet"], filesystem=filesystem)
    assert dataset.to_table(columns=["age"]).to_pydict() == {"age": [50, 60]}
    assert store.local_path("m.parquet") == Path(store.root, "m.parquet")


def test_opening_a_store_loads_no_heavy_library() -> None:
    child = run_python(
        """
        import sys
        from schemas.store import open_store
        open_store("somewhere")
        print(sorted({"google.cloud.storage", "pyarrow", "requests", "duckdb"} & set(sys.modules)))
        """
    )
    said, _ = child.communicate(timeout=60)
    assert said == "[]\n"
