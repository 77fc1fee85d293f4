"""Kill `mammo-etl run` at random moments, start it again, compare with an undisturbed version."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["main"]

PATIENTS = 40
ROUNDS = 10
GONE_S = 5.0
SEED = 2026
ETL = (sys.executable, "-m", "beam_jobs")


@dataclass(frozen=True)
class Round:
    """One kill and what came of it."""

    victim: str
    after_s: float
    found: int
    kept: int
    made: int
    gone_s: float
    status: int
    differing: list[str]


def main() -> list[str]:
    """Print the table; return the bounds that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        releases, undisturbed = Path(folder) / "releases", Path(folder) / "undisturbed"
        subprocess.run(
            [*ETL, "phantoms", "--output", releases, "--patients", str(PATIENTS)],
            check=True,
            capture_output=True,
        )
        began = time.monotonic()
        status = _start(releases, undisturbed).wait()
        length = time.monotonic() - began
        if status:
            return [f"the undisturbed run ended with status {status}"]
        wanted = _digests(undisturbed)
        rng = random.Random(SEED)
        rounds = [
            _round(releases, Path(folder) / f"round-{number}", wanted, number, rng, length)
            for number in range(ROUNDS)
        ]
    return _report(rounds, len(_receipts_in(wanted)), length)


def _start(releases: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the job with two children in a process group of its own."""
    command = [*ETL, "run", "--output", str(out), "--workers", "2"]
    for key in ("cbis_ddsm", "mias"):
        command += ["--release", f"{key}={releases / key}"]
    return subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _round(
    releases: Path,
    out: Path,
    wanted: dict[str, str],
    number: int,
    rng: random.Random,
    length: float,
) -> Round:
    job = _start(releases, out)
    began = time.monotonic()
    moment = rng.uniform(0, length)
    try:
        job.wait(moment)
    except subprocess.TimeoutExpired:
        (os.kill, os.killpg)[number % 2](job.pid, signal.SIGKILL)
    after = time.monotonic() - began
    job.wait()
    gone = _gone(job.pid)
    before = _receipts(out)
    status = _start(releases, out).wait()
    now = _receipts(out)
    return Round(
        victim=("driver", "group")[number % 2],
        after_s=after,
        found=len(before),
        kept=len(before.items() & now.items()),
        made=len(now) - len(before),
        gone_s=gone,
        status=status,
        differing=sorted(dict(_digests(out).items() ^ wanted.items())),
    )


def _gone(session: int) -> float:
    """Return the seconds until no process of a killed session runs; kill what is left after 20."""
    began = time.monotonic()
    while (left := _members(session)) and time.monotonic() - began < 4 * GONE_S:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return time.monotonic() - began


def _members(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _receipts(out: Path) -> dict[str, int]:
    """Return file numbers: a receipt that is written again is another file."""
    return {path.name: path.stat().st_ino for path in (out / "shards").rglob("*.parquet")}


def _receipts_in(digests: dict[str, str]) -> list[str]:
    return [name for name in digests if name.startswith("shards/") and name.endswith(".parquet")]


def _digests(out: Path) -> dict[str, str]:
    """Return the SHA-256 of all that a run publishes; reports of runs tell the time."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith((".tmp/", "runs/")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _report(rounds: list[Round], shards: int, length: float) -> list[str]:
    print(f"{PATIENTS} phantom patients a release, {shards} shards, {length:.0f} s undisturbed\n")
    print("| killed | after s | shards there | kept | made | children gone, s | same bytes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    missed = []
    for number, one in enumerate(rounds, start=1):
        print(
            f"| {one.victim} | {one.after_s:.1f} | {one.found} | {one.kept} | {one.made} | "
            f"{one.gone_s:.1f} | {'NO' if one.differing else 'yes'} |"
        )
        where = f"round {number} ({one.victim} after {one.after_s:.1f} s)"
        if one.status:
            missed.append(f"{where}: started again, it ended with status {one.status}")
        if one.differing:
            count, first = len(one.differing), one.differing[0]
            missed.append(
                f"{where}: {count} files differ from the undisturbed run's, first {first}"
            )
        if one.kept != one.found or one.found + one.made != shards:
            missed.append(f"{where}: finished shards were made again")
        if one.gone_s > GONE_S:
            missed.append(f"{where}: children lived {one.gone_s:.1f} s longer than the driver")
    return missed
