"""Breast-like films without lesions: tissue, muscle, skin line, nipple, film base.

A film is drawn as grey levels in [0, 1], 1 brightest (MONOCHROME2 sense). Lesions are put in
afterwards (`etl.phantoms.insert`), markers last (`etl.phantoms.marks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.anatomy import Outline, Patient, draw_outline, draw_patient
from etl.phantoms.texture import FloatImage, generator, power_law, smoothstep, strands

__all__ = ["Film", "draw_ffdm", "draw_film"]

Mask = npt.NDArray[np.bool_]


@dataclass
class Film:
    """A drawn film in its final orientation, and what is true of it.

    Attributes
    ----------
    image
        float32, rows x columns, grey levels in [0, 1].
    breast, muscle
        True masks of the breast (muscle included) and of the pectoral muscle.
    nipple
        x, y of the nipple's tip, pixels, corner coordinates.
    skin
        N x 2 array of x, y along the skin line, pixels, corner coordinates.
    px_per_mm
        Pixels per millimetre.
    side, view
        `L` or `R`; `CC` or `MLO`.
    """

    image: FloatImage
    breast: Mask
    muscle: Mask
    nipple: tuple[float, float]
    skin: npt.NDArray[np.float64]
    px_per_mm: float
    side: str
    view: str


def draw_film(
    seed: int,
    patient: Patient,
    path: tuple[int | str, ...],
    shape: tuple[int, int],
    *,
    side: str,
    view: str,
    px_per_mm: float | None = None,
    base: float = 0.03,
) -> Film:
    """Draw one film without lesions.

    Parameters
    ----------
    seed, path
        Name the random streams of this film.
    shape
        Rows, columns.
    px_per_mm
        Pixels per millimetre; by default the breast's long side measures 204.8 mm, the nominal
        breast of films whose spacing is unknown.
    base
        Grey level of film base and fog outside the breast.
    """
    outline = draw_outline(generator(seed, *path, "outline"), patient, view, shape)
    breast = outline.breast(shape[1])
    scale = px_per_mm or _long_side(breast) / 204.8
    image = _tissue(generator(seed, *path, "tissue"), patient, outline, breast, scale)
    rng = generator(seed, *path, "base")
    fog = base * (1 + 0.25 * power_law(shape, rng, scale, exponent=5.0, longest_mm=120.0))
    image = np.where(breast, image, np.clip(fog, 0.004, 0.3))
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    image = np.asarray(blurred, dtype=np.float32)
    image += rng.standard_normal(shape, dtype=np.float32) * np.float32(0.005)
    return _oriented(image, outline, breast, scale, side, view)


def _long_side(breast: Mask) -> int:
    rows, columns = breast.any(axis=1), breast.any(axis=0)
    return int(max(np.flatnonzero(rows)[-1] - np.flatnonzero(rows)[0], columns.sum()) + 1)


def _tissue(
    rng: np.random.Generator, patient: Patient, outline: Outline, breast: Mask, px_per_mm: float
) -> FloatImage:
    shape = (breast.shape[0], breast.shape[1])
    depth = cv2.distanceTransform(breast.astype(np.uint8), cv2.DIST_L2, 5) / np.float32(px_per_mm)
    rim = np.clip(depth / 18.0, 0, 1)
    thickness = 0.26 + 0.74 * np.sqrt(1 - (1 - rim) ** 2)
    texture = power_law(shape, rng, px_per_mm)
    gland = _gland(rng, patient, outline, shape, px_per_mm)
    lines = strands(shape, rng, px_per_mm)
    body = patient.fat + (0.16 + 0.08 * patient.density) * gland
    body = body + 0.05 * _clouds(rng, shape, px_per_mm)
    body = body + texture * (0.030 + 0.008 * gland) + lines * (0.03 + 0.02 * gland)
    tissue = thickness * body + 0.04 * np.exp(-(((depth - 1.0) / 0.6) ** 2))
    muscle = _muscle_weight(outline, shape[1], px_per_mm)
    tissue = tissue * (1 - muscle) + muscle * (0.76 + 0.03 * texture)
    return _shoulder(tissue.astype(np.float32))


def _clouds(rng: np.random.Generator, shape: tuple[int, int], px_per_mm: float) -> FloatImage:
    """Draw the soft shading of overlapping tissue, mean 0, standard deviation about 1."""
    small = (shape[0] // 4 + 1, shape[1] // 4 + 1)
    field = power_law(small, rng, px_per_mm / 4, exponent=6.0, longest_mm=32.0)
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _gland(
    rng: np.random.Generator,
    patient: Patient,
    outline: Outline,
    shape: tuple[int, int],
    px_per_mm: float,
) -> FloatImage:
    nx, ny, _ = outline.nipple
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    across = (x - np.float32(nx * 0.55)) / np.float32(nx * 0.42)
    down = (y - np.float32(ny)) / np.float32(shape[0] * 0.22)
    cone = 1 - np.sqrt(across * across + down * down)
    field = power_law(shape, rng, px_per_mm, exponent=5.0, longest_mm=40.0)
    return smoothstep(cone + 0.45 * field + np.float32(1.3 * patient.density - 0.75), -0.5, 0.6)


def _muscle_weight(outline: Outline, width: int, px_per_mm: float) -> FloatImage:
    x = np.arange(width, dtype=np.float32)[None] + np.float32(0.5)
    inside = outline.muscle[:, None].astype(np.float32) - x
    return smoothstep(inside, -1.0 * px_per_mm, 1.0 * px_per_mm) * (outline.muscle > 0)[:, None]


def _shoulder(value: FloatImage) -> FloatImage:
    """Compress the bright end as film does, strictly rising, never above 0.97."""
    knee, span = np.float32(0.70), np.float32(0.27)
    bright = knee + span * np.tanh((value - knee) / span)
    return np.where(value > knee, bright, np.maximum(value, np.float32(0.01)))


def _oriented(
    image: FloatImage, outline: Outline, breast: Mask, px_per_mm: float, side: str, view: str
) -> Film:
    rows, width = breast.shape
    x = np.arange(width) + 0.5
    muscle = (x[None] < outline.muscle[:, None]) & breast
    nx, ny, radius = outline.nipple
    y = np.arange(rows) + 0.5
    on = outline.skin > 0
    skin = np.stack([outline.skin[on], y[on]], axis=1)
    tip = nx + radius
    if side == "R":
        image = np.ascontiguousarray(image[:, ::-1])
        breast, muscle = breast[:, ::-1].copy(), muscle[:, ::-1].copy()
        skin, tip = np.stack([width - skin[:, 0], skin[:, 1]], axis=1), width - tip
    return Film(image, breast, muscle, (tip, ny), skin, px_per_mm, side, view)


def draw_ffdm(
    shape: tuple[int, int] = (4096, 3328), bits: int = 12, seed: int = 0
) -> tuple[npt.NDArray[np.uint16], Mask]:
    """Draw a digital mammogram "for presentation": background exactly 0, no markers.

    Returns
    -------
    image
        uint16, rows x columns, 0 to 2**bits - 1, chest wall on the left.
    breast
        bool mask of the same shape.
    """
    patient = draw_patient(generator(seed, "ffdm", "patient"))
    film = draw_film(seed, patient, ("ffdm",), shape, side="L", view="CC", px_per_mm=14.3)
    levels = np.clip(film.image, 0.01, 1) * np.float32(2**bits - 1)
    return np.where(film.breast, np.rint(levels), 0).astype(np.uint16), film.breast
