"""Peak memory of the children of `mammo-etl run`, early and late in a long run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import films

FILMS = 1000
LIMIT_MIB = 500
GROWTH = 1.10
_TICK_S = 0.2


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        drawn = films.draw(Path(folder) / "films")["JPEG lossless"]
        root = Path(folder) / "release"
        root.mkdir()
        films.release(root, drawn, FILMS)
        samples = _watch(root, Path(folder) / "out", workers)
    return _report(samples)


def _watch(root: Path, output: Path, workers: int) -> list[tuple[float, int, int]]:
    """Return (share of the run, largest child's MiB, driver's MiB) for each tick."""
    command = [sys.executable, "-m", "beam_jobs", "run", "--release", f"cbis_ddsm={root}"]
    command += ["--output", str(output), "--workers", str(workers)]
    began = time.monotonic()
    ticks = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None:
            sizes = [_rss_mib(pid) for pid in _descendants(job.pid)]
            ticks.append((time.monotonic() - began, max(sizes, default=0), _rss_mib(job.pid)))
            time.sleep(_TICK_S)
    if job.returncode:
        raise SystemExit(f"{command} ended with {job.returncode}")
    return [(second / ticks[-1][0], child, driver) for second, child, driver in ticks]


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children[int(fields[1])].append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return found


def _rss_mib(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _report(ticks: list[tuple[float, int, int]]) -> list[str]:
    height, width = films.SHAPE
    print(f"{FILMS} films of {height} x {width}, JPEG lossless, PNG out; resident memory in MiB\n")
    print("| part of the run | largest child | driver |\n| --- | ---: | ---: |")
    peaks = {}
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        part = [tick for tick in ticks if low <= tick[0] <= high]
        peaks[low] = max(tick[1] for tick in part)
        driver = max(tick[2] for tick in part)
        print(f"| {low:.0%} to {high:.0%} | {peaks[low]} | {driver} |")
    missed = []
    if max(peaks.values()) >= LIMIT_MIB:
        missed.append(f"a child took {max(peaks.values())} MiB, the bound is {LIMIT_MIB}")
    if peaks[0.9] > GROWTH * peaks[0.0]:
        missed.append(f"a child grew from {peaks[0.0]} to {peaks[0.9]} MiB")
    return missed
