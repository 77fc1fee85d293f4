"""Dynamic MRI of both breasts: axial slices before and after contrast, and a focus in each breast.

Both foci follow the same laws of size, place, brightness and depth, and lie in the same slices: a
spiculated one that the release calls a cancer, and a smooth one in the other breast of which it
says nothing. So a difference between the breasts lies in their shapes alone.

Slices are drawn as they hang: anterior up, the patient's left at the right border. The body is
fat-suppressed: fat is dim, glands, muscle and skin are brighter, lungs are dark; contrast brightens
glands a little, the heart and vessels a lot, and a focus by a multiple of its glands' texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.lesions import Lesion, Plan, draw_lesion, draw_plan
from etl.phantoms.texture import FloatImage, generator, power_law, smoothstep, strands

__all__ = ["Focus", "Volume", "draw_volume"]

_UPTAKE = (0.0, 1.0, 0.95, 0.88, 0.8)
"""Contrast in a focus by phase: fast, then washing out."""
_NOISE = 0.012
_OTHER = {"L": "R", "R": "L"}


@dataclass(frozen=True)
class Focus:
    """One enhancing focus.

    Attributes
    ----------
    side, pathology, form
        `L` or `R`; `malignant` or `benign`; the drawn shape's word.
    mask
        bool (slices, rows, columns).
    """

    side: str
    pathology: str
    form: str
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Volume:
    """A study as it hangs, slices from foot to head.

    Attributes
    ----------
    phases
        float32 (slices, rows, columns) each, about 0 to 1.5; noise included.
    breasts
        bool (rows, columns) by side: where a slice of the middle shows the breast, not the chest.
    nipples
        x, y by side, corner coordinates.
    foci
        That of the breast with cancer first.
    """

    phases: tuple[FloatImage, ...]
    breasts: dict[str, npt.NDArray[np.bool_]]
    nipples: dict[str, list[float]]
    foci: tuple[Focus, ...]


@dataclass(frozen=True)
class _Body:
    """Shape of one woman, in millimetres from the middle of the image's upper border."""

    fov: float
    depth: float
    width: float
    apart: float
    wall: float


def draw_volume(
    seed: int,
    key: str,
    side: str,
    *,
    matrix: int,
    count: int,
    fov_mm: float,
    slice_mm: float,
    num_phases: int = len(_UPTAKE),
) -> Volume:
    """Draw one woman with a cancer in the breast `side`.

    Parameters
    ----------
    seed, key
        Name the woman: the same ones give the same study.
    matrix, count
        Rows and columns of a slice; slices.
    fov_mm, slice_mm
        Field of view along rows and columns; distance of slices.
    num_phases
        One before contrast, up to four after it.
    """
    rng = generator(seed, "mri", key, "body")
    body = _Body(
        fov=fov_mm,
        depth=fov_mm * rng.uniform(0.24, 0.34),
        width=fov_mm * rng.uniform(0.16, 0.19),
        apart=fov_mm * rng.uniform(0.20, 0.23),
        wall=fov_mm * 0.52,
    )
    before, gland, vessels, heart = _anatomy(generator(seed, "mri", key, "tissue"), body, matrix)
    middle = int(generator(seed, "mri", key, "depth").integers(count // 2 - 1, count // 2 + 2))
    foci, added = [], np.zeros((count, matrix, matrix), np.float32)
    for where in (side, _OTHER[side]):
        pathology = "malignant" if where == side else "benign"
        breast = _breast(body, matrix, where, 0.0) & ~_chest(body, matrix)
        focus, height = _focus(
            (seed, key, where), body, breast, where, pathology, middle, (count, slice_mm)
        )
        foci.append(focus)
        added += height
    phases = []
    for phase in range(num_phases):
        noise = generator(seed, "mri", key, "noise", phase)
        phases.append(
            _phase(noise, phase, body, count, slice_mm, before, gland, vessels, heart, added)
        )
    return Volume(
        phases=tuple(phases),
        breasts={where: _breast(body, matrix, where, 0.0) for where in ("L", "R")},
        nipples={where: _nipple(body, matrix, where) for where in ("L", "R")},
        foci=tuple(foci),
    )


def _grid(body: _Body, matrix: int) -> tuple[FloatImage, FloatImage]:
    along = (np.arange(matrix, dtype=np.float32) + np.float32(0.5)) * np.float32(body.fov / matrix)
    return along[None] - np.float32(body.fov / 2), along[:, None]


def _breast(
    body: _Body, matrix: int, side: str, height: float, below: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Return one breast at a height (-1 lower to 1 upper end), to `below` mm behind its base."""
    x, y = _grid(body, matrix)
    centre = body.apart if side == "L" else -body.apart
    round_off = np.sqrt(max(1 - height * height, 0.05))
    across = (x - np.float32(centre)) / np.float32(body.width * (0.75 + 0.25 * round_off))
    up = np.minimum(y - np.float32(body.wall), 0) / np.float32(body.depth * round_off)
    return np.asarray((across * across + up * up <= 1) & (y <= np.float32(body.wall + below)))


def _nipple(body: _Body, matrix: int, side: str) -> list[float]:
    centre = body.apart if side == "L" else -body.apart
    per_mm = matrix / body.fov
    return [(centre + body.fov / 2) * per_mm, (body.wall - body.depth) * per_mm]


def _chest(body: _Body, matrix: int) -> npt.NDArray[np.bool_]:
    x, y = _grid(body, matrix)
    across = x / np.float32(0.44 * body.fov)
    down = (y - np.float32(0.75 * body.fov)) / np.float32(0.27 * body.fov)
    return np.asarray(across * across + down * down <= 1)


def _ellipse(body: _Body, matrix: int, shape: tuple[float, float, float, float]) -> FloatImage:
    """Return a soft ellipse of centre x, y and radii, all in shares of the field of view."""
    x, y = _grid(body, matrix)
    cx, cy, rx, ry = (np.float32(part * body.fov) for part in shape)
    far = np.hypot((x - cx) / rx, (y - cy) / ry).astype(np.float32)
    return smoothstep(-far, -1.1, -0.9)


def _anatomy(
    rng: np.random.Generator, body: _Body, matrix: int
) -> tuple[FloatImage, tuple[FloatImage, FloatImage], FloatImage, FloatImage]:
    """Return the chest before contrast, two fields of gland, vessels and the heart."""
    per_mm = matrix / body.fov
    shape = (matrix, matrix)
    muscle = 0.42 + 0.03 * power_law(shape, rng, per_mm, longest_mm=40.0)
    lungs = np.maximum(
        _ellipse(body, matrix, (-0.2, 0.78, 0.13, 0.15)),
        _ellipse(body, matrix, (0.2, 0.78, 0.13, 0.15)),
    )
    heart = _ellipse(body, matrix, (0.07, 0.68, 0.11, 0.08))
    chest = np.asarray(muscle * (1 - 0.85 * lungs * (1 - heart)), dtype=np.float32)
    gland = tuple(power_law(shape, rng, per_mm, longest_mm=60.0) for _ in range(2))
    vessels = strands(shape, rng, per_mm, width=0.06)
    return chest, (gland[0], gland[1]), vessels, heart


def _phase(
    rng: np.random.Generator,
    phase: int,
    body: _Body,
    count: int,
    slice_mm: float,
    chest: FloatImage,
    gland: tuple[FloatImage, FloatImage],
    vessels: FloatImage,
    heart: FloatImage,
    foci: FloatImage,
) -> FloatImage:
    matrix = chest.shape[0]
    out = np.empty((count, matrix, matrix), np.float32)
    thorax = _chest(body, matrix)
    uptake = _UPTAKE[phase]
    late = np.float32(0.08 * min(phase, 1) + 0.03 * phase)
    for number in range(count):
        height = 1.6 * (number + 0.5 - count / 2) / count
        breasts = np.logical_or(*(_breast(body, matrix, side, height, 60.0) for side in "LR"))
        turn = number * slice_mm / 25.0
        field = np.float32(np.cos(turn)) * gland[0] + np.float32(np.sin(turn)) * gland[1]
        density = smoothstep(np.asarray(field, dtype=np.float32), -0.3, 1.2)
        blurred = cv2.GaussianBlur(breasts.astype(np.float32), (0, 0), 0.012 * matrix)
        inside = np.asarray(blurred, dtype=np.float32)
        skin = breasts & (inside < 0.85)
        tissue = 0.16 + 0.34 * density * smoothstep(inside, 0.75, 1.0) + 0.15 * skin
        tissue += late * (0.5 * density + 0.2 * skin) + uptake * 0.12 * vessels
        trunk = chest + uptake * (0.55 * heart + 0.03)
        image = np.where(thorax, trunk, np.where(breasts, tissue, np.float32(0)))
        image += np.float32(uptake) * foci[number]
        out[number] = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.6)
    out += np.float32(_NOISE) * rng.standard_normal(out.shape, dtype=np.float32)
    return out


def _focus(
    name: tuple[int, str, str],
    body: _Body,
    breast: npt.NDArray[np.bool_],
    side: str,
    pathology: str,
    middle: int,
    depth: tuple[int, float],
) -> tuple[Focus, FloatImage]:
    """Draw a focus: its shape in the middle slice, smaller ones above and below."""
    seed, key, where = name
    count, slice_mm = depth
    matrix = breast.shape[0]
    per_mm = matrix / body.fov
    plan = draw_plan(generator(seed, "mri", key, where, "plan"), "mass")
    room = cv2.distanceTransform(breast.astype(np.uint8), cv2.DIST_L2, 5) / per_mm
    radius = min(plan.radius_mm, 0.8 * float(room.max()))
    spots = np.argwhere(room >= radius + 2.0)
    if not len(spots):
        spots = np.argwhere(room >= room.max() - 1.0)
    row, column = spots[generator(seed, "mri", key, where, "site").integers(len(spots))]
    reach = min(radius, slice_mm * (count / 2 - 1.6))
    mask = np.zeros((count, matrix, matrix), np.bool_)
    added = np.zeros((count, matrix, matrix), np.float32)
    form = ""
    for number in range(count):
        share = 1 - ((number - middle) * slice_mm / reach) ** 2
        if share <= 0:
            continue
        part = Plan("mass", radius * float(np.sqrt(share)), plan.contrast)
        shape = generator(seed, "mri", key, where, "shape")
        lesion = draw_lesion(shape, part, pathology, per_mm, tiny=part.radius_mm * per_mm < 2.5)
        _put(lesion, int(row), int(column), mask[number], added[number])
        form = lesion.form if number == middle else form
    return Focus(side, pathology, form, mask), added


def _put(
    lesion: Lesion, row: int, column: int, mask: npt.NDArray[np.bool_], added: FloatImage
) -> None:
    half = lesion.mask.shape[0] // 2
    top, left = row - half, column - half
    rows = slice(max(top, 0), min(top + 2 * half, mask.shape[0]))
    columns = slice(max(left, 0), min(left + 2 * half, mask.shape[1]))
    part = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    mask[rows, columns] |= lesion.mask[part]
    height = np.float32(0.11 * lesion.contrast) * lesion.profile[part]
    added[rows, columns] = np.maximum(added[rows, columns], height)
