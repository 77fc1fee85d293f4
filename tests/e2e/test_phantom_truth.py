"""The whole path against the drawer: what the phantoms' writer drew is what the corpus says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import schemas
from etl.phantoms.truth import FilmTruth
from schemas.corpus import Corpus
from tests.e2e.conftest import command
from tests.e2e.truth import (
    Overlap,
    films,
    overlaps,
    point_to_standard,
    read_mask,
    to_standard,
)

BOTH = ["corpus_root", "coarse_root"]


@pytest.fixture
def corpus(corpus_root: Path) -> Corpus:
    return schemas.open(str(corpus_root))


def drawn_samples(corpus: Corpus, phantoms: Path) -> list[tuple[str, FilmTruth, dict[str, Any]]]:
    """Return source, truth and row of every film that should be a sample."""
    rows = {row["sample_id"]: row for row in corpus.table().to_pylist()}
    wanted = [(key, film) for key, film in films(phantoms) if film.expect == "sample"]
    assert sorted(sample_id(key, film.film_key) for key, film in wanted) == sorted(rows)
    return [(key, film, rows[sample_id(key, film.film_key)]) for key, film in wanted]


def sample_id(source: str, film_key: str) -> str:
    """Return the id as docs/manifest.md says it is made."""
    return f"{source}-{hashlib.sha256(f'{source}{chr(0)}{film_key}'.encode()).hexdigest()[:12]}"


def picture(corpus: Corpus, row: dict[str, Any], member: str) -> npt.NDArray[Any]:
    data = corpus.store.read_range(row["shard"], row[f"{member}_offset"], row[f"{member}_size"])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (row["height"], row["width"])
    return np.asarray(image)


@pytest.mark.parametrize("root", BOTH)
def test_the_version_is_as_it_says_drawn_again_too(
    root: str, request: pytest.FixtureRequest
) -> None:
    said = command("validate", request.getfixturevalue(root), "--deep")
    assert "are as they say" in said


def test_rejects_and_absents_are_exactly_the_planted_ones(corpus: Corpus, phantoms: Path) -> None:
    planted: dict[str, dict[tuple[str, str], str]] = {"reject": {}, "absent": {}}
    for source, film in films(phantoms):
        if film.expect != "sample":
            planted[film.expect][source, film.film_key] = str(film.reason)
    private = Path(corpus.root) / "private"
    [join] = [pd.read_parquet(path) for path in (private / corpus.version).glob("*.parquet")]
    hidden = join[join["reason"].notna()]
    told = corpus.rejects()
    open_rows = told[told["film_key"].notna()]
    found = {
        (row.source, row.film_key): row.reason
        for table in (open_rows, hidden)
        for row in table.itertuples()
    }
    assert found == planted["reject"]
    assert len(told) == len(found) == 2
    [plan] = [pd.read_parquet(path) for path in private.glob("plans/*/absent.parquet")]
    assert set(zip(plan["source"], plan["film_key"], strict=True)) == set(planted["absent"])
    assert len(corpus.absent()) == len(plan) == 2


@pytest.mark.parametrize("root", BOTH)
def test_who_and_what_is_what_was_drawn(
    root: str, phantoms: Path, request: pytest.FixtureRequest
) -> None:
    for source, film, row in drawn_samples(
        schemas.open(str(request.getfixturevalue(root))), phantoms
    ):
        told = {
            "source": source,
            "patient_id": f"{source}:{film.patient}",
            "laterality": film.side,
            "view": film.view,
            "pathology": film.pathology,
            "label_basis": film.label_basis,
            "annotation": film.annotation,
            "n_lesions": len(film.lesions),
            "official_split": film.official_split,
            "native_height": film.rows,
            "native_width": film.columns,
        }
        if "suspect" in film.traps:  # its one circle lies in the black, where nothing is learnt
            told["annotation"] = "partial"
        assert {name: row[name] for name in told} == told, film.film_key


def test_flags_are_those_of_the_planted_traps(corpus: Corpus, phantoms: Path) -> None:
    samples = drawn_samples(corpus, phantoms)
    splits: dict[str, set[str | None]] = {}
    for _, film in films(phantoms):
        splits.setdefault(film.patient, set()).add(film.official_split)
    for _, film, row in samples:
        flags = set(film.flags)
        traps = [lesion.trap or "" for lesion in film.lesions]
        if "swapped" in traps:
            flags.add("roles_swapped")
        if len(splits[film.patient]) > 1:
            flags.add("official_split_conflict")
        found = set(row["quality_flags"])
        if any(trap.startswith("mask_") for trap in traps):  # the truth names one trap a lesion
            found.discard("roles_swapped")
        assert found == flags, film.film_key


def test_the_two_folders_of_one_film_share_a_pair_key(corpus: Corpus, phantoms: Path) -> None:
    samples = {film.film_key: (film, row) for _, film, row in drawn_samples(corpus, phantoms)}
    twins = [key for key, (film, _) in samples.items() if film.twin_of]
    assert len(twins) == 2
    for key, (film, row) in samples.items():
        same = {k for k, (_, other) in samples.items() if other["pair_key"] == row["pair_key"]}
        assert (row["pair_key"] is not None and same == set(twins)) == (key in twins)
        assert row["duplicate_group"] is None, film.film_key


def test_the_official_test_wins_and_no_patient_stands_on_two_sides(
    corpus: Corpus, phantoms: Path
) -> None:
    sides: dict[str, set[str]] = {}
    for source, film, row in drawn_samples(corpus, phantoms):
        sides.setdefault(row["patient_id"], set()).add(row["split"])
        if source == "cbis_ddsm":
            assert (row["split"] == "test") == (film.patient_split == "test"), film.film_key
    assert all(len(found) == 1 for found in sides.values())
    assert {"train", "test"} <= set.union(*sides.values())


def test_every_lesion_has_its_own_label_and_box(corpus: Corpus, phantoms: Path) -> None:
    table = corpus.lesions().set_index(["sample_id", "lesion_id"])
    seen = 0
    for source, film, row in drawn_samples(corpus, phantoms):
        for lesion in film.lesions:
            found = table.loc[row["sample_id"], lesion.lesion_id]
            seen += 1
            assert found.pathology == lesion.pathology, film.film_key
            assert found.label_basis == lesion.label_basis
            if lesion.geometry is None:
                assert found.rings_native is None
                assert pd.isna(found.native_x0)
                assert pd.isna(found.x0)
                continue
            assert found.geometry_kind == lesion.geometry
            # a mask of nine tenths of the film's size says borders to about a pixel
            near = 1.2 if lesion.trap == "mask_scaled" else 0.1
            expected = [float(v) for v in lesion.box or ()]
            if source == "mias":
                x, from_bottom, radius = lesion.circle or (0, 0, 0)
                x, y = x + 0.5, film.rows - from_bottom - 0.5
                expected = [x - radius, y - radius, x + radius, y + radius]
            box = [found[f"native_{name}"] for name in ("x0", "y0", "x1", "y1")]
            assert box == pytest.approx(expected, abs=near), f"{film.film_key} {lesion.lesion_id}"
    assert seen == len(table)


@pytest.mark.parametrize("root", BOTH)
def test_masks_are_the_drawn_lesions(
    root: str, phantoms: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = schemas.open(str(request.getfixturevalue(root)))
    found: list[Overlap] = []
    for source, film, row in drawn_samples(corpus, phantoms):
        if row["annotation"] == "none":
            assert row["mask_offset"] is None
            continue
        labels = picture(corpus, row, "mask")
        here = overlaps(phantoms, source, film, row, labels)
        found += here
        suspect = "suspect" in film.traps
        values = {1 if one.pathology == "benign" else 2 for one in film.lesions}
        if suspect:  # all of its circle may lie beyond the crop
            assert set(np.unique(labels)) <= {0, 255}
        else:
            assert set(np.unique(labels)) == {0, *values}
        assert len(here) == len(film.lesions) - suspect
    large = [one for one in found if one.area[0] >= 400]
    small = [one for one in found if one.area[0] < 400]
    dices = [one.dice for one in found]
    with capsys.disabled():
        print(
            f"\n{root}: {len(found)} lesions, Dice median {np.median(dices):.4f}; "
            f"{len(large)} of 400 px or more, lowest {min(one.dice for one in large):.4f}; "
            f"{len(small)} smaller, centroids within {max(one.shift for one in small):.2f} px, "
            f"areas {[one.area for one in small]}"
        )
    assert len(found) >= 20
    assert np.median(dices) >= 0.97
    assert [one.where for one in large if one.dice < 0.90] == []
    for one in small:
        drawn, seen = one.area
        assert seen >= 1, one.where
        assert one.shift <= 1, one.where
        assert abs(seen - drawn) <= max(0.2 * drawn, 4), one.where


@pytest.mark.parametrize("root", BOTH)
def test_breast_nipple_and_lesions_are_kept(
    root: str, phantoms: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = schemas.open(str(request.getfixturevalue(root)))
    kept, lost = {}, {}
    for source, film, row in drawn_samples(corpus, phantoms):
        visible = picture(corpus, row, "image") > 0
        breast = read_mask(phantoms, source, film.breast_mask)
        inside = to_standard(breast, row)
        # counted in pixels of the film: what the crop cuts off is lost as well
        per_pixel = row["scale"][0] * row["scale"][1]
        kept[film.film_key] = float(inside[visible].sum() / per_pixel / breast.sum())
        for lesion in film.lesions:
            if lesion.mask:
                drawn = read_mask(phantoms, source, lesion.mask)
                share = to_standard(drawn, row)
                assert share.sum() / per_pixel == pytest.approx(drawn.sum(), rel=1e-3)
                lost[film.film_key, lesion.lesion_id] = int((~visible[share >= 0.5]).sum())
        x, y = point_to_standard(*film.nipple, row)
        assert visible[int(y), int(x) - 4 : int(x) + 1].any(), f"{film.film_key}: no nipple"
        assert x > 0.5 * row["width"], film.film_key  # the chest wall is at the left
    with capsys.disabled():
        worst = min(kept, key=lambda key: kept[key])
        print(
            f"\n{root}: breast pixels kept: lowest {kept[worst]:.4%} ({worst}), "
            f"lesion pixels zeroed: {sum(lost.values())} of {len(lost)} lesions"
        )
    assert {key: share for key, share in kept.items() if share < 0.99} == {}
    assert {key: count for key, count in lost.items() if count} == {}
