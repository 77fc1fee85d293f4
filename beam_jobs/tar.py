"""A tar whose bytes depend on its members alone, and which knows where each of them lies."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self

import google_crc32c

__all__ = ["TarWriter"]

_LONGEST_NAME = 100


class TarWriter:
    """Write a USTAR archive: fixed headers, no PAX records, digests of the whole while writing.

    Headers come from `tarfile`, and byte for byte the file is the one that `tarfile` would write.

    Attributes
    ----------
    size, sha256, crc32c
        Of what was written; of the finished file once the context has ended.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self.size = 0
        self.crc32c = 0

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes written."""
        return self._digest.hexdigest()

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return the offset of its first byte in the file."""
        if len(name.encode()) > _LONGEST_NAME:
            raise ValueError(f"member name {name!r} is longer than {_LONGEST_NAME} bytes")
        info = tarfile.TarInfo(name)
        # an integer: a float mtime would add a PAX record to each member
        info.size, info.mtime, info.mode = len(data), 0, 0o644
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size
        self._write(data)
        self._pad(tarfile.BLOCKSIZE)
        return offset

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.crc32c = google_crc32c.extend(self.crc32c, data)
        self.size += len(data)

    def _pad(self, unit: int) -> None:
        self._write(b"\0" * (-self.size % unit))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if error is None:
                self._write(b"\0" * (2 * tarfile.BLOCKSIZE))
                self._pad(tarfile.RECORDSIZE)
