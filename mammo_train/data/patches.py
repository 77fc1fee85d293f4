"""Patches of fixed millimetres: one a lesion, centred on its box, and background inside the breast.

Every lesion has its own patch (two lesions of a film are two patches), and a film without a drawn
lesion never gives a patch with a lesion's label. Background keeps its whole patch, plus a margin,
clear of everything drawn, 255 included. A patch is standardised by its own tissue, so a film's
window and exposure say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mammo_train.data.augment import Augmentation, Change, change_for
from mammo_train.data.draws import Draw
from mammo_train.data.order import uniforms
from mammo_train.data.selection import BACKGROUND
from mammo_train.data.transforms import grey_levels, warp

__all__ = ["PatchTransform", "background_place", "cut_patch", "standardise_patch"]

Floats = npt.NDArray[np.float32]

_CELLS = 16  # cells of a patch's side on the map of places
_PLACE = 21  # stream of a draw's seed
_MAX_DEVIATIONS = 6.0
_MIN_TISSUE = 0.5  # share of tissue in a background patch


def cut_patch(
    image: npt.NDArray[np.uint16],
    mm: float,
    x: float,
    y: float,
    *,
    patch_mm: float,
    patch_px: int,
    change: Change | None = None,
) -> Floats:
    """Cut a square of `patch_mm` centred on a point and resample it to `patch_px` pixels.

    Parameters
    ----------
    image
        uint16 (H, W), standard pixels of `mm` millimetres.
    x, y
        Centre, corner coordinates; what lies outside the film is 0.
    change
        Turn, scale and shift about the centre.

    Returns
    -------
    numpy.ndarray
        float32 (patch_px, patch_px) in [0, 1].
    """
    change = change or change_for(0, None)
    factor = mm * patch_px / patch_mm
    turned = float(np.abs(np.linalg.inv(change.matrix)).sum(axis=1).max())
    moved = turned * (1 + 2 * max(map(abs, change.shift)))
    reach = patch_mm / mm / 2 * moved + 1
    height, width = image.shape
    x0, x1 = (int(np.clip(np.floor(x + d), 0, width)) for d in (-reach, reach + 1))
    y0, y1 = (int(np.clip(np.floor(y + d), 0, height)) for d in (-reach, reach + 1))
    if x0 == x1 or y0 == y1:
        return np.zeros((patch_px, patch_px), dtype=np.float32)
    part: npt.NDArray[Any] = image[y0:y1, x0:x1]
    if factor < 1:
        size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
    fx, fy = part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)
    middle = np.array([patch_px / 2, patch_px / 2])
    destination = middle + patch_px * np.asarray(change.shift)
    patch = warp(
        grey_levels(part),
        (patch_px, patch_px),
        change.matrix @ np.diag([factor / fx, factor / fy]),
        ((x - x0) * fx, (y - y0) * fy),
        (float(destination[0]), float(destination[1])),
    )
    return np.asarray(change.bend(patch), np.float32)


def standardise_patch(patch: Floats) -> Floats:
    """Return grey levels about the tissue's median in units of its robust deviation, within +-6.

    Median and median absolute deviation (times 1.4826, which makes it the standard deviation of
    normal noise), so that a dark rim of skin or a bright edge of the film does not flatten the
    tissue. Outside the tissue, and where interpolation mixed the two, it is 0.
    """
    tissue = (patch > 0).astype(np.uint8)
    inside = cv2.erode(tissue, np.ones((3, 3), np.uint8), borderValue=1) > 0
    if not inside.any():
        return np.zeros_like(patch)
    values = patch[inside]
    middle = np.median(values)
    deviation = 1.4826 * np.median(np.abs(values - middle)) + 1e-3
    levels = np.clip((patch - middle) / deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS)
    return np.where(inside, levels, 0.0).astype(np.float32)


def background_place(
    image: npt.NDArray[np.uint16],
    mask: npt.NDArray[np.uint8] | None,
    side: float,
    margin: float,
    seed: int,
) -> tuple[float, float] | None:
    """Choose the centre of a background patch by seed, or None where no place is free.

    Parameters
    ----------
    image
        uint16 (H, W); 0 is no tissue.
    mask
        uint8 (H, W); everything but 0 is kept clear. None where nothing is drawn.
    side, margin
        Of the patch, and around it, in standard pixels.

    Returns
    -------
    tuple or None
        (x, y), corner coordinates: a quarter of the side around it and at least half of the patch
        are tissue.
    """
    cell = max(1.0, side / _CELLS)
    height, width = image.shape
    size = max(1, round(width / cell)), max(1, round(height / cell))
    tissue = cv2.resize((image > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    window = max(1, round(side / cell))
    around = cv2.blur(tissue, (window, window), borderType=cv2.BORDER_CONSTANT)
    # Samples keep a rim of air about the skin, lesions do not lie there; the chest wall is no rim.
    core = np.ones((_CELLS // 2 + 1, _CELLS // 2 + 1), np.uint8)
    deep = cv2.erode((tissue > 0.99).astype(np.uint8), core, borderValue=1) > 0
    free = deep & (around >= _MIN_TISSUE)
    if mask is not None and mask.any():
        drawn = cv2.resize((mask > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        reach = int(np.ceil((side / 2 + margin) / cell)) + 1
        kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        free &= cv2.dilate(drawn.astype(np.uint8), kernel) == 0
    places = np.flatnonzero(free)
    if not len(places):
        return None
    u = uniforms(seed, 3, _PLACE)
    row, column = np.divmod(places[int(u[0] * len(places))], size[0])
    return (
        float((column + u[1]) * width / size[0]),
        float((row + u[2]) * height / size[1]),
    )


@dataclass(frozen=True)
class PatchTransform:
    """The patch of a draw with its class: 0 background, 1 benign, 2 malignant.

    Parameters
    ----------
    patch_mm, patch_px
        Side in millimetres and in pixels.
    margin_mm
        Distance of background patches from everything drawn.
    augmentation
        None changes nothing.
    """

    patch_mm: float
    patch_px: int
    margin_mm: float = 2.0
    augmentation: Augmentation | None = None

    def needs_mask(self, draw: Draw) -> bool:
        """Tell whether this draw's mask must be read: for background places alone."""
        return draw.label == BACKGROUND and draw.x is None and draw.mask_size > 0

    def padding(self) -> dict[str, npt.NDArray[Any]]:
        """Return a patch of weight 0."""
        return {
            "image": np.zeros((1, self.patch_px, self.patch_px), dtype=np.float32),
            "target": np.array(BACKGROUND, dtype=np.int64),
            "weight": np.array(0.0, dtype=np.float32),
        }

    def __call__(
        self,
        draw: Draw,
        image: npt.NDArray[np.uint16],
        mask: npt.NDArray[np.uint8] | None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return image (float32, 1 x P x P), target (int64) and weight.

        A background draw on a film without a free place has weight 0.
        """
        place = None if draw.x is None or draw.y is None else (draw.x, draw.y)
        if place is None and draw.label == BACKGROUND:
            side, margin = self.patch_mm / draw.mm, self.margin_mm / draw.mm
            place = background_place(image, mask, side, margin, draw.seed)
        if place is None:
            return self.padding()
        change = change_for(draw.seed, self.augmentation)
        patch = cut_patch(
            image, draw.mm, *place, patch_mm=self.patch_mm, patch_px=self.patch_px, change=change
        )
        return {
            "image": standardise_patch(change.grey(patch))[None],
            "target": np.array(draw.label, dtype=np.int64),
            "weight": np.array(draw.weight, dtype=np.float32),
        }
