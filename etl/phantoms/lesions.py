"""Lesion shapes: smooth masses, spiculated masses, calcification clusters.

A shape is rendered four times finer than the film and averaged down, so that a pixel's coverage
is known; the truth mask is every pixel that is covered by half or more. Size, elongation and
place are drawn before the pathology, from the same laws for both, so that only the shape tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.texture import FloatImage

__all__ = ["Lesion", "Plan", "draw_lesion", "draw_plan"]

FINE = 4
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What is decided about a lesion before its pathology.

    Attributes
    ----------
    kind
        `mass` or `calcification`.
    radius_mm
        Radius of the circle that encloses it, millimetres.
    contrast
        Height above its surroundings, in standard deviations of the local texture.
    """

    kind: str
    radius_mm: float
    contrast: float


@dataclass(frozen=True)
class Lesion:
    """A rendered lesion in a square window.

    Attributes
    ----------
    kind, pathology
        `mass` or `calcification`; `benign` or `malignant`.
    profile
        float32, n x n, height above the surroundings in units of `contrast`: 1 in a mass, up to 2
        in a calcification.
    mask
        bool, n x n, the truth.
    form
        The drawn shape's word: round, oval, lobulated, spiculated, cluster_round, cluster_linear.
    contrast
        As planned.
    """

    kind: str
    pathology: str
    profile: FloatImage
    mask: npt.NDArray[np.bool_]
    form: str
    contrast: float


def draw_plan(rng: np.random.Generator, kind: str | None = None) -> Plan:
    """Draw kind, size and contrast of one lesion."""
    chosen = kind or ("mass" if rng.uniform() < 0.75 else "calcification")
    radius = float(np.exp(rng.uniform(np.log(4.5), np.log(12.0))))
    return Plan(chosen, radius, float(rng.uniform(3.5, 5.5)))


def draw_lesion(
    rng: np.random.Generator, plan: Plan, pathology: str, px_per_mm: float, *, tiny: bool = False
) -> Lesion:
    """Render a planned lesion.

    Parameters
    ----------
    px_per_mm
        Pixels per millimetre of the film.
    tiny
        Draw a plain disc whatever the plan says (for circles of a few pixels).

    Returns
    -------
    Lesion whose window is centred on the planned centre; its side is even.
    """
    radius = plan.radius_mm * px_per_mm
    half = int(np.ceil(radius)) + 2
    canvas = np.zeros((2 * half * FINE, 2 * half * FINE), np.uint8)
    centre = half * FINE
    if tiny:
        _fill(canvas, _polar(_angles(), np.full(360, 1.0)) * radius * FINE + centre)
        return _finish(canvas, plan, pathology, "round", radius, px_per_mm)
    if plan.kind == "mass":
        draw = _spiculated if pathology == "malignant" else _smooth
        form = draw(rng, canvas, radius * FINE, centre)
        return _finish(canvas, plan, pathology, form, radius, px_per_mm)
    return _cluster(rng, canvas, plan, pathology, radius, px_per_mm)


def _angles() -> Points:
    return np.arange(360, dtype=np.float64) * (2 * np.pi / 360)


def _polar(theta: Points, r: Points) -> Points:
    return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=-1)


def _fill(canvas: npt.NDArray[np.uint8], points: Points, value: int = 255) -> None:
    fixed = np.rint((points - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], value, lineType=cv2.LINE_8, shift=4)


def _smooth(
    rng: np.random.Generator, canvas: npt.NDArray[np.uint8], radius: float, centre: float
) -> str:
    theta = _angles()
    turn = rng.uniform(0, np.pi)
    aspect = rng.uniform(0.50, 0.85)
    r = aspect / np.hypot(aspect * np.cos(theta - turn), np.sin(theta - turn))
    form = "round" if aspect > 0.76 else "oval"
    if rng.uniform() < 0.45:
        form = "lobulated"
        r = r * (1 + 0.12 * np.cos(int(rng.integers(3, 5)) * theta + rng.uniform(0, 2 * np.pi)))
    _fill(canvas, _polar(theta, r / r.max()) * radius + centre)
    return form


def _spiculated(
    rng: np.random.Generator, canvas: npt.NDArray[np.uint8], radius: float, centre: float
) -> str:
    theta = _angles()
    r = np.ones_like(theta)
    for k in (2, 3, 5, 7):
        r = r * (1 + rng.uniform(0.02, 0.05) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)))
    parts = [_polar(theta, rng.uniform(0.66, 0.73) * r / r.max())]
    count = int(rng.integers(8, 12))
    start = rng.uniform(0, 2 * np.pi)
    for k in range(count):
        angle = start + (k + rng.uniform(-0.3, 0.3)) * 2 * np.pi / count
        reach = 1.0 if k % 4 == 0 else rng.uniform(0.86, 1.0)
        parts.append(_spicule(rng, angle, reach))
    squeeze = _squeeze(rng.uniform(0, np.pi), rng.uniform(0.84, 1.0))
    for part in parts:
        _fill(canvas, part @ squeeze * radius + centre)
    return "spiculated"


def _squeeze(turn: float, aspect: float) -> Points:
    """Return the symmetric matrix that shortens one direction to `aspect`."""
    axis = np.array([np.cos(turn), np.sin(turn)])
    return np.asarray(np.eye(2) - (1 - aspect) * np.outer(axis, axis), dtype=np.float64)


def _spicule(rng: np.random.Generator, angle: float, reach: float) -> Points:
    """Return the outline of one tapering, slightly bent spicule of unit scale."""
    along = np.linspace(0.4, reach, 12)
    width = rng.uniform(0.13, 0.17) * (1 - (along - 0.4) / (reach - 0.4)) + 0.012
    bend = rng.uniform(-0.35, 0.35) * (along - 0.4) ** 2
    left = np.stack([along, bend + width], axis=1)
    right = np.stack([along, bend - width], axis=1)[::-1]
    outline = np.concatenate([left, right])
    # A bent tip must not leave the enclosing circle.
    outline *= np.minimum(1, 1 / np.hypot(outline[:, 0], outline[:, 1]))[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(outline @ np.array([[cos, sin], [-sin, cos]]), dtype=np.float64)


def _coverage(canvas: npt.NDArray[np.uint8]) -> FloatImage:
    side = canvas.shape[0] // FINE
    small = cv2.resize(canvas.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small / 255, dtype=np.float32)


def _finish(
    canvas: npt.NDArray[np.uint8],
    plan: Plan,
    pathology: str,
    form: str,
    radius: float,
    px_per_mm: float,
) -> Lesion:
    cover = _coverage(canvas)
    edge = min(0.25 * px_per_mm, 0.04 * radius)
    blurred = cv2.GaussianBlur(cover, (0, 0), edge) if edge > 0.3 else cover
    profile = np.asarray(blurred, dtype=np.float32)
    return Lesion(plan.kind, pathology, profile, cover >= 0.5, form, plan.contrast)


def _cluster(
    rng: np.random.Generator,
    canvas: npt.NDArray[np.uint8],
    plan: Plan,
    pathology: str,
    radius: float,
    px_per_mm: float,
) -> Lesion:
    """Draw calcifications inside a region outline, over a faint density of the same outline."""
    centre = canvas.shape[0] / 2
    _smooth(rng, canvas, radius * FINE, centre)
    region = _coverage(canvas)
    budget = 0.14 * float(region.sum())
    paint = np.zeros_like(canvas)
    inner = cv2.erode(canvas, np.ones((3, 3), np.uint8), iterations=int(0.10 * radius * FINE))
    spots = np.argwhere(inner > 0)[:, ::-1].astype(np.float64) + 0.5
    draw = _linear_grain if pathology == "malignant" else _round_grain
    for _ in range(60):
        draw(rng, paint, spots[rng.integers(len(spots))], px_per_mm * FINE)
        if int((paint > 0).sum()) / FINE**2 >= budget:
            break
    paint = np.where(canvas > 0, paint, 0).astype(np.uint8)
    haze = cv2.GaussianBlur(region, (0, 0), 0.06 * radius + 0.5)
    grains = cv2.GaussianBlur(_coverage(paint), (0, 0), max(0.12 * px_per_mm, 0.3))
    profile = np.maximum(np.float32(0.8) * haze, np.float32(2.0) * grains)
    form = "cluster_linear" if pathology == "malignant" else "cluster_round"
    return Lesion(plan.kind, pathology, profile, region >= 0.5, form, plan.contrast)


def _round_grain(
    rng: np.random.Generator, paint: npt.NDArray[np.uint8], at: Points, fine_per_mm: float
) -> None:
    r = rng.uniform(0.85, 1.15) * fine_per_mm
    _fill(paint, _polar(_angles(), np.full(360, r)) + at)


def _linear_grain(
    rng: np.random.Generator, paint: npt.NDArray[np.uint8], at: Points, fine_per_mm: float
) -> None:
    angle = rng.uniform(0, 2 * np.pi)
    width = max(int(rng.uniform(0.45, 0.65) * fine_per_mm), 1)
    tip = at
    for _ in range(int(rng.integers(2, 5))):
        angle += rng.uniform(-0.6, 0.6)
        step = rng.uniform(1.2, 3.0) * fine_per_mm
        end = tip + step * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(round(c * 16) for c in p) for p in (tip, end)]
        cv2.line(paint, ends[0], ends[1], 255, width, cv2.LINE_8, 4)
        tip = end
