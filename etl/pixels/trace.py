"""A mask's outline along pixel edges: rings of corners, even-odd, holes included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etl.pixels.geometry import Bools
from schemas.film import Ring

__all__ = ["trace"]

Ints = npt.NDArray[np.int64]


def trace(mask: Bools, x: int = 0, y: int = 0) -> tuple[Ring, ...]:
    """Return the rings of a boolean mask (h, w) whose top-left pixel is (x, y).

    Filling the rings by the pixel-centre rule gives the mask back exactly. Corners only: between
    two of them an outline runs straight, alternately along x and along y. Therefore the sorted
    corners of one grid line, taken in pairs, are its straight pieces, along rows and columns alike.
    """
    rows, columns = _corners(mask)
    if not len(rows):
        return ()
    along_x = _partners(np.lexsort((columns, rows)))
    along_y = _partners(np.lexsort((rows, columns)))
    rings = _walk(along_x, along_y)
    points = np.stack([columns + x, rows + y], axis=1).astype(np.float64).tolist()
    return tuple(tuple((points[i][0], points[i][1]) for i in ring) for ring in rings)


def _corners(mask: Bools) -> tuple[Ints, Ints]:
    """Return grid points where an outline turns; two for each point where it touches itself."""
    padded = np.pad(mask, 1).view(np.uint8)
    horizontal = padded[:, 1:] ^ padded[:, :-1]
    turns = horizontal[1:] ^ horizontal[:-1]
    touches = horizontal[1:] & horizontal[:-1] & (padded[1:, 1:] ^ padded[:-1, 1:])
    rows, columns = np.nonzero(turns | touches)
    twice = np.where(touches[rows, columns] > 0, 2, 1)
    return np.repeat(rows, twice), np.repeat(columns, twice)


def _partners(order: Ints) -> Ints:
    # Stable sorting keeps a doubled corner's copies in order: the first ends the piece before it,
    # the second begins the piece after it, along both axes.
    partner = np.empty(len(order), dtype=np.int64)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner


def _walk(along_x: Ints, along_y: Ints) -> list[list[int]]:
    next_x, next_y = along_x.tolist(), along_y.tolist()
    seen = bytearray(len(next_x))
    rings = []
    for start in range(len(next_x)):
        if seen[start]:
            continue
        ring: list[int] = []
        corner = start
        while not seen[corner]:
            partner = next_x[corner]
            seen[corner] = seen[partner] = 1
            ring += (corner, partner)
            corner = next_y[partner]
        rings.append(ring)
    return rings
