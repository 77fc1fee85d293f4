"""A tar whose bytes depend on its members alone, and which knows where each of them lies."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import google_crc32c

__all__ = ["TarWriter"]

_HEADER = 512


class TarWriter:
    """Write a USTAR archive: fixed headers, no PAX records, digests of the whole while writing.

    A member's data begin one block of 512 bytes after its header, because a name of up to 100
    characters and an integer mtime need no further record.

    Attributes
    ----------
    size, sha256, crc32c
        Of the finished file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hashed = _Hashed(self._file)
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=self._hashed,  # type: ignore[call-overload]
            mode="w",
            format=tarfile.USTAR_FORMAT,
        )

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return the offset of its first byte in the file."""
        if len(name.encode()) > 100:
            raise ValueError(f"member name {name!r} is longer than 100 bytes")
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), 0, 0o644
        offset: int = self._tar.offset + _HEADER
        self._tar.addfile(info, io.BytesIO(data))
        return offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._tar.close()
        finally:
            self._file.close()

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._hashed.position

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes written."""
        return self._hashed.sha256.hexdigest()

    @property
    def crc32c(self) -> int:
        """Castagnoli checksum of the bytes written."""
        return self._hashed.crc32c


class _Hashed:
    """The part of a file that `tarfile` writes to."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.position = 0
        self.sha256 = hashlib.sha256()
        self.crc32c = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.sha256.update(data)
        self.crc32c = google_crc32c.extend(self.crc32c, bytes(data))
        self.position += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position
