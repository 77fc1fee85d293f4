"""Folds, a held-out source, BI-RADS 4: who stands where, and that nobody stands on two sides."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import schemas
from mammo_train.cli import main
from mammo_train.config import resolve_config
from mammo_train.data.selection import MALIGNANT, Selections, build_selections
from mammo_train.data.sides import Rules, fold_of, labels_known, parse_fold
from schemas.errors import MammoError, UsageError
from tests.train.corpus import Mark, TinyFilm, tiny_films, with_row, write_corpus

BENIGN, CANCER = Mark("benign", 40, 50), Mark("malignant", 60, 100)
BASE = [
    TinyFilm("base1", "base1", "train", (BENIGN,)),
    TinyFilm("base2", "base2", "train", (CANCER,)),
    TinyFilm("base3", "base3", "val", (CANCER,)),
]


def chosen(root: Path, films: list[TinyFilm], rules: Rules, stage: str = "evaluate") -> Selections:
    if not (root / "LATEST").exists():
        write_corpus(str(root), films)
    return build_selections(schemas.open(str(root)), stage, rules=rules)


def keys(part: object) -> set[str]:
    names = part.ids.tolist()  # type: ignore[attr-defined]
    return {name.split("-", 1)[1] for name in names}


def test_every_patient_is_tested_in_one_fold_and_chooses_in_another(tmp_path: Path) -> None:
    films = tiny_films(40)
    folds = [chosen(tmp_path, films, Rules(fold=f"{k}/4")) for k in range(4)]
    tested = Counter(name for fold in folds for name in keys(fold.test))
    assert tested == {film.key: 1 for film in films}
    for this, following in pairwise([*folds, folds[0]]):
        assert keys(this.val) == keys(following.test)
    for fold in folds:
        sides = [set(part.patient.tolist()) for part in fold]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 40
        assert all(sides)


def test_adding_patients_moves_nobody_and_the_manifest_has_no_say() -> None:
    # Golden: a fold is quoted in papers, so it must not move with a version of this program.
    assert [fold_of(f"mias:{n}", 4) for n in range(1, 9)] == [2, 3, 0, 0, 3, 1, 0, 1]
    counts = Counter(fold_of(f"mias:{n}", 4) for n in range(4000))
    assert min(counts.values()) > 900


def test_patients_of_one_split_key_stay_together(tmp_path: Path) -> None:
    films = [with_row(TinyFilm(f"t{n}", f"t{n}"), split_key="mias:twins") for n in range(12)]
    for k in range(4):
        made = chosen(tmp_path, [*BASE, *films], Rules(fold=f"{k}/4"))
        assert sum(bool({f.key for f in films} & keys(part)) for part in made) == 1


def test_a_near_duplicate_of_a_tested_film_is_not_learnt_from(tmp_path: Path) -> None:
    # 40 patients, each film grouped with one of another patient.
    films = [
        with_row(film, duplicate_group=f"g{number % 40}")
        for number, film in enumerate(tiny_films(40))
    ]
    made = chosen(tmp_path, films, Rules(fold="1/4"))
    group = {film.key: film.row["duplicate_group"] for film in films}
    sides = [{group[name] for name in keys(part)} for part in made]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert made.left_out["near-duplicate in val or test"] > 0
    # Nothing is taken from the test for it.
    assert keys(made.test) == {
        film.key for film in films if fold_of(f"mias:{film.patient}", 4) == 1
    }


@pytest.mark.parametrize("column", ["patient_id", "pair_key"])
def test_what_the_folds_would_part_is_refused(tmp_path: Path, column: str) -> None:
    words = ("SFM", "FFDM", "S2D", "DBT", "CESM_LE", "CESM_SUB", "MRI")
    films = [
        with_row(TinyFilm(f"k{n}", f"k{n}"), modality=word, **{column: "mias:same"})
        for n, word in enumerate(words)
    ]
    with pytest.raises(MammoError, match=rf"1 {column} stand on two sides .*\(mias:same\)"):
        chosen(tmp_path, films, Rules(fold="0/3"))


def test_a_refusal_names_how_many_and_the_first_five(tmp_path: Path) -> None:
    films = [
        with_row(TinyFilm(f"{side}{n}", f"{side}{n}", side), duplicate_group=f"g{n}")
        for n in range(7)
        for side in ("train", "test")
    ]
    match = r"7 duplicate_group stand .*\(g0, g1, g2, g3, g4 and 2 more\)"
    with pytest.raises(MammoError, match=match):
        chosen(tmp_path, [*BASE, *films], Rules())


def two_sources() -> list[TinyFilm]:
    other = [
        TinyFilm(f"o{film.key}", f"o{film.patient}", film.split, film.marks, source="inbreast")
        for film in tiny_films(15)
    ]
    named = [with_row(f, patient_id=f"inbreast:{f.patient}") for f in other]
    return [*tiny_films(15), *[with_row(f, split_key=f"inbreast:{f.patient}") for f in named]]


def test_a_source_held_out_is_all_of_test_and_none_of_the_rest(tmp_path: Path) -> None:
    films = two_sources()
    made = chosen(tmp_path, films, Rules(test_source="inbreast"))
    assert keys(made.test) == {f.key for f in films if f.source == "inbreast"}
    ours = [film for film in films if film.source == "mias"]
    assert keys(made.val) == {film.key for film in ours if film.split == "val"}
    assert keys(made.train) == {film.key for film in ours if film.split != "val"}


def test_a_held_out_source_shows_its_films_only_where_asked_and_without_labels(
    tmp_path: Path,
) -> None:
    films = two_sources()
    write_corpus(str(tmp_path), films)
    table = schemas.open(str(tmp_path)).table().to_pandas()
    for stage in ("segment", "pretrain-classifier", "classify", "evaluate"):
        sides = Rules(test_source="inbreast", show_test_source=True).sides(table, stage)
        assert set(sides.loc[sides["source"] == "inbreast", "split"]) == {"test"}
    for stage in ("pretrain-encoder", "pretrain-autoencoder"):
        hidden = Rules(test_source="inbreast").sides(table, stage)
        assert set(hidden.loc[hidden["source"] == "inbreast", "split"]) == {"test"}
        shown = Rules(test_source="inbreast", show_test_source=True).sides(table, stage)
        assert set(shown.loc[shown["source"] == "inbreast", "split"]) == {"train"}


@pytest.mark.parametrize("basis", ["birads", "reader"])
def test_birads_4_is_malignant_only_where_asked_and_only_without_biopsy(
    tmp_path: Path, basis: str
) -> None:
    mark = Mark("unknown", 40, 50)
    four = with_row(
        TinyFilm("four", "four", "test", (mark,)), birads="4A", birads_rank=4.2, label_basis=basis
    )
    write_corpus(
        str(tmp_path), [*BASE, four], lesion_columns={"birads": "4A", "label_basis": basis}
    )
    plain = chosen(tmp_path, [], Rules()).test
    asked = chosen(tmp_path, [], Rules(birads4_as="malignant")).test
    assert plain.pathology.tolist() == ["unknown"]
    assert plain.lesions.label.tolist() == [0]
    if basis == "birads":
        assert asked.pathology.tolist() == ["malignant"]
        assert asked.lesions.label.tolist() == [MALIGNANT]
        assert asked.digest != plain.digest
    else:
        assert asked.digest == plain.digest


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"fold": "x"}, "not of the form K/N"),
        ({"fold": "-1/4"}, "not of the form K/N"),
        ({"fold": "4/4"}, "the folds of 4 are 0/4 to 3/4"),
        ({"fold": "0/2"}, "need 3 folds at least"),
        ({"fold": "0/4", "test_source": "mias"}, "give one of them"),
        ({"show_test_source": True}, "needs --test-source KEY"),
        ({"label_share": 0}, "label_share = 0: input should be greater than 0"),
    ],
)
def test_choices_that_make_no_sense_are_refused(said: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        resolve_config("smoke", said)


def test_an_unknown_source_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no film of --test-source 'mais': did you mean mias\?"):
        chosen(tmp_path, BASE, Rules(test_source="mais"))


def test_what_was_chosen_is_said() -> None:
    assert parse_fold("3/4") == (3, 4)
    said = " ".join(Rules(fold="3/4", birads4_as="malignant").sentences())
    assert "Fold 3 of 4" in said
    assert "those of fold 0 val" in said
    assert "the manifest's split is ignored" in said
    assert "BI-RADS 4 without biopsy counts as malignant" in said
    assert "BI-RADS 4 without biopsy is unknown" in Rules().sentences()[-1]


@pytest.mark.parametrize("option", ["--fold", "--test-source", "--birads4-as", "--label-share"])
def test_the_choices_are_options_of_every_training_command(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "segment", "pretrain-classifier"):
        assert main([command, "--help"]) == 0
        assert option in capsys.readouterr().out


def labelled(films: list[TinyFilm], root: Path, share: float, stage: str = "segment") -> set[str]:
    found = chosen(root, films, Rules(label_share=share), stage)
    return {str(patient) for patient in found.train.patient}


def test_a_share_of_the_labels_is_that_of_patients_and_nested(tmp_path: Path) -> None:
    films = tiny_films(60)
    tenths = {share: labelled(films, tmp_path, share) for share in (0.2, 0.5, 1.0)}
    assert tenths[0.2] < tenths[0.5] < tenths[1.0]
    assert 0.1 < len(tenths[0.2]) / len(tenths[1.0]) < 0.35
    assert 0.3 < len(tenths[0.5]) / len(tenths[1.0]) < 0.7


def test_only_train_loses_labels_and_only_where_labels_are_learnt_from(tmp_path: Path) -> None:
    films = tiny_films(30)
    whole, part = (
        chosen(tmp_path, films, Rules(label_share=share), "segment") for share in (1.0, 0.3)
    )
    assert part.val.digest == whole.val.digest
    assert part.test.digest == whole.test.digest
    assert part.train.digest != whole.train.digest
    lost = len(whole.train) - len(part.train)
    assert part.left_out == {"labels set aside by label_share": lost}
    everything = labelled(films, tmp_path, 1.0)
    assert labelled(films, tmp_path, 0.3, "pretrain-autoencoder") == everything
    assert labelled(films, tmp_path, 0.3, "classify") < everything


def test_the_patients_with_labels_depend_on_their_key_alone() -> None:
    keys = [f"p{n}" for n in range(4000)]
    share = sum(labels_known(key, 0.1) for key in keys) / len(keys)
    assert share == pytest.approx(0.1, abs=0.02)
    # Neither the folds nor the tenth predicts the other.
    in_fold = [labels_known(key, 0.1) for key in keys if fold_of(key, 4) == 0]
    assert sum(in_fold) / len(in_fold) == pytest.approx(0.1, abs=0.03)
