"""Shapes of the drawer's truth on the standard grid, by arithmetic of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.e2e.truth import Row, point_to_standard

__all__ = ["bounds", "doubtful", "expected_mask", "share_of"]

Outline = Mapping[str, Any]
Points = Sequence[tuple[float, float]]
_FINER = 8
_TIE = 0.08
_AROUND = np.linspace(0, 2 * np.pi, 720, endpoint=False)


def corners(kind: str, outline: Outline) -> list[Points]:
    """Return a drawn shape as rings in native pixels."""
    if outline.get("rings"):
        return [[(float(x), float(y)) for x, y in ring] for ring in outline["rings"]]
    values = [float(value) for value in outline["values"]]
    if kind == "box":
        x0, y0, x1, y1 = values
        return [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]
    if kind == "point":
        x, y = values
        return [[(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]]
    x, y, *radii = values
    across, down, degrees = [*(radii * 2)[:2], 0.0] if kind == "circle" else radii
    turn = np.deg2rad(degrees)
    u, v = across * np.cos(_AROUND), down * np.sin(_AROUND)
    xs = x + u * np.cos(turn) - v * np.sin(turn)
    ys = y + u * np.sin(turn) + v * np.cos(turn)
    return [list(zip(xs.tolist(), ys.tolist(), strict=True))]


def bounds(kind: str, outline: Outline, height: int, width: int) -> list[float]:
    """Return x0, y0, x1, y1 of a shape, cut at the border of its image."""
    points = [point for ring in corners(kind, outline) for point in ring]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return [
        max(min(xs), 0.0),
        max(min(ys), 0.0),
        min(max(xs), float(width)),
        min(max(ys), float(height)),
    ]


def share_of(kind: str, outline: Outline, row: Row) -> npt.NDArray[np.float64]:
    """Return the share of each standard pixel that a shape covers (even-odd), in 64ths."""
    from matplotlib.path import Path

    height, width = row["height"], row["width"]
    inside = np.zeros((height * _FINER, width * _FINER), bool)
    for ring in corners(kind, outline):
        points = np.array([point_to_standard(x, y, row) for x, y in ring])
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, (width, height))
        if (high <= low).any():
            continue
        x, y = (
            (np.arange(first * _FINER, last * _FINER) + 0.5) / _FINER
            for first, last in zip(low, high, strict=True)
        )
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        part = (slice(low[1] * _FINER, high[1] * _FINER), slice(low[0] * _FINER, high[0] * _FINER))
        inside[part] ^= Path(points).contains_points(grid).reshape(len(y), len(x))
    return inside.reshape(height, _FINER, width, _FINER).mean(axis=(1, 3))


def doubtful(
    shares: Sequence[tuple[str, npt.NDArray[np.float64]]], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return the pixels that a lesion covers by half, which may be drawn or not.

    An outline clicked on whole pixels runs through their centres and halves most pixels on it.
    """
    found = np.zeros(shape, bool)
    for _, share in shares:
        found |= np.abs(share - 0.5) < _TIE
    return found


def expected_mask(
    shares: Sequence[tuple[str, npt.NDArray[np.float64]]], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Return the mask that lesions (pathology, share) make: the worse over the milder."""
    mask = np.zeros(shape, np.uint8)
    for value, words in ((1, ("benign",)), (3, ("unknown", "normal")), (2, ("malignant",))):
        for pathology, share in shares:
            if pathology in words:
                mask[share >= 0.5] = value
    return mask
