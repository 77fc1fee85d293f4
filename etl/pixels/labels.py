"""The mask of a sample, drawn from its row and lesions: the kernel and `validate` share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.pixels.geometry import Patch, draw
from etl.pixels.placement import Placement
from schemas.sample import (
    MASK_BENIGN,
    MASK_IGNORE,
    MASK_MALIGNANT,
    MASK_NONE,
    MASK_UNKNOWN,
    MASK_VALUE,
)
from schemas.vocabulary import GeometryKind, LesionFlag, Pathology

__all__ = ["POINT_DISC_MM", "draw_labels"]

POINT_DISC_MM = 2.5
"""Radius of the disc that is ignored about a point mark, whose extent nobody drew."""

_WEAKER = {
    MASK_IGNORE: (MASK_NONE,),
    MASK_BENIGN: (MASK_NONE, MASK_IGNORE),
    MASK_UNKNOWN: (MASK_NONE, MASK_IGNORE, MASK_BENIGN),
    MASK_MALIGNANT: (MASK_NONE, MASK_IGNORE, MASK_BENIGN, MASK_UNKNOWN),
}
"""What each value may paint over, whatever the order of the lesions: the worse wins."""


def draw_labels(
    row: Mapping[str, Any], lesions: Iterable[Mapping[str, Any]]
) -> npt.NDArray[np.uint8]:
    """Return the mask (height, width), uint8 with the values of `schemas.sample`.

    Parameters
    ----------
    row
        A manifest row (or KEY.json): size, orientation, crop, scale and mm_eff are used.
    lesions
        The sample's rows of the lesions table.
    """
    placement = Placement.from_row(row)
    canvas = np.zeros((int(row["height"]), int(row["width"])), dtype=np.uint8)
    for lesion in lesions:
        patch = _patch(lesion, placement, canvas.shape, POINT_DISC_MM / row["mm_eff"])
        if patch is not None:
            value = _value(lesion)
            patch.paint(canvas, value, _WEAKER[value])
    return canvas


def _patch(
    lesion: Mapping[str, Any], placement: Placement, shape: tuple[int, ...], radius: float
) -> Patch | None:
    rings = lesion["rings_native"]
    if rings is None or not len(rings):
        return None
    plain = [tuple((float(x), float(y)) for x, y in ring) for ring in rings]
    kind = GeometryKind(lesion["geometry_kind"])
    return draw(kind, plain, placement, (shape[0], shape[1]), radius)


def _value(lesion: Mapping[str, Any]) -> int:
    suspect = LesionFlag.SUSPECT in list(lesion["flags"])
    if suspect or lesion["geometry_kind"] == GeometryKind.POINT:
        return MASK_IGNORE
    return MASK_VALUE[Pathology(lesion["pathology"])]
