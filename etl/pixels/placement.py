"""`Placement`: the one map between native and standard pixels; nobody else multiplies a coordinate.

A placement first orients (mirrors along x and/or y), then crops, then scales. All coordinates are
*corner* coordinates: the origin is the top-left corner of the top-left pixel, whose centre lies at
(0.5, 0.5); so mirroring is `x -> width - x`, and every map here is exact up to float rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.vocabulary import Orientation

__all__ = ["ORIENTATION", "Floats", "Placement", "combine"]

Floats = npt.NDArray[np.float64]

_MIRRORED = {
    Orientation.IDENTITY: (False, False),
    Orientation.HFLIP: (True, False),
    Orientation.VFLIP: (False, True),
    Orientation.ROT180: (True, True),
}
ORIENTATION = {mirrored: orientation for orientation, mirrored in _MIRRORED.items()}
"""(mirrored along x, mirrored along y) to its word."""


def combine(first: Orientation, then: Orientation) -> Orientation:
    """Return the orientation that does both.

    >>> combine(Orientation.ROT180, Orientation.HFLIP).value
    'vflip'
    """
    a, b = _MIRRORED[first], _MIRRORED[then]
    return ORIENTATION[a[0] != b[0], a[1] != b[1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a standard image lies on its native one.

    Parameters
    ----------
    orientation
        What is done to the native pixels first.
    crop_x, crop_y
        Corner of the crop in the oriented native image, native pixels.
    scale_x, scale_y
        Standard pixels per native pixel.
    native
        (height, width) of the native image.
    standard
        (height, width) of the standard image.
    """

    orientation: Orientation
    crop_x: float
    crop_y: float
    scale_x: float
    scale_y: float
    native: tuple[float, float]
    standard: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse a scale that cannot be undone: `ValueError`."""
        if not (self.scale_x > 0 and self.scale_y > 0):
            raise ValueError(f"scale must be positive, got {(self.scale_x, self.scale_y)}")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Placement:
        """Return the placement that a manifest row or KEY.json describes."""
        scale_x, scale_y = row["scale"]
        return cls(
            orientation=Orientation(row["orientation"]),
            crop_x=float(row["crop_x"]),
            crop_y=float(row["crop_y"]),
            scale_x=float(scale_x),
            scale_y=float(scale_y),
            native=(row["native_height"], row["native_width"]),
            standard=(row["height"], row["width"]),
        )

    @property
    def mirrored(self) -> tuple[bool, bool]:
        """Whether x and whether y run backwards."""
        return _MIRRORED[self.orientation]

    def to_standard(self, points: npt.ArrayLike) -> Floats:
        """Return native points (..., 2) as standard points (..., 2), float64 (x, y)."""
        out = np.array(points, dtype=np.float64)
        mirrored_x, mirrored_y = self.mirrored
        if mirrored_x:
            out[..., 0] = self.native[1] - out[..., 0]
        if mirrored_y:
            out[..., 1] = self.native[0] - out[..., 1]
        out -= (self.crop_x, self.crop_y)
        out *= (self.scale_x, self.scale_y)
        return out

    def to_native(self, points: npt.ArrayLike) -> Floats:
        """Return standard points (..., 2) as native points (..., 2), float64 (x, y)."""
        out = np.array(points, dtype=np.float64)
        out /= (self.scale_x, self.scale_y)
        out += (self.crop_x, self.crop_y)
        mirrored_x, mirrored_y = self.mirrored
        if mirrored_x:
            out[..., 0] = self.native[1] - out[..., 0]
        if mirrored_y:
            out[..., 1] = self.native[0] - out[..., 1]
        return out

    def box_to_standard(
        self, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """Return a native box (x0, y0, x1, y1), half-open, as a standard one."""
        return _box(self.to_standard([box[:2], box[2:]]))

    def box_to_native(
        self, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """Return a standard box (x0, y0, x1, y1), half-open, as a native one."""
        return _box(self.to_native([box[:2], box[2:]]))

    def inverse(self) -> Placement:
        """Return the placement that leads from standard back to native."""
        mirrored_x, mirrored_y = self.mirrored
        crop_x, crop_y = -self.crop_x * self.scale_x, -self.crop_y * self.scale_y
        if mirrored_x:
            crop_x = self.standard[1] - self.scale_x * (self.native[1] - self.crop_x)
        if mirrored_y:
            crop_y = self.standard[0] - self.scale_y * (self.native[0] - self.crop_y)
        return Placement(
            orientation=self.orientation,
            crop_x=crop_x,
            crop_y=crop_y,
            scale_x=1 / self.scale_x,
            scale_y=1 / self.scale_y,
            native=self.standard,
            standard=self.native,
        )

    def compose(self, then: Placement) -> Placement:
        """Return the placement that does this one and `then`, whose native is our standard."""
        mirrored_x, mirrored_y = then.mirrored
        return Placement(
            orientation=combine(self.orientation, then.orientation),
            crop_x=_crop(
                self.native[1], self.crop_x, self.scale_x, then.native[1], then.crop_x, mirrored_x
            ),
            crop_y=_crop(
                self.native[0], self.crop_y, self.scale_y, then.native[0], then.crop_y, mirrored_y
            ),
            scale_x=self.scale_x * then.scale_x,
            scale_y=self.scale_y * then.scale_y,
            native=self.native,
            standard=then.standard,
        )


def _crop(
    size: float, crop: float, scale: float, then_size: float, then_crop: float, mirrored: bool
) -> float:
    # Mirroring after a crop equals mirroring before it with the crop counted from the other end.
    if mirrored:
        return size - crop - (then_size - then_crop) / scale
    return crop + then_crop / scale


def _box(corners: Floats) -> tuple[float, float, float, float]:
    low, high = corners.min(axis=0), corners.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
