from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_jobs.child import Trouble
from beam_jobs.pool import Pool
from schemas.errors import MammoError
from schemas.rejects import RejectReason
from tests.jobs.faults import Fault, act, die

SECONDS = 3.0


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool(2, memory_bytes=2 << 30, margin_s=6)
    yield made
    made.stop()


def run(pool: Pool, *faults: Fault) -> list[object]:
    return list(pool.run(act, faults, lambda _: SECONDS))


def good(*numbers: int) -> list[Fault]:
    return [Fault("good", number) for number in numbers]


def test_results_come_in_the_order_of_the_jobs(pool: Pool) -> None:
    assert run(pool, *good(*range(30))) == [number * 10 for number in range(30)]


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        ("segfault", RejectReason.CRASHED, "SIGSEGV"),
        ("exit", RejectReason.CRASHED, "status 3"),
        ("loop", RejectReason.TIMEOUT, "6 s"),
        ("swell", RejectReason.MEMORY, "4.0 GiB"),
        ("raise", RejectReason.CRASHED, "RuntimeError was raised: planted error"),
        ("unpicklable", RejectReason.CRASHED, "process"),
    ],
)
def test_a_fault_is_one_verdict_and_no_neighbour_is_lost(
    pool: Pool, what: str, reason: RejectReason, words: str
) -> None:
    results = run(pool, *good(1, 2, 3), Fault(what, 4), *good(5, 6, 7, 8))
    verdict = results.pop(3)
    assert results == [10, 20, 30, 50, 60, 70, 80]
    assert isinstance(verdict, Trouble)
    assert verdict.reason is reason
    assert words in verdict.detail
    assert "\n" not in verdict.detail


def test_several_faults_in_a_row_each_get_their_own_verdict(pool: Pool) -> None:
    kinds = ["segfault", "exit", "good", "swell", "segfault", "good", "good", "exit", "good"]
    results = run(pool, *(Fault(kind, number) for number, kind in enumerate(kinds)))
    assert [isinstance(result, Trouble) for result in results] == [k != "good" for k in kinds]
    assert [r for r in results if not isinstance(r, Trouble)] == [20, 50, 60, 80]


def test_a_child_killed_while_it_writes_its_result_does_not_hang_the_pool(pool: Pool) -> None:
    results = run(pool, *good(1, 2), Fault("write", 3), *good(4, 5, 6, 7, 8))
    assert isinstance(results.pop(2), Trouble)
    assert results == [10, 20, 40, 50, 60, 70, 80]


def test_a_death_that_does_not_repeat_is_no_verdict(pool: Pool, tmp_path: Path) -> None:
    results = run(pool, *good(1), Fault("once", 2, str(tmp_path)), *good(3))
    assert results == [10, 20, 30]


def test_idle_children_killed_from_outside_are_replaced(pool: Pool) -> None:
    pids = set(run(pool, *(Fault("pid", n) for n in range(8))))
    assert len(pids) == 2
    for pid in pids:
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert run(pool, *good(1, 2, 3)) == [10, 20, 30]


def test_threads_share_one_pool_and_each_keeps_its_order(pool: Pool) -> None:
    results: dict[int, list[object]] = {}

    def work(thread: int) -> None:
        jobs = good(*range(thread, thread + 12))
        jobs.insert(5, Fault("exit", 0))
        results[thread] = run(pool, *jobs)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for start in (0, 100, 200):
        assert isinstance(results[start].pop(5), Trouble)
        assert results[start] == [number * 10 for number in range(start, start + 12)]


def test_no_more_jobs_are_taken_than_the_window_holds(pool: Pool) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[Fault]:
        for number in range(40):
            taken.append(number)
            yield Fault("good", number)

    results = pool.run(act, jobs(), lambda _: SECONDS)
    for given, _ in enumerate(results, start=1):
        assert len(taken) - given <= pool.workers + 2


def test_children_that_cannot_even_start_are_an_error_and_no_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beam_jobs.pool.prepare", die)
    dead = Pool(1, margin_s=2)
    try:
        with pytest.raises(MammoError, match="give fewer --workers"):
            run(dead, *good(1))
    finally:
        dead.stop()


LIMITED = """
import numpy
from beam_jobs.child import prepare
held = numpy.empty(3 << 30, numpy.uint8)
prepare(1 << 30)
bytearray(256 << 20)
try:
    bytearray(2 << 30)
except MemoryError:
    print("limited")
"""


def test_the_memory_limit_counts_from_what_the_child_holds_already() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "limited"
