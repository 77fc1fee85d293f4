"""Malignant against the rest, by film and by patient, labels of BI-RADS apart from all others.

A BI-RADS category is the opinion that a reader had of the picture itself: a network is then
measured against that reader and not against what the breast held. Such labels have figures of
their own and enter no other. Films of unknown pathology count nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.data.selection import Selection
from mammo_train.evaluation.metrics import estimate_areas
from schemas.vocabulary import LabelBasis, Pathology

__all__ = ["GROUPS", "FilmScore", "Judged", "film_figures", "judged_groups"]

GROUPS = {
    "outcome": "labels other than BI-RADS",
    "birads": "labels that are BI-RADS categories",
}
"""Which films a figure counts, by the basis of their label."""


@dataclass(frozen=True, slots=True)
class FilmScore:
    """A number a film, larger means malignant, and where it comes from.

    Attributes
    ----------
    name
        One sentence part for the report.
    values
        float64 (N,), in the order of the selection.
    """

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Labels and scores of films or of patients, (N,) each.

    Attributes
    ----------
    doubtful
        Patients of whom a film has unknown pathology: not known to be free of cancer.
    """

    malignant: NDArray[np.bool_]
    score: NDArray[np.float64]
    patient: NDArray[np.str_]
    doubtful: NDArray[np.str_]

    def figures(self) -> dict[str, Any]:
        """Give AUROC and average precision with their intervals by patient."""
        area, precision = estimate_areas(self.malignant, self.score, self.patient)
        return {"auroc": asdict(area), "average_precision": asdict(precision)}

    def by_patient(self) -> Judged:
        """Give one entry a patient: malignant where any film is, scored by the worst film.

        A doubtful patient without a malignant film is left out.
        """
        names, member = np.unique(self.patient, return_inverse=True)
        worst = np.full(len(names), -np.inf)
        np.maximum.at(worst, member, self.score)
        truth = np.zeros(len(names), bool)
        np.logical_or.at(truth, member, self.malignant)
        kept = truth | ~np.isin(names, self.doubtful)
        return Judged(truth[kept], worst[kept], names[kept], self.doubtful)


def judged_groups(
    selection: Selection, score: FilmScore
) -> Iterator[tuple[str, NDArray[np.bool_], Judged]]:
    """Give each group of `GROUPS`, the films in it, (N,) of bool, and their labels and scores."""
    known = selection.pathology != Pathology.UNKNOWN
    by_category = selection.basis == LabelBasis.BIRADS
    for group, ours in (("outcome", known & ~by_category), ("birads", known & by_category)):
        yield group, ours, _judged(selection, score, ours)


def _judged(selection: Selection, score: FilmScore, ours: NDArray[np.bool_]) -> Judged:
    truth = selection.pathology[ours] == Pathology.MALIGNANT
    doubtful = np.unique(selection.patient[selection.pathology == Pathology.UNKNOWN])
    return Judged(truth, score.values[ours], selection.patient[ours], doubtful)


def film_figures(selection: Selection, score: FilmScore) -> dict[str, Any]:
    """Give the figures of whole films and patients for ``metrics.json``.

    Returns
    -------
    dict
        ``score``, ``counted``, and for each group of `GROUPS` its ``films``, ``patients``,
        ``bases`` (films by label basis), ``by_source`` and ``by_modality``.
    """
    found: dict[str, Any] = {
        "score": score.name,
        "counted": (
            "malignant against benign and normal; a patient is malignant where one of its films "
            "is, and scored by its worst film; unknown pathology is left out "
            f"({int((selection.pathology == Pathology.UNKNOWN).sum())} films), and patients with "
            "such a film and no malignant one"
        ),
    }
    for group, ours, judged in judged_groups(selection, score):
        part: dict[str, Any] = {
            "labels": GROUPS[group],
            "bases": dict(sorted(Counter(selection.basis[ours].tolist()).items())),
            "films": judged.figures(),
            "patients": judged.by_patient().figures(),
        }
        for name in ("source", "modality"):
            values = getattr(selection, name)
            part[f"by_{name}"] = {
                word: _both(_judged(selection, score, ours & (values == word)))
                for word in sorted(set(values[ours].tolist()))
            }
        found[group] = part
    return found


def _both(judged: Judged) -> dict[str, Any]:
    return {"films": judged.figures(), "patients": judged.by_patient().figures()}
