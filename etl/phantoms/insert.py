"""Putting a lesion into a film in place of what was there, not on top of it.

A bright blob that is simply added raises the mean, the spread and the maximum of its film and of
its patch, and a network learns those instead of the lesion. Here the coarse texture of a disc is
taken out, the lesion's profile is put in its place over the fine texture, and the result is scaled
so that mean and standard deviation of the lesion's box are nearly what they were (`BOLD`,
`BRIGHT`), within the extremes of the disc. A box, a patch or a film then has the same brightness,
spread and range with a lesion and without, with a benign and with a malignant one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.film import Film
from etl.phantoms.lesions import Lesion, Plan
from etl.phantoms.texture import FloatImage, smoothstep

__all__ = ["REACH", "Site", "allowed", "find_site", "insert"]

REACH = 1.75
"""Radius of the disc that is redrawn, in radii of the lesion's enclosing circle."""

BOLD, BRIGHT = 1.15, 0.15
"""Spread of a lesion's box in terms of what it was, and its rise in old spreads: a little above
what the box had, which is lost among the differences between boxes of healthy tissue."""


@dataclass(frozen=True)
class Site:
    """Where a lesion goes.

    Attributes
    ----------
    x, y
        Centre, whole pixels, corner coordinates: a pixel corner, not a pixel centre.
    radius
        Radius of the enclosing circle, pixels.
    """

    x: int
    y: int
    radius: float


def allowed(film: Film, radius: float, taken: list[Site]) -> npt.NDArray[np.bool_]:
    """Return the pixels at which a lesion of `radius` pixels may be centred.

    The disc to be redrawn must lie inside breast tissue, off the pectoral muscle and off the
    discs of other lesions. Background patches for a fair comparison come from the same pixels.
    """
    tissue = (film.breast & ~film.muscle).astype(np.uint8)
    for site in taken:
        cv2.circle(tissue, (site.x, site.y), int(np.ceil(REACH * site.radius)) + 2, 0, -1)
    framed = cv2.copyMakeBorder(tissue, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    room = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(room > REACH * radius + 2)


def find_site(
    rng: np.random.Generator, film: Film, plan: Plan, taken: list[Site]
) -> tuple[Site, Plan] | None:
    """Choose a place uniformly among those allowed; a lesion too large for the breast shrinks.

    Returns
    -------
    The site and the plan with the radius that fits, or None where not even 2 mm fit.
    """
    radius_mm = plan.radius_mm
    position = rng.uniform()
    smallest = min(2.0, radius_mm) * 0.99
    while radius_mm > smallest:
        places = np.flatnonzero(allowed(film, radius_mm * film.px_per_mm, taken))
        if len(places):
            y, x = divmod(int(places[int(position * len(places))]), film.breast.shape[1])
            site = Site(x, y, radius_mm * film.px_per_mm)
            return site, Plan(plan.kind, radius_mm, plan.contrast)
        radius_mm *= 0.85
    return None


def insert(film: Film, lesion: Lesion, site: Site) -> npt.NDArray[np.bool_]:
    """Redraw the film around `site` with `lesion`; return the lesion's mask at film size.

    The film's image is changed in place.
    """
    reach = int(np.ceil(REACH * site.radius)) + 1
    window = np.s_[site.y - reach : site.y + reach, site.x - reach : site.x + reach]
    old = film.image[window].copy()
    profile = _padded(lesion.profile, 2 * reach)
    drawn = _padded(lesion.mask.astype(np.float32), 2 * reach) > 0
    film.image[window] = _redrawn(old, profile, drawn, lesion.contrast, site.radius)
    mask = np.zeros(film.breast.shape, bool)
    mask[window] = drawn
    return mask


def _padded(small: FloatImage, side: int) -> FloatImage:
    border = (side - small.shape[0]) // 2
    if border < 0:
        return small[-border:border, -border:border]
    return np.pad(small, border)


def _redrawn(
    old: FloatImage,
    profile: FloatImage,
    mask: npt.NDArray[np.bool_],
    contrast: float,
    radius: float,
) -> FloatImage:
    half = old.shape[0] // 2
    axis = np.arange(-half, half, dtype=np.float32) + np.float32(0.5)
    distance = np.hypot(axis[None], axis[:, None])
    disc = distance < REACH * radius
    rim = 1 - smoothstep(distance, 0.95 * radius, REACH * radius)
    coarse = cv2.GaussianBlur(old, (0, 0), max(0.45 * radius, 1.0))
    fine = old - coarse
    level = float(coarse[disc].mean())
    texture = float(fine[disc].std()) + 1e-4
    score = fine + coarse + rim * (level - coarse) + np.float32(contrast * texture) * profile
    gain, offset = _fair_scale(old, score, rim, _box(mask))
    new = np.clip(score * gain + offset, old[disc].min(), old[disc].max())
    return np.asarray(old + rim * (new - old), dtype=np.float32)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1)


def _fair_scale(
    old: FloatImage, score: FloatImage, rim: FloatImage, box: tuple[slice, slice]
) -> tuple[float, float]:
    """Return gain and offset of the score that hold mean and spread of the lesion's box.

    With weight w (`rim`), the new box is old (1 - w) + w (gain score + offset); its mean fixes the
    offset, and its variance is then a quadratic in the gain.
    """
    was, w = old[box].astype(np.float64), rim[box].astype(np.float64)
    scored = w * score[box]
    kept = was * (1 - w)
    mean = was.mean() + BRIGHT * was.std()
    fixed = kept + w * ((mean - kept.mean()) / w.mean())
    moving = scored - w * (scored.mean() / w.mean())
    a, b = moving.var(), ((fixed - fixed.mean()) * moving).mean()
    c = fixed.var() - (BOLD * was.std()) ** 2
    gain = (-b + np.sqrt(max(b * b - a * c, 0.0))) / a
    offset = (mean - kept.mean() - gain * scored.mean()) / w.mean()
    return float(gain), float(offset)
