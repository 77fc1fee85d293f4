"""Many small byte strings of one length, in a file instead of in memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from schemas.errors import MammoError

__all__ = ["Spool"]


class Spool(Sequence[bytes]):
    """A sequence of byte strings of one length: appended, then read from any thread.

    The file has no name once it is open, so nothing is left of it whatever happens; reading does
    not count as this process's memory.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        weakref.finalize(self, os.close, self._file)
        os.unlink(path)
        self._length = 0
        self._count = 0

    def extend(self, items: Iterable[bytes]) -> None:
        """Append byte strings; `MammoError` where one has another length."""
        listed = list(items)
        for item in listed:
            self._length = self._length or len(item)
            if len(item) != self._length:
                raise MammoError(
                    f"a receipt holds a thumbnail of {len(item)} bytes, others have "
                    f"{self._length}: it was made by another mammo-corpus; run again with "
                    "--base none and all releases"
                )
        data = memoryview(b"".join(listed))
        while data:
            data = data[os.write(self._file, data) :]
        self._count += len(listed)

    def __len__(self) -> int:
        """Return the number of byte strings."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return one byte string, or a list of them."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return os.pread(self._file, self._length, (index % self._count) * self._length)
