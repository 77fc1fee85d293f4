from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_jobs import pool
from beam_jobs.job import JobResult, run_job
from tests.jobs.fakes import files_of, write_release
from tests.jobs.run_fake import settings

WORDS = {"P_3_1": "bad", "P_7_2": "bad"}


@pytest.fixture(scope="session")
def alpha(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of 60 patients with 4 films each; two films cannot be read, one is absent."""
    root = write_release(tmp_path_factory.mktemp("alpha"), 60, words=WORDS)
    (root / "table.csv").write_text("P_1/P_1_0.bin\nP_61/P_61_0.bin\n")
    return root


@pytest.fixture(scope="session")
def undisturbed(alpha: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JobResult]:
    """The corpus of `alpha`, made by one child in one go."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, run_job(settings(out, [f"alpha={alpha}"]))


@pytest.fixture(scope="session")
def expected(undisturbed: tuple[Path, JobResult]) -> dict[str, str]:
    """Digest of each file of the undisturbed corpus."""
    return files_of(undisturbed[0])


@pytest.fixture(scope="session", autouse=True)
def stopped_pools() -> Iterator[None]:
    """Leave no child behind."""
    yield
    for shared in pool._pools.values():
        shared.stop()
    pool._pools.clear()
