"""Grey levels to 16 bits: the file's VOI, the tissue's own range, or nothing but the full range.

`choose` decides, `Levels.apply` does it in one pass over the pixels: straight lines by one fused
multiply-add that saturates, every other function through a table of all stored values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from etl.pixels.decode import Picture
from etl.readers.luts import LookupTable, Rescale, Window, WindowFunction
from schemas.release import TissueRule
from schemas.vocabulary import WindowKind

__all__ = ["Levels", "choose", "tissue_range"]

WHITE = 65535
_TAILS = (0.1, 99.9)
"""Percentiles inside the tissue that become black and white."""

_WINDOWED_BITS = 8
"""Releases that publish windowed pixels do so in 8 bits."""

_FLOAT32_LIMIT = 2.0**21
"""OpenCV multiplies in float32, which has quarters up to here; steeper lines go through a table."""

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """A map from stored values to 0..65535.

    Parameters
    ----------
    kind
        Where the window came from.
    window
        The levels on the modality's scale that become 0 and 65535 (for a sigmoid: centre -+ half
        the width; for a table: its first and last input). Falling for inverted pictures.
    slope, offset
        Of the straight line, where there is no table.
    table
        uint16, by stored value (negative ones at the end, as two's complement puts them).
    blank
        Stored values that become 0 whatever the map says: smallest and largest padding value.
    """

    kind: WindowKind
    window: tuple[float, float]
    slope: float = 0.0
    offset: float = 0.0
    table: npt.NDArray[np.uint16] | None = None
    blank: tuple[int, int] | None = None

    def apply(self, pixels: Numbers) -> npt.NDArray[np.uint16]:
        """Return stored values (h, w) as uint16 (h, w)."""
        if self.table is None:
            out = cv2.addWeighted(pixels, self.slope, pixels, 0, self.offset, dtype=cv2.CV_16U)
        else:
            out = cv2.LUT(pixels.view(f"u{pixels.itemsize}"), self.table)
        if self.blank is not None:
            out[cv2.inRange(pixels, self.blank[0], self.blank[1]) > 0] = 0
        return np.asarray(out, dtype=np.uint16)


def choose(
    picture: Picture,
    wanted: Literal["device", "tissue", "none"],
    already_windowed: bool,
    tissue: tuple[float, float],
) -> Levels:
    """Return the map that a spec asks for.

    Parameters
    ----------
    wanted
        `Spec.window`. `device` without a legal VOI in the file is `tissue`.
    already_windowed
        The release's pixels are windowed: `device` leaves those of 8 bits alone. Deeper ones
        are of another edition, which was not windowed; a VOI that misses their tissue, such as one
        for 8 bits in a file of 16 (CMMD's D1-1343), is `tissue` too, and one of their whole
        range is none.
    tissue
        Range inside the tissue on the modality's scale, from `tissue_range`.
    """
    windowed = already_windowed and picture.bits_stored <= _WINDOWED_BITS
    if wanted == "none" or (wanted == "device" and windowed):
        return _straight(picture, WindowKind.NONE, _full_range(picture))
    if wanted == "tissue" or picture.voi is None:
        return _straight(picture, WindowKind.TISSUE, tissue)
    device = _device(picture, picture.voi)
    if already_windowed and _misses(device.window, tissue):
        return _straight(picture, WindowKind.TISSUE, tissue)
    if already_windowed and _is_whole(device.window, _full_range(picture)):
        return _straight(picture, WindowKind.NONE, _full_range(picture))
    return device


def _is_whole(window: tuple[float, float], whole: tuple[float, float]) -> bool:
    """Say whether a window leaves every level where it is, whatever its function's name."""
    return abs(min(window) - whole[0]) <= 1 and abs(max(window) - whole[1]) <= 1


def _misses(window: tuple[float, float], tissue: tuple[float, float]) -> bool:
    """Say whether the tissue's brightest level is far above a window, or in its lowest eighth."""
    low, high = sorted(window)
    share = (tissue[1] - low) / max(high - low, 1.0)
    return not 1 / 8 <= share <= 3 / 2


def tissue_range(
    levels: Numbers, inside: npt.NDArray[np.bool_], rule: TissueRule
) -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentiles inside the tissue.

    A subtraction image is dark and bright about a constant background; its range is centred there.
    """
    values = levels[inside] if inside.any() else levels.ravel()
    if rule is TissueRule.SUBTRACTION and not inside.all():
        middle = float(np.median(levels[~inside]))
        half = float(np.percentile(np.abs(values - middle), _TAILS[1]))
        low, high = middle - half, middle + half
    else:
        low, high = (float(level) for level in np.percentile(values, _TAILS))
    return (low, high) if high > low else (low, low + 1.0)


def _full_range(picture: Picture) -> tuple[float, float]:
    top = 2**picture.bits_stored - 1
    signed = picture.array.dtype.kind == "i"
    low = -(2 ** (picture.bits_stored - 1)) if signed else 0
    ends = picture.modality.apply(np.array([low, low + top]))
    return float(ends.min()), float(ends.max())


def _device(picture: Picture, voi: Window | LookupTable) -> Levels:
    """Return the file's own VOI: PS3.3 C.11.2.1.2 (windows), C.11.2.1.1 (tables)."""
    if isinstance(voi, LookupTable):
        ends = (float(voi.first), float(voi.first + len(voi.values) - 1))
        return _tabled(picture, WindowKind.DEVICE, ends, voi)
    if voi.function is WindowFunction.SIGMOID or voi.width == 1:
        ends = (voi.center - voi.width / 2, voi.center + voi.width / 2)
        return _tabled(picture, WindowKind.DEVICE, ends, voi)
    exact = voi.function is WindowFunction.LINEAR_EXACT
    middle = voi.center if exact else voi.center - 0.5
    half = (voi.width if exact else voi.width - 1) / 2
    return _straight(picture, WindowKind.DEVICE, (middle - half, middle + half))


def _straight(picture: Picture, kind: WindowKind, window: tuple[float, float]) -> Levels:
    low, high = window[::-1] if picture.inverted else window
    if isinstance(picture.modality, Rescale):
        slope = WHITE * picture.modality.slope / (high - low)
        offset = WHITE * (picture.modality.intercept - low) / (high - low)
        if max(abs(slope) * 2**picture.bits_stored, abs(offset)) < _FLOAT32_LIMIT:
            blank = picture.padding
            if blank is not None and max(slope * blank[0], slope * blank[1]) + offset < 0.5:
                blank = None
            return Levels(kind=kind, window=(low, high), slope=slope, offset=offset, blank=blank)
    middle, width = (window[0] + window[1]) / 2, window[1] - window[0]
    return _tabled(picture, kind, window, Window(middle, width, WindowFunction.LINEAR_EXACT))


def _tabled(
    picture: Picture, kind: WindowKind, window: tuple[float, float], voi: Window | LookupTable
) -> Levels:
    whole = np.arange(1 << (8 * picture.array.itemsize), dtype=np.int64)
    stored = whole.astype(f"u{picture.array.itemsize}").view(picture.array.dtype)
    share = voi.apply(picture.modality.apply(stored))
    if isinstance(voi, LookupTable):
        share = share / (2**voi.bits - 1)
    if picture.inverted:
        share = 1 - share
    table = np.rint(np.clip(share, 0, 1) * WHITE).astype(np.uint16)
    if picture.padding is not None:
        table[(stored >= picture.padding[0]) & (stored <= picture.padding[1])] = 0
    low, high = window[::-1] if picture.inverted else window
    return Levels(kind=kind, window=(low, high), table=table)
