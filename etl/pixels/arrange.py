"""What of a film is kept, and where its standard image lies.

The tissue is grown by 5 mm (2 % of its box where the spacing is unknown), drawn lesions are added,
and the crop is the box of that; on the chest wall's side it ends at the tissue, so that the breast
lies on the left edge. Everything here happens on the coarse view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.pixels.geometry import Patch, draw
from etl.pixels.placement import ORIENTATION, Placement
from etl.pixels.settle import Settled
from etl.pixels.tissue import Tissue, dilated
from schemas.columns import rounded
from schemas.spec import Spec
from schemas.vocabulary import GeometryKind, Orientation

__all__ = ["Kept", "Scale", "keep", "place", "warped"]

_MARGIN_MM = 5.0
_MARGIN_SHARE = 0.02
_OUTLINES = (GeometryKind.MASK, GeometryKind.POLYGON)
_IN_BREAST = 0.1
"""Smallest share of a drawn outline that lies on tissue; below it the outline is suspect."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays visible.

    Parameters
    ----------
    mask
        uint8 (h, w) of the view, 255 where pixels stay.
    box
        Native box x0, y0, x1, y1 of the crop, half-open.
    lesions
        The lesions, those marked suspect that lie on background.
    """

    mask: Bytes
    box: tuple[int, int, int, int]
    lesions: tuple[Settled, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of the standard image and millimetres of its pixels (`mm` is None where unknown)."""

    height: int
    width: int
    mm: float | None


def keep(
    tissue: Tissue,
    lesions: Sequence[Settled],
    size: tuple[int, int],
    spacing: tuple[float, float] | None,
) -> Kept:
    """Return what stays of an image (height, width) whose spacing is (row, column) mm.

    A lesion is suspect where its centre (of a drawn outline: nine tenths of it) lies outside the
    grown tissue; it then adds nothing. Drawn outlines extend what is kept, and so the crop;
    circles, ellipses and boxes do so only within the box of the tissue, because they are coarse.
    """
    mask = dilated(tissue, _margin(tissue, spacing))
    tissue_only = mask.copy()
    x, y, width, height = cv2.boundingRect(tissue_only)
    judged, left, right = [], *_chest_limits(tissue, x, x + width)
    for lesion in lesions:
        patch = _on_view(lesion, tissue.stride, mask.shape)
        if patch is None:
            judged.append(lesion)
        elif _on_background(lesion, patch, tissue_only, tissue.stride):
            judged.append(lesion.suspect())
        else:
            judged.append(lesion)
            grown = _grown(patch, mask.shape)
            if lesion.kind in _OUTLINES:
                box = cv2.boundingRect(grown)
                left, right = min(left, box[0]), max(right, box[0] + box[2])
                mask |= grown
            else:
                inside = (slice(y, y + height), slice(left, right))
                mask[inside] |= grown[inside]
    return Kept(mask, _native_box(mask, left, right, tissue.stride, size), tuple(judged))


def _margin(tissue: Tissue, spacing: tuple[float, float] | None) -> float:
    if spacing is not None:
        return _MARGIN_MM / min(spacing)
    x0, y0, x1, y1 = tissue.box
    return _MARGIN_SHARE * max(x1 - x0, y1 - y0) * tissue.stride


def _chest_limits(tissue: Tissue, left: int, right: int) -> tuple[int, int]:
    # One view pixel more than the tissue: the stride may have cut that much.
    x0, _, x1, _ = tissue.box
    return (max(left, x0 - 1), right) if tissue.chest_left else (left, min(right, x1 + 1))


def _on_view(lesion: Settled, stride: int, shape: tuple[int, ...]) -> Patch | None:
    if lesion.kind is None or not lesion.rings:
        return None
    view = Placement(
        orientation=Orientation.IDENTITY,
        crop_x=0,
        crop_y=0,
        scale_x=1 / stride,
        scale_y=1 / stride,
        native=(shape[0] * stride, shape[1] * stride),
        standard=(shape[0], shape[1]),
    )
    return draw(lesion.kind, lesion.rings, view, (shape[0], shape[1]))


def _on_background(lesion: Settled, patch: Patch, tissue: Bytes, stride: int) -> bool:
    height, width = patch.pixels.shape
    if lesion.kind in _OUTLINES:
        under = tissue[patch.y : patch.y + height, patch.x : patch.x + width][patch.pixels]
        return bool(np.count_nonzero(under) < _IN_BREAST * under.size)
    x0, y0, x1, y1 = lesion.box or (0.0, 0.0, 0.0, 0.0)
    row = min(int((y0 + y1) / 2 / stride), tissue.shape[0] - 1)
    column = min(int((x0 + x1) / 2 / stride), tissue.shape[1] - 1)
    return bool(tissue[row, column] == 0)


def _grown(patch: Patch, shape: tuple[int, ...]) -> Bytes:
    canvas = np.zeros(shape, dtype=np.uint8)
    patch.paint(canvas, 255, (0,))
    return np.asarray(cv2.dilate(canvas, np.ones((3, 3), np.uint8)), dtype=np.uint8)


def _native_box(
    mask: Bytes, left: int, right: int, stride: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    _, y, _, height = cv2.boundingRect(mask)
    bottom = size[0] if y + height >= mask.shape[0] else (y + height) * stride
    last = size[1] if right >= mask.shape[1] else right * stride
    return left * stride, y * stride, min(last, size[1]), min(bottom, size[0])


def _scaled(height: int, width: int, spec: Spec, spacing: tuple[float, float] | None) -> Scale:
    """Return the size of a crop: square pixels of `pixel_mm`, or the long side; never enlarged."""
    if spacing is None:
        factor = min(1.0, spec.long_side / max(height, width))
        return Scale(max(1, round(height * factor)), max(1, round(width * factor)), None)
    target = max(spec.pixel_mm, *spacing)
    rows = min(height, max(1, round(height * spacing[0] / target)))
    columns = min(width, max(1, round(width * spacing[1] / target)))
    return Scale(rows, columns, target)


def place(
    kept: Kept,
    tissue: Tissue,
    turned: Orientation,
    size: tuple[int, int],
    spec: Spec,
    spacing: tuple[float, float] | None,
) -> tuple[Placement, Scale]:
    """Return the placement that crops to the kept box and puts the chest wall on the left."""
    x0, y0, x1, y1 = kept.box
    scale = _scaled(y1 - y0, x1 - x0, spec, spacing)
    mirrored = (not tissue.chest_left, turned in (Orientation.VFLIP, Orientation.ROT180))
    placement = Placement(
        orientation=ORIENTATION[mirrored],
        crop_x=size[1] - x1 if mirrored[0] else x0,
        crop_y=size[0] - y1 if mirrored[1] else y0,
        scale_x=rounded(scale.width / (x1 - x0)),
        scale_y=rounded(scale.height / (y1 - y0)),
        native=size,
        standard=(scale.height, scale.width),
    )
    return placement, scale


def warped(mask: Bytes, placement: Placement, stride: int, every: int = 1) -> Bytes:
    """Return a mask of the view on every `every`-th pixel of the standard grid, uint8 0 or 255."""
    height, width = (int(side) for side in placement.standard)
    rows = placement.to_native([(0.5, y + 0.5) for y in range(0, height, every)])[:, 1]
    columns = placement.to_native([(x + 0.5, 0.5) for x in range(0, width, every)])[:, 0]
    last_row, last_column = mask.shape[0] - 1, mask.shape[1] - 1
    rows = np.clip(rows // stride, 0, last_row).astype(np.intp)
    columns = np.clip(columns // stride, 0, last_column).astype(np.intp)
    return np.asarray(mask[:, columns][rows])
