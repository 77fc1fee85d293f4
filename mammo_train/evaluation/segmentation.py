"""The U-Net on whole films: Dice, false regions, sensitivity, and what it proposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammo_train.data.selection import BACKGROUND, Selection
from mammo_train.data.tiles import grid_to_standard
from mammo_train.evaluation.froc import FreeResponse
from mammo_train.evaluation.metrics import DiceSweep, Estimate, mean_interval
from mammo_train.evaluation.regions import FilmFindings, Region, find_regions, findings
from mammo_train.runtime import Runtime
from mammo_train.stages.segment import FilmPrediction, SegmentStage, lesion_index, predict_films
from schemas.vocabulary import Annotation

__all__ = ["FALSE_RATES", "Proposal", "Segmented", "segment_figures", "segment_films"]

COUNTED = {
    "dice": (
        "one Dice a film with a drawn lesion, of the whole film at the threshold that was best on "
        "validation; pixels of 255 left out; films without lesion have no Dice, their false "
        "regions are counted instead"
    ),
    "lesion_sensitivity": (
        "share of drawn lesions that a region finds (intersection over union of 0.1 or more); "
        "false regions a film, both on completely annotated films only, normal ones among them"
    ),
}
FALSE_RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
PROPOSAL_THRESHOLD = 0.5
UNKNOWN = -1


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
        True class of the lesion it finds, -1 for unknown pathology; 0 where it finds none and
        all lesions of the film are drawn, else -1.
    lesion
        Row of that lesion in the selection's lesions, or -1.
    first
        Whether it is the best region of its lesion; further ones are not counted again.
    """

    row: int
    x: float
    y: float
    score: float
    label: int
    lesion: int
    first: bool


@dataclass(slots=True)
class Segmented:
    """What the U-Net said of a selection.

    Attributes
    ----------
    sweep
        Dice of the lesion films, which are `dice_rows` of the selection.
    films, film_rows
        Findings of every completely annotated film, and which films those are.
    false_at_threshold, normal_rows
        Regions at the validation threshold on each film without lesion, and which films those are.
    peak
        Highest probability on each film of the selection.
    proposals
        Regions for the classifier, of all films.
    kept
        Films with their maps, for pictures.
    """

    sweep: DiceSweep
    films: list[FilmFindings]
    film_rows: list[int]
    dice_rows: list[int]
    false_at_threshold: list[int]
    normal_rows: list[int]
    peak: NDArray[np.float64]
    proposals: list[Proposal]
    kept: dict[int, FilmPrediction]


def segment_films(
    stage: SegmentStage,
    model: Any,
    runtime: Runtime,
    selection: Selection,
    threshold: float,
    chosen: Sequence[int],
    look: Callable[[FilmPrediction], None] = lambda film: None,
) -> Segmented:
    """Run every film of a selection through the U-Net and compare it with what is drawn on it.

    Parameters
    ----------
    threshold
        From the validation split; regions are proposed at it or at 0.5, whichever is lower.
    chosen
        Rows whose maps are kept for pictures.
    look
        Gets each film as well.
    """
    seen = Segmented(DiceSweep(), [], [], [], [], [], np.zeros(len(selection)), [], {})
    low = min(PROPOSAL_THRESHOLD, threshold)
    films = predict_films(model, runtime, stage.config, selection, stage.store, stage.workers)
    for film in films:
        row = film.row
        look(film)
        seen.peak[row] = film.probability.max()
        result, regions, lesions, hits = findings(
            film.probability,
            film.target,
            low,
            min_area=stage.min_area,
            patient=str(selection.patient[row]),
            source=str(selection.source[row]),
            counted=bool(selection.background[row]),
        )
        seen.proposals += _proposals(film, selection, regions, lesions, hits)
        if selection.annotation[row] == Annotation.COMPLETE:
            _count(seen, film, result, threshold, stage.min_area)
        if row in chosen:
            seen.kept[row] = film
    return seen


def _count(
    seen: Segmented, film: FilmPrediction, result: FilmFindings, threshold: float, min_area: float
) -> None:
    seen.films.append(result)
    seen.film_rows.append(film.row)
    before = len(seen.sweep)
    seen.sweep.add(film.probability, film.target)
    if len(seen.sweep) > before:
        seen.dice_rows.append(film.row)
    if not (film.target > 0).any():
        seen.normal_rows.append(film.row)
        at = find_regions(film.probability, threshold, min_area=min_area)
        seen.false_at_threshold.append(len(at))


def _proposals(
    film: FilmPrediction,
    selection: Selection,
    regions: Sequence[Region],
    lesions: Sequence[Region],
    hits: Sequence[int],
) -> list[Proposal]:
    found, done = [], set()
    # Where lesions may be undrawn, a region that finds none is no background either.
    nothing = BACKGROUND if selection.background[film.row] else UNKNOWN
    for region, hit in zip(regions, hits, strict=True):
        x, y = grid_to_standard((region.x, region.y), film.scale).tolist()
        index = -1 if hit < 0 else lesion_index(selection, film, lesions[hit])
        label = selection.lesions.class_of(index) if hit >= 0 else nothing
        first = hit < 0 or hit not in done
        found.append(Proposal(film.row, x, y, region.score, label, index, first))
        done.add(hit)
    return found


def segment_figures(seen: Segmented, selection: Selection, threshold: float) -> dict[str, Any]:
    """Give the figures of the U-Net: together, by source, modality, and kind of annotation.

    How closely lesions are drawn bounds the Dice: a circle about a mass has none of 1.
    """
    counted = np.array(sorted(seen.film_rows), np.int64)
    every = np.ones(len(selection), bool)
    found: dict[str, Any] = {
        "threshold": threshold,
        "counted": COUNTED,
        **_figures_of(seen, selection, threshold, every),
    }
    for name in ("source", "modality"):
        values = getattr(selection, name)
        found[f"by_{name}"] = {
            word: _figures_of(seen, selection, threshold, values == word)
            for word in sorted(set(values[counted].tolist()))
        }
    kinds = selection.annotation_kind
    found["by_annotation_kind"] = {
        word or "unknown": _dice(seen, selection, threshold, kinds == word)
        for word in sorted(set(kinds[np.array(seen.dice_rows, np.int64)].tolist()))
    }
    return found


def _figures_of(
    seen: Segmented, selection: Selection, threshold: float, ours: NDArray[np.bool_]
) -> dict[str, Any]:
    normal_rows = np.array(seen.normal_rows, np.int64)
    normal = ours[normal_rows]
    false = np.array(seen.false_at_threshold, np.float64)[normal]
    pairs = zip(seen.films, seen.film_rows, strict=True)
    return {
        **_dice(seen, selection, threshold, ours),
        "films_without_lesion": int(normal.sum()),
        "false_regions_per_normal_film": asdict(
            mean_interval(false, selection.patient[normal_rows[normal]])
        ),
        "lesion_sensitivity": _sensitivity([film for film, row in pairs if ours[row]]),
    }


def _dice(
    seen: Segmented, selection: Selection, threshold: float, ours: NDArray[np.bool_]
) -> dict[str, Any]:
    rows, index = np.array(seen.dice_rows, np.int64), seen.sweep.at(threshold)
    lesion = ours[rows]
    dice = seen.sweep.per_film()[lesion, index]
    return {
        "dice_per_film": asdict(mean_interval(dice, selection.patient[rows[lesion]])),
        "dice_all_pixels": _number(seen.sweep.overall(lesion)[index]),
    }


def _sensitivity(films: Sequence[FilmFindings]) -> dict[str, Any]:
    counts = {
        "lesions": sum(len(film.lesion_scores) for film in films),
        "films_for_false_regions": sum(film.counted for film in films),
    }
    response = FreeResponse(films)
    values, intervals = response.sensitivity(FALSE_RATES), response.intervals(FALSE_RATES)
    found = {}
    for rate, value, interval in zip(FALSE_RATES, values, intervals, strict=True):
        low, high = interval or (None, None)
        found[f"{rate:g}"] = asdict(Estimate(_number(value), low, high, counts))
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
