"""What headers say before planning, for layouts whose names say nothing: read once, kept.

Each file's first 64 KiB are read (more where its pixels start later) and a fixed set of tags kept.
`index/<source>/<digest>.parquet` holds rows (path, size, header); a file is read again only when
its size changed. Where keys and paths may not be shared the index lies under `private/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.child import Trouble, Unread
from beam_jobs.planning import is_private
from beam_jobs.pool import shared_pool
from beam_jobs.settings import Settings
from schemas.errors import ContentError, StoreError
from schemas.receipt import parquet_bytes
from schemas.rejects import RejectReason
from schemas.release import Header, HeaderIndex, Release, Source
from schemas.store import Store, open_store

__all__ = ["INDEX_SCHEMA", "HeadJob", "index_of", "kept_index", "read_heads", "write_part"]

INDEX_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("header", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)

HEAD_BYTES = 64 << 10
FILES_PER_JOB = 64
JOBS_PER_PART = 32
_SECONDS_PER_JOB = 120.0

Files = Sequence[tuple[str, int]]
Row = dict[str, object]
Indexer = Callable[[Settings, str, Files], None]


@dataclass(frozen=True, slots=True)
class HeadJob:
    """Some files of one release for one child."""

    root: str
    files: tuple[tuple[str, int], ...]


def index_of(release: Release, source: Source, settings: Settings, indexer: Indexer) -> HeaderIndex:
    """Return the headers that planning needs; reads the files that the kept index lacks.

    Parameters
    ----------
    indexer
        Reads the missing files and writes parts, such as the Beam pass of `beam_jobs.pipeline`.
    """
    wanted = {path: release.sizes[path] for path in source.files_to_index(release)}
    if not wanted:
        return HeaderIndex()
    store, folder = open_store(settings.output), _folder(source, settings)
    kept = _kept(store, folder)
    missing = [(path, size) for path, size in sorted(wanted.items()) if (path, size) not in kept]
    if missing:
        indexer(settings, source.RELEASE.key, missing)
        kept = _kept(store, folder)
    return HeaderIndex({path: kept[path, size] for path, size in sorted(wanted.items())})


def kept_index(release: Release, source: Source, settings: Settings) -> HeaderIndex:
    """Return what an index that was made before says of the files that planning needs."""
    kept = _kept(open_store(settings.output), _folder(source, settings))
    wanted = [(path, release.sizes[path]) for path in source.files_to_index(release)]
    return HeaderIndex({file[0]: kept[file] for file in wanted if file in kept})


def _folder(source: Source, settings: Settings) -> str:
    place = "private/" if is_private(source.RELEASE, settings) else ""
    return f"{place}index/{source.RELEASE.key}"


def _kept(store: Store, folder: str) -> dict[tuple[str, int], Header]:
    filesystem, base = store.arrow()
    kept: dict[tuple[str, int], Header] = {}
    for entry in store.list(f"{folder}/"):
        table = pq.read_table(f"{base}/{entry.path}", filesystem=filesystem)
        for row in table.to_pylist():
            kept[row["path"], row["size"]] = dict(row["header"])
    return kept


def read_heads(job: HeadJob) -> list[Row] | Unread:
    """Return a row a file, in a child; a file that is no DICOM has an empty header."""
    store = open_store(job.root)
    try:
        return [
            {"path": path, "size": size, "header": sorted(_header(store, path, size).items())}
            for path, size in job.files
        ]
    except (StoreError, OSError) as error:
        return Unread(str(error))


def _header(store: Store, path: str, size: int) -> Mapping[str, str]:
    from etl.readers.dicom import read_header

    length = min(size, HEAD_BYTES)
    while True:
        try:
            return read_header(store.read_range(path, 0, length), whole=length == size)
        except ContentError as error:
            if error.reason is not RejectReason.TRUNCATED or length == size:
                return {}
            length = min(size, 8 * length)


def write_part(settings: Settings, source: Source, files: Files) -> int:
    """Read the heads of some files through the pool and publish one part; return how many."""
    jobs = [
        HeadJob(settings.root(source.RELEASE.key), tuple(files[start : start + FILES_PER_JOB]))
        for start in range(0, len(files), FILES_PER_JOB)
    ]
    results = shared_pool(settings.children, settings.memory_bytes).run(
        read_heads, jobs, lambda _: _SECONDS_PER_JOB
    )
    rows = list(_rows(jobs, results))
    name = hashlib.sha256(repr([tuple(file) for file in files]).encode()).hexdigest()[:16]
    open_store(settings.output).create(
        f"{_folder(source, settings)}/{name}.parquet",
        parquet_bytes(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)),
    )
    return len(rows)


def _rows(
    jobs: Iterable[HeadJob], results: Iterable[list[Row] | Unread | Trouble]
) -> Iterator[Row]:
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, Unread):
            raise StoreError(result.detail)
        if isinstance(result, Trouble):
            # a header that kills its reader is as good as none; planning says what it misses
            yield from ({"path": path, "size": size, "header": []} for path, size in job.files)
        else:
            yield from result
