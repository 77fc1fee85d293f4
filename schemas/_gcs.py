"""Objects under a gs:// prefix. See `schemas.store` for what each method promises.

Every write carries a generation precondition, so the service itself decides races, and every
write and whole read is checked by CRC32C (https://cloud.google.com/storage/docs/request-preconditions,
https://cloud.google.com/storage/docs/data-validation). Requests that fail in passing (408, 429,
5xx, broken connections, a body cut short) are repeated with growing, random pauses. A write whose
answer was lost is found again by its checksum, so its writer still learns that it won.

Imported only for gs:// roots: google-cloud-storage takes half a second and is an extra.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import tempfile
import unicodedata
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import google_crc32c
import requests
import urllib3.exceptions
from google.api_core.exceptions import (
    Forbidden,
    GoogleAPICallError,
    GoogleAPIError,
    NotFound,
    PreconditionFailed,
    RetryError,
    Unauthorized,
)
from google.api_core.retry import Retry
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.adapters import HTTPAdapter
from typing_extensions import override

from schemas.errors import StoreError, UsageError
from schemas.store import (
    TEMPORARY,
    Entry,
    Store,
    check_crc32c,
    check_length,
    check_range,
    clean_path,
    in_order,
    visible_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyarrow.fs import FileSystem

T = TypeVar("T")

SMALL = 8 << 20  # bytes; google-cloud-storage sends up to so many in one request
CHUNK = 16 << 20  # bytes held in memory during a resumable upload; a multiple of 256 KiB
CONNECTIONS = 64  # urllib3 keeps 10 by default and throws the rest away
TIMEOUT_S = (10.0, 120.0)  # to connect; between two pieces of an answer
PATIENCE_S = 120.0  # from a request's first failure to giving up
FIRST_PAUSE_S = 0.5
PASSING_CODES = frozenset({408, 429, 500, 502, 503, 504})
PASSING = (
    ConnectionError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    TransportError,
    DataCorruption,
)
FAILURES = (
    GoogleAPIError,
    GoogleAuthError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    InvalidResponse,
    DataCorruption,
    OSError,
)


class GcsStore(Store):
    """A bucket, or a prefix in it. Holds no connection: the process that uses it makes one."""

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.removeprefix("gs://").partition("/")
        prefix = prefix.strip("/")
        if not bucket:
            msg = f"{root} names no bucket; write gs://BUCKET or gs://BUCKET/FOLDER"
            raise UsageError(msg)
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._raw: dict[str, str] = {}  # NFC path -> name as stored, where they differ
        self.root = f"gs://{bucket}/{prefix}".rstrip("/")

    @override
    def read(self, path: str) -> bytes:
        return self._download(path, checksum="crc32c")

    @override
    def read_range(self, path: str, offset: int, size: int) -> bytes:
        where = f"{self.root}/{path}"
        check_range(where, offset, size)
        if size == 0:
            return b""
        data = self._download(path, start=offset, end=offset + size - 1, checksum=None)
        check_length(where, offset, size, len(data))
        return data

    @override
    def stat(self, path: str) -> Entry | None:
        with self._sentence("read", path):
            for blob in self._candidates(path):
                if self._reload(blob):
                    raw = blob.name.removeprefix(self._prefix)
                    clean = clean_path(path)
                    return Entry(clean, int(blob.size), None if raw == clean else raw)
        return None

    @override
    def list(self, prefix: str = "") -> Iterator[Entry]:
        entries = []
        with self._sentence("list", prefix):
            blobs = _client().list_blobs(
                self._bucket,
                prefix=self._prefix + _ascii_start(prefix),
                fields="items(name,size),nextPageToken",
                retry=_retry(),
                timeout=TIMEOUT_S,
            )
            for blob in blobs:
                raw = blob.name.removeprefix(self._prefix)
                path = visible_name(raw)
                if path.startswith(prefix) and not _hidden(path, prefix):
                    entries.append(Entry(path, int(blob.size), None if raw == path else raw))
        self._raw.update((entry.path, entry.raw) for entry in entries if entry.raw is not None)
        return in_order(self.root, entries)

    @override
    def create(self, path: str, data: bytes) -> bool:
        crc32c = google_crc32c.value(data)
        with self._sentence("write", path):
            return self._upload(path, io.BytesIO(data), len(data), crc32c, generation=0)

    @override
    def create_from_file(self, path: str, local_file: str | os.PathLike[str], crc32c: int) -> bool:
        with self._sentence("write", path), open(local_file, "rb") as file:
            check_crc32c(os.fspath(local_file), crc32c)
            size = os.fstat(file.fileno()).st_size
            return self._upload(path, file, size, crc32c, generation=0)

    @override
    def swap(self, path: str, new: bytes, expected: bytes | None) -> bool:
        with self._sentence("write", path):
            current, generation = self._content(path)
            if current != expected:
                return False
            crc32c = google_crc32c.value(new)
            return self._upload(path, io.BytesIO(new), len(new), crc32c, generation)

    @override
    def delete(self, path: str) -> None:
        with self._sentence("delete", path):
            for blob in self._candidates(path):
                with suppress(NotFound):
                    _patiently(functools.partial(blob.delete, retry=None, timeout=TIMEOUT_S))
                    return

    @override
    @contextmanager
    def temporary(self, run: str) -> Iterator[Path]:
        prefix = f"mammo-{run.replace('/', '-')}-"
        with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
            yield Path(name)

    @override
    def local_path(self, path: str) -> Path | None:
        return None

    @override
    def arrow(self) -> tuple[FileSystem, str]:
        from schemas._arrow import store_file_system

        return store_file_system(self)

    def _blob(self, path: str) -> Any:
        clean = clean_path(path)
        return self._named(self._raw.get(clean, clean))

    def _named(self, name: str) -> Any:
        return _client().bucket(self._bucket).blob(self._prefix + name, chunk_size=CHUNK)

    def _candidates(self, path: str) -> Iterator[Any]:
        """Yield the object under its known name, then under the NFD form that macOS writes."""
        yield self._blob(path)
        apart = unicodedata.normalize("NFD", path)
        if apart != path:
            yield self._named(apart)

    def _download(self, path: str, **options: Any) -> bytes:
        with self._sentence("read", path):
            *others, last = self._candidates(path)
            for blob in others:
                with suppress(NotFound):
                    return _patiently(functools.partial(_fetch, blob, **options))
            return _patiently(functools.partial(_fetch, last, **options))

    def _reload(self, blob: Any) -> bool:
        try:
            _patiently(lambda: blob.reload(retry=None, timeout=TIMEOUT_S))
        except NotFound:
            return False
        return True

    def _content(self, path: str) -> tuple[bytes | None, int]:
        """Return an object's bytes and generation; None and 0 where there is none."""
        blob = self._blob(path)
        if not self._reload(blob):
            return None, 0
        generation = int(blob.generation)
        pinned = {"checksum": "crc32c", "if_generation_match": generation}
        try:
            return _patiently(functools.partial(_fetch, blob, **pinned)), generation
        except (NotFound, PreconditionFailed):  # replaced since: the swap's upload would fail too
            return None, generation

    def _upload(self, path: str, file: Any, size: int, crc32c: int, generation: int) -> bool:
        """Write an object over `generation` (0: none); False where another has been there."""
        blob = self._named(clean_path(path))
        declared = _base64(crc32c)
        failures: list[BaseException] = []
        try:
            _send(blob, file, size, (declared, generation), failures.append)
        except PreconditionFailed:
            # after a lost answer the service refuses our own repetition
            return bool(failures) and self._reload(blob) and blob.crc32c == declared
        if blob.crc32c != declared:
            self._withdraw(blob, declared)
        return True

    def _withdraw(self, blob: Any, declared: str) -> None:
        """Delete the generation just written, and no other, then say why."""
        stored = blob.crc32c
        written = {"if_generation_match": blob.generation, "retry": None, "timeout": TIMEOUT_S}
        with suppress(NotFound, PreconditionFailed):
            _patiently(functools.partial(blob.delete, **written))
        msg = (
            f"gs://{self._bucket}/{blob.name} did not arrive as it was sent: CRC32C {stored}, "
            f"expected {declared}; it was removed, run again"
        )
        raise StoreError(msg)

    @contextmanager
    def _sentence(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except FAILURES as error:
            msg = f"cannot {verb} {self.root}/{path}: {_why(error, self._bucket)}"
            raise StoreError(msg) from error


def _send(
    blob: Any,
    file: Any,
    size: int,
    terms: tuple[str, int],
    on_failure: Callable[[BaseException], None],
) -> None:
    declared, generation = terms
    small = size <= SMALL

    def attempt() -> None:
        file.seek(0)
        blob.upload_from_file(
            file,
            size=size,
            content_type="application/octet-stream",
            if_generation_match=generation,
            # the library's own check deletes whatever lies there, without a precondition
            checksum="crc32c" if small else None,
            crc32c_checksum_value=declared,
            retry=None if small else _retry(on_failure),
            timeout=TIMEOUT_S,
        )

    if small:
        _patiently(attempt, on_failure)
    else:
        attempt()


def _fetch(blob: Any, **options: Any) -> bytes:
    # With a chunk size, which uploads need, the library neither checks a download nor reads it in
    # one piece: 8 KiB a time, ten times the processor time.
    blob.chunk_size = None
    data: bytes = blob.download_as_bytes(
        raw_download=True, single_shot_download=True, retry=None, timeout=TIMEOUT_S, **options
    )
    return data


def _client() -> Any:
    """Return this process's client; a forked child must not share its parent's connections."""
    return _client_of(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


@functools.lru_cache(maxsize=1)
def _client_of(_process: int, _endpoint: str | None) -> Any:
    client = storage.Client(project=None)
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return client


def _retry(on_failure: Callable[[BaseException], None] | None = None) -> Any:
    return Retry(
        predicate=_is_passing, initial=FIRST_PAUSE_S, timeout=PATIENCE_S, on_error=on_failure
    )


def _patiently(
    call: Callable[[], T], on_failure: Callable[[BaseException], None] | None = None
) -> T:
    result: T = _retry(on_failure)(call)()
    return result


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, GoogleAPICallError):
        return error.code in PASSING_CODES
    if isinstance(error, InvalidResponse):
        return error.response.status_code in PASSING_CODES
    return isinstance(error, PASSING)


def _why(error: BaseException, bucket: str) -> str:
    if isinstance(error, RetryError) and error.cause is not None:
        return f"{_why(error.cause, bucket)} (given up after {PATIENCE_S:.0f} s)"
    if isinstance(error, NotFound):
        return f"there is no such object, or no bucket {bucket}"
    if isinstance(error, DefaultCredentialsError):
        return "no Google credentials found; run: gcloud auth application-default login"
    if isinstance(error, (Forbidden, Unauthorized)):
        return f"access denied ({error.code}); check your role on the bucket {bucket}"
    first = str(error).splitlines() or [""]
    return f"{first[0]} ({type(error).__name__})"


def _base64(crc32c: int) -> str:
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode("ascii")


def _ascii_start(prefix: str) -> str:
    """Return the part of a prefix whose spelling does not depend on the Unicode form.

    The last letter before a non-ASCII one may be the base of a combining mark.
    """
    cut = next((place for place, letter in enumerate(prefix) if not letter.isascii()), None)
    return prefix if cut is None else prefix[: max(cut - 1, 0)]


def _hidden(path: str, prefix: str) -> bool:
    if path.endswith("/") or not path:  # a console's placeholder for a folder
        return True
    return path.startswith(f"{TEMPORARY}/") and not prefix.startswith(TEMPORARY)
