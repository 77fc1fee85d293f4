"""A drawn mask's outline as a person would click it: fractional pixels, corner coordinates."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["border", "contour"]

_FINER = 4


def contour(mask: npt.NDArray[np.bool_], tolerance: float = 0.2) -> list[list[float]]:
    """Return the outer outline of a mask's largest part as [x, y], the first point not repeated.

    Parameters
    ----------
    mask
        bool, rows x columns.
    tolerance
        Pixels by which the outline may leave the mask's edge where points are spared.
    """
    ys, xs = np.nonzero(mask)
    y0, x0 = int(ys.min()), int(xs.min())
    part = mask[y0 : int(ys.max()) + 1, x0 : int(xs.max()) + 1].astype(np.uint8)
    fine = np.pad(np.kron(part, np.ones((_FINER, _FINER), np.uint8)), 1)
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(outlines, key=cv2.contourArea)
    spared = cv2.approxPolyDP(longest, tolerance * _FINER, closed=True)
    points = (spared.reshape(-1, 2).astype(np.float64) - 1 + 0.5) / _FINER + (x0, y0)
    return [[round(float(x), 6), round(float(y), 6)] for x, y in points]


def border(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the border pixels of a mask as (column, row), in turn.

    The grains of a cluster are one lesion and get one border, about their convex hull.
    """
    picture = mask.astype(np.uint8)
    if cv2.connectedComponents(picture)[0] > 2:
        hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
        cv2.fillConvexPoly(picture, hull, 1)
    outlines, _ = cv2.findContours(picture, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(outlines, key=lambda points: (cv2.contourArea(points), len(points)))
    return [(int(x), int(y)) for x, y in longest.reshape(-1, 2)]
