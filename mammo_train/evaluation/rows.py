"""``films.csv`` and ``patches.csv``: what each figure of the report was computed from.

One row a film and one a patch, so that folds can be pooled and two runs compared pair by pair.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mammo_train.data.selection import CLASSES, Selection
from mammo_train.evaluation.outcomes import FilmScore
from mammo_train.evaluation.segmentation import Segmented
from mammo_train.stages.pretrain_classifier import PatchScores

__all__ = ["FILM_COLUMNS", "PATCH_COLUMNS", "write_films", "write_patches"]

FILM_COLUMNS = (
    "sample_id", "patient_id", "source", "modality", "pathology", "label_basis", "annotation",
    "score", "dice", "counted", "lesion_scores", "false_scores",
)  # fmt: skip
"""`dice`: at the threshold from validation, empty on a film without a drawn lesion. `counted`: 1
where the film counts for the free-response curve. `lesion_scores`: best region of each drawn
lesion, -inf for a missed one; `false_scores`: regions that find none; blanks between."""

PATCH_COLUMNS = (
    "place", "sample_id", "patient_id", "source", "film_pathology", "lesion_id", "label_basis",
    "label", "logit_background", "logit_benign", "logit_malignant",
)  # fmt: skip
"""`place`: ``true`` or ``proposed``. `label`: a class, or ``unknown``."""


def write_films(
    path: Path, seen: Segmented, selection: Selection, score: FilmScore, threshold: float
) -> None:
    """Write one row a film of the selection, in its order; `threshold` is that of the Dice."""
    _write(path, FILM_COLUMNS, _film_rows(seen, selection, score, threshold))


def _film_rows(
    seen: Segmented, selection: Selection, score: FilmScore, threshold: float
) -> Iterator[Sequence[Any]]:
    found = dict(zip(seen.film_rows, seen.films, strict=True))
    at_threshold = seen.sweep.per_film()[:, seen.sweep.at(threshold)]
    dice = dict(zip(seen.dice_rows, at_threshold.tolist(), strict=True))
    for row in range(len(selection)):
        film = found.get(row)
        yield (
            selection.ids[row],
            selection.patient[row],
            selection.source[row],
            selection.modality[row],
            selection.pathology[row],
            selection.basis[row],
            selection.annotation[row],
            f"{score.values[row]:.9g}",
            f"{dice[row]:.9g}" if row in dice else "",
            int(film is not None and film.counted),
            _numbers(film.lesion_scores if film else ()),
            _numbers(film.false_scores if film else ()),
        )


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def write_patches(path: Path, parts: Sequence[tuple[str, PatchScores, Selection]]) -> None:
    """Write one row a patch.

    Parameters
    ----------
    parts
        A word for `place`, the scores, and the selection that their rows and lesions point into.
    """
    rows = (row for part in parts for row in _patch_rows(*part))
    _write(path, PATCH_COLUMNS, rows)


def _patch_rows(place: str, scores: PatchScores, selection: Selection) -> Iterator[Sequence[Any]]:
    marks = selection.lesions
    for k, (row, lesion) in enumerate(zip(scores.row, scores.lesion, strict=True)):
        label = int(scores.label[k])
        yield (
            place,
            selection.ids[row],
            selection.patient[row],
            selection.source[row],
            selection.pathology[row],
            marks.lesion_id[lesion] if lesion >= 0 else "",
            marks.basis[lesion] if lesion >= 0 else "",
            CLASSES[label] if label >= 0 else "unknown",
            *(f"{value:.9g}" for value in np.asarray(scores.logits[k], np.float64)),
        )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as sink:
        table = csv.writer(sink, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
    temporary.replace(path)
