"""The loader: batches of tensors from draws, the same for any number of workers.

A map-style dataset whose sampler yields lists of draws; torch itself hands batch b to worker
b mod W and returns them in order. Workers are started by a fork server, because the parent holds
threads (DuckDB, Arrow, OpenMP) and perhaps a device, and they stay for all epochs. What goes wrong
inside a worker comes back as a value and is raised here as one sentence.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from mammo_train.data.draws import BatchPlan, BatchSampler, Draw
from mammo_train.data.reading import SampleReader, decode_image, decode_mask, is_remote
from mammo_train.data.worker import start_worker
from schemas.errors import MammoError, StoreError

if TYPE_CHECKING:
    from schemas.store import Store

__all__ = [
    "Batch",
    "DrawDataset",
    "Loader",
    "Transform",
    "default_workers",
    "loader_errors",
    "make_loader",
]

Batch = dict[str, torch.Tensor]
Item = dict[str, npt.NDArray[Any]]
_Sent = dict[str, torch.Tensor | npt.NDArray[Any]]

PREFETCH = 2
TIMEOUT_S = 600.0
POLL_S = 5.0
SMALL = 4096  # bytes
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where torch passes tensors between processes on Linux


class Transform(Protocol):
    """From a decoded sample to one row of a batch. Pure: all randomness is the draw's seed."""

    def needs_mask(self, draw: Draw) -> bool:
        """Tell whether this draw's mask must be read."""

    def __call__(
        self, draw: Draw, image: npt.NDArray[np.uint16], mask: npt.NDArray[np.uint8] | None
    ) -> Item:
        """Return ``image`` (float32, 1 x H x W), ``target`` and ``weight`` (float32, scalar)."""

    def padding(self) -> Item:
        """Return a row of the same shapes with weight 0."""


@dataclass(frozen=True)
class _Failure:
    """An error of a worker as a value: torch would wrap its text into a traceback."""

    kind: type[MammoError]
    text: str


class DrawDataset(Dataset[Any]):
    """Reads, checks, decodes and transforms the draws of one batch.

    Parameters
    ----------
    keep_bytes
        Decoded pictures to keep in this process for later epochs: what comes first is kept until
        this is full. Nothing is evicted, because under a fresh order each epoch the oldest picture
        is as likely to come next as any.
    """

    def __init__(self, store: Store, transform: Transform, *, keep_bytes: int = 0) -> None:
        self.reader, self.transform = SampleReader(store), transform
        self._kept: dict[tuple[str, bool], tuple[Any, Any]] = {}
        self._room = keep_bytes

    def __getitems__(self, draws: Sequence[Draw]) -> _Sent | _Failure:
        """Return the batch of these draws, small entries as arrays, or what went wrong."""
        try:
            return self._batch(draws)
        except StoreError as error:
            return _Failure(StoreError, str(error))
        except MammoError as error:
            return _Failure(MammoError, str(error))

    def _batch(self, draws: Sequence[Draw]) -> _Sent:
        real = [draw for draw in draws if draw.row >= 0]
        items = self._items(real, [self.transform.needs_mask(draw) for draw in real])
        items += [self.transform.padding()] * (len(draws) - len(real))
        arrays = {name: np.stack([item[name] for item in items]) for name in items[0]}
        arrays["row"] = np.array([draw.row for draw in draws], dtype=np.int64)
        arrays["lesion"] = np.array([draw.lesion for draw in draws], dtype=np.int64)
        # A tensor crosses processes as a file in shared memory, an array inside the message.
        return {
            name: torch.from_numpy(array) if array.nbytes > SMALL else array
            for name, array in arrays.items()
        }

    def _items(self, draws: Sequence[Draw], masks: Sequence[bool]) -> list[Item]:
        names = [(draw.sample_id, mask) for draw, mask in zip(draws, masks, strict=True)]
        new = [name not in self._kept for name in names]
        read = self.reader.payloads(
            list(itertools.compress(draws, new)), list(itertools.compress(masks, new))
        )
        # Nothing large outlives its item: the next one gets its memory without a page fault.
        return [
            self.transform(draw, *self._pictures(draw, name, next(read) if is_new else None))
            for draw, name, is_new in zip(draws, names, new, strict=True)
        ]

    def _pictures(
        self, draw: Draw, name: tuple[str, bool], read: tuple[bytes, bytes | None] | None
    ) -> tuple[Any, Any]:
        """Give image and mask of a draw, decoded once where there is room to keep them."""
        if name in self._kept or read is None:
            return self._kept[name]
        image, mask = read
        pair = decode_image(image, draw), None if mask is None else decode_mask(mask, draw)
        size = sum(array.nbytes for array in pair if array is not None)
        if size <= self._room:
            self._kept[name] = pair
            self._room -= size
        return pair


_TIMED_OUT = "DataLoader timed out"  # how torch's own message begins


def _is_time_out(error: RuntimeError) -> bool:
    return str(error).startswith(_TIMED_OUT)


def _as_it_is(batch: Any) -> Any:
    return batch


def default_workers(store: Store) -> int:
    """Return how many workers feed this process: one a core, two where reads wait for a network.

    Processes that torchrun started on one machine share its cores.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    mine = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # torchrun's word
    return 2 * mine if is_remote(store) else mine


class Loader:
    """Iterable over the batches of `plan` from batch `start` on.

    ``plan`` and ``start`` are plain attributes: set them for the next epoch and iterate again,
    workers stay. A batch is a dict of tensors: image (float32, N x 1 x H x W), target (uint8
    N x 1 x H x W, or int64 N), weight (float32 N), row and lesion (int64 N, -1 for padding).

    Parameters
    ----------
    store, transform
        Where the bytes are, and what becomes of them.
    workers
        Processes; 0 reads in this one.
    context
        How they start: ``forkserver``, ``spawn`` or ``fork``; all give the same batches.
    timeout_s
        Longest wait for a batch.
    keep_bytes
        Decoded pictures to keep where `workers` is 0 (see `DrawDataset`); processes that each see
        a random part of an epoch would keep everything several times.

    Raises
    ------
    MammoError
        On iterating: shared memory is too small, a worker died or hangs, a sample is unreadable.
    """

    def __init__(
        self,
        store: Store,
        transform: Transform,
        *,
        workers: int = 0,
        plan: BatchPlan | None = None,
        start: int = 0,
        context: str = "forkserver",
        timeout_s: float = TIMEOUT_S,
        keep_bytes: int = 0,
    ) -> None:
        self.workers, self.context, self.timeout_s = workers, context, timeout_s
        kept = 0 if workers else keep_bytes
        self.dataset = DrawDataset(store, transform, keep_bytes=kept)
        self.sampler = BatchSampler(plan, start)
        self._torch: DataLoader[Any] | None = None

    @property
    def plan(self) -> BatchPlan | None:
        """The batches to come."""
        return self.sampler.plan

    @plan.setter
    def plan(self, plan: BatchPlan) -> None:
        self.sampler.plan = plan

    @property
    def start(self) -> int:
        """Number of the first batch that is made."""
        return self.sampler.start

    @start.setter
    def start(self, start: int) -> None:
        self.sampler.start = start

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        with loader_errors():
            for batch in self._source():
                if isinstance(batch, _Failure):
                    raise batch.kind(batch.text)
                yield {name: torch.as_tensor(entry) for name, entry in batch.items()}

    def close(self) -> None:
        """End the workers."""
        self._torch = None

    def _source(self) -> Iterator[Any]:
        if not len(self.sampler):
            return iter(())
        if self.workers == 0:
            return (self.dataset.__getitems__(draws) for draws in self.sampler)
        if self._torch is None:
            self._check_shared_memory()
            self._torch = self._make()
        return self._patiently(self._torch)

    def _patiently(self, source: DataLoader[Any]) -> Iterator[Any]:
        # Workers of a fork server are not our children: no signal tells of their death, torch looks
        # for it only when its own time-out ends. So that is short, and the long one is kept here.
        try:
            batches = iter(source)
        except RuntimeError as error:
            if not _is_time_out(error):
                raise
            self._torch = source = self._make()  # they were still busy with an epoch left early
            batches = iter(source)
        waited = 0.0
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                waited += source.timeout
                if not _is_time_out(error):
                    raise
                if waited >= self.timeout_s:
                    raise RuntimeError(f"{_TIMED_OUT} after {waited:.0f} seconds") from error
                continue
            waited = 0.0
            yield batch

    def _make(self) -> DataLoader[Any]:
        import torch.multiprocessing as multiprocessing

        context = multiprocessing.get_context(self.context)
        if self.context == "forkserver":
            # Imported once in the server, so that a second loader's workers start at once.
            context.set_forkserver_preload(["mammo_train.data.dataset", "cv2"])
        return DataLoader(
            self.dataset,
            batch_sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=functools.partial(start_worker, dict(os.environ), os.getpid()),
            multiprocessing_context=context,
            prefetch_factor=PREFETCH,
            persistent_workers=True,
            timeout=min(POLL_S, self.timeout_s),
        )

    def _check_shared_memory(self) -> None:
        if not os.path.isdir(SHARED_MEMORY) or self.plan is None:
            return
        row = sum(array.nbytes for array in self.dataset.transform.padding().values())
        needed = (self.workers * PREFETCH + 2) * self.plan.batch_size * row
        state = os.statvfs(SHARED_MEMORY)
        free = state.f_bavail * state.f_frsize
        if needed > free:
            raise MammoError(
                f"{SHARED_MEMORY} has {free >> 20} MiB free and {self.workers} loader workers may "
                f"need {-(-needed >> 20)} MiB: lower --workers (0 needs none) or enlarge it "
                f"(docker run --shm-size=2g)"
            )


def make_loader(
    store: Store,
    plan: BatchPlan,
    transform: Transform,
    workers: int = 0,
    start: int = 0,
    *,
    keep_bytes: int = 0,
) -> Loader:
    """Return the loader of a plan; see `Loader`."""
    return Loader(store, transform, workers=workers, plan=plan, start=start, keep_bytes=keep_bytes)


@contextlib.contextmanager
def loader_errors() -> Iterator[None]:
    """Turn torch's words for a dead or silent worker into one sentence that says what to do.

    torch raises the first from a signal handler, that is, anywhere in the main thread: put the
    whole loop inside, not only the fetching of batches.

    Raises
    ------
    MammoError
        A worker was killed, or no batch came in time.
    """
    try:
        yield
    except RuntimeError as error:
        words = f"{error} {error.__cause__ or ''}"
        if _TIMED_OUT in words:
            raise MammoError(
                f"no batch came from the loader's workers in time ({error}): the store hangs or is "
                f"far too slow; run again, training resumes at the last checkpoint"
            ) from error
        if "DataLoader worker" not in words:
            raise
        hint = (
            f"{SHARED_MEMORY} is too small (docker run --shm-size=2g) or lower --workers"
            if "shared memory" in words or "Bus error" in words
            else "out of memory? lower --workers or --batch-size"
        )
        raise MammoError(
            f"a loader worker was killed ({str(error).splitlines()[0]}): {hint}; run again, "
            f"training resumes at the last checkpoint"
        ) from error
