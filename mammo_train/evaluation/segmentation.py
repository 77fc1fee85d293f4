"""The U-Net on whole films: Dice, false regions, sensitivity, and what it proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.data.selection import BACKGROUND, Selection
from mammo_train.data.tiles import grid_to_standard
from mammo_train.evaluation.metrics import (
    DiceSweep,
    Estimate,
    clustered_interval,
    mean_interval,
)
from mammo_train.evaluation.regions import FilmFindings, Region, find_regions, findings, froc
from mammo_train.runtime import Runtime
from mammo_train.stages.segment import FilmPrediction, SegmentStage, lesion_class, predict_films

__all__ = ["FALSE_RATES", "Proposal", "Segmented", "segment_figures", "segment_films"]

FALSE_RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
PROPOSAL_THRESHOLD = 0.5
DRAWS = 200  # a FROC point costs a sort per draw


@dataclass(frozen=True, slots=True)
class Proposal:
    """A region that the U-Net proposes to the classifier.

    Attributes
    ----------
    row
        Film in the selection.
    x, y
        Centroid in standard pixels, corner coordinates.
    score
        Highest probability inside.
    label
        True class of the lesion it finds, 0 where it finds none, -1 for unknown pathology.
    first
        Whether it is the best region of its lesion; further ones are not counted again.
    """

    row: int
    x: float
    y: float
    score: float
    label: int
    first: bool


@dataclass(slots=True)
class Segmented:
    """What the U-Net said of a selection.

    Attributes
    ----------
    sweep
        Dice of the lesion films, which are `dice_rows` of the selection.
    films
        Findings of every film.
    false_at_threshold, normal_rows
        Regions at the validation threshold on each normal film, and which films those are.
    proposals
        Regions for the classifier.
    kept
        Films with their maps, for pictures.
    """

    sweep: DiceSweep
    films: list[FilmFindings]
    dice_rows: list[int]
    false_at_threshold: list[int]
    normal_rows: list[int]
    proposals: list[Proposal]
    kept: dict[int, FilmPrediction]


def segment_films(
    stage: SegmentStage,
    model: Any,
    runtime: Runtime,
    selection: Selection,
    threshold: float,
    chosen: Sequence[int],
) -> Segmented:
    """Run every film of a selection through the U-Net and compare it with what is drawn on it.

    Parameters
    ----------
    threshold
        From the validation split; regions are proposed at it or at 0.5, whichever is lower.
    chosen
        Rows whose maps are kept for pictures.
    """
    seen = Segmented(DiceSweep(), [], [], [], [], [], {})
    low = min(PROPOSAL_THRESHOLD, threshold)
    films = predict_films(model, runtime, stage.config, selection, stage.store, stage.workers)
    for film in films:
        row = film.row
        before = len(seen.sweep)
        seen.sweep.add(film.probability, film.target)
        if len(seen.sweep) > before:
            seen.dice_rows.append(row)
        if not (film.target > 0).any():
            seen.normal_rows.append(row)
            at = find_regions(film.probability, threshold, min_area=stage.min_area)
            seen.false_at_threshold.append(len(at))
        result, regions, lesions, hits = findings(
            film.probability,
            film.target,
            low,
            min_area=stage.min_area,
            patient=str(selection.patient[row]),
            source=str(selection.source[row]),
            counted=bool(selection.background[row]),
        )
        seen.films.append(result)
        seen.proposals += _proposals(film, selection, regions, lesions, hits)
        if row in chosen:
            seen.kept[row] = film
    return seen


def _proposals(
    film: FilmPrediction,
    selection: Selection,
    regions: Sequence[Region],
    lesions: Sequence[Region],
    hits: Sequence[int],
) -> list[Proposal]:
    found, done = [], set()
    for region, hit in zip(regions, hits, strict=True):
        x, y = grid_to_standard((region.x, region.y), film.scale).tolist()
        label = BACKGROUND if hit < 0 else lesion_class(selection, film, lesions[hit])
        found.append(Proposal(film.row, x, y, region.score, label, hit < 0 or hit not in done))
        done.add(hit)
    return found


def segment_figures(seen: Segmented, selection: Selection, threshold: float) -> dict[str, Any]:
    """Give the figures of the U-Net, together and by source."""
    sources = sorted(set(selection.source[seen.dice_rows + seen.normal_rows].tolist()))
    everything = _figures_of(seen, selection, threshold, None)
    return {
        "threshold": threshold,
        **everything,
        "by_source": {name: _figures_of(seen, selection, threshold, name) for name in sources},
    }


def _figures_of(
    seen: Segmented, selection: Selection, threshold: float, source: str | None
) -> dict[str, Any]:
    def ours(rows: Sequence[int]) -> NDArray[np.bool_]:
        return np.array([source in (None, str(selection.source[row])) for row in rows], bool)

    index = seen.sweep.at(threshold)
    lesion, normal = ours(seen.dice_rows), ours(seen.normal_rows)
    dice = seen.sweep.per_film()[lesion, index]
    rows, normal_rows = np.array(seen.dice_rows, int), np.array(seen.normal_rows, int)
    false = np.array(seen.false_at_threshold, np.float64)[normal]
    films = [film for film in seen.films if source in (None, film.source)]
    return {
        "dice_per_film": asdict(mean_interval(dice, selection.patient[rows[lesion]])),
        "dice_all_pixels": _number(seen.sweep.overall(lesion)[index]),
        "false_regions_per_normal_film": asdict(
            mean_interval(false, selection.patient[normal_rows[normal]])
        ),
        "lesion_sensitivity": _sensitivity(films),
    }


def _sensitivity(films: Sequence[FilmFindings]) -> dict[str, Any]:
    counts = {
        "lesions": sum(len(film.lesion_scores) for film in films),
        "films_for_false_regions": sum(film.counted for film in films),
    }
    values = froc(films, FALSE_RATES)
    objects = np.empty(len(films), object)
    objects[:] = list(films)
    patients = [film.patient for film in films]
    found = {}
    for rate, value in zip(FALSE_RATES, values, strict=True):
        # Bound now: the interval below runs before the loop goes on.
        interval = clustered_interval(
            lambda rows, rate=rate: float(froc(rows, [rate])[0]), patients, objects, draws=DRAWS
        )
        low, high = interval or (None, None)
        found[f"{rate:g}"] = asdict(Estimate(_number(value), low, high, counts))
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
