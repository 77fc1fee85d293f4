"""Which films a stage gets: the defaults, the refusals, the digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import schemas
from mammo_train.data.selection import BENIGN, MALIGNANT, Selections, build_selections
from mammo_train.data.sides import Rules
from schemas.errors import MammoError, UsageError
from tests.train.corpus import Mark, TinyFilm, tiny_films, with_row, write_corpus

BENIGN_MARK, MALIGNANT_MARK = Mark("benign", 40, 50), Mark("malignant", 60, 100)
BASE = [
    TinyFilm("base1", "base1", "train", (BENIGN_MARK,)),
    TinyFilm("base2", "base2", "train", (MALIGNANT_MARK,)),
]


def select(
    root: Path, films: list[TinyFilm], stage: str = "segment", where: str | None = None
) -> Selections:
    write_corpus(str(root), films)
    return build_selections(schemas.open(str(root)), stage, where)


def keys(part: object) -> list[str]:
    return [name.removeprefix("mias-") for name in part.ids.tolist()]  # type: ignore[attr-defined]


def test_sides_are_those_of_the_manifest(tmp_path: Path) -> None:
    films = tiny_films(10)
    made = select(tmp_path, films)
    for part in made:
        expected = sorted(film.key for film in films if film.split == part.split)
        assert keys(part) == expected


def test_segment_takes_complete_annotation_alone(tmp_path: Path) -> None:
    hidden = TinyFilm("hidden", "h", "train", pathology="malignant", annotation="none")
    part = TinyFilm("part", "p", "train", (BENIGN_MARK,), annotation="partial")
    made = select(tmp_path, [*BASE, hidden, part])
    assert keys(made.train) == ["base1", "base2"]
    assert made.left_out == {"annotation not complete": 2}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_malignant_film_without_outline_is_nowhere_in_segment(tmp_path: Path, split: str) -> None:
    hidden = TinyFilm("hidden", "h", split, pathology="malignant", annotation="none")
    made = select(tmp_path, [*BASE, hidden])
    assert all("hidden" not in keys(part) for part in made)


def test_malignant_film_without_outline_gives_no_patch_of_any_class(tmp_path: Path) -> None:
    hidden = TinyFilm("hidden", "h", "train", pathology="malignant", annotation="none")
    train = select(tmp_path, [*BASE, hidden], "pretrain-classifier").train
    row = keys(train).index("hidden")
    assert not train.background[row]
    assert row not in train.lesions.film


def test_finding_without_geometry_gives_no_lesion(tmp_path: Path) -> None:
    undrawn = Mark("benign", 40, 50, drawn=False)
    film = TinyFilm("undrawn", "u", "train", (undrawn,), annotation="none")
    train = select(tmp_path, [*BASE, film], "pretrain-classifier").train
    assert len(train.lesions) == 2


def test_two_lesions_of_a_film_are_two(tmp_path: Path) -> None:
    film = TinyFilm("two", "t", "train", (BENIGN_MARK, MALIGNANT_MARK))
    train = select(tmp_path, [film], "pretrain-classifier").train
    assert train.lesions.label.tolist() == [BENIGN, MALIGNANT]
    assert train.lesions.box.tolist() == [[28, 38, 52, 62], [48, 88, 72, 112]]


@pytest.mark.parametrize("pathology", ["unknown", "ignore"])
def test_unknown_and_suspect_lesions_are_no_patches(tmp_path: Path, pathology: str) -> None:
    film = TinyFilm("odd", "o", "train", (Mark(pathology, 40, 50),))
    train = select(tmp_path, [*BASE, film], "pretrain-classifier").train
    assert len(train.lesions) == 2


def test_leaks_leave_train_and_stay_in_test(tmp_path: Path) -> None:
    flag = {"quality_flags": ["audit:leak"], "duplicate_group": "g1"}
    twins = [
        with_row(TinyFilm(f"twin-{split}", split, split), **flag)
        for split in ("train", "val", "test")
    ]
    made = select(tmp_path, [*BASE, *twins])
    assert keys(made.train) == ["base1", "base2"]
    assert keys(made.val) == []
    assert keys(made.test) == ["twin-test"]
    assert made.left_out == {"audit:leak in train": 1, "audit:leak in val": 1}


def test_one_film_of_each_exposure_and_modality_the_best_annotated(tmp_path: Path) -> None:
    mass = TinyFilm("mass", "t", "train", (BENIGN_MARK,), annotation="partial")
    calc = TinyFilm("zcalc", "t", "train", (BENIGN_MARK,))
    other = TinyFilm("synthetic", "t", "train", (BENIGN_MARK,))
    films = [with_row(film, pair_key="one") for film in (mass, calc)]
    films.append(with_row(other, pair_key="one", modality="S2D"))
    made = select(tmp_path, [*BASE, *films], "pretrain-classifier")
    assert keys(made.train) == ["base1", "base2", "synthetic", "zcalc"]


@pytest.mark.parametrize("stage", ["segment", "pretrain-encoder"])
def test_of_a_volume_its_slab_is_taken_whatever_its_number_of_slices(
    tmp_path: Path, stage: str
) -> None:
    names = {"one": ["slab", "a"], "two": ["slab", "a", "z"], "bare": ["a", "z"]}
    films = []
    for patient, kinds in names.items():
        for name in kinds:
            kind = {"frame_kind": "slab" if name == "slab" else "slice", "modality": "DBT"}
            one = TinyFilm(f"{patient}-{name}", patient, "train", (BENIGN_MARK,))
            films.append(with_row(one, pair_key=f"mias:{patient}", **kind))
    made = select(tmp_path, films, stage)
    assert keys(made.train) == ["bare-a", "one-slab", "two-slab"]
    narrowed = select(tmp_path / "again", films, stage, where="frame_kind = 'slice'")
    assert keys(narrowed.train) == ["bare-a", "one-a", "two-a"]


def test_spot_views_and_implied_normals_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    spot = with_row(TinyFilm("spot", "s", "train"), spot_mag=True)
    implied = with_row(TinyFilm("implied", "i", "test"), label_basis="implied")
    write_corpus(str(tmp_path), [*BASE, spot, implied])
    corpus = schemas.open(str(tmp_path))
    strict = build_selections(corpus, "segment")
    assert "spot" not in keys(strict.train)
    assert keys(strict.test) == []
    loose = build_selections(corpus, "segment", spot_views=True, rules=Rules(implied_normals=True))
    assert "spot" in keys(loose.train)
    assert keys(loose.test) == ["implied"]


@pytest.mark.parametrize("column", ["patient_id", "split_key", "duplicate_group", "pair_key"])
def test_a_key_on_two_sides_is_refused(tmp_path: Path, column: str) -> None:
    films = [
        with_row(TinyFilm("left", "l", "train"), **{column: "mias:same"}),
        with_row(TinyFilm("right", "r", "test"), **{column: "mias:same"}, modality="S2D"),
    ]
    with pytest.raises(MammoError, match=rf"1 {column} stand on two sides .*mias:same"):
        select(tmp_path, [*BASE, *films])


def test_nothing_to_train_on_is_refused_with_what_was_found(tmp_path: Path) -> None:
    films = [*BASE, TinyFilm("normal", "n", "train"), TinyFilm("t", "t", "test")]
    where = "pathology = 'normal'"
    match = r"needs a film with a drawn lesion in train.*gives test normal 1, train normal 1"
    with pytest.raises(UsageError, match=match):
        select(tmp_path, films, where=where)


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a malignant lesion in train"):
        select(tmp_path, [BASE[0]], "pretrain-classifier")


def test_empty_where_is_refused_with_no_film(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gives no film"):
        select(tmp_path, BASE, where="source = 'inbreast'")


def test_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown stage 'clasify'"):
        select(tmp_path, BASE, "clasify")


def test_digest_stands_for_films_bytes_and_labels(tmp_path: Path) -> None:
    films = tiny_films(6)

    def digest(name: str, chosen: list[TinyFilm], shards: int = 8) -> str:
        write_corpus(str(tmp_path / name), chosen, per_shard=shards)
        return build_selections(schemas.open(str(tmp_path / name)), "segment").train.digest

    plain = digest("a", films)
    assert digest("b", films[::-1], shards=3) == plain
    assert digest("c", films[1:]) != plain
    relabelled = [
        replace(f, marks=tuple(replace(m, pathology="benign") for m in f.marks)) for f in films
    ]
    assert digest("d", relabelled) != plain


def test_describe_counts(tmp_path: Path) -> None:
    film = TinyFilm("two", "t", "train", (BENIGN_MARK, MALIGNANT_MARK))
    first = select(tmp_path, [*BASE, film, TinyFilm("n", "n", "train")]).describe()[0]
    assert first == {
        "split": "train",
        "patients": 4,
        "films": 4,
        "films_with_lesion": 3,
        "lesions_benign": 2,
        "lesions_malignant": 2,
        "lesions_unknown": 0,
        "films_nominal_mm": 0,
        "sources": {"mias": 4},
    }


def test_selection_holds_no_python_objects(tmp_path: Path) -> None:
    train = select(tmp_path, tiny_films(6)).train
    arrays = [*vars(train).values(), *vars(train.lesions).values()]
    assert all(a.dtype != object for a in arrays if isinstance(a, np.ndarray))
