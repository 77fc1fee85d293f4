"""Films and patients judged, label bases apart; intervals against the slow way; what is counted."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

import schemas
from mammo_train.config import resolve_config
from mammo_train.data.selection import BENIGN, MALIGNANT, Selection, build_selections
from mammo_train.data.sides import Rules
from mammo_train.evaluation import charts
from mammo_train.evaluation.classification import patch_figures
from mammo_train.evaluation.froc import FreeResponse, froc
from mammo_train.evaluation.metrics import (
    DiceSweep,
    auroc,
    average_precision,
    clustered_interval,
    estimate_areas,
)
from mammo_train.evaluation.outcomes import FilmScore, Judged, film_figures
from mammo_train.evaluation.regions import FilmFindings
from mammo_train.evaluation.rows import write_films, write_patches
from mammo_train.evaluation.segmentation import Segmented, segment_figures, segment_films
from mammo_train.evaluation.tables import group_table, metrics_table
from mammo_train.runtime.cpu import CpuRuntime
from mammo_train.stages import open_segment
from mammo_train.stages.pretrain_classifier import PatchScores
from tests.train.corpus import Mark, TinyFilm, tiny_films, with_row, write_corpus


@pytest.mark.parametrize("ties", [False, True])
def test_areas_and_intervals_are_those_of_the_slow_way(ties: bool) -> None:
    made = np.random.default_rng(5)
    patients = made.integers(0, 25, 70)
    truth = made.random(70) < 0.4
    scores = made.normal(size=70) + truth
    scores = np.round(scores) if ties else scores
    area, precision = estimate_areas(truth, scores, patients)
    for found, theirs, ours in (
        (area, roc_auc_score, auroc),
        (precision, average_precision_score, average_precision),
    ):
        assert found.value == pytest.approx(theirs(truth, scores))
        assert (found.low, found.high) == pytest.approx(
            clustered_interval(ours, patients, truth, scores)
        )


def test_areas_of_one_class_or_one_patient_claim_nothing() -> None:
    area, precision = estimate_areas([True, True], [0.1, 0.9], ["a", "b"])
    assert area.value is precision.value is None
    alone = estimate_areas([True, False], [0.9, 0.1], ["a", "a"])[0]
    assert (alone.value, alone.low) == (1.0, None)


def some_films(seed: int) -> list[FilmFindings]:
    made = np.random.default_rng(seed)

    def some(most: int) -> tuple[float, ...]:
        return tuple(np.round(made.random(made.integers(0, most)), 2).tolist())

    found = []
    for index in range(30):
        lesions = tuple(-np.inf if made.random() < 0.2 else s for s in some(4))
        patient = f"p{index // 2}"
        found.append(FilmFindings(patient, "s", lesions, some(5), True, not lesions))
    return found


def test_free_response_intervals_are_those_of_the_slow_way() -> None:
    films = some_films(1)
    rows = np.empty(len(films), object)
    rows[:] = films
    patients = [film.patient for film in films]
    fast = FreeResponse(films).intervals([0.5, 2.0], draws=200)
    for rate, interval in zip([0.5, 2.0], fast, strict=True):
        slow = clustered_interval(
            lambda part, rate=rate: float(froc(part.tolist(), [rate])[0]),
            patients, rows, draws=200,
        )  # fmt: skip
        # The copies of a patient are one patient with more weight.
        assert interval == pytest.approx(slow)


def test_the_curve_passes_through_the_sensitivities() -> None:
    films = some_films(2)
    false, found = FreeResponse(films).curve()
    assert (np.diff(false) >= 0).all()
    assert (np.diff(found) >= 0).all()
    for rate in (0.25, 0.5, 1.0):
        within = found[false <= rate + 1e-9]
        assert froc(films, [rate])[0] == pytest.approx(within.max())


def mixed(root: Path) -> Selection:
    """Test films of two sources: biopsies and BI-RADS, a patient with an unknown film."""
    cancer, lump = Mark("malignant", 40, 60), Mark("benign", 40, 60)
    films = [
        TinyFilm("a1", "a", "test", (cancer,)),
        TinyFilm("a2", "a", "test"),
        TinyFilm("b1", "b", "test", (lump,)),
        TinyFilm("c1", "c", "test"),
        TinyFilm("d1", "d", "test"),
        TinyFilm("d2", "d", "test", pathology="unknown", annotation="none"),
        TinyFilm("e1", "e", "test", pathology="malignant", annotation="none"),
    ]
    films = [with_row(film, label_basis="biopsy") for film in films]
    birads = [
        TinyFilm("f1", "f", "test", (cancer,), source="inbreast"),
        TinyFilm("g1", "g", "test", (lump,), source="inbreast"),
    ]
    films += [with_row(film, label_basis="birads", modality="FFDM") for film in birads]
    films.append(with_row(TinyFilm("h1", "h", "test"), label_basis="implied"))
    write_corpus(str(root), films)
    return build_selections(schemas.open(str(root)), "evaluate").test


def test_birads_labels_are_never_mixed_with_others_and_unknown_counts_nowhere(
    tmp_path: Path,
) -> None:
    test = mixed(tmp_path)
    values = np.arange(len(test), dtype=np.float64)
    found = film_figures(test, FilmScore("a number", values))
    outcome, birads = found["outcome"], found["birads"]
    assert outcome["bases"] == {"biopsy": 6}
    assert birads["bases"] == {"birads": 2}
    counts = outcome["films"]["auroc"]["counts"]
    assert (counts["positives"], counts["negatives"]) == (2, 4)
    # Patients: a and e malignant, b and c not; d has an unknown film and is no proven negative.
    counts = outcome["patients"]["average_precision"]["counts"]
    assert counts == {"positives": 2, "negatives": 2, "patients": 4}
    assert birads["films"]["auroc"]["counts"]["patients"] == 2
    assert set(outcome["by_source"]) == {"mias"}
    assert set(birads["by_modality"]) == {"FFDM"}
    assert "1 films" in found["counted"]


def test_implied_normals_are_no_negatives_unless_asked_for(tmp_path: Path) -> None:
    strict = mixed(tmp_path)
    assert "implied" not in strict.basis.tolist()
    corpus = schemas.open(str(tmp_path))
    loose = build_selections(corpus, "evaluate", rules=Rules(implied_normals=True)).test
    assert loose.basis.tolist().count("implied") == 1


def test_a_patient_is_scored_by_the_worst_film() -> None:
    films = Judged(
        np.array([False, True, False]),
        np.array([0.2, 0.9, 0.4]),
        np.array(["a", "a", "b"]),
        np.array([], dtype=str),
    )
    patients = films.by_patient()
    assert patients.patient.tolist() == ["a", "b"]
    assert patients.malignant.tolist() == [True, False]
    assert patients.score.tolist() == [0.9, 0.4]


def test_roc_curve_is_that_of_scikit_learn() -> None:
    made = np.random.default_rng(3)
    truth = made.random(50) < 0.5
    scores = np.round(made.normal(size=50) + truth, 1)
    judged = Judged(truth, scores, np.arange(50).astype(str), np.array([], dtype=str))
    theirs = roc_curve(truth, scores, drop_intermediate=False)
    for ours, want in zip(charts.roc_curve(judged), theirs[:2], strict=True):
        assert ours == pytest.approx(want)


def test_lesions_named_by_birads_have_their_own_patch_figure(tmp_path: Path) -> None:
    test = mixed(tmp_path)
    scores = PatchScores()
    marks = test.lesions
    scores.lesion = np.arange(len(marks))
    scores.row, scores.label = marks.film, marks.label.astype(np.int64)
    scores.logits = np.eye(3, dtype=np.float32)[scores.label]
    basis = marks.basis.copy()
    basis[test.source[marks.film] == "inbreast"] = "birads"
    found = patch_figures(scores, replace(test, lesions=replace(marks, basis=basis)))
    plain, birads = (found[f"malignant_vs_benign_auroc{end}"] for end in ("", "_birads"))
    assert (plain["counts"]["positives"], plain["counts"]["negatives"]) == (1, 1)
    assert birads["counts"] == {"positives": 1, "negatives": 1, "patients": 2}
    assert set(scores.label.tolist()) == {BENIGN, MALIGNANT}


def test_figures_say_what_they_count_and_keep_undrawn_films_out(tmp_path: Path) -> None:
    kinds = {"circle": 0.2, "outline": 0.8}
    films = tiny_films(10)
    marked = [film for film in films if film.split == "test" and film.marks]
    hidden = TinyFilm("hid", "hid", "test", (Mark("malignant", 40, 60, drawn=False),),
                      annotation="none")  # fmt: skip
    films = [
        with_row(film, annotation_kind=sorted(kinds)[number % 2]) if film.marks else film
        for number, film in enumerate(films)
    ]
    write_corpus(str(tmp_path), [*films, hidden])
    corpus, config = schemas.open(str(tmp_path)), resolve_config("smoke")
    stage = open_segment(corpus, config, workers=0)
    test = build_selections(corpus, "evaluate").test
    seen = segment_films(stage, stage.build(), CpuRuntime("fp32"), test, 0.5, [])
    row = test.ids.tolist().index("mias-hid")
    assert row not in seen.film_rows
    assert row not in seen.normal_rows
    assert seen.peak[row] > 0
    found = segment_figures(seen, test, 0.5)
    assert found["dice_per_film"]["counts"]["films"] == len(marked)
    by_kind = found["by_annotation_kind"]
    assert sum(part["dice_per_film"]["counts"]["films"] for part in by_kind.values()) == len(marked)
    assert found["films_without_lesion"] == len(test) - len(marked) - 1
    counts = found["lesion_sensitivity"]["1"]["counts"]
    assert counts["films_for_false_regions"] == len(test) - 1
    assert "at the threshold that was best on validation" in found["counted"]["dice"]
    # A region on a film with undrawn lesions may be one of them: nobody's background.
    assert all(p.label == -1 for p in seen.proposals if p.row == row)
    charts.draw_froc(tmp_path / "froc.png", seen, test)
    charts.draw_roc(tmp_path / "roc.png", test, FilmScore("peak", seen.peak))
    assert Image.open(tmp_path / "froc.png").size[0] > 500
    assert Image.open(tmp_path / "roc.png").size[0] > 500


def test_rows_hold_what_the_figures_were_computed_from(tmp_path: Path) -> None:
    test = mixed(tmp_path)
    films = [FilmFindings("mias:a", "mias", (0.75, -np.inf), (0.5, 0.25), True, False)]
    seen = Segmented(
        DiceSweep(), films, [0], [], [], [], np.linspace(0, 1, len(test)), [], {}
    )  # fmt: skip
    # One pixel of four is the lesion, two are found at 0.5 and one at 0.9: 2 / 3, then 1.
    seen.sweep.add(
        np.array([[0.95, 0.6, 0.1, 0.1]], np.float32), np.array([[1, 0, 0, 0]], np.uint8)
    )
    seen.dice_rows.append(1)
    score = FilmScore("peak", seen.peak)
    for threshold, dice in ((0.5, 2 / 3), (0.9, 1.0)):
        write_films(tmp_path / "films.csv", seen, test, score, threshold)
        table = pd.read_csv(tmp_path / "films.csv")
        assert table["dice"].dropna().to_dict() == pytest.approx({1: dice})
    table = pd.read_csv(tmp_path / "films.csv", keep_default_na=False)
    assert table["sample_id"].tolist() == test.ids.tolist()
    assert table["score"].to_numpy() == pytest.approx(seen.peak)
    assert table["counted"].tolist() == [1] + [0] * (len(test) - 1)
    assert table["lesion_scores"][0] == "0.75 -inf"
    assert table["false_scores"][0] == "0.5 0.25"
    scores = PatchScores()
    scores.lesion, scores.row = np.array([0, -1]), np.array([int(test.lesions.film[0]), 3])
    scores.label = np.array([int(test.lesions.label[0]), 0])
    scores.logits = np.array([[0, 1, 2], [2, 1, 0]], np.float32)
    write_patches(tmp_path / "patches.csv", [("true", scores, test)])
    patches = pd.read_csv(tmp_path / "patches.csv", keep_default_na=False)
    assert patches["label"].tolist()[1] == "background"
    assert [str(name) for name in patches["lesion_id"]] == ["0", ""]
    assert patches["logit_malignant"].tolist() == [2, 0]


def test_the_tables_name_every_group_and_say_how_sides_and_labels_were_chosen(
    tmp_path: Path,
) -> None:
    test = mixed(tmp_path)
    score = FilmScore("a number", np.arange(len(test), dtype=np.float64))
    films = [FilmFindings("mias:a", "mias", (0.7,), (0.5,), True, False)]
    seen = Segmented(DiceSweep(), films, [0], [], [], [], np.zeros(len(test)), [], {})
    found = {
        "split": "test",
        "corpus": "v-1",
        "notes": Rules(fold="1/4").sentences(),
        "segment": segment_figures(seen, test, 0.5),
        "films": film_figures(test, score),
    }
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(metrics_table(found))
    console.print(group_table(found) or "")
    said = console.export_text()
    for words in (
        "Fold 1 of 4",
        "manifest's split is ignored",
        "BI-RADS 4 without biopsy is unknown",
        "films, labels other than BI-RADS",
        "patients, labels that are BI-RADS categories",
        "Their score: a number",
        "lesions found at 0.25 false regions a film",
    ):
        assert words in " ".join(said.split())
