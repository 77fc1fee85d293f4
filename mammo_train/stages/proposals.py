"""What the finished U-Net of a run directory proposes on films, for the stages that follow it.

A region is a connected area above a threshold. It takes the class of the lesion that it finds; it
is background where it touches nothing drawn on a film on which everything is drawn; else nobody
knows. A film without a region gets the place of its highest probability, so that none goes unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mammo_train import checkpoint
from mammo_train.config import SegmentConfig
from mammo_train.data.regions import FilmRegion, Regions
from mammo_train.data.selection import BACKGROUND, Selection
from mammo_train.data.tiles import grid_to_standard
from mammo_train.evaluation.regions import Region, findings
from mammo_train.runtime import Runtime
from mammo_train.stages.segment import FilmPrediction, build_unet, lesion_class, predict_films

if TYPE_CHECKING:
    from torch import nn

    from schemas.store import Store

__all__ = ["UNKNOWN", "Unet", "clear_regions", "film_regions", "unet_digest"]

UNKNOWN = -1
RIM_MM = 8.0  # a peak lies no nearer to the skin, where half of a patch would be air


def _folder(work: Path) -> Path:
    return work / "stages" / "segment"


def unet_digest(work: Path) -> str | None:
    """Give the digest of a run directory's U-Net, None where it is not trained to its end."""
    if not (_folder(work) / "done.json").is_file():
        return None
    return checkpoint.model_digest(_folder(work) / "checkpoints")


@dataclass(frozen=True)
class Unet:
    """A trained U-Net on its device.

    Parameters
    ----------
    threshold
        Best on the validation split.
    """

    config: SegmentConfig
    model: nn.Module
    runtime: Runtime
    threshold: float

    @classmethod
    def load(cls, work: Path, config: SegmentConfig, runtime: Runtime) -> Unet:
        """Load the best checkpoint of a run directory; in its precision, where none was asked for.

        Raises
        ------
        MammoError
            There is no readable checkpoint.
        """
        model: nn.Module = build_unet(config)
        at = checkpoint.load_model(_folder(work) / "checkpoints", model)
        if runtime.precision == "auto":
            runtime.precision = at.precision
        return cls(config, runtime.place(model), runtime, float(at.metrics["threshold"]))

    def films(
        self, selection: Selection, store: Store, workers: int, rows: Sequence[int] | None = None
    ) -> Iterator[FilmPrediction]:
        """Run films of a selection through it."""
        return predict_films(
            self.model, self.runtime, self.config, selection, store, workers, rows=rows
        )

    @property
    def min_area(self) -> float:
        """Smallest region, in grid pixels."""
        return self.config.min_region_mm2 / self.config.mm_per_pixel**2

    def propose(
        self,
        selection: Selection,
        store: Store,
        workers: int,
        *,
        threshold: float,
        progress: Callable[[int], None] | None = None,
    ) -> Regions:
        """Give the regions of every film at a threshold, or the validation one if that is lower."""
        low = min(threshold, self.threshold)
        found = {}
        for film in self.films(selection, store, workers):
            found[str(selection.ids[film.row])] = film_regions(film, selection, low, self.min_area)
            if progress is not None:
                progress(len(found))
        return found


def film_regions(
    film: FilmPrediction, selection: Selection, threshold: float, min_area: float
) -> tuple[FilmRegion, ...]:
    """Give a film's regions, best score first; at least one."""
    _, regions, lesions, hits = findings(
        film.probability,
        film.target,
        threshold,
        min_area=min_area,
        patient=str(selection.patient[film.row]),
        source=str(selection.source[film.row]),
        counted=bool(selection.background[film.row]),
    )
    found = []
    for region, hit in zip(regions, hits, strict=True):
        known = lesion_class(selection, film, lesions[hit]) if hit >= 0 else None
        label = _label(film, selection, region.pixels) if known is None else known
        found.append(_region(film, region, label))
    return tuple(found) or (_peak(film, selection),)


def _label(film: FilmPrediction, selection: Selection, pixels: NDArray[np.int64]) -> int:
    touches = bool((film.target.ravel()[pixels] > 0).any())
    return BACKGROUND if selection.background[film.row] and not touches else UNKNOWN


def _region(film: FilmPrediction, region: Region, label: int) -> FilmRegion:
    x, y = grid_to_standard((region.x, region.y), film.scale).tolist()
    return FilmRegion(round(x, 2), round(y, 2), round(region.score, 5), label)


def _peak(film: FilmPrediction, selection: Selection) -> FilmRegion:
    inside = _deep(film.image > 0, RIM_MM / (selection.mm[film.row] / film.scale[0]))
    tissue = np.where(inside, film.probability, -1.0)
    row, column = np.unravel_index(int(np.argmax(tissue)), tissue.shape)
    x, y = grid_to_standard((column + 0.5, row + 0.5), film.scale).tolist()
    score = float(film.probability[row, column])
    pixel = np.array([row * tissue.shape[1] + column])
    label = _label(film, selection, pixel)
    if film.target[row, column] == 1:
        box = np.array([x, y, x, y]) + np.array([-1, -1, 1, 1])
        label = selection.lesions.class_at(film.row, box)
    return FilmRegion(round(x, 2), round(y, 2), round(score, 5), label)


def _deep(tissue: NDArray[np.bool_], rim: float) -> NDArray[np.bool_]:
    """Take a rim of so many pixels off the tissue, but not at the film's edges."""
    from scipy import ndimage

    steps = max(1, round(rim))
    deep = np.asarray(ndimage.binary_erosion(tissue, iterations=steps, border_value=1))
    return deep if deep.any() else tissue


def clear_regions(
    film: FilmPrediction,
    selection: Selection,
    *,
    threshold: float,
    min_area: float,
    half: float,
    most: int,
) -> tuple[FilmRegion, ...]:
    """Give a film's false alarms, best score first, whose surroundings hold nothing drawn.

    Parameters
    ----------
    film
        On which everything is drawn.
    half
        Pixels of the grid to each side of a region's centre that must be clear.
    most
        Regions of a film that are taken.
    """
    found = []
    for region in film_regions(film, selection, threshold, min_area):
        if region.label != BACKGROUND or region.score < threshold:
            continue
        x, y = region.x * film.scale[0], region.y * film.scale[1]
        rows = slice(max(0, int(y - half)), int(y + half) + 1)
        columns = slice(max(0, int(x - half)), int(x + half) + 1)
        if not (film.target[rows, columns] > 0).any():
            found.append(region)
    return tuple(found[:most])
