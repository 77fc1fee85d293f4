"""The outline of a phantom breast: skin line, nipple, pectoral muscle, as analytic curves.

Everything here is drawn with the chest wall on the left edge (x = 0) and the nipple to the right;
`etl.phantoms.film` mirrors a right breast. Coordinates: x right, y down, pixels, origin at the
top-left corner of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Outline", "Patient", "draw_outline", "draw_patient"]

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patient:
    """What both breasts and both views of one patient share.

    Attributes
    ----------
    density
        0 (fat) to 1 (dense): share of glandular tissue.
    size
        0 (small) to 1 (large).
    fat
        Grey level of fat, as a share of the film's range.
    """

    density: float
    size: float
    fat: float

    @property
    def birads_density(self) -> int:
        """Density on the four-step scale, 1 to 4."""
        return min(int(self.density * 4), 3) + 1


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient's shared traits."""
    return Patient(
        density=float(rng.uniform(0, 1)),
        size=float(rng.uniform(0, 1)),
        fat=float(rng.uniform(0.36, 0.46)),
    )


@dataclass(frozen=True)
class Outline:
    """One breast on one film.

    Attributes
    ----------
    skin
        x of the skin line at each row's centre, pixels; 0 or less where no breast is.
    muscle
        x of the pectoral muscle's edge at each row's centre; 0 where there is none.
    nipple
        x, y, radius of the disc that the nipple adds to the breast, pixels.
    """

    skin: Curve
    muscle: Curve
    nipple: tuple[float, float, float]

    def breast(self, width: int) -> npt.NDArray[np.bool_]:
        """Return the breast as a mask, rows x `width`: pixels whose centre is inside."""
        x = np.arange(width) + 0.5
        y = np.arange(len(self.skin)) + 0.5
        nx, ny, radius = self.nipple
        disc = (x[None] - nx) ** 2 + (y[:, None] - ny) ** 2 < radius**2
        return np.asarray((x[None] < self.skin[:, None]) | disc)


def _oblique_skin(
    y: Curve, rng: np.random.Generator, height: int, depth: float
) -> tuple[Curve, float]:
    nipple_y = height * rng.uniform(0.52, 0.62)
    bottom = height * rng.uniform(0.88, 0.97)
    top = depth * rng.uniform(0.42, 0.62)
    rise = (1 - np.cos(np.pi * np.clip(y / nipple_y, 0, 1))) / 2
    fall = np.clip((y - nipple_y) / (bottom - nipple_y), 0, 1)
    lower = depth * (1 - fall ** rng.uniform(2.0, 2.4)) ** 0.55
    return np.where(y < nipple_y, top + (depth - top) * rise, lower), nipple_y


def _straight_skin(
    y: Curve, rng: np.random.Generator, height: int, depth: float
) -> tuple[Curve, float]:
    nipple_y = height * rng.uniform(0.46, 0.54)
    reach = height * rng.uniform(0.34, 0.44, size=2)
    t = np.clip(np.where(y < nipple_y, (nipple_y - y) / reach[0], (y - nipple_y) / reach[1]), 0, 1)
    return depth * (1 - t ** rng.uniform(1.7, 2.1)) ** rng.uniform(0.55, 0.75), nipple_y


def _muscle(y: Curve, rng: np.random.Generator, skin: Curve, height: int) -> Curve:
    across = skin[0] * rng.uniform(0.55, 0.85)
    down = height * rng.uniform(0.30, 0.52)
    edge = np.clip(1 - y / down, 0, 1) ** rng.uniform(0.8, 1.25)
    return np.asarray(np.minimum(across * edge, skin * 0.9), dtype=np.float64)


def draw_outline(
    rng: np.random.Generator, patient: Patient, view: str, shape: tuple[int, int]
) -> Outline:
    """Draw one breast's outline for a film of `shape` (rows, columns).

    One breast in four is cut at the chest wall: a part of it lies beyond the film's left edge.
    """
    height, width = shape
    y = np.arange(height, dtype=np.float64) + 0.5
    depth = width * (0.52 + 0.28 * patient.size + rng.uniform(-0.03, 0.03))
    cut = rng.uniform(0.03, 0.12) * depth if rng.uniform() < 0.25 else 0.0
    draw = _oblique_skin if view == "MLO" else _straight_skin
    skin, nipple_y = draw(y, rng, height, depth)
    waves = rng.uniform(-0.012, 0.012, size=3)
    phases = rng.uniform(0, 2 * np.pi, size=3)
    for k, (wave, phase) in enumerate(zip(waves, phases, strict=True), start=2):
        skin *= 1 + wave * np.sin(2 * np.pi * k * y / height + phase)
    skin -= cut
    muscle = _muscle(y, rng, skin, height) if view == "MLO" else np.zeros(height)
    radius = height * rng.uniform(0.013, 0.018)
    at_nipple = float(skin[min(int(nipple_y), height - 1)])
    return Outline(skin, muscle, (at_nipple - 0.35 * radius, float(nipple_y), float(radius)))
