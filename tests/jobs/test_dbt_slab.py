"""`--dbt-slab`: another version that says so, and without it the bytes that were always made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import schemas
from beam_jobs.cli import main
from beam_jobs.job import plan_job, run_job
from beam_jobs.settings import Settings
from beam_jobs.show import contact_sheet
from beam_jobs.validate import validate
from etl import phantoms
from etl.split import sides
from schemas.corpus import Corpus
from schemas.errors import UsageError


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    phantoms.write(root, ["bcs_dbt"], patients=3, seed=3, scale=0.3, slabs=True)
    phantoms.write(root, ["mias"], patients=1, seed=3)
    return root


def settings(out: Path, releases: Path, *keys: str, slab: bool) -> Settings:
    roots = tuple((key, str(releases / key)) for key in sorted(keys))
    return Settings(output=str(out), releases=roots, workers=1, dbt_slab=slab)


@pytest.fixture(scope="module")
def out(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A corpus without slabs, then the same with them; both versions' names."""
    root = tmp_path_factory.mktemp("out") / "corpus"
    plain, slabs = (
        run_job(settings(root, releases, "bcs_dbt", "mias", slab=slab)).version
        for slab in (False, True)
    )
    return root, plain, slabs


def opened(out: tuple[Path, str, str], number: int) -> Corpus:
    return schemas.open(f"{out[0]}/{out[number]}")


def test_the_version_is_another_and_says_so_of_its_source_alone(out: tuple[Path, str, str]) -> None:
    plain, slabs = (opened(out, number).dataset for number in (1, 2))
    assert plain.name != slabs.name
    assert slabs.sources["bcs_dbt"].spec == {**plain.sources["bcs_dbt"].spec, "dbt_slab": True}
    assert "dbt_slab" not in plain.sources["bcs_dbt"].spec
    assert plain.sources["mias"] == slabs.sources["mias"]
    report = json.loads(sorted((out[0] / "runs").iterdir())[-1].read_text())
    assert report["dbt_slab"] is True
    assert report["sources"]["mias"]["reused"] == report["sources"]["mias"]["planned"]


def test_there_is_one_slab_a_volume_and_every_slice_as_before(
    out: tuple[Path, str, str], releases: Path
) -> None:
    columns = ["sample_id", "pixel_sha256", "frame_kind", "pair_key", "split", "film_key"]
    plain, slabs = (
        opened(out, number).frame("source = 'bcs_dbt'", columns).set_index("sample_id")
        for number in (1, 2)
    )
    assert set(plain["frame_kind"]) == {"slice"}
    kept = slabs.loc[slabs["frame_kind"] == "slice"]
    assert (kept[["pixel_sha256", "split"]] == plain[["pixel_sha256", "split"]]).all(axis=None)
    whole = slabs.loc[slabs["frame_kind"] == "slab"]
    truth = phantoms.Truth.load(releases / "bcs_dbt").expected("sample")
    wanted = {film.film_key for film in truth if film.frame_kind == "slab"}
    assert set(whole["film_key"]) == wanted
    assert len(wanted) == len(set(slabs["pair_key"])) == 9
    assert slabs["pair_key"].notna().all()
    assert (slabs.groupby("pair_key")["split"].nunique() == 1).all()


def test_a_version_with_slabs_is_valid_and_shows_its_films(
    out: tuple[Path, str, str], releases: Path
) -> None:
    corpus = opened(out, 2)
    assert list(validate(corpus, deep=True)) == []
    where = "frame_kind = 'slab' AND n_lesions = 1 AND orientation = 'hflip'"
    roots = {"bcs_dbt": str(releases / "bcs_dbt")}
    ours = contact_sheet(corpus, where=where, count=1, tile=200)
    native = contact_sheet(corpus, where=where, count=1, tile=200, roots=roots)
    assert native.shape == ours.shape
    assert np.count_nonzero(native.std(axis=2) > 40) > 50


def test_a_release_without_volumes_cannot_be_asked_for_slabs(
    releases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="mias has no tomosynthesis volumes: leave it out"):
        plan_job(settings(tmp_path / "a", releases, "mias", slab=True))
    words = ["plan", "--release", f"mias={releases / 'mias'}", "--output", str(tmp_path / "b")]
    assert main([*words, "--dbt-slab"]) == 2
    assert "--dbt-slab is given" in capsys.readouterr().err


def test_the_plan_of_the_command_has_the_slabs(releases: Path, tmp_path: Path) -> None:
    words = ["plan", "--release", f"bcs_dbt={releases / 'bcs_dbt'}", "--output", str(tmp_path)]
    assert main([*words, "--dbt-slab"]) == 0
    plan = plan_job(settings(tmp_path, releases, "bcs_dbt", slab=True))
    films = [planned.film for task in plan.tasks for planned in task.films]
    assert sum(film.frame_kind == "slab" for film in films) == 9
    assert len(sides(films)) == 3
    assert (tmp_path / plan.folder / "tasks.parquet").exists()
    assert len(list((tmp_path / "plans").iterdir())) == 1


def test_an_estimate_with_slabs_counts_them_and_costs_more(
    releases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["estimate", "--release", f"bcs_dbt={releases / 'bcs_dbt'}"]
    figures = []
    for more in ([], ["--dbt-slab"]):
        assert main([*words, *more]) == 0
        [line] = [line for line in capsys.readouterr().out.splitlines() if "bcs_dbt " in line]
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        figures.append((int(cells[1]), float(cells[3]), float(cells[5])))
    (images, read, hours), (more_images, more_read, more_hours) = figures
    assert more_images == images + 9
    assert more_read == read
    assert more_hours > hours
