"""One pool of child processes a worker process: at once the parallelism and the isolation.

pebble's pool gives a prompt verdict on a child that died and a time limit a task. Three things it
does not do are done here: a pool that broke, or that hangs because a child was killed while it held
the pipe's lock, is replaced and the films in flight are sent again; a death or time-out, which can
be booked on a neighbour, becomes a verdict only after the film failed a second time, alone and with
doubled limits; and results come in the order of the films, with a window of N + 2 in flight, so
memory is flat however long the list is.

A film's limits count from when a child takes it. Several threads may share one pool.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from beam_jobs.child import Trouble, prepare, run_guarded
from schemas.errors import MammoError
from schemas.rejects import RejectReason

__all__ = ["DEFAULT_MEMORY_BYTES", "Pool", "shared_pool"]

J = TypeVar("J")
R = TypeVar("R")

DEFAULT_MEMORY_BYTES = 4 << 30
"""Address space of a child: a film of 100 million pixels needs 200 MB an array."""

WINDOW_EXTRA = 2
"""Films in flight beyond one a child: enough to keep all busy, few enough for memory."""

WATCHDOG_MARGIN_S = 20.0
"""Seconds beyond the longest limit in flight without any film finishing: the pool hangs."""

_POLL_S = 0.5
_MOST_RENEWALS = 8
_PRELOAD = ("beam_jobs.child", "cv2", "etl.pixels.standardise", "etl.sources")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(slots=True)
class _Flight(Generic[J]):
    """One job on its way through one generation of the pool."""

    job: J
    seconds: float
    future: Future[Any]
    generation: int


class Pool:
    """Children that run one function for one job at a time.

    Parameters
    ----------
    workers
        Child processes.
    memory_bytes
        Address space of each; doubled for the retry.
    margin_s
        See `WATCHDOG_MARGIN_S`.
    """

    def __init__(
        self,
        workers: int,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        margin_s: float = WATCHDOG_MARGIN_S,
    ) -> None:
        self.workers = workers
        self.memory_bytes = memory_bytes
        self.margin_s = margin_s
        self._lock = threading.Lock()
        self._alone_lock = threading.Lock()
        self._generation = 0
        self._moved_at = time.monotonic()
        self._pebble = self._new_pool(workers, memory_bytes)

    def run(
        self,
        function: Callable[[J], R],
        jobs: Iterable[J],
        seconds: Callable[[J], float],
    ) -> Iterator[R | Trouble]:
        """Yield the result of each job, in order; a `Trouble` for one that failed twice.

        Parameters
        ----------
        function
            A module's function; its result must pickle. Exceptions come back as `Trouble`.
        seconds
            The time limit of a job.
        """
        todo = iter(jobs)
        window: deque[_Flight[J]] = deque()
        self._fill(window, function, todo, seconds)
        while window:
            flight = window.popleft()
            result = self._settle(flight, window, function)
            self._fill(window, function, todo, seconds)
            yield result

    def stop(self) -> None:
        """End all children."""
        with self._lock:
            _end(self._pebble)
            self._generation += 1

    # ---- sending

    def _fill(
        self,
        window: deque[_Flight[J]],
        function: Callable[[J], Any],
        todo: Iterator[J],
        seconds: Callable[[J], float],
    ) -> None:
        while len(window) < self.workers + WINDOW_EXTRA:
            try:
                job = next(todo)
            except StopIteration:
                return
            limit = seconds(job)
            future, generation = self._send(function, job, limit)
            window.append(_Flight(job, limit, future, generation))

    def _send(
        self, function: Callable[[J], Any], job: J, seconds: float
    ) -> tuple[Future[Any], int]:
        for _ in range(3):
            with self._lock:
                pool, generation = self._pebble, self._generation
            try:
                future = pool.schedule(run_guarded, args=(function, job, seconds), timeout=seconds)
            except (RuntimeError, OSError):
                self._renew(generation)
                continue
            self._moved()
            future.add_done_callback(self._moved)
            return future, generation
        raise MammoError(
            "no child process can be started: check the limits on processes and memory "
            "(ulimit -u, ulimit -v), or give fewer --workers"
        )

    def _renew(self, generation: int) -> None:
        """Replace the pool, unless another thread has replaced this generation already."""
        with self._lock:
            if self._generation != generation:
                return
            _end(self._pebble)
            self._pebble = self._new_pool(self.workers, self.memory_bytes)
            self._generation += 1
        self._moved()

    def _moved(self, _: object = None) -> None:
        self._moved_at = time.monotonic()

    # ---- receiving

    def _settle(
        self, flight: _Flight[J], window: deque[_Flight[J]], function: Callable[[J], Any]
    ) -> Any:
        for attempt in itertools.count(1):
            if self._landed(flight, window):
                break
            if attempt > _MOST_RENEWALS:
                raise MammoError(
                    f"child processes ended {attempt} times before they took a film: check the "
                    "limits on processes and memory (ulimit -u, ulimit -v), or give fewer --workers"
                )
            self._renew(flight.generation)
            for lost in (flight, *window):
                if lost.generation != self._generation and not _has_verdict(lost.future):
                    lost.future, lost.generation = self._send(function, lost.job, lost.seconds)
        error = flight.future.exception()
        result = None if error is not None else flight.future.result()
        if error is None and not isinstance(result, Trouble):
            return result
        wait([other.future for other in window], timeout=flight.seconds)
        return self._alone(flight, function)

    def _landed(self, flight: _Flight[J], window: deque[_Flight[J]]) -> bool:
        """Wait for a flight; False where its pool broke, hangs or is gone."""
        limit = max(flight.seconds, *(other.seconds for other in window), 0.0) + self.margin_s
        while not wait([flight.future], timeout=_POLL_S).done:
            if flight.generation != self._generation:
                return False
            if time.monotonic() - self._moved_at > limit:
                return False
        return _has_verdict(flight.future)

    def _alone(self, flight: _Flight[J], function: Callable[[J], Any]) -> Any:
        """Run a job once more: one child, doubled limits. Its answer is final."""
        seconds, memory = 2 * flight.seconds, 2 * self.memory_bytes
        with self._alone_lock:
            pool = self._new_pool(1, memory)
            try:
                future = pool.schedule(
                    run_guarded, args=(function, flight.job, seconds), timeout=seconds
                )
                wait([future], timeout=seconds + self.margin_s)
                return _verdict(future, seconds)
            finally:
                _end(pool)
                self._moved()

    @staticmethod
    def _new_pool(workers: int, memory_bytes: int) -> ProcessPool:
        # The children's BLAS reads these once, when the server that forks them starts.
        for name in _THREAD_VARIABLES:
            os.environ.setdefault(name, "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOAD))
        return ProcessPool(
            max_workers=workers, initializer=prepare, initargs=(memory_bytes,), context=context
        )


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _has_verdict(future: Future[Any]) -> bool:
    """Tell a result, or a death or time-out of this very film, from collateral damage."""
    if not future.done():
        return False
    try:
        error = future.exception()
    except CancelledError:
        return False
    return not isinstance(error, (BrokenProcessPool, CancelledError))


def _verdict(future: Future[Any], seconds: float) -> Any:
    if not future.done():
        return Trouble(RejectReason.TIMEOUT, f"no answer within {seconds:.0f} s, tried twice")
    try:
        return future.result()
    except TimeoutError:
        return Trouble(RejectReason.TIMEOUT, f"not finished within {seconds:.0f} s, tried twice")
    except ProcessExpired as error:
        return Trouble(RejectReason.CRASHED, f"its process {_how(error.exitcode)}, tried twice")
    except (BrokenProcessPool, CancelledError):
        return Trouble(RejectReason.CRASHED, "its process could not be started, tried twice")
    except Exception as error:  # a result that does not pickle
        return Trouble(RejectReason.CRASHED, f"{type(error).__name__} in its process, tried twice")


def _how(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"ended with status {exitcode}"
    return f"was ended by {signal.Signals(-exitcode).name}"


_pools: dict[tuple[int, int], Pool] = {}
_pools_lock = threading.Lock()


def shared_pool(workers: int, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> Pool:
    """Return this process's pool of that size, made at the first call, ended at exit.

    One a process and not one a worker object: a distributed runner sets its objects up once for
    each part of the work, and each pool costs a second.
    """
    with _pools_lock:
        pool = _pools.get((workers, memory_bytes))
        if pool is None:
            pool = _pools[workers, memory_bytes] = Pool(workers, memory_bytes)
            atexit.register(pool.stop)
        return pool
