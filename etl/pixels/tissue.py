"""Where the breast is, on a coarse view of the film, and on which side the chest wall lies.

The rule is chosen by source, never by pixel statistics: a film's background is fog with labels,
tape, wedges and bright scanner edges; a digital image's background is one value. Strided views
are as good as area averages here and a hundred times cheaper than full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from schemas.release import TissueRule

__all__ = ["Tissue", "dilated", "find_tissue", "unspoilt", "view_stride"]

Bytes = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint16]

_VIEW_LONG_SIDE = 512
_FRAME_SHARE = 0.015
"""Outer part of a film that scanner edges spoil; thresholds are chosen without it."""
_FRACTIONS = (0.04, 0.97)
"""A breast covers more and less of its film than this, or it was not found."""
_RIM = ((0.08, 0.04), (0.3, 0.2))
"""What a film's core may grow by: (share of the core's contrast to the fog, share of the long
side). The skin line is faint and near, a dark axilla above a dense breast is clearer and far."""
_ALIKE = 0.65
"""Two sides whose lengths differ by less cannot tell the chest wall from the nipple. Largest ratio
on 158 of 160 mini-MIAS films: 0.41; on the two whose breast fills the film: 0.89."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """The breast on the view.

    Parameters
    ----------
    mask
        uint8 (h, w), 255 on tissue; view pixel (i, j) stands for native rows i*stride to
        (i+1)*stride, columns alike.
    stride
        Native pixels per view pixel.
    chest_left
        The chest wall lies at the left border (of the picture as it was given).
    unsure
        The rule failed; what is connected to the chest wall, or everything, was kept.
    """

    mask: Bytes
    stride: int
    chest_left: bool
    unsure: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounds of the mask in view pixels: x0, y0, x1, y1, half-open."""
        x, y, width, height = cv2.boundingRect(self.mask)
        return x, y, x + width, y + height


def view_stride(shape: tuple[int, int]) -> int:
    """Return the stride that leaves about 512 pixels along the long side, at most 8.

    >>> view_stride((4096, 3328)), view_stride((1024, 1024))
    (8, 2)
    """
    return int(np.clip(max(shape) // _VIEW_LONG_SIDE, 1, 8))


def find_tissue(
    view: Grey,
    rule: TissueRule,
    stride: int = 1,
    invalid: npt.NDArray[np.bool_] | None = None,
    expect_left: bool | None = None,
) -> Tissue:
    """Return the breast of a view in which tissue is brighter than background.

    Parameters
    ----------
    view
        uint16 (h, w), every `stride`-th pixel of the picture.
    rule
        How the source's background looks.
    invalid
        Padding (0028,0120), never tissue.
    expect_left
        Where the chest wall should be, used only where the picture does not tell.
    """
    blurred = cv2.medianBlur(view, 5) if min(view.shape) > 5 else view.copy()
    grey: Grey = np.asarray(blurred, dtype=np.uint16)
    if invalid is not None:
        grey[invalid] = grey.min()
    mask = _RULES[rule](grey)
    low, high = _FRACTIONS
    unsure = not low <= np.count_nonzero(mask) / mask.size <= high
    if unsure:
        mask = _at_chest_wall(grey)
    return Tissue(mask, stride, _chest_is_left(mask, grey, expect_left), unsure)


def unspoilt(tissue: Tissue, rule: TissueRule) -> npt.NDArray[np.bool_]:
    """Return the tissue whose grey levels can be trusted: on films without the scanner's edges."""
    inside = tissue.mask > 0
    if rule is TissueRule.FILM:
        margin = _frame_margin(inside.shape)
        inside[:margin], inside[-margin:] = False, False
        inside[:, :margin], inside[:, -margin:] = False, False
    return inside


def _frame_margin(shape: tuple[int, ...]) -> int:
    return max(1, round(_FRAME_SHARE * min(shape)))


def dilated(tissue: Tissue, radius: float) -> Bytes:
    """Return the tissue grown by `radius` native pixels, on the view, uint8 0 or 255."""
    return _grown(tissue.mask, max(1, int(np.ceil(radius / tissue.stride))))


def _grown(mask: Bytes, radius: int) -> Bytes:
    # By distances, whose cost does not depend on the radius as that of a dilation does.
    if not mask.any():
        return mask.copy()
    return _as_bytes(_distances(mask) <= radius)


def _distances(mask: Bytes) -> npt.NDArray[np.float32]:
    """Return each pixel's distance to the mask, which must not be empty."""
    far = cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far, dtype=np.float32)


def _disc(radius: int) -> Bytes:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)


def _film(grey: Grey) -> Bytes:
    """Find a breast on fog: a sure core by Otsu, then its fainter rim down to the skin line."""
    margin = _frame_margin(grey.shape)
    inner = grey[margin:-margin, margin:-margin]
    otsu = _otsu(inner)
    core = _breast(inner > 0.6 * otsu, opening=4)
    if not core.any():
        return np.zeros(grey.shape, dtype=np.uint8)
    distances = _distances(core)
    fog, spread = _background(inner, core, distances)
    otsu, grown = max(otsu, fog), core > 0
    for contrast, reach in _RIM:
        rim = inner > fog + max(4 * spread, contrast * (otsu - fog))
        near = distances <= max(3, round(reach * max(grey.shape)))
        grown = grown | (rim & near)
    found = _filled(_breast(grown, opening=3))
    if np.count_nonzero(found) > _FRACTIONS[1] * found.size:
        return np.full(grey.shape, 255, dtype=np.uint8)
    return _framed(found, grey, margin, fog + max(4 * spread, _RIM[0][0] * (otsu - fog)))


def _digital(grey: Grey) -> Bytes:
    """Find a breast on a constant background: everything clearly above it."""
    level, spread = _flat_level(grey)
    top = float(np.percentile(grey, 99.5))
    mask = grey > level + max(6 * spread, 0.01 * (top - level), 1.0)
    return _filled(_breast(mask, opening=2))


def _mri(grey: Grey) -> Bytes:
    """Find a breast in air with noise; fat and gland differ much, holes are closed."""
    mask = _as_bytes(grey > 0.4 * _otsu(grey))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(3))
    return _filled(_breast(closed > 0, opening=2))


def _subtraction(grey: Grey) -> Bytes:
    """Find a breast whose mean equals the background's: where grey levels leave the constant."""
    level, _ = _flat_level(grey)
    distance = np.abs(grey.astype(np.float32) - np.float32(level))
    top = float(np.percentile(distance, 99.5))
    mask = _as_bytes(distance > max(1.5 * _calmest_side(distance), 0.01 * top, 1.0))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(6))
    return _filled(_breast(closed > 0, opening=2))


_RULES: dict[TissueRule, Callable[[Grey], Bytes]] = {
    TissueRule.FILM: _film,
    TissueRule.DIGITAL: _digital,
    TissueRule.MRI: _mri,
    TissueRule.SUBTRACTION: _subtraction,
}


def _as_bytes(mask: npt.NDArray[np.bool_]) -> Bytes:
    return mask.view(np.uint8) * np.uint8(255)


def _otsu(grey: Grey) -> float:
    if grey.min() == grey.max():
        return float(grey.max())
    threshold, _ = cv2.threshold(
        np.ascontiguousarray(grey), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU
    )
    return float(threshold)


def _breast(mask: npt.NDArray[np.bool_], opening: int) -> Bytes:
    """Return the largest part of a mask after opening with a disc; empty stays empty."""
    opened = cv2.morphologyEx(
        _as_bytes(np.ascontiguousarray(mask)),
        cv2.MORPH_OPEN,
        _disc(opening),
        borderType=cv2.BORDER_REPLICATE,
    )
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2:
        return np.zeros_like(opened)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return _as_bytes(labels == largest)


def _filled(mask: Bytes) -> Bytes:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros_like(mask)
    cv2.drawContours(out, outlines, -1, 255, cv2.FILLED)
    return out


def _framed(mask: Bytes, grey: Grey, margin: int, floor: float) -> Bytes:
    """Grow a mask of the inner picture into the spoilt frame that it reaches, where that is bright.

    Scanned films often have some blank columns before the chest wall.
    """
    framed = np.pad(mask, margin, mode="edge")
    inner = np.pad(np.ones_like(mask), margin) > 0
    framed[~inner & (grey <= floor)] = 0
    return framed


def _background(grey: Grey, core: Bytes, distances: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return level and spread of what lies far from the core: fog, padding and few labels."""
    values = grey[distances > max(3, round(0.06 * max(grey.shape)))]
    if values.size < 100:
        values = grey[core == 0]
    if not values.size:
        return float(grey.min()), 0.0
    quarter, middle = np.percentile(values, (25, 50))
    return float(middle), float(middle - quarter) * 1.48


def _flat_level(grey: Grey) -> tuple[float, float]:
    """Return level and noise of the background: the commonest grey level of the border."""
    band = max(1, min(grey.shape) // 40)
    border = np.concatenate(
        [grey[:band].ravel(), grey[-band:].ravel(), grey[:, :band].ravel(), grey[:, -band:].ravel()]
    )
    values, counts = np.unique(border, return_counts=True)
    level = float(values[np.argmax(counts)])
    return level, 1.48 * float(np.median(np.abs(border - np.float64(level))))


def _calmest_side(distance: npt.NDArray[np.float32]) -> float:
    """Return how far the background strays: 95 % of the border that strays least is within it.

    The tissue is often a few grey levels of 8 bits away, and so is the noise of a JPEG; one side
    of a mammogram, the nipple's, shows nothing but background.
    """
    band = max(1, min(distance.shape) // 40)
    sides = (distance[:band], distance[-band:], distance[:, :band], distance[:, -band:])
    return min(float(np.percentile(side, 95)) for side in sides)


def _at_chest_wall(grey: Grey) -> Bytes:
    """Return the parts above a low threshold that touch a side; everything where none is left."""
    mask = _as_bytes(grey > 0.5 * _otsu(grey))
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    touching = np.setdiff1d(np.concatenate([labels[:, 0], labels[:, -1]]), [0])
    kept = _as_bytes(np.isin(labels, touching))
    share = np.count_nonzero(kept) / kept.size
    return kept if share >= _FRACTIONS[0] else np.full_like(mask, 255)


def _chest_is_left(mask: Bytes, grey: Grey, expected: bool | None) -> bool:
    """Tell the side of the chest wall: a breast is longest there and ends in a point opposite.

    Measured inside the mask's own box, because scanned films may have blank padding beside the
    chest wall. A breast that fills its film is as long on both sides: there, and only there, what
    the table says decides, or else the brighter half.
    """
    x, y, width, height = cv2.boundingRect(mask)
    part = mask[y : y + height, x : x + width] > 0
    band = max(1, width // 12)
    left, right = float(part[:, :band].mean()), float(part[:, -band:].mean())
    if min(left, right) < _ALIKE * max(left, right):
        return left > right
    if expected is not None:
        return expected
    half = max(1, width // 2)
    inside = grey[y : y + height, x : x + width]
    return bool(inside[:, :half].mean() >= inside[:, -half:].mean())
