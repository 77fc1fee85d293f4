"""Corpora made once by the command itself, and shared by all tests and all workers of a session."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
Once = Callable[[str, Callable[[Path], object]], Path]


def command(*words: object) -> str:
    """Run `mammo-etl` in a process of its own; return what it printed, fail where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "beam_jobs", *map(str, words)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return a function that makes a folder once, whichever worker of the session asks first."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, maker: Callable[[Path], object]) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (base / f"{name}.made").exists():
                maker(folder)
                (base / f"{name}.made").touch()
        return folder

    return make


def run(out: Path, releases: Path, *options: object) -> None:
    """Make a corpus of the phantom releases with two children."""
    words = ["run", "--output", out, "--workers", 2, *options]
    for key in ("mias", "cbis_ddsm"):
        words += ["--release", f"{key}={releases / key}"]
    command(*words)


@pytest.fixture(scope="session")
def phantoms(once: Once) -> Path:
    """Phantom releases of eight patients each, with every trap."""
    return once("phantoms", lambda out: command("phantoms", "--output", out, "--patients", 8))


@pytest.fixture(scope="session")
def corpus_root(once: Once, phantoms: Path) -> Path:
    """The corpus of the phantoms, as the command makes it by default."""
    return once("corpus", lambda out: run(out, phantoms))


@pytest.fixture(scope="session")
def coarse_root(once: Once, phantoms: Path) -> Path:
    """The corpus of the phantoms at about two fifths of their size, so that pixels are averaged."""
    options = ("--pixel-mm", 0.47, "--long-side", 640)
    return once("coarse", lambda out: run(out, phantoms, *options))


@pytest.fixture(scope="session")
def mias_root(once: Once, shared: Path) -> Path:
    """The corpus of the 160 real MIAS films."""
    films = shared / "data/mias"
    words = ("run", "--workers", 2, "--release", f"mias={films}", "--output")
    return once("real-mias", lambda out: command(*words, out))
