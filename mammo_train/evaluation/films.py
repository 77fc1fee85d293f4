"""Whole films end to end: the U-Net proposes, ``classify`` judges, the film gets one number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mammo_train.checkpoint import load_model
from mammo_train.data.regions import FilmRegion
from mammo_train.data.selection import Selection
from mammo_train.evaluation.calibration import cross_entropy
from mammo_train.evaluation.outcomes import FilmScore
from mammo_train.runtime import Runtime
from mammo_train.stages.classify import ClassifyStage
from mammo_train.stages.proposals import film_regions
from mammo_train.stages.segment import FilmPrediction
from schemas.vocabulary import Pathology

__all__ = ["EndToEnd"]


class EndToEnd:
    """Takes each film as the U-Net leaves it, then scores all of them.

    Parameters
    ----------
    stage
        Trained in `work`.
    threshold
        Of the U-Net, from validation; regions are proposed as for training.
    min_area
        Smallest region, in grid pixels.
    """

    def __init__(
        self,
        stage: ClassifyStage,
        work: Path,
        selection: Selection,
        *,
        threshold: float,
        min_area: float,
    ) -> None:
        self._stage, self._selection = stage, selection
        self._folder = work / "stages" / stage.name / "checkpoints"
        self._low = min(threshold, stage.config.proposal_threshold)
        self._min_area = min_area
        self._regions: dict[str, tuple[FilmRegion, ...]] = {}

    def look(self, film: FilmPrediction) -> None:
        """Take a film's regions."""
        name = str(self._selection.ids[film.row])
        self._regions[name] = film_regions(film, self._selection, self._low, self._min_area)

    def score(self, runtime: Runtime) -> tuple[FilmScore, dict[str, Any]]:
        """Give every film's log odds of malignant, and figures for ``metrics.json``.

        Log odds are divided by the temperature. They order films as probabilities do, without
        films that are alike because both probabilities round to 1.

        Raises
        ------
        MammoError
            The stage has no readable checkpoint.
        """
        model = self._stage.build()
        at = load_model(self._folder, model)
        model = runtime.place(model)
        said = self._stage.score(model, runtime, self._selection, self._regions)
        temperature = float(at.metrics["temperature"])
        logits = said.film / temperature
        known = self._selection.pathology != Pathology.UNKNOWN
        truth = self._selection.pathology[known] == Pathology.MALIGNANT
        kind = self._stage.config.film_score
        name = (
            f"log odds of malignant by classify, {kind} over the regions that the U-Net proposes, "
            f"temperature {temperature:.2f} from validation"
        )
        figures = {
            "step": at.step,
            "film_score": kind,
            "temperature": temperature,
            "cross_entropy": _number(cross_entropy(logits[known], truth)),
            "regions": sum(len(regions) for regions in said.regions),
        }
        return FilmScore(name, logits), figures


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
