"""The job with the real sources and the real kernel, on phantom films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import schemas
from beam_jobs.job import run_job
from beam_jobs.settings import Settings
from beam_jobs.validate import validate
from etl import phantoms
from tests.jobs.fakes import files_of


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films")
    phantoms.write(root, ["mias"], 3, 0, traps=False)
    phantoms.write(root, ["cbis_ddsm"], 3, 0, traps=False, scale=0.5)
    return root


def run(films: Path, out: Path, *keys: str, workers: int = 1) -> Settings:
    releases = tuple((key, str(films / key)) for key in sorted(keys))
    return Settings(output=str(out), releases=releases, workers=workers)


def test_real_films_give_the_same_bytes_for_one_child_and_two(films: Path, tmp_path: Path) -> None:
    keys = ("cbis_ddsm", "mias")
    for workers in (1, 2):
        run_job(run(films, tmp_path / str(workers), *keys, workers=workers))
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
    assert validate(schemas.open(str(tmp_path / "1")), deep=True) == []


def test_mias_first_and_cbis_second_is_the_version_of_both_at_once(
    films: Path, tmp_path: Path
) -> None:
    first = run_job(run(films, tmp_path / "out", "mias"))
    second = run_job(run(films, tmp_path / "out", "cbis_ddsm"))
    assert second.report["sources"]["mias"]["carried"] == first.report["sources"]["mias"]["made"]
    both = run_job(run(films, tmp_path / "both", "cbis_ddsm", "mias"))
    assert both.version == second.version
    assert files_of(tmp_path / "both", both.version) == files_of(tmp_path / "out", both.version)


def test_one_pixel_changed_at_equal_size_remakes_one_shard_on_request(
    films: Path, tmp_path: Path
) -> None:
    told = run(films, tmp_path / "out", "mias")
    first = run_job(told)
    victim = next((films / "mias").rglob("*.pgm"))
    data = bytearray(victim.read_bytes())
    data[-500_000] ^= 1
    victim.write_bytes(data)
    assert run_job(told).version == first.version
    second = run_job(replace(told, verify_sources=True))
    assert second.report["sources"]["mias"]["shards_made"] == 1
    assert second.version != first.version
