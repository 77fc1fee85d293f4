"""Runs of slices in a child: read from their folder, checked against the plan, digested."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beam_jobs import child
from beam_jobs.child import FilmJob, Unread
from beam_jobs.show import film_tile
from schemas.film import FileRef, Film
from schemas.rejects import Reject, RejectReason
from schemas.sample import Sample
from schemas.spec import Spec
from tests.pixels.series_files import run_of, series_film


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    body = np.zeros((40, 48), bool)
    body[8:36, 4:44] = True
    for role, offset in (("pre", 0), ("post", 300)):
        folder = tmp_path / role
        folder.mkdir()
        volume = rng.integers(0, 40, (5, 40, 48)) + (600 + offset) * body
        for name, data in run_of(volume.astype(np.uint16)).items():
            (folder / name).write_bytes(data)
        (folder / "LICENSE").write_text("free")
        (folder / "._1-01.dcm").write_bytes(b"fork")
        (folder / "older").mkdir()
        (folder / "older" / "1-01.dcm").write_bytes(b"elsewhere")
    return tmp_path


def job(root: Path) -> FilmJob:
    film = series_film("L", 2)
    refs = tuple(
        FileRef(role=role, path=f"{role}/", size=size_of(root / role), first=1, last=5)
        for role in ("pre", "post")
    )
    film = replace(film, source="duke_mri", files=refs)
    return FilmJob(
        film=film,
        root=str(root),
        spec=Spec(),
        registry="etl.sources:source",
        kernel="etl.pixels.standardise:standardise",
    )


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("1-*.dcm"))


def test_a_run_is_the_slices_of_its_folder_and_nothing_else(root: Path) -> None:
    made = child.make(job(root))
    assert isinstance(made, Sample), made
    assert made.row["source_files"] == ["pre/", "post/"]
    assert made.row["native_frames"] == 5


def test_the_digest_is_that_of_the_slices_digests_in_order(root: Path) -> None:
    runs = []
    for role in ("pre", "post"):
        one = [
            hashlib.sha256((root / role / f"1-{k:02d}.dcm").read_bytes()).hexdigest()
            for k in range(1, 6)
        ]
        runs.append(hashlib.sha256("".join(one).encode()).hexdigest())
    expected = hashlib.sha256("".join(runs).encode()).hexdigest()
    assert child.digest(job(root)) == expected
    made = child.make(job(root))
    assert isinstance(made, Sample)
    assert made.row["source_sha256"] == expected


def test_a_slice_that_came_or_went_since_the_plan_is_no_reject(root: Path) -> None:
    planned = job(root)
    (root / "post" / "1-05.dcm").unlink()
    for result in (child.make(planned), child.digest(planned)):
        assert isinstance(result, Unread)
        assert "post/ has" in result.detail
        assert "when it was listed" in result.detail


def test_a_slice_that_was_short_already_when_planned_rejects_the_film(root: Path) -> None:
    path = root / "post" / "1-05.dcm"
    path.write_bytes(path.read_bytes()[:-10])
    made = child.make(job(root))
    assert isinstance(made, Reject)
    assert made.reason is RejectReason.TRUNCATED


def test_a_film_of_runs_survives_its_json(root: Path) -> None:
    film = job(root).film
    assert Film.from_json(film.to_json()) == film
    assert film.is_series
    assert film.image.role == "pre"


def test_a_sheet_of_films_as_stored_shows_the_half_of_a_series(root: Path) -> None:
    made = child.make(job(root))
    assert isinstance(made, Sample)
    row = {**made.row, "sample_id": "duke_mri-0"}
    tile = film_tile(row, [], {"duke_mri": str(root)}, 48)
    assert tile.shape == (48, 48, 3)
    assert tile[10:34, 26:44].mean() > 100  # the patient's left, where contrast came
    assert np.ptp(tile[5:35, :20]) == 0  # nothing of the other breast
