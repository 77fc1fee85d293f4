"""One film with its lesions, as both writers draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from etl.phantoms.film import Film
from etl.phantoms.insert import Site, find_site, insert
from etl.phantoms.lesions import Lesion, Plan, draw_lesion

__all__ = ["Drawn", "add_lesion", "draw_pathology", "enclosing_circle"]


@dataclass(frozen=True)
class Drawn:
    """A lesion on its film.

    Attributes
    ----------
    lesion
        Shape and labels.
    site
        Where it was put.
    mask
        Truth mask, bool, of the film's size.
    """

    lesion: Lesion
    site: Site
    mask: npt.NDArray[np.bool_]


def draw_pathology(rng: np.random.Generator) -> str:
    """Draw `benign` or `malignant`, each half the time, knowing nothing else of the lesion."""
    return "malignant" if rng.uniform() < 0.5 else "benign"


def add_lesion(
    rng: Callable[[str], np.random.Generator],
    film: Film,
    taken: list[Site],
    plan: Plan,
    pathology: str,
    *,
    tiny: bool = False,
) -> Drawn | None:
    """Find a place for a planned lesion, render it and redraw the film with it.

    Parameters
    ----------
    rng
        Gives the generator of a purpose ("site", "shape"); separate streams keep place and size
        the same whatever the pathology.
    taken
        Sites already used; the new one is appended.

    Returns
    -------
    The drawn lesion, or None where the breast has no room left.
    """
    found = find_site(rng("site"), film, plan, taken)
    if found is None:
        return None
    site, fitted = found
    lesion = draw_lesion(rng("shape"), fitted, pathology, film.px_per_mm, tiny=tiny)
    taken.append(site)
    return Drawn(lesion, site, insert(film, lesion, site))


def enclosing_circle(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return column, row and radius of a circle about a pixel's centre that holds a mask.

    The radius is a whole number of pixels, and every mask pixel lies inside with all its corners.
    """
    ys, xs = np.nonzero(mask)
    (cx, cy), _ = cv2.minEnclosingCircle(np.stack([xs, ys], axis=1).astype(np.float32))
    column, row = round(cx), round(cy)
    far = np.hypot(np.abs(xs - column) + 0.5, np.abs(ys - row) + 0.5).max()
    return column, row, int(np.ceil(far))
