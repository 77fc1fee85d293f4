"""Ours on gs://: an emulator on this machine, 40 ms away, with twice the workers."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from statistics import median

import google_crc32c

from benchmarks.latency import faraway
from benchmarks.loader_process import Process
from schemas.store import open_store

__all__ = ["measure_gs"]

DELAY_S = 0.04
OF_LOCAL = 0.85
RUNS = {
    "disk, 2 workers": ("disk", 2),
    "gs://, 2 workers": ("gs", 2),
    "gs://, 4 workers": ("gs", 4),
}
_BUCKET = "gs://loader"


def measure_gs(corpus: Path, count: int, rounds: int) -> list[str]:
    """Print the table of a corpus read from afar; return what was missed."""
    from tests.servers import FakeGcs

    bucket = FakeGcs()
    try:
        bucket.make_bucket(_BUCKET.removeprefix("gs://"))
        _upload(corpus, bucket.url)
        with faraway(int(bucket.url.rpartition(":")[2]), DELAY_S) as proxy:
            there = {"STORAGE_EMULATOR_HOST": proxy.url}
            with (
                closing(Process("ours", str(corpus))) as disk,
                closing(Process("ours", _BUCKET, environment=there)) as remote,
            ):
                running = {"disk": disk, "gs": remote}
                _check(running, count)
                busy = proxy.busy_s
                seconds = _rounds(running, count, rounds)
                busy = proxy.busy_s - busy
    finally:
        bucket.close()
    return _table(seconds, count, busy)


def _upload(corpus: Path, url: str) -> None:
    before = os.environ.get("STORAGE_EMULATOR_HOST")
    os.environ["STORAGE_EMULATOR_HOST"] = url
    try:
        here, there = open_store(str(corpus)), open_store(_BUCKET)
        for entry in here.list():
            file = here.local_path(entry.path)
            if file is not None:
                there.create_from_file(entry.path, file, google_crc32c.value(file.read_bytes()))
    finally:
        del os.environ["STORAGE_EMULATOR_HOST"]
        if before is not None:
            os.environ["STORAGE_EMULATOR_HOST"] = before


def _check(running: dict[str, Process], count: int) -> None:
    """Start all workers, and have the same pixels in the same order from both places."""
    seen = []
    for where, workers in RUNS.values():
        answer = running[where].epoch(workers, True, 0, digest=True)
        answer.refuse_unless_all(count)
        seen.append((answer.rows, answer.digests))
    if any(answer != seen[0] for answer in seen):
        raise SystemExit("gs:// did not deliver what the disk does")


def _rounds(running: dict[str, Process], count: int, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    names = list(RUNS)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            where, workers = RUNS[name]
            answer = running[where].epoch(workers, True, 1 + turn)
            answer.refuse_unless_all(count)
            seconds[name].append(answer.seconds)
    return seconds


def _table(seconds: dict[str, list[float]], count: int, busy: float) -> list[str]:
    base = seconds["disk, 2 workers"]
    print(f"\nShards on gs://, {1000 * DELAY_S:.0f} ms before each answer, {len(base)} rounds\n")
    print("| shards on | samples/s | of the disk |\n| --- | --- | ---: |")
    shares = {}
    for name, values in seconds.items():
        rates = [count / value for value in values]
        shares[name] = median(b / v for b, v in zip(base, values, strict=True))
        spread = f"{median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f})"
        print(f"| {name} | {spread} | {shares[name]:.2f} |")
    far = sum(sum(values) for name, values in seconds.items() if name.startswith("gs"))
    print(f"\nthe forwarding process took {busy / far:.0%} of a core", flush=True)
    share = shares["gs://, 4 workers"]
    if share < OF_LOCAL:
        return [f"loader, gs://: {share:.3f} of the disk, the bound is {OF_LOCAL}"]
    return []
