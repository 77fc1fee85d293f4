"""What a child process does: one film, from its files' bytes to a sample.

Imported by the children of the pool, so it imports no Beam. A child never raises: whatever happens
becomes a value that pickles (`Made`, `Reject`, `Trouble`, `Unread`), because an exception that does
not pickle would cost the child its life and its neighbours time.
"""

from __future__ import annotations

import ctypes
import importlib
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from etl.pixels.files import Files
from etl.readers.runs import slice_files
from schemas.errors import ContentError, StoreError
from schemas.film import FileRef, Film
from schemas.rejects import Reject, RejectReason
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.store import Store, open_store

__all__ = ["FilmJob", "Trouble", "Unread", "digest", "imported", "make", "prepare", "run_guarded"]

ALARM_MARGIN_S = 10
"""Seconds past its limit after which the operating system ends a child that nobody watches."""

_memory_bytes = 0
"""What `prepare` was given; a child's own."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 1 << 30
_CV2_NO_MEMORY = -4


@dataclass(frozen=True, slots=True)
class Trouble:
    """A circumstance, no verdict on the file's content: died, too slow, too much memory."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A file could not be read; never a reject, the task fails."""

    detail: str


@dataclass(frozen=True, slots=True)
class FilmJob:
    """One film for one child.

    Parameters
    ----------
    root
        Root of the film's release.
    registry, kernel
        Importable names `module:attribute`: a function from a source's key to its module, and the
        function that makes a sample. Names, because a child imports them for itself.
    """

    film: Film
    root: str
    spec: Spec
    registry: str
    kernel: str


@lru_cache(maxsize=64)
def imported(name: str) -> Any:
    """Return what `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@lru_cache(maxsize=16)
def _store(root: str) -> Store:
    return open_store(root)


def prepare(memory_bytes: int) -> None:
    """Set a fresh child up: limits, an allocator that keeps its pages, one thread a library.

    The limit counts from what the child holds already: which modules its fork server has imported
    must not decide what becomes a reject. Without `mallopt` glibc returns each film's arrays to the
    system and faults them in again, which costs 8-13 % of the time.
    """
    global _memory_bytes
    _memory_bytes = memory_bytes
    space = memory_bytes + _address_space()
    for kind, wanted in ((resource.RLIMIT_AS, space), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, hard))
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEEP)
            mallopt(_M_TRIM_THRESHOLD, _KEEP)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)


def run_guarded(function: Callable[[Any], Any], job: Any, seconds: float) -> Any:
    """Run one job under an alarm that ends this process even when its parent is gone.

    The default action of SIGALRM needs no interpreter, so it also ends a loop inside C code.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + ALARM_MARGIN_S)
    try:
        return function(job)
    except MemoryError:
        return _no_memory()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a Rust decoder is no Exception
        if getattr(error, "code", None) == _CV2_NO_MEMORY:
            return _no_memory()
        return Trouble(
            RejectReason.CRASHED, f"{type(error).__name__} was raised: {_one_line(error)}"
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _no_memory() -> Trouble:
    limit = _memory_bytes / (1 << 30)
    return Trouble(RejectReason.MEMORY, f"more than the {limit:.1f} GiB that a child may use")


def _address_space() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no message"


def make(job: FilmJob) -> Sample | Reject | Unread:
    """Read a film's files and make its sample."""
    source = imported(job.registry)(job.film.source)
    store = _store(job.root)
    kernel = imported(job.kernel)
    try:
        return kernel(  # type: ignore[no-any-return]
            job.film,
            _Reader(store),
            job.spec,
            source.RELEASE,
            getattr(source, "resolve", None),
        )
    except ContentError as error:
        return Reject(
            source=job.film.source,
            film_key=job.film.film_key,
            file=job.film.files[0].path,
            reason=error.reason,
            detail=error.detail,
            stage="kernel",
        )
    except (StoreError, OSError) as error:
        return Unread(_one_line(error))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what the plan names, and refuses what changed since: `StoreError`."""

    store: Store

    def __call__(self, ref: FileRef) -> bytes:
        data = self.store.read(ref.path)
        self._refuse_changed(ref, len(data))
        return data

    def members(self, ref: FileRef) -> tuple[FileRef, ...]:
        """Return the slices of a run; `ref.size` is the sum of theirs."""
        entries, _ = slice_files(self.store.list(ref.path), ref.path)
        self._refuse_changed(ref, sum(entry.size for entry in entries))
        return tuple(FileRef(role=ref.role, path=path, size=size) for path, size, _ in entries)

    def _refuse_changed(self, ref: FileRef, size: int) -> None:
        if size != ref.size:
            raise StoreError(
                f"{self.store.root}/{ref.path} has {size} bytes and had {ref.size} when it was "
                "listed: run again when the copy is complete"
            )


def digest(job: FilmJob) -> str | Unread:
    """Return a film's `source_sha256`: its file's, or that of its files' digests in order."""
    try:
        return Files(_Reader(_store(job.root))).digest(job.film)
    except (StoreError, OSError) as error:
        return Unread(_one_line(error))
