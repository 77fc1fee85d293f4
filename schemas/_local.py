"""Files of a local folder. See `schemas.store` for what each method promises.

A file is written under ``<root>/.tmp/``, flushed to the disk, and given its name by a hard link,
which fails where the name is taken: the oldest create-only primitive that POSIX has, and one that
NFS keeps. Where there are no hard links (exFAT, many FUSE mounts), ``renameat2`` with
``RENAME_NOREPLACE`` does the same (Linux 3.15); where there is neither, a lock in ``.tmp`` keeps
the processes of one machine apart.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from schemas.errors import StoreError
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
    from collections.abc import Iterator

    from pyarrow.fs import FileSystem

# never listed, hence never deleted: two processes would then hold two locks
LOCK = f"{TEMPORARY}/lock"
AT_FDCWD = -100  # linux/fcntl.h
RENAME_NOREPLACE = 1  # linux/fs.h

NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)
LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this system allows; raise the limit (ulimit -f)",
    errno.EACCES: "permission denied; check who may use the folder",
    errno.EPERM: "permission denied; check who may use the folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EISDIR: "it is a folder, not a file",
    errno.EIO: "the disk reports an error; check the disk or the mount",
}


class LocalStore(Store):
    """A folder on this machine, which need not exist before the first `create`."""

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).expanduser().absolute())

    @override
    def read(self, path: str) -> bytes:
        with self._sentence("read", path), open(self._locate(path), "rb") as file:
            return file.read()

    @override
    def read_range(self, path: str, offset: int, size: int) -> bytes:
        check_range(f"{self.root}/{path}", offset, size)
        with self._sentence("read", path), open(self._locate(path), "rb", buffering=0) as file:
            data = _read_at(file.fileno(), offset, size)
        check_length(f"{self.root}/{path}", offset, size, len(data))
        return data

    @override
    def stat(self, path: str) -> Entry | None:
        raw = self._locate(path)
        with self._sentence("read", path):
            if not os.path.isfile(raw):
                return None
            return self._entry(clean_path(path), raw, os.stat(raw).st_size)

    @override
    def list(self, prefix: str = "") -> Iterator[Entry]:
        if not prefix and not os.path.isdir(self.root):
            msg = f"there is no folder {self.root}; check the path"
            raise StoreError(msg)
        with self._sentence("list", prefix):
            entries = list(self._walk(prefix))
        return in_order(self.root, entries)

    @override
    def create(self, path: str, data: bytes) -> bool:
        with self._sentence("write", path):
            if os.path.lexists(self._target(path)):
                return False
            with self._part() as part:
                _write(part, data)
                return self._publish(part, path)

    @override
    def create_from_file(self, path: str, local_file: str | os.PathLike[str], crc32c: int) -> bool:
        with self._sentence("write", path):
            check_crc32c(os.fspath(local_file), crc32c)
            if os.path.lexists(self._target(path)):
                return False
            try:
                return self._publish(os.fspath(local_file), path)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            with self._part() as part:
                shutil.copyfile(local_file, part)
                check_crc32c(part, crc32c)
                return self._publish(part, path)

    @override
    def swap(self, path: str, new: bytes, expected: bytes | None) -> bool:
        target = self._target(path)
        with self._sentence("write", path), self._lock():
            if _content(target) != expected:
                return False
            with self._part() as part:
                _write(part, new)
                _sync_file(part)
                _make_folder(os.path.dirname(target))
                os.replace(part, target)
                _sync_folder(os.path.dirname(target))
        return True

    @override
    def delete(self, path: str) -> None:
        raw = self._locate(path)
        with self._sentence("delete", path), suppress(FileNotFoundError):
            os.unlink(raw)

    @override
    @contextmanager
    def temporary(self, run: str) -> Iterator[Path]:
        folder = self._target(f"{TEMPORARY}/{run}")
        with self._sentence("write", f"{TEMPORARY}/{run}"):
            mine = _fresh_folder(folder)
        try:
            yield Path(mine)
        finally:
            shutil.rmtree(mine, ignore_errors=True)
            with suppress(OSError):  # another worker of the same run is still in there
                os.rmdir(folder)

    @override
    def local_path(self, path: str) -> Path | None:
        return Path(self._locate(path))

    @override
    def arrow(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), Path(self.root).as_posix()

    def _target(self, path: str) -> str:
        return os.path.join(self.root, clean_path(path))

    def _locate(self, path: str) -> str:
        """Return the raw name of a file, looked up by its NFC form where it is not spelt so."""
        raw = self._target(path)
        if path.isascii() or os.path.lexists(raw):
            return raw
        raw = self.root
        for part in clean_path(path).split("/"):
            raw = _child(raw, part)
        return raw

    def _entry(self, path: str, raw: str, size: int) -> Entry:
        spelt = os.path.relpath(raw, self.root)
        return Entry(path, size, None if spelt == path else spelt)

    def _walk(self, prefix: str) -> Iterator[Entry]:
        pending: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [(self.root, "", ())]
        while pending:
            folder, shown, above = pending.pop()
            try:
                status = os.stat(folder)
                children = os.scandir(folder)
            except OSError as error:
                if error.errno in LEADS_NOWHERE:  # another process has removed it since
                    continue
                raise
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with children:
                for child in children:
                    path = shown + visible_name(child.name)
                    if _is_folder(child):
                        if _leads_to(f"{path}/", prefix):
                            pending.append((child.path, f"{path}/", (*above, here)))
                    elif path.startswith(prefix) and path != LOCK:
                        yield from self._file(path, child)

    def _file(self, path: str, child: os.DirEntry[str]) -> Iterator[Entry]:
        size = _file_size(child)
        if size is not None:
            yield Entry(path, size) if path.isascii() else self._entry(path, child.path, size)

    @contextmanager
    def _part(self) -> Iterator[str]:
        """Give a free file name in .tmp, and remove what is left under it at the end."""
        _make_folder(os.path.join(self.root, TEMPORARY))
        part = os.path.join(self.root, TEMPORARY, f"{os.getpid()}-{secrets.token_hex(8)}.part")
        try:
            yield part
        finally:
            with suppress(OSError):
                os.unlink(part)

    def _publish(self, part: str, path: str) -> bool:
        """Give a finished file its name; False where it is taken."""
        target = self._target(path)
        _sync_file(part)
        _make_folder(os.path.dirname(target))
        try:
            published = self._link(part, target)
        except FileExistsError:
            return False
        if published:
            _sync_folder(os.path.dirname(target))
        return published

    def _link(self, part: str, target: str) -> bool:
        try:
            os.link(part, target)
        except FileExistsError:
            # NFS repeats a request whose answer was lost, and then finds our own link
            return os.path.samestat(os.stat(part), os.lstat(target))
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            return self._rename(part, target)
        os.unlink(part)
        return True

    def _rename(self, part: str, target: str) -> bool:
        if _rename_no_replace(part, target):
            return True
        with self._lock():
            if os.path.lexists(target):
                return False
            os.rename(part, target)
            return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        _make_folder(os.path.join(self.root, TEMPORARY))
        with open(os.path.join(self.root, LOCK), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _sentence(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            why = ADVICE.get(error.errno or 0, error.strerror or type(error).__name__)
            where = os.path.join(self.root, path)
            if verb == "list" and isinstance(error.filename, str):
                where = error.filename
            msg = f"cannot {verb} {where}: {why}"
            raise StoreError(msg) from error


def _leads_to(folder: str, prefix: str) -> bool:
    if folder == f"{TEMPORARY}/" and not prefix.startswith(TEMPORARY):
        return False
    return folder.startswith(prefix) or prefix.startswith(folder)


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError as error:
        if error.errno in LEADS_NOWHERE:
            return False
        raise


def _file_size(child: os.DirEntry[str]) -> int | None:
    """Return the size of a file, None for a dangling link, a pipe or what is gone since."""
    try:
        return child.stat().st_size if child.is_file() else None
    except OSError as error:
        if error.errno in LEADS_NOWHERE:
            return None
        raise


def _child(folder: str, name: str) -> str:
    direct = os.path.join(folder, name)
    if os.path.lexists(direct):
        return direct
    with suppress(OSError), os.scandir(folder) as children:
        return next((child.path for child in children if visible_name(child.name) == name), direct)
    return direct


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    pieces: list[bytes] = []
    # one read returns at most 2 GiB on Linux, and less where a signal comes in between
    while size > 0 and (piece := os.pread(descriptor, size, offset)):
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _content(target: str) -> bytes | None:
    try:
        with open(target, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(part: str, data: bytes) -> None:
    with open(part, "xb") as file:
        file.write(data)


def _sync_file(name: str) -> None:
    with open(name, "rb") as file:
        os.fsync(file.fileno())


def _sync_folder(name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # FUSE and SMB folders have no fsync
            raise
    finally:
        os.close(descriptor)


def _make_folder(name: str) -> None:
    if os.path.isdir(name):
        return
    _make_folder(os.path.dirname(name))
    with suppress(FileExistsError):
        os.mkdir(name)
        _sync_folder(os.path.dirname(name))


def _fresh_folder(parent: str) -> str:
    while True:
        _make_folder(parent)
        with suppress(FileNotFoundError):  # the last of the other workers has just tidied up
            return tempfile.mkdtemp(dir=parent)


def _rename_no_replace(part: str, target: str) -> bool:
    """Rename unless the name is taken (FileExistsError); False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(part), os.fsencode(target)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
        return False
    raise OSError(code, os.strerror(code), target)
