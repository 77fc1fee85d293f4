"""What else lies on a film: plates and letters of side and view, scratches, scan edges, wedges.

Markers are drawn after the breast has its final orientation, never on breast tissue, and from a
random stream that knows nothing of lesions.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.film import Film
from etl.phantoms.texture import FloatImage

__all__ = ["film_letters", "lead_plate", "scan_edges", "scratches", "wedge"]


def _free(film: Film, margin_mm: float = 5.0) -> npt.NDArray[np.bool_]:
    """Return the pixels at least `margin_mm` off the breast."""
    air = (~film.breast).astype(np.uint8)
    distance = cv2.distanceTransform(air, cv2.DIST_L2, 3)
    return np.asarray(distance > margin_mm * film.px_per_mm)


def _stamp(film: Film, patch: FloatImage, alpha: FloatImage, x: int, y: int) -> None:
    """Blend a patch into the film at x, y where no breast is; it may hang over the edge."""
    rows, columns = film.image.shape
    y0, x0 = max(y, 0), max(x, 0)
    y1, x1 = min(y + patch.shape[0], rows), min(x + patch.shape[1], columns)
    if y1 <= y0 or x1 <= x0:
        return
    part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    weight = alpha[part] * _free(film)[y0:y1, x0:x1]
    here = film.image[y0:y1, x0:x1]
    film.image[y0:y1, x0:x1] = here * (1 - weight) + patch[part] * weight


def _text(lines: list[str], height: int, thickness: int) -> npt.NDArray[np.uint8]:
    """Render lines of capitals, white on black, each `height` pixels tall."""
    scale = height / 22.0
    font = cv2.FONT_HERSHEY_DUPLEX
    sizes = [cv2.getTextSize(line, font, scale, thickness)[0] for line in lines]
    pad = height // 3 + 1
    width = max(size[0] for size in sizes) + 2 * pad
    canvas = np.zeros(((height + pad) * len(lines) + pad, width), np.uint8)
    for k, line in enumerate(lines):
        at = ((width - sizes[k][0]) // 2, (height + pad) * (k + 1))
        cv2.putText(canvas, line, at, font, scale, 255, thickness, cv2.LINE_AA)
    return canvas


def _outer_x(film: Film, width: int, inset: int) -> int:
    """Return the left x of something `width` wide that stands at the film's outer edge."""
    return film.image.shape[1] - width - inset if film.side == "L" else inset


def lead_plate(rng: np.random.Generator, film: Film) -> None:
    """Stick a bright plate with mirrored dark letters and a number on the film (MIAS)."""
    height = max(int(5.0 * film.px_per_mm), 6)
    text = _text([film.side, "ML"], height, max(height // 8, 1))[:, ::-1]
    plate = np.asarray(0.93 - 0.85 * text.astype(np.float32) / 255, np.float32)
    inset = int(rng.uniform(-0.3, 0.9) * plate.shape[1])
    y = int(rng.uniform(-0.4, 0.12) * plate.shape[0] * 2)
    x = _outer_x(film, plate.shape[1], inset)
    _stamp(film, plate, np.ones_like(plate), x, y)
    number = _text([f"{int(rng.integers(1, 40))}"], height, max(height // 8, 1))[:, ::-1]
    glow = np.asarray(number.astype(np.float32) / 255, np.float32)
    level = np.full_like(glow, rng.uniform(0.25, 0.7))
    _stamp(film, level, glow, x, y + int(plate.shape[0] * rng.uniform(1.3, 2.0)))


def film_letters(rng: np.random.Generator, film: Film) -> None:
    """Expose bright letters such as RCC, turned by some angle, near the outer corner."""
    height = max(int(rng.uniform(5.0, 8.0) * film.px_per_mm), 8)
    text = _text([film.side + film.view], height, max(height // 5, 1))
    side = int(np.hypot(text.shape[0], text.shape[1])) + 2
    square = np.zeros((side, side), np.uint8)
    rows, columns = text.shape[0], text.shape[1]
    y, x = (side - rows) // 2, (side - columns) // 2
    square[y : y + rows, x : x + columns] = text
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-50, 50), 1)
    turned = cv2.warpAffine(square, turn, (side, side))
    glow = np.asarray(turned.astype(np.float32) / 255, np.float32)
    level = np.full_like(glow, rng.uniform(0.55, 0.95))
    inset = int(rng.uniform(-0.1, 0.3) * side)
    _stamp(film, level, glow, _outer_x(film, side, inset), int(rng.uniform(0, 0.12) * side * 4))


def scratches(rng: np.random.Generator, film: Film) -> None:
    """Draw up to three thin scratches and some dust outside the breast."""
    layer = np.zeros(film.image.shape, np.uint8)
    rows, columns = film.image.shape[0], film.image.shape[1]
    for _ in range(int(rng.integers(0, 4))):
        x, y = int(rng.integers(0, columns)), int(rng.integers(0, rows))
        ends = (x + int(rng.normal(0, 8)), y + int(rng.uniform(0.1, 0.5) * rows))
        cv2.line(layer, (x, y), ends, 255, 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(3, 12))):
        at = (int(rng.integers(0, columns)), int(rng.integers(0, rows)))
        cv2.circle(layer, at, int(rng.integers(0, 2)), 255, -1)
    glow = layer.astype(np.float32) / 255 * np.float32(rng.uniform(0.1, 0.4))
    film.image += glow * _free(film, 2.0)


def scan_edges(rng: np.random.Generator, film: Film) -> None:
    """Leave white strips along some film edges, as a scanner sees past the film.

    Breast tissue under a strip is lost, and the film's breast mask says so.
    """
    rows, columns = film.image.shape
    for edge in ("top", "bottom", "outer"):
        if rng.uniform() < 0.45:
            continue
        share = rng.uniform(0.002, 0.010)
        thick = max(int(share * (rows if edge != "outer" else columns)), 1)
        strip = {
            "top": np.s_[:thick, :],
            "bottom": np.s_[-thick:, :],
            "outer": np.s_[:, -thick:] if film.side == "L" else np.s_[:, :thick],
        }[edge]
        film.image[strip] = np.float32(rng.uniform(0.97, 1.0))
        film.breast[strip] = False
        film.muscle[strip] = False


def wedge(rng: np.random.Generator, film: Film) -> None:
    """Print a grey step wedge along the outer edge of some films."""
    if rng.uniform() < 0.7:
        return
    height = int(35 * film.px_per_mm)
    steps = np.linspace(0.15, 0.8, 7, dtype=np.float32)
    ramp = np.repeat(steps, -(-height // 7))[:height]
    patch = np.tile(ramp[:, None], (1, max(int(4.5 * film.px_per_mm), 2)))
    y = int(film.image.shape[0] * rng.uniform(0.70, 0.80))
    x = _outer_x(film, patch.shape[1], int(0.02 * film.image.shape[1]))
    _stamp(film, patch, np.ones_like(patch), x, y)
