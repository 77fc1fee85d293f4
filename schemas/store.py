"""The one door to bytes: a local folder and a gs:// prefix, read and written in the same words.

Who may overwrite what: nobody, but for one file. Whatever is published appears whole or not at
all, under a name that was free (`Store.create`, `Store.create_from_file`), and never changes
afterwards; the only file that moves is a pointer such as ``LATEST``, by compare-and-swap
(`Store.swap`). Two writers of one name are decided by the file system's link, or by the object
store's generation precondition, so exactly one of them is told True and readers see its bytes.

Unfinished local work lies under ``<root>/.tmp/``, on the same file system as its destination, and
is invisible to `Store.list`. A killed process therefore leaves nothing that anyone would read.

Paths are relative to the root, separated by ``/`` and NFC-normalised, whatever the disk or the
archive that a release came in calls its files.
"""

from __future__ import annotations

import os
import unicodedata
from abc import ABC, abstractmethod
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import google_crc32c

from schemas.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pyarrow.fs import FileSystem

__all__ = ["Entry", "Store", "open_store"]

TEMPORARY = ".tmp"
BLOCK = 1 << 20


class Entry(NamedTuple):
    """One file of a store.

    Attributes
    ----------
    path
        Relative to the root, with ``/``, NFC.
    size
        In bytes.
    raw
        The name as the disk or the bucket spells it, relative to the root, where that is not
        `path` (NFD names from macOS, names that are not UTF-8); None otherwise.
    """

    path: str
    size: int
    raw: str | None = None


class Store(ABC):
    """A root under which bytes lie. Instances pickle; clients are made in the process using them.

    Every failure to read or write is a `StoreError`; a file that is not there is one too, except
    for `stat` (None) and `delete` (nothing to do).
    """

    root: str

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the whole of one file."""

    @abstractmethod
    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`; fewer bytes in the file are a `StoreError`."""

    @abstractmethod
    def stat(self, path: str) -> Entry | None:
        """Return name and size of one file, or None where there is no such file."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the files whose path begins with `prefix`, sorted by path (code points).

        Files under ``.tmp/`` at the root are listed only where `prefix` begins with ``.tmp``.
        Locally, linked folders are followed, loops and dangling links are left out, and listing
        the whole of a root that is not there is a `StoreError`.
        """

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Publish `data` under a free name, atomically and durably.

        Returns
        -------
        bool
            False where the name is taken: what lies there is untouched.
        """

    @abstractmethod
    def create_from_file(self, path: str, local_file: str | os.PathLike[str], crc32c: int) -> bool:
        """Publish a finished local file under a free name, atomically and durably.

        Parameters
        ----------
        path
            Where to.
        local_file
            A closed file, best in a directory of `temporary`; it may be gone afterwards.
        crc32c
            Castagnoli checksum of the file's bytes as an unsigned 32-bit number. Bytes that do
            not have it are never published: `StoreError`.

        Returns
        -------
        bool
            False where the name is taken: what lies there is untouched.
        """

    @abstractmethod
    def swap(self, path: str, new: bytes, expected: bytes | None) -> bool:
        """Replace `expected` by `new`, or do nothing and return False.

        `expected` None means that the file must not exist yet.
        """

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove one file; one that is not there is no error."""

    @abstractmethod
    def temporary(self, run: str) -> AbstractContextManager[Path]:
        """Return a context that gives a fresh local directory and removes it at the end.

        It lies in ``<root>/.tmp/<run>/`` locally, in the system's temporary folder for gs://.
        """

    @abstractmethod
    def local_path(self, path: str) -> Path | None:
        """Return where the file lies, or would lie, on this machine; None for gs://."""

    @abstractmethod
    def arrow(self) -> tuple[FileSystem, str]:
        """Return a pyarrow file system for Parquet, and the root's path in it."""


def open_store(root: str | os.PathLike[str]) -> Store:
    """Open a local folder or ``gs://bucket/prefix``; nothing is read or created yet.

    Raises
    ------
    UsageError
        For another scheme, and for gs:// where google-cloud-storage is not installed.
    """
    name = os.fspath(root)
    scheme, found, _ = name.partition("://")
    if not found:
        from schemas._local import LocalStore

        return LocalStore(name)
    if scheme != "gs":
        msg = f"{name} cannot be opened: {scheme}:// is not known; use a local folder or gs://"
        raise UsageError(msg)
    try:
        from schemas._gcs import GcsStore
    except ImportError as error:
        msg = (
            f"{name} needs google-cloud-storage, which is not installed ({error}); "
            'run: pip install "mammo-corpus[gcp]"'
        )
        raise UsageError(msg) from error
    return GcsStore(name)


def clean_path(path: str) -> str:
    """Return `path` in NFC, or refuse one that is empty, absolute or leaves the root."""
    clean = unicodedata.normalize("NFC", path)
    if any(part in {"", ".", ".."} for part in clean.split("/")) or "\0" in clean:
        msg = f"{path!r} is not a path inside a store; give one relative to its root, with /"
        raise StoreError(msg)
    return clean


def check_range(where: str, offset: int, size: int) -> None:
    """Refuse a negative range."""
    if offset < 0 or size < 0:
        msg = f"cannot read {size} bytes at {offset} of {where}: neither may be negative"
        raise StoreError(msg)


def check_length(where: str, offset: int, size: int, found: int) -> None:
    """Refuse a range read that returned another number of bytes than were asked for."""
    if found != size:
        msg = (
            f"{where} is shorter than its index says: {size} bytes asked for at {offset}, "
            f"{found} came; copy the file again or validate the corpus"
        )
        raise StoreError(msg)


def check_crc32c(file_name: str, crc32c: int) -> None:
    """Refuse a file whose bytes do not have the checksum that its writer took."""
    found = 0
    with open(file_name, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            found = google_crc32c.extend(found, block)
    if found != crc32c:
        msg = (
            f"{file_name} is not the file that was written: CRC32C {found:08x}, "
            f"expected {crc32c:08x}; nothing was published, check the disk and run again"
        )
        raise StoreError(msg)


def visible_name(raw: str) -> str:
    """Return the NFC form of a raw name; bytes that are not UTF-8 are read as Latin-1."""
    if raw.isascii():
        return raw
    try:
        raw.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(raw).decode("latin-1")
    return unicodedata.normalize("NFC", raw)


def in_order(root: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries sorted by path; two names that become one in NFC are an error."""
    previous: Entry | None = None
    for entry in sorted(entries, key=attrgetter("path")):
        if previous is not None and previous.path == entry.path:
            msg = (
                f"{root} holds two files whose names differ only in their Unicode form: "
                f"{entry.path}; rename or remove one"
            )
            raise StoreError(msg)
        yield entry
        previous = entry
