"""The drawer's truth on the standard grid: our own arithmetic, none of the kernel's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.truth import FilmTruth, LesionTruth, Truth

Bools = npt.NDArray[np.bool_]
Row = Mapping[str, Any]
FINER = 4
VALUE = {"benign": 1, "malignant": 2}


@dataclass(frozen=True)
class Overlap:
    """A lesion as drawn and as the corpus has it, both on the standard grid."""

    where: str
    drawn: Bools
    seen: Bools

    @property
    def dice(self) -> float:
        both = np.count_nonzero(self.drawn & self.seen)
        return 2 * both / (np.count_nonzero(self.drawn) + np.count_nonzero(self.seen))

    @property
    def area(self) -> tuple[int, int]:
        return int(self.drawn.sum()), int(self.seen.sum())

    @property
    def shift(self) -> float:
        """Distance of the centroids in standard pixels."""
        ends = [np.argwhere(mask).mean(axis=0) for mask in (self.drawn, self.seen)]
        return float(np.hypot(*(ends[0] - ends[1])))


def films(phantoms: Path) -> Iterable[tuple[str, FilmTruth]]:
    """Yield every film of both releases with its source."""
    for key in ("mias", "cbis_ddsm"):
        for film in Truth.load(phantoms / key).films:
            yield key, film


def read_mask(phantoms: Path, source: str, name: str) -> Bools:
    """Read a PNG of the truth."""
    image = cv2.imread(str(phantoms / f"{source}.truth" / name), cv2.IMREAD_GRAYSCALE)
    assert image is not None, name
    return np.asarray(image > 127)


def lesion_share(
    phantoms: Path, source: str, film: FilmTruth, lesion: LesionTruth, row: Row
) -> npt.NDArray[np.float64]:
    """Return the share of each standard pixel that a perfect reader of the release would outline.

    MIAS gives a circle, and the circle as written in its table is the truth: pixel (x, y counted
    from the bottom) is its centre.
    """
    if source != "mias":
        return to_standard(read_mask(phantoms, source, str(lesion.mask)), row)
    x, from_bottom, radius = lesion.circle or (0, 0, 0)
    centre = point_to_standard(x + 0.5, film.rows - 1 - from_bottom + 0.5, row)
    squares = []
    for at, scale, size in zip(centre, row["scale"], (row["width"], row["height"]), strict=True):
        cells = (np.arange(size * FINER) + 0.5) / FINER
        squares.append(((cells - at) / (radius * scale)) ** 2)
    share = np.zeros((row["height"], row["width"]))
    across, down = squares
    lines = np.flatnonzero(down <= 1)
    if len(lines):
        first, last = lines[0] // FINER, lines[-1] // FINER + 1
        inside = down[first * FINER : last * FINER, None] + across[None] <= 1
        share[first:last] = inside.reshape(last - first, FINER, -1, FINER).mean(axis=(1, 3))
    return share


def to_standard(mask: Bools, row: Row) -> npt.NDArray[np.float64]:
    """Return the share of each standard pixel that a mask of the film covers.

    Mirror, then average between the (fractional) borders of each standard pixel.
    """
    if row["orientation"] in ("hflip", "rot180"):
        mask = mask[:, ::-1]
    if row["orientation"] in ("vflip", "rot180"):
        mask = mask[::-1]
    covered = mask.astype(np.float64)
    scale_x, scale_y = row["scale"]
    for axis, crop, scale, size in (
        (0, row["crop_y"], scale_y, row["height"]),
        (1, row["crop_x"], scale_x, row["width"]),
    ):
        borders = crop + np.arange(size + 1) / scale
        sums = np.insert(np.cumsum(covered, axis=axis), 0, 0, axis=axis)
        low = np.clip(np.floor(borders).astype(int), 0, covered.shape[axis])
        high = np.clip(low + 1, 0, covered.shape[axis])
        share = np.expand_dims(borders - np.floor(borders), 1 - axis)
        at = np.take(sums, low, axis) * (1 - share) + np.take(sums, high, axis) * share
        covered = np.diff(at, axis=axis) * scale
    return covered


def point_to_standard(x: float, y: float, row: Row) -> tuple[float, float]:
    """Return where a point of the film lies in the standard image."""
    if row["orientation"] in ("hflip", "rot180"):
        x = row["native_width"] - x
    if row["orientation"] in ("vflip", "rot180"):
        y = row["native_height"] - y
    return (x - row["crop_x"]) * row["scale"][0], (y - row["crop_y"]) * row["scale"][1]


def overlaps(
    phantoms: Path, source: str, film: FilmTruth, row: Row, labels: npt.NDArray[np.uint8]
) -> list[Overlap]:
    """Compare each outlined lesion with its pixels in the sample's mask.

    The worse label owns what lesions share. Every pixel of a value belongs to the nearest lesion
    that was drawn with it, so that nothing in the mask goes unjudged.
    """
    outlined = [one for one in film.lesions if one.geometry and one.trap != "suspect"]
    drawn = [lesion_share(phantoms, source, film, one, row) >= 0.5 for one in outlined]
    expected = np.zeros(labels.shape, np.uint8)
    for value in (1, 2):
        for lesion, mask in zip(outlined, drawn, strict=True):
            if VALUE[lesion.pathology] == value:
                expected[mask] = value
    found = []
    for number, (lesion, mask) in enumerate(zip(outlined, drawn, strict=True)):
        value = VALUE[lesion.pathology]
        same = [
            _distance(other)
            for k, (rival, other) in enumerate(zip(outlined, drawn, strict=True))
            if k != number and VALUE[rival.pathology] == value
        ]
        own = np.ones(labels.shape, bool)
        for distance in same:
            own &= _distance(mask) <= distance
        where = f"{film.film_key} {lesion.lesion_id}"
        found.append(Overlap(where, mask & (expected == value) & own, (labels == value) & own))
    return found


def _distance(mask: Bools) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))
