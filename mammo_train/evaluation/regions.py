"""Regions of a probability map, lesions of a mask, and which region finds which lesion.

A region is an 8-connected component above a threshold. It finds a lesion when the two overlap
with an intersection over union of at least 0.1, the rule of nnDetection for medical images
(Baumgartner et al. 2021, arXiv:2106.00817), which forgives a loose outline and not a wrong place.
Coordinates are those of the map: x right, y down, corner origin, boxes half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FilmFindings", "Region", "find_regions", "findings", "match", "true_lesions"]

HIT_IOU = 0.1
UNKNOWN = 3
IGNORE = 255


@dataclass(frozen=True, slots=True)
class Region:
    """One connected region.

    Attributes
    ----------
    x, y
        Its centroid, corner coordinates.
    box
        x0, y0, x1, y1.
    area
        Pixels.
    score
        Highest probability inside.
    label
        Of a true lesion: 1 benign, 2 malignant, 3 unknown, the worst of its pixels; 0 for a
        region that a network proposes.
    pixels
        Flat indices of its pixels.
    """

    x: float
    y: float
    box: tuple[int, int, int, int]
    area: int
    score: float
    label: int
    pixels: NDArray[np.int64]


def find_regions(
    probability: NDArray[np.float32], threshold: float, *, min_area: float = 1.0
) -> list[Region]:
    """Give the regions at or above a threshold, best score first.

    Parameters
    ----------
    probability
        (H, W).
    min_area
        Smaller regions (pixels) are left out.
    """
    found = _components(probability >= threshold, probability, None)
    kept = [region for region in found if region.area >= min_area]
    return sorted(kept, key=lambda region: (-region.score, region.y, region.x))


def true_lesions(mask: NDArray[np.uint8]) -> list[Region]:
    """Give the lesions of a mask (0 none, 1 benign, 2 malignant, 3 unknown, 255 ignored)."""
    return _components((mask > 0) & (mask < IGNORE), None, mask)


def _components(
    inside: NDArray[np.bool_],
    probability: NDArray[np.float32] | None,
    mask: NDArray[np.uint8] | None,
) -> list[Region]:
    from scipy import ndimage

    labelled, count = ndimage.label(inside, structure=np.ones((3, 3)))
    flat, width = labelled.ravel(), inside.shape[1]
    order = np.flatnonzero(flat)
    order = order[np.argsort(flat[order], kind="stable")]
    bounds = np.searchsorted(flat[order], np.arange(1, count + 2))
    regions = []
    for index in range(count):
        pixels = order[bounds[index] : bounds[index + 1]].astype(np.int64)
        rows, columns = np.divmod(pixels, width)
        box = (
            int(columns.min()),
            int(rows.min()),
            int(columns.max()) + 1,
            int(rows.max()) + 1,
        )
        regions.append(
            Region(
                x=float(columns.mean()) + 0.5,
                y=float(rows.mean()) + 0.5,
                box=box,
                area=len(pixels),
                pixels=pixels,
                score=1.0 if probability is None else float(probability.ravel()[pixels].max()),
                label=0 if mask is None else _worst(mask.ravel()[pixels]),
            )
        )
    return regions


def _worst(values: NDArray[np.uint8]) -> int:
    # Malignant before unknown before benign, as in the mask itself.
    for label in (2, UNKNOWN, 1):
        if (values == label).any():
            return label
    return 0


def match(regions: Sequence[Region], lesions: Sequence[Region]) -> list[int]:
    """Give for each region the index of the lesion it finds (the best overlap), or -1."""
    hits = []
    for region in regions:
        overlaps = [_iou(region, lesion) for lesion in lesions]
        best = int(np.argmax(overlaps)) if overlaps else -1
        hits.append(best if best >= 0 and overlaps[best] >= HIT_IOU else -1)
    return hits


def _iou(one: Region, other: Region) -> float:
    common = len(np.intersect1d(one.pixels, other.pixels, assume_unique=True))
    return common / (one.area + other.area - common)


@dataclass(frozen=True, slots=True)
class FilmFindings:
    """What the network said of one film against its truth.

    Attributes
    ----------
    patient, source
        Of the film.
    lesion_scores
        Best score of a region that finds the lesion, one per lesion; -inf for a missed one.
    false_scores
        Scores of regions that find nothing; only where everything is drawn on the film.
    counted
        Whether the film counts for false regions: normal, or annotated completely.
    normal
        Whether the film has no lesion.
    """

    patient: str
    source: str
    lesion_scores: tuple[float, ...]
    false_scores: tuple[float, ...]
    counted: bool
    normal: bool


def findings(
    probability: NDArray[np.float32],
    mask: NDArray[np.uint8],
    threshold: float,
    *,
    min_area: float,
    patient: str,
    source: str,
    counted: bool,
) -> tuple[FilmFindings, list[Region], list[Region], list[int]]:
    """Compare a probability map with its mask, both (H, W).

    Returns
    -------
    tuple
        The findings; the network's regions; the true lesions; which lesion each region finds.
        A region that lies mostly (half of its pixels) on ignored pixels is left out of all three.
    """
    ignored = mask.ravel() == IGNORE
    regions = [
        region
        for region in find_regions(probability, threshold, min_area=min_area)
        if ignored[region.pixels].mean() < 0.5
    ]
    lesions = true_lesions(mask)
    hits = match(regions, lesions)
    best = [float("-inf")] * len(lesions)
    for region, hit in zip(regions, hits, strict=True):
        if hit >= 0:
            best[hit] = max(best[hit], region.score)
    false = [region.score for region, hit in zip(regions, hits, strict=True) if hit < 0]
    film = FilmFindings(
        patient=patient,
        source=source,
        lesion_scores=tuple(best),
        false_scores=tuple(false) if counted else (),
        counted=counted,
        normal=not lesions,
    )
    return film, regions, lesions, hits
