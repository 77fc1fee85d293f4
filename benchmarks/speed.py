"""Images per second and core: the whole job, a plain pool, the naive script, decoding alone.

All make pictures of the same scale, 2048 rows from 4096: the job by its `--pixel-mm`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from beam_jobs.child import FilmJob, make, prepare
from beam_jobs.pool import DEFAULT_MEMORY_BYTES
from benchmarks import films
from etl.readers import dicom
from etl.sources import source
from schemas.film import Film
from schemas.release import HeaderIndex, Release
from schemas.sample import Sample
from schemas.spec import Spec

CASES = (
    ("JPEG lossless", "png", 3, 192),
    ("JPEG lossless", "jxl", 3, 192),
    ("JPEG 2000", "png", 1, 64),
)
"""Code, payload, rounds, films."""
PIXEL_MM = 0.14
NAIVE_COUNT = 16
ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv" / "bench"


def main() -> list[str]:
    """Print the tables; return the bounds that were missed."""
    workers = os.cpu_count() or 1
    python = _naive_environment()
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        drawn = films.draw(Path(folder) / "films")
        for name, payload, rounds, count in CASES:
            root = Path(folder) / f"{name}-{payload}".replace(" ", "-")
            root.mkdir()
            laid = films.release(root, drawn[name], count)
            measured = _measure(root, payload, laid, rounds, workers, python)
            missed += _report(name, payload, rounds, count, measured)
    return missed


def _measure(
    root: Path, payload: str, laid: list[Path], rounds: int, workers: int, python: Path
) -> dict[str, list[float]]:
    jobs = _jobs(root, Spec(payload=payload, pixel_mm=PIXEL_MM))
    few = [str(path) for path in laid[:NAIVE_COUNT]]
    out: dict[str, list[float]] = {"job": [], "pool": [], "naive": [], "decode": []}
    for turn in range(rounds):
        out["job"].append(
            _whole_job(root, root.with_name(f"out-{root.name}-{turn}"), payload, workers)
        )
        out["pool"].append(_pool(_kernel, jobs, workers))
        out["decode"].append(
            _pool(_decode, [str(path) for path in laid[: len(jobs) // 2]], workers)
        )
        text = subprocess.run(
            [python, Path(__file__).with_name("naive.py"), str(workers), *few],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        out["naive"].append(float(text))
    return out


def _jobs(root: Path, spec: Spec) -> list[FilmJob]:
    planned = source("cbis_ddsm").plan(Release.open(str(root)), HeaderIndex())
    kernel = "etl.pixels.standardise:standardise"
    return [
        FilmJob(film, str(root), spec, "etl.sources:source", kernel)
        for film in planned
        if isinstance(film, Film)
    ]


def _kernel(job: FilmJob) -> int:
    made = make(job)
    if not isinstance(made, Sample):
        raise TypeError(f"no sample: {made}")
    return len(made.image)


def _decode(path: str) -> int:
    return dicom.decode(dicom.parse(Path(path).read_bytes())).array.size


def _pool(function: Callable[..., int], items: Sequence[object], workers: int) -> float:
    """Return images per second and core of a plain pool, after it has warmed up."""
    context = multiprocessing.get_context("forkserver")
    with context.Pool(workers, prepare, (DEFAULT_MEMORY_BYTES,)) as pool:
        list(pool.imap_unordered(function, items[: 2 * workers]))
        began = time.perf_counter()
        list(pool.imap_unordered(function, items))
        return len(items) / (time.perf_counter() - began) / workers


def _whole_job(root: Path, output: Path, payload: str, workers: int) -> float:
    """Return images per second and core of `mammo-etl run`, from its second shard on."""
    command = [sys.executable, "-m", "beam_jobs", "run", "--release", f"cbis_ddsm={root}"]
    command += ["--output", str(output), "--workers", str(workers)]
    command += ["--payload", payload, "--pixel-mm", str(PIXEL_MM)]
    subprocess.run(command, check=True, capture_output=True)
    report = json.loads(next((output / "runs").glob("*.json")).read_text())
    # the first shard of a run carries the start of the pool; tasks run one after another
    rest = sorted(report["tasks"], key=lambda task: task["seconds"] / task["films"])[:-1]
    subprocess.run(["rm", "-rf", str(output)], check=True)
    return sum(task["films"] for task in rest) / sum(task["seconds"] for task in rest) / workers


def _report(
    name: str, payload: str, rounds: int, count: int, measured: dict[str, list[float]]
) -> list[str]:
    median = {key: statistics.median(values) for key, values in measured.items()}
    labels = {
        "job": "(a) mammo-etl run, after start-up",
        "pool": "(b) plain process pool, same kernel",
        "naive": "(c) pydicom + apply_voi_lut + skimage + imageio",
        "decode": "(d) decoding alone",
    }
    height, width = films.SHAPE
    print(
        f"\n{name}, {height} x {width}, 12 bits, to 2048 rows as {payload}; "
        f"{count} films, median of {rounds} rounds\n"
    )
    print("| what | images/s/core | range | of (d) |\n| --- | ---: | --- | ---: |")
    for key, label in labels.items():
        low, high = min(measured[key]), max(measured[key])
        share = median[key] / median["decode"]
        print(f"| {label} | {median[key]:.2f} | {low:.2f}-{high:.2f} | {share:.2f} |")
    ratios = {"a/b": median["job"] / median["pool"], "a/c": median["job"] / median["naive"]}
    print(f"\n(a)/(b) = {ratios['a/b']:.2f}, (a)/(c) = {ratios['a/c']:.1f}", flush=True)
    missed = (
        [] if ratios["a/b"] >= 0.85 else [f"{name} {payload}: (a)/(b) {ratios['a/b']:.2f} < 0.85"]
    )
    if name == "JPEG lossless" and ratios["a/c"] < 6:
        missed.append(f"{name} {payload}: (a)/(c) {ratios['a/c']:.1f} < 6")
    return missed


def _naive_environment() -> Path:
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        wanted = Path(__file__).with_name("naive.txt")
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", str(wanted)]
        subprocess.run(install, check=True, capture_output=True)
    return python
