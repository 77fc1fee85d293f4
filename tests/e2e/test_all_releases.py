"""All eleven releases in one run: what the drawers drew is what the corpus says."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import schemas
from etl.phantoms.truth import FilmTruth, LesionTruth, Truth
from etl.sources import SOURCES
from schemas.corpus import Corpus
from tests.e2e.conftest import Once, command
from tests.e2e.shapes import bounds, doubtful, expected_mask, share_of
from tests.e2e.test_phantom_truth import picture, sample_id
from tests.e2e.truth import Row, read_mask, to_standard

pytestmark = pytest.mark.timeout(900)

KEYS = sorted(SOURCES)
MOST_SECONDS = 300
PATIENTS = 8


@pytest.fixture(scope="session")
def made(once: Once) -> Path:
    """Phantoms of every release and one corpus of them all."""

    def make(out: Path) -> None:
        command("phantoms", "--output", out / "releases", "--patients", PATIENTS)
        words: list[object] = ["run", "--output", out / "corpus", "--workers", 2]
        for key in KEYS:
            words += ["--release", f"{key}={out / 'releases' / key}"]
        began = time.perf_counter()
        command(*words)
        (out / "seconds").write_text(str(time.perf_counter() - began))

    return once("all-releases", make)


@pytest.fixture
def corpus(made: Path) -> Corpus:
    return schemas.open(str(made / "corpus"))


def truth_of(made: Path, key: str) -> list[FilmTruth]:
    return Truth.load(made / "releases" / key).films


def rows_of(corpus: Corpus, made: Path, key: str) -> list[tuple[FilmTruth, dict[str, Any]]]:
    rows = {row["sample_id"]: row for row in corpus.table(f"source = '{key}'").to_pylist()}
    wanted = {sample_id(key, f.film_key): f for f in truth_of(made, key) if f.expect == "sample"}
    assert sorted(wanted) == sorted(rows)
    return [(film, rows[name]) for name, film in wanted.items()]


def test_the_run_takes_less_than_five_minutes(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = float((made / "seconds").read_text())
    with capsys.disabled():
        print(f"\n{len(KEYS)} releases of {PATIENTS} patients: {seconds:.0f} s")
    assert seconds < MOST_SECONDS


def test_the_version_is_as_it_says_drawn_again_too(made: Path) -> None:
    assert "are as they say" in command("validate", made / "corpus", "--deep")


@pytest.mark.parametrize("key", KEYS)
def test_rejects_and_absents_are_exactly_the_planted_ones(
    key: str, made: Path, corpus: Corpus
) -> None:
    planted = {
        film.film_key: film.reason for film in truth_of(made, key) if film.expect == "reject"
    }
    told = corpus.rejects()
    told = told[told["source"] == key]
    assert Counter(told["reason"]) == Counter(planted.values())
    known = told[told["film_key"].notna()]
    assert {row.film_key: row.reason for row in known.itertuples()}.items() <= planted.items()
    gone = sum(film.expect == "absent" for film in truth_of(made, key))
    assert int((corpus.absent()["source"] == key).sum()) == gone


@pytest.mark.parametrize("key", KEYS)
def test_who_what_and_label_are_as_drawn(key: str, made: Path, corpus: Corpus) -> None:
    for film, row in rows_of(corpus, made, key):
        told = {
            "patient_id": f"{key}:{film.patient}",
            "laterality": film.side,
            "view": film.view,
            "pathology": film.pathology,
            "label_basis": film.label_basis,
            "annotation": "partial" if "suspect" in film.traps else film.annotation,
            "n_lesions": len(film.lesions),
            "official_split": film.official_split,
            "native_height": film.rows,
            "native_width": film.columns,
            "frame_kind": film.frame_kind,
        }
        more = {
            "modality": film.modality,
            "birads": film.birads,
            "density": film.density_letter,
            "age": film.age,
            "frame": film.frame,
        }
        told |= {name: value for name, value in more.items() if value is not None}
        assert {name: row[name] for name in told} == told, film.film_key


@pytest.mark.parametrize("key", [k for k in KEYS if k not in ("mias", "cbis_ddsm")])
def test_flags_are_those_of_the_planted_traps(key: str, made: Path, corpus: Corpus) -> None:
    for film, row in rows_of(corpus, made, key):
        found = {flag for flag in row["quality_flags"] if not flag.startswith("audit:")}
        assert found - {"official_split_conflict"} == set(film.flags), film.film_key


@pytest.mark.parametrize("key", KEYS)
def test_no_split_key_stands_on_two_sides(key: str, made: Path, corpus: Corpus) -> None:
    sides: dict[str, set[str]] = {}
    for film, row in rows_of(corpus, made, key):
        sides.setdefault(row["patient_id"], set()).add(row["split"])
        if film.patient_split == "test":
            assert row["split"] == "test", film.film_key
    assert all(len(found) == 1 for found in sides.values())


@pytest.mark.parametrize("key", KEYS)
def test_every_lesion_has_its_own_label_and_place(key: str, made: Path, corpus: Corpus) -> None:
    lesions = corpus.lesions()
    table = {(row.sample_id, row.lesion_id): row for row in lesions.itertuples()}
    for film, row in rows_of(corpus, made, key):
        for lesion in film.lesions:
            found = table[row["sample_id"], lesion.lesion_id]
            where = f"{film.film_key} {lesion.lesion_id}"
            assert (found.pathology, found.label_basis) == (
                lesion.pathology,
                lesion.label_basis,
            ), where
            if lesion.geometry is None:
                assert pd.isna(found.native_x0), where
                continue
            assert found.geometry_kind == lesion.geometry, where
            if lesion.outline is not None:
                box = [found.native_x0, found.native_y0, found.native_x1, found.native_y1]
                wanted = bounds(lesion.geometry, lesion.outline, film.rows, film.columns)
                assert box == pytest.approx(wanted, abs=1), where


def expected_share(made: Path, key: str, lesion: LesionTruth, row: Row) -> Any:
    if lesion.outline is not None:
        return share_of(str(lesion.geometry), lesion.outline, row)
    return to_standard(read_mask(made / "releases", key, str(lesion.mask)), row)


@pytest.mark.parametrize("key", [k for k in KEYS if k not in ("mias", "cbis_ddsm")])
def test_masks_are_the_drawn_lesions(
    key: str, made: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    dices, small = [], 0
    for film, row in rows_of(corpus, made, key):
        if row["annotation"] == "none":
            assert row["mask_offset"] is None, film.film_key
            continue
        labels = picture(corpus, row, "mask")
        drawn = [one for one in film.lesions if one.geometry and one.trap != "suspect"]
        areas = [one for one in drawn if one.geometry != "point"]
        shares = [(one.pathology, expected_share(made, key, one, row)) for one in areas]
        expected = expected_mask(shares, labels.shape)
        sure = ~doubtful(shares, labels.shape)
        seen = np.where(labels == 255, 0, labels)
        for value in np.union1d(np.unique(expected), np.unique(seen)):
            if value == 0:
                continue
            want, have = expected == value, seen == value
            both = 2 * np.count_nonzero(want & have & sure)
            drawn_or_seen = np.count_nonzero(want & sure) + np.count_nonzero(have & sure)
            dice = both / max(1, drawn_or_seen)
            if np.count_nonzero(want) < 400:
                # lesions that hardly cover a pixel keep the pixel that they cover most
                small += 1
                assert np.count_nonzero(have) >= 1, film.film_key
                assert np.count_nonzero(have & ~widened(want)) == 0, film.film_key
                continue
            dices.append(dice)
            assert dice >= 0.90, (film.film_key, int(value), dice)
        for one in drawn:
            if one.geometry == "point" and one.outline:
                x, y = one.outline["values"]
                assert ignored_at(labels, row, x, y), (film.film_key, one.lesion_id)
    with capsys.disabled():
        if dices:
            print(f"\n{key}: {len(dices)} masks, Dice median {np.median(dices):.4f}, {small} small")
    assert not dices or np.median(dices) >= 0.97


def widened(mask: Any) -> Any:
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def ignored_at(labels: Any, row: Row, x: float, y: float) -> bool:
    from tests.e2e.truth import point_to_standard

    column, line = point_to_standard(x, y, row)
    inside = 0 <= line < labels.shape[0] and 0 <= column < labels.shape[1]
    return inside and labels[int(line), int(column)] != 0
