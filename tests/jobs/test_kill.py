from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import schemas
from beam_jobs import compact as compacting
from beam_jobs import pipeline
from beam_jobs.draft import Compacted, Draft
from beam_jobs.job import JobResult, run_job
from beam_jobs.settings import Settings
from tests.jobs.fakes import files_of, write_release
from tests.jobs.run_fake import settings

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of 240 films that take a moment each."""
    root = tmp_path_factory.mktemp("slow")
    words = {f"P_{patient}_{film}": "slow0.02" for patient in range(1, 61) for film in range(4)}
    return write_release(root, 60, words=words)


@pytest.fixture(scope="module")
def wanted(slow: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("wanted")
    run_job(settings(out, [f"alpha={slow}"], workers=2))
    return files_of(out)


def start(out: Path, *releases: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *prefix,
            sys.executable,
            "-m",
            "tests.jobs.run_fake",
            str(out),
            *releases,
            "--workers",
            "2",
        ],
        cwd=PROJECT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(job: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = job.communicate(timeout=90)
    return job.returncode, out, err


def members(session: int) -> list[int]:
    """Processes of a session that still run."""
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


def gone_within(session: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while members(session):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def cleaned(job: subprocess.Popen[str]) -> Iterator[None]:
    """Let nothing of a job outlive its test."""
    try:
        yield
    finally:
        for pid in members(job.pid):
            os.kill(pid, signal.SIGKILL)
        job.communicate()


def receipts(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (out / "shards").rglob("*.parquet")}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["driver", "group"])
def test_a_job_killed_anywhere_and_started_again_gives_the_undisturbed_bytes(
    slow: Path,
    wanted: dict[str, str],
    tmp_path: Path,
    kill: Callable[[int, int], None],
    seed: int,
) -> None:
    job = start(tmp_path, f"alpha={slow}")
    with cleaned(job):
        wait_for(lambda: (tmp_path / ".tmp").exists())
        time.sleep(random.Random(f"{kill.__name__}{seed}").uniform(0, 4))
        kill(job.pid, signal.SIGKILL)
        assert gone_within(job.pid, 5)
    before = receipts(tmp_path)
    result = run_job(settings(tmp_path, [f"alpha={slow}"], workers=2))
    assert files_of(tmp_path) == wanted
    after = receipts(tmp_path)
    assert before.items() <= after.items()
    assert result.report["sources"]["alpha"]["shards_made"] == len(after) - len(before)


def test_children_that_hang_in_c_end_after_their_own_limit_when_the_driver_is_gone(
    tmp_path: Path,
) -> None:
    code = (
        "from beam_jobs.pool import Pool\n"
        "from tests.jobs.faults import Fault, act\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [Fault('loop', 1), Fault('touch', 2, {str(tmp_path)!r}), Fault('loop', 3)]\n"
        "    list(Pool(2).run(act, jobs, lambda _: 1.0 if _.number != 3 else 2.0))\n"
    )
    script = tmp_path / "hang.py"
    script.write_text(code)
    job = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with cleaned(job):
        wait_for(lambda: (tmp_path / "touched").exists())
        os.kill(job.pid, signal.SIGKILL)
        assert gone_within(job.pid, 2 + 10 + 1)


def test_two_jobs_at_once_both_end_well_and_publish_the_same(
    slow: Path, wanted: dict[str, str], tmp_path: Path
) -> None:
    jobs = [start(tmp_path, f"alpha={slow}") for _ in range(2)]
    ends = [finish(job) for job in jobs]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert ends[0][1].split()[0] == ends[1][1].split()[0]
    assert files_of(tmp_path) == wanted


def test_a_job_that_published_meanwhile_is_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {key: write_release(tmp_path / key, 3) for key in ("alpha", "beta")}
    out, real = tmp_path / "out", compacting.compact
    others: list[JobResult] = []

    def compact(draft: Draft, source: str, told: Settings) -> Compacted:
        if not others:
            others.append(JobResult("", {}, 0))  # the other job compacts too
            others[0] = run_job(settings(out, [f"beta={roots['beta']}"]))
        return real(draft, source, told)

    monkeypatch.setattr(pipeline, "compact", compact)
    mine = run_job(settings(out, [f"alpha={roots['alpha']}"]))
    assert (out / "LATEST").read_text().strip() == mine.version
    assert sorted(schemas.open(str(out)).dataset.sources) == ["alpha", "beta"]
    assert sorted(schemas.open(f"{out}/{others[0].version}").dataset.sources) == ["beta"]


FULL = 'mount -t tmpfs -o size=200k full {0} && "$@"; s=$?; find {0}; exit $s'
LIMITED = 'ulimit -f 60; "$@"; s=$?; find {0}; exit $s'  # blocks of 512 bytes


def test_a_full_disk_is_one_sentence_and_nothing_half_published(slow: Path, tmp_path: Path) -> None:
    """A small file system where this user can mount one, else a limit on the size of files."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    can_mount = subprocess.run(probe, check=False, capture_output=True).returncode == 0
    shell = ("sh", "-c", (FULL if can_mount else LIMITED).format(tmp_path), "x")
    prefix = ("unshare", "-rm", *shell) if can_mount else shell
    code, out, err = finish(start(tmp_path, f"alpha={slow}", prefix=prefix))
    assert code == 1
    sentences = [line for line in err.splitlines() if line.startswith("mammo-etl: ")]
    assert len(sentences) == 1
    assert ("disk is full" if can_mount else "File too large") in sentences[0]
    assert "Traceback" not in err
    names = out.splitlines()
    assert not any("/LATEST" in name or "/v-" in name for name in names)
    assert not any("/.tmp/" in name and name.endswith((".tar", ".part")) for name in names)
