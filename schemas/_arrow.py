"""A read-only pyarrow file system over a store, so that Parquet needs no second gs:// client."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSystemHandler, FileType, PyFileSystem
from typing_extensions import override

from schemas.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.store import Store

__all__ = ["store_file_system"]


def store_file_system(store: Store) -> tuple[PyFileSystem, str]:
    """Return a file system that reads through `store`, and the root's path in it."""
    base = store.root.removeprefix("gs://")
    return PyFileSystem(_StoreHandler(store, base)), base


class _StoreFile(io.RawIOBase):
    """Seekable bytes of one file; each read is one range request."""

    def __init__(self, store: Store, path: str, size: int) -> None:
        super().__init__()
        self._store, self._path, self._size = store, path, size
        self._place = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._place

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    @override
    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._place, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._store.read_range(self._path, self._place, wanted) if wanted else b""
        self._place += len(data)
        return data

    @override
    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _StoreHandler(FileSystemHandler):  # type: ignore[misc, unused-ignore]
    def __init__(self, store: Store, base: str) -> None:
        self._store, self._base = store, base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StoreHandler) and self._base == other._base

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        raise TypeError

    def __reduce__(self) -> tuple[type, tuple[Store, str]]:
        return _StoreHandler, (self._store, self._base)

    def get_type_name(self) -> str:
        return "store"

    def normalize_path(self, path: str) -> str:
        return path.rstrip("/")

    def get_file_info(self, paths: Iterable[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: Any) -> list[FileInfo]:
        folder = self._inside(selector.base_dir)
        prefix = f"{folder}/" if folder else ""
        entries = [
            entry
            for entry in self._store.list(prefix)
            if selector.recursive or "/" not in entry.path[len(prefix) :]
        ]
        if not entries and not selector.allow_not_found:
            raise FileNotFoundError(selector.base_dir)
        return [
            FileInfo(f"{self._base}/{entry.path}", FileType.File, size=entry.size)
            for entry in entries
        ]

    def open_input_file(self, path: str) -> Any:
        inside = self._inside(path)
        entry = self._store.stat(inside)
        if entry is None:
            raise FileNotFoundError(path)
        return pa.PythonFile(_StoreFile(self._store, inside, entry.size), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def _inside(self, path: str) -> str:
        if path == self._base:
            return ""
        if not path.startswith(f"{self._base}/"):
            msg = f"{path} is not under {self._base}; read it with a store of its own"
            raise StoreError(msg)
        return path[len(self._base) + 1 :].rstrip("/")

    def _info(self, path: str) -> FileInfo:
        inside = self._inside(path)
        entry = self._store.stat(inside) if inside else None
        if entry is not None:
            return FileInfo(path, FileType.File, size=entry.size)
        children = self._store.list(f"{inside}/" if inside else "")
        exists = next(children, None) is not None
        return FileInfo(path, FileType.Directory if exists else FileType.NotFound)

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        msg = f"this file system only reads; write under {self._base} through the store"
        raise StoreError(msg)

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
