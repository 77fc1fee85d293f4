"""The patch classifier at the true place of lesions, and on the regions that a U-Net proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.checkpoint import load_model
from mammo_train.data.dataset import make_loader
from mammo_train.data.draws import BatchPlan, Draw, film_draws, fixed_patches
from mammo_train.data.patches import PatchTransform
from mammo_train.data.selection import BACKGROUND, MALIGNANT, Selection
from mammo_train.evaluation.metrics import estimate_auroc
from mammo_train.evaluation.segmentation import Proposal
from mammo_train.runtime import Runtime
from mammo_train.stages.pretrain_classifier import ClassifierStage, PatchScores, score_patches
from schemas.vocabulary import LabelBasis

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Classified", "classify", "patch_figures", "proposed_draws"]


@dataclass(frozen=True, slots=True)
class Classified:
    """What the classifier says of proposed regions.

    Attributes
    ----------
    proposals, probability
        The regions, and (N, 3) background, benign, malignant of each.
    figures
        For ``metrics.json``.
    parts
        Scores at true and at proposed places, each with the selection it points into.
    """

    proposals: Sequence[Proposal]
    probability: NDArray[np.float64]
    figures: dict[str, Any]
    parts: Sequence[tuple[str, PatchScores, Selection]]


def classify(
    stage: ClassifierStage,
    runtime: Runtime,
    work: Path,
    selection: Selection,
    proposals: Sequence[Proposal],
) -> Classified:
    """Score true patches of the split, and the U-Net's proposals on `selection`.

    Raises
    ------
    MammoError
        The stage has no readable checkpoint.
    """
    model = stage.build()
    at = load_model(work / "stages" / stage.name / "checkpoints", model)
    model = runtime.place(model)
    films: Selection = getattr(stage.selections, selection.split)
    true_scores = _score(stage, model, runtime, BatchPlan(fixed_patches(films), _size(stage)))
    plan = BatchPlan(proposed_draws(selection, proposals), _size(stage))
    scores = _score(stage, model, runtime, plan)
    scores.label = np.array([proposal.label for proposal in proposals], np.int64)
    scores.lesion = np.array([proposal.lesion for proposal in proposals], np.int64)
    counted = scores.take([p.first and p.label >= 0 for p in proposals])
    figures = {
        "step": at.step,
        "true_patches": patch_figures(true_scores, films),
        "proposed_regions": patch_figures(counted, selection),
    }
    parts = [("true", true_scores, films), ("proposed", scores, selection)]
    return Classified(proposals, scores.probability, figures, parts)


def _size(stage: ClassifierStage) -> int:
    return stage.config.batch_size


def _score(
    stage: ClassifierStage, model: nn.Module, runtime: Runtime, plan: BatchPlan
) -> PatchScores:
    transform = PatchTransform(stage.config.patch_mm, stage.config.patch_px)
    return score_patches(model, runtime, make_loader(stage.store, plan, transform, stage.workers))


def proposed_draws(selection: Selection, proposals: Sequence[Proposal]) -> list[Draw]:
    """Give the draws that cut a patch at each proposal; their label -1 is nobody's class."""
    films = film_draws(selection)
    return [films[proposal.row]._replace(x=proposal.x, y=proposal.y) for proposal in proposals]


def patch_figures(scores: PatchScores, selection: Selection) -> dict[str, Any]:
    """Give areas under the ROC curve with intervals by patient, together, by source and modality.

    Parameters
    ----------
    scores
        ``row`` and ``lesion`` point into the selection.
    """
    found: dict[str, Any] = _areas(scores, selection)
    for name in ("source", "modality"):
        values = getattr(selection, name)[scores.row]
        found[f"by_{name}"] = {
            word: _areas(scores.take(values == word), selection)
            for word in sorted(set(values.tolist()))
        }
    return found


def _areas(scores: PatchScores, selection: Selection) -> dict[str, Any]:
    """Give the areas; lesions whose pathology is a BI-RADS category stand apart."""
    patients = selection.patient[scores.row]
    lesion = scores.label != BACKGROUND
    by_category = np.zeros(len(lesion), bool)
    placed = scores.lesion >= 0
    by_category[placed] = selection.lesions.basis[scores.lesion[placed]] == LabelBasis.BIRADS

    def malignant(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        truth = scores.label[chosen] == MALIGNANT
        return asdict(estimate_auroc(truth, scores.malignancy[chosen], patients[chosen]))

    return {
        "malignant_vs_benign_auroc": malignant(lesion & ~by_category),
        "malignant_vs_benign_auroc_birads": malignant(lesion & by_category),
        "malignant_vs_rest_auroc": asdict(
            estimate_auroc(
                scores.label[~by_category] == MALIGNANT,
                scores.probability[~by_category, MALIGNANT],
                patients[~by_category],
            )
        ),
        "lesion_vs_background_auroc": asdict(estimate_auroc(lesion, scores.lesionness, patients)),
    }
