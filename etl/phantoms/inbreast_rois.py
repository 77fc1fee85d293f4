"""What a phantom INbreast outlines on a film: regions as points in pixels, and their file."""

from __future__ import annotations

import plistlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from etl.phantoms.contour import contour
from etl.phantoms.film import Film
from etl.phantoms.inbreast_cases import FilmCase
from etl.phantoms.scene import Drawn

__all__ = ["Roi", "outline_file", "rois"]

DOCTYPE = (
    b'<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
    b'"http://www.apple.com/DTDs/PropertyList-1.0.dtd">'
)
NOWHERE = "(0.000000, 0.000000, 0.000000)"


@dataclass
class Roi:
    """A region: its name, its points, and whether it is a mass, a calcification or an asymmetry."""

    name: str
    points: list[list[float]]
    kind: str
    lesion: Drawn | None = None

    @property
    def is_point(self) -> bool:
        """It marks a place and encloses nothing."""
        return len(self.points) < 3


def rois(film_case: FilmCase, film: Film, drawn: list[Drawn]) -> list[Roi]:
    """Return the regions of a film in the order of its outline file."""
    found: list[Roi] = []
    for one in drawn:
        if one.lesion.kind == "mass":
            name = "Nodule" if "unknown_name" in film_case.traps else "Mass"
            found.append(Roi(name, contour(one.mask), "mass", one))
        else:
            found += _calcifications(film_case, one)
    for trap in film_case.traps:
        if trap.startswith("spiculated:"):
            found.append(Roi(trap.split(":")[1], _widened(drawn[0], film), "mass"))
    if "beyond" in film_case.traps:
        found.append(Roi("Assymetry", _beyond(film), "asymmetry"))
    return found


def _calcifications(film_case: FilmCase, one: Drawn) -> list[Roi]:
    """Outline a cluster, or mark places in it by points."""
    if "points" not in film_case.traps:
        return [Roi("Cluster", contour(one.mask), "calcification", one)]
    x, y, step = one.site.x + 0.25, one.site.y - 0.375, one.site.radius / 3
    small = [[-1.5, -1.0], [1.0, -1.75], [1.75, 0.75], [-0.5, 1.5]]
    return [
        Roi("Calcification", [[x, y]], "calcification"),
        Roi("Point 1", [[x + step, y]], "calcification"),
        Roi("Unnamed", [[x - step, y - 1], [x - step, y + 1]], "calcification"),
        Roi("Calcifications", [[x + a, y + step + b] for a, b in small], "calcification"),
    ]


def _widened(one: Drawn, film: Film) -> list[list[float]]:
    """Return an outline a little outside of a mass, inside the film."""
    grown = cv2.dilate(one.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return contour(grown & film.breast)


def _beyond(film: Film) -> list[list[float]]:
    """Return an ellipse at the chest wall, a part of which lies beyond the film's edge."""
    rows, columns = film.image.shape
    angles = np.arange(24) * (2 * np.pi / 24)
    across, down = 0.08 * columns, 0.05 * rows
    x = (0.02 * columns if film.side == "L" else 0.98 * columns) + across * np.cos(angles)
    y = film.nipple[1] + down * np.sin(angles)
    return [[round(float(a), 6), round(float(b), 6)] for a, b in zip(x, y, strict=True)]


def outline_file(regions: list[Roi], px_per_mm: float, brightest: float) -> bytes:
    """Return the regions as OsiriX exports them (AllXML), with the release's DOCTYPE."""
    listed: list[dict[str, Any]] = []
    for roi in regions:
        listed.append(
            {
                "Area": 0.0 if roi.is_point else _area_cm2(roi.points, px_per_mm),
                "Center": NOWHERE,
                "Dev": 0.0,
                "IndexInImage": len(listed),
                "Max": brightest,
                "Mean": brightest,
                "Min": brightest,
                "Name": roi.name,
                "NumberOfPoints": len(roi.points),
                "Point_mm": [NOWHERE] * len(roi.points),
                "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in roi.points],
                "Total": brightest,
                "Type": 19 if len(roi.points) == 1 else 15,
            }
        )
    tree = {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(listed), "ROIs": listed}]}
    head, rest = plistlib.dumps(tree, sort_keys=True).split(b"<plist", 1)
    return head.split(b"<!DOCTYPE", 1)[0] + DOCTYPE + b"\n<plist" + rest


def _area_cm2(points: list[list[float]], px_per_mm: float) -> float:
    area = float(cv2.contourArea(np.array(points, np.float32)))
    return round(area / px_per_mm**2 / 100, 8)
