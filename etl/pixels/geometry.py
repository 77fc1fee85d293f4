"""Shapes to outlines, outlines to pixels, and areas.

One rule everywhere: a pixel belongs to a shape when its centre does (even-odd over all rings,
half-open at the right and lower border). Masks are traced along pixel edges (`etl.pixels.trace`),
so outlines are the one form in which lesions are kept, mapped and drawn again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etl.pixels.placement import Floats, Placement
from schemas.film import Geometry, Ring
from schemas.vocabulary import GeometryKind

__all__ = ["Bools", "Patch", "area", "bounds", "clip", "draw", "fill", "outline", "rasterise"]

Bools = npt.NDArray[np.bool_]
Bounds = tuple[float, float, float, float]

_CHORD_ERROR = 0.02
"""Largest distance in native pixels between a curve and the polygon that stands for it."""

_MAX_VERTICES = 512

_AREA_CELLS = 256
"""Cells along the long side of a shape when its area is counted: error below 0.5 %."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A piece of a boolean picture: `pixels` (h, w), its corner at column `x`, row `y`."""

    x: int
    y: int
    pixels: Bools

    def paint(self, canvas: npt.NDArray[np.uint8], value: int, over: Sequence[int]) -> None:
        """Set the canvas to `value` where the patch is true and the canvas holds one of `over`."""
        height, width = self.pixels.shape
        part = canvas[self.y : self.y + height, self.x : self.x + width]
        allowed = np.zeros(256, dtype=bool)
        allowed[list(over)] = True
        part[self.pixels & allowed[part]] = value


def outline(geometry: Geometry) -> tuple[Ring, ...]:
    """Return the rings of a shape in its own pixels.

    Circles and ellipses become polygons within 0.02 pixel of the curve; a point is one ring of one
    point; a mask has no outline of its own (`trace` it).
    """
    kind, values = geometry.kind, geometry.values
    if kind in (GeometryKind.POLYGON, GeometryKind.POLYLINE):
        return geometry.rings
    if kind is GeometryKind.CIRCLE:
        return (_ellipse(values[0], values[1], values[2], values[2], 0.0),)
    if kind is GeometryKind.ELLIPSE:
        return (_ellipse(*values),)
    if kind is GeometryKind.BOX:
        x0, y0, x1, y1 = values
        return (((x0, y0), (x1, y0), (x1, y1), (x0, y1)),)
    if kind is GeometryKind.POINT:
        return (((values[0], values[1]),),)
    raise ValueError("a mask has no outline of its own: trace its pixels")


def _ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float) -> Ring:
    radius = max(abs(rx), abs(ry), _CHORD_ERROR)
    wanted = (
        math.pi / math.acos(max(0.0, 1 - _CHORD_ERROR / radius)) if radius > _CHORD_ERROR else 8
    )
    count = min(_MAX_VERTICES, max(16, 4 * math.ceil(wanted / 4)))
    turn, angles = math.radians(degrees), np.arange(count) * (2 * math.pi / count)
    # Vertices lie outside the curve as far as chords lie inside, so that the area is the curve's.
    grow = math.sqrt((2 * math.pi / count) / math.sin(2 * math.pi / count))
    u, v = rx * grow * np.cos(angles), ry * grow * np.sin(angles)
    x = cx + u * math.cos(turn) - v * math.sin(turn)
    y = cy + u * math.sin(turn) + v * math.cos(turn)
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def bounds(kind: GeometryKind, rings: Iterable[Ring]) -> Bounds:
    """Return the box (x0, y0, x1, y1) of rings; a point's box is 1 x 1 about it."""
    points = np.array([point for ring in rings for point in ring], dtype=np.float64)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    if kind is GeometryKind.POINT:
        return float(x0 - 0.5), float(y0 - 0.5), float(x1 + 0.5), float(y1 + 0.5)
    return float(x0), float(y0), float(x1), float(y1)


def rasterise(
    geometry: Geometry, placement: Placement | None, shape: tuple[int, int], point_radius: float = 0
) -> Bools:
    """Return a shape as pixels of the standard grid.

    Parameters
    ----------
    geometry
        Any kind but `mask`, in native pixels.
    placement
        Native to standard; None draws in the native grid.
    shape
        (height, width) of the picture.
    point_radius
        Radius of a point's disc in pixels of the picture; 0 marks the one pixel.

    Returns
    -------
    ndarray
        bool (height, width). A shape that touches the picture has at least one pixel.
    """
    return _whole(draw(geometry.kind, outline(geometry), placement, shape, point_radius), shape)


def _whole(patch: Patch | None, shape: tuple[int, int]) -> Bools:
    out = np.zeros(shape, dtype=bool)
    if patch is not None:
        height, width = patch.pixels.shape
        out[patch.y : patch.y + height, patch.x : patch.x + width] = patch.pixels
    return out


def draw(
    kind: GeometryKind,
    rings: Sequence[Ring],
    placement: Placement | None,
    shape: tuple[int, int],
    point_radius: float = 0,
) -> Patch | None:
    """Return native rings as a patch of the standard grid, or None where they miss the picture."""
    moved = [np.array(ring, dtype=np.float64).reshape(-1, 2) for ring in rings]
    if placement is not None:
        moved = [placement.to_standard(ring) for ring in moved]
    if kind is GeometryKind.POINT and point_radius > 0:
        x, y = moved[0][0]
        moved = [np.array(_ellipse(x, y, point_radius, point_radius, 0.0))]
    patch = _curves(moved, shape) if kind is GeometryKind.POLYLINE else fill(moved, shape)
    return patch if patch is None or patch.pixels.any() else _one_pixel(moved, shape)


def _one_pixel(rings: Sequence[Floats], shape: tuple[int, int]) -> Patch | None:
    points = np.concatenate(rings)
    x, y = (points.min(axis=0) + points.max(axis=0)) / 2
    column = min(max(math.floor(x), 0), shape[1] - 1)
    row = min(max(math.floor(y), 0), shape[0] - 1)
    if abs(x - column - 0.5) > 1 or abs(y - row - 0.5) > 1:
        return None
    return Patch(column, row, np.ones((1, 1), dtype=bool))


def _curves(rings: Sequence[Floats], shape: tuple[int, int]) -> Patch | None:
    steps = []
    for ring in rings:
        steps.append(ring[-1:])
        for start, end in itertools.pairwise(ring):
            count = max(1, math.ceil(4 * float(np.abs(end - start).max())))
            steps.append(start + (end - start) * (np.arange(count) / count)[:, None])
    cells = np.floor(np.concatenate(steps)).astype(np.int64)
    inside = (cells >= 0).all(axis=1) & (cells < (shape[1], shape[0])).all(axis=1)
    cells = cells[inside]
    if not len(cells):
        return None
    x, y = cells.min(axis=0)
    width, height = cells.max(axis=0) - (x, y) + 1
    pixels = np.zeros((height, width), dtype=bool)
    pixels[cells[:, 1] - y, cells[:, 0] - x] = True
    return Patch(int(x), int(y), pixels)


def fill(rings: Sequence[Floats], shape: tuple[int, int]) -> Patch | None:
    """Return the pixels whose centres lie inside closed rings, even-odd; None beyond it.

    Every edge toggles, in each row whose centre line it crosses, all pixels to its right; a
    running parity along the row is the even-odd rule. Cost grows with the outline, not the area.
    """
    points = np.concatenate(rings)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
    x1 = min(math.ceil(points[:, 0].max()), shape[1])
    y1 = min(math.ceil(points[:, 1].max()), shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    starts = points - (x0, y0)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]) - (x0, y0)
    toggles = _crossings(starts, ends, int(y1 - y0), int(x1 - x0))
    parity = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1]
    return Patch(int(x0), int(y0), parity.astype(bool))


def _crossings(starts: Floats, ends: Floats, height: int, width: int) -> npt.NDArray[np.uint8]:
    first = np.ceil(np.minimum(starts[:, 1], ends[:, 1]) - 0.5).clip(0, height).astype(np.int64)
    last = np.ceil(np.maximum(starts[:, 1], ends[:, 1]) - 0.5).clip(0, height).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    row = first[edge] + offset
    dx, dy = (ends - starts)[edge].T
    x = starts[edge, 0] + (row + 0.5 - starts[edge, 1]) * dx / dy
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), dtype=np.uint8)
    np.bitwise_xor.at(toggles, (row, column), 1)
    return toggles


def area(kind: GeometryKind, rings: Sequence[Ring]) -> float:
    """Return the area inside rings, even-odd, in their own square pixels; 0 for points and lines.

    Exact for outlines along pixel edges; within 0.5 % for others.
    """
    if kind in (GeometryKind.POINT, GeometryKind.POLYLINE) or not rings:
        return 0.0
    x0, y0, x1, y1 = bounds(kind, rings)
    long_side = max(x1 - x0, y1 - y0)
    if long_side <= 0:
        return 0.0
    finer = math.ceil(_AREA_CELLS / long_side)
    corner = np.floor((x0, y0))
    moved = [(np.array(ring, dtype=np.float64) - corner) * finer for ring in rings]
    shape = (math.ceil((y1 - corner[1]) * finer) + 1, math.ceil((x1 - corner[0]) * finer) + 1)
    patch = fill(moved, shape)
    return 0.0 if patch is None else float(patch.pixels.sum()) / finer**2


def clip(kind: GeometryKind, rings: Sequence[Ring], size: tuple[int, int]) -> tuple[Ring, ...]:
    """Return rings cut at the border of an image of (height, width); empty where nothing is left.

    Closed rings by Sutherland and Hodgman (1974); open curves and points lose the points outside.
    """
    height, width = size
    if kind in (GeometryKind.POINT, GeometryKind.POLYLINE):
        kept = (
            tuple((x, y) for x, y in ring if 0 <= x <= width and 0 <= y <= height) for ring in rings
        )
        return tuple(ring for ring in kept if ring)
    out = []
    for ring in rings:
        points = list(ring)
        for axis, limit, sign in (
            (0, 0.0, 1),
            (0, float(width), -1),
            (1, 0.0, 1),
            (1, float(height), -1),
        ):
            points = _cut(points, axis, limit, sign)
        if (
            len(points) >= 3
            and bounds(kind, [tuple(points)])[2:] != bounds(kind, [tuple(points)])[:2]
        ):
            out.append(tuple(points))
    return tuple(out)


def _cut(
    points: list[tuple[float, float]], axis: int, limit: float, sign: int
) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for previous, point in zip(points[-1:] + points[:-1], points, strict=True):
        inside, was_inside = sign * (point[axis] - limit) >= 0, sign * (previous[axis] - limit) >= 0
        if inside != was_inside:
            share = (limit - previous[axis]) / (point[axis] - previous[axis])
            other = previous[1 - axis] + share * (point[1 - axis] - previous[1 - axis])
            out.append((limit, other) if axis == 0 else (other, limit))
        if inside:
            out.append(point)
    return out
