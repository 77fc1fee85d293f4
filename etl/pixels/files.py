"""A film's files as the kernel reads them: once each, their digests kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from etl.fingerprint import sha256
from schemas.film import FileRef, Film

__all__ = ["Files", "Read", "RunReader", "digest_of"]

Read = Callable[[FileRef], bytes]
"""Returns a file's bytes; where films are made from runs of slices it is a `RunReader`."""


@runtime_checkable
class RunReader(Protocol):
    """A `Read` that also knows which files a run of slices is."""

    def __call__(self, ref: FileRef) -> bytes:
        """Return a file's bytes."""
        ...

    def members(self, ref: FileRef) -> tuple[FileRef, ...]:
        """Return the files of a run in natural order of their names."""
        ...


def digest_of(digests: list[str]) -> str:
    """Return the digest of one file, or that of several files' digests in order."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@dataclass(slots=True)
class Files:
    """A film's files, read once each; their digests stay."""

    read: Read
    digests: dict[FileRef, str] = field(default_factory=dict)

    def __call__(self, ref: FileRef) -> bytes:
        """Return a file's bytes."""
        data = self.read(ref)
        self.digests[ref] = sha256(data)
        return data

    def slices(self, ref: FileRef) -> Iterator[tuple[str, bytes]]:
        """Yield path and bytes of a run's files, one after the other.

        Raises
        ------
        TypeError
            The reader is none of runs.
        """
        if not isinstance(self.read, RunReader):
            raise TypeError(f"{ref.path} is a run of slices, and this reader reads single files")
        digests = []
        for member in self.read.members(ref):
            data = self.read(member)
            digests.append(sha256(data))
            yield member.path, data
        self.digests[ref] = digest_of(digests)

    def digest(self, film: Film) -> str:
        """Return the film's digest over all its files, reading those not read yet."""
        for ref in film.files:
            if ref in self.digests:
                continue
            if ref.is_run:
                for _ in self.slices(ref):
                    pass
            else:
                self(ref)
        return digest_of([self.digests[ref] for ref in film.files])
