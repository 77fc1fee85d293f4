"""VGG Image Annotator: the regions of its csv export as shapes in corner coordinates.

One row a region: the shape is a JSON object in a cell. Annotators click pixels, so every number is
an index of a pixel and the shape runs through pixel centres: half a pixel is added to each point
(Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video", ACM MM 2019;
shapes and their keys as VIA 1 and 2 write them).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etl.readers.tables import read_rows
from schemas.errors import ContentError
from schemas.film import Geometry, Ring
from schemas.rejects import RejectReason
from schemas.vocabulary import GeometryKind

__all__ = ["Region", "is_via", "read_regions"]

CENTRE = 0.5
"""From the index of a pixel to its centre, the origin at the corner of the first pixel."""

_NAME_TITLES = ("#filename", "filename")
_SHAPE = "region_shape_attributes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One row of the export.

    Parameters
    ----------
    file
        Name of the picture as the annotator had it, blanks around it removed.
    region_id
        Number of the region on its picture.
    file_size
        Bytes of that picture, None where the cell holds no number.
    shape
        The JSON text of the shape.
    """

    file: str
    region_id: str
    file_size: int | None
    shape: str

    def geometry(self) -> Geometry | None:
        """Return the shape in corner coordinates, None where the region has none (``{}``).

        Polygons lose a repeated last point; polylines stay open. Ellipses may be turned by
        `theta`, in radians.

        Raises
        ------
        ContentError
            `unknown_word` for a shape that VIA does not draw, `bad_row` where it cannot be drawn.
        """
        try:
            shape = json.loads(self.shape or "{}")
            return _geometry(shape) if shape else None
        except (ValueError, KeyError, TypeError) as error:
            raise ContentError(
                RejectReason.BAD_ROW,
                f"region {self.region_id} of {self.file} cannot be drawn ({error}): "
                f"{self.shape[:60]}",
            ) from error


def is_via(data: bytes) -> bool:
    """Say whether a table begins with the titles of the export."""
    first = data[:512].decode("utf-8-sig", errors="replace").partition("\n")[0]
    return _SHAPE in first and "filename" in first


def read_regions(data: bytes) -> Iterator[Region]:
    """Yield every region of an export in the order of its rows.

    Raises
    ------
    ContentError
        `bad_row`: the table is none, or misses the columns of names and shapes.
    """
    for row in read_rows(data):
        title = next((name for name in _NAME_TITLES if name in row), None)
        if title is None or _SHAPE not in row:
            raise ContentError(
                RejectReason.BAD_ROW, f"the table has no column #filename or no {_SHAPE}"
            )
        size = row.get("file_size") or ""
        yield Region(
            file=row[title] or "",
            region_id=row.get("region_id") or "0",
            file_size=int(size) if size.isdecimal() else None,
            shape=row[_SHAPE] or "",
        )


def _geometry(shape: dict[str, Any]) -> Geometry:
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        ring = _ring(shape["all_points_x"], shape["all_points_y"])
        if kind == "polygon":
            return Geometry(kind=GeometryKind.POLYGON, rings=(_opened(ring),))
        return Geometry(kind=GeometryKind.POLYLINE, rings=(ring,))
    if kind == "rect":
        x, y = shape["x"] + CENTRE, shape["y"] + CENTRE
        return Geometry(
            kind=GeometryKind.BOX, values=(x, y, x + shape["width"], y + shape["height"])
        )
    if kind not in ("circle", "ellipse", "point"):
        raise ContentError(RejectReason.UNKNOWN_WORD, f"VIA has no shape named {kind!r}")
    centre = (shape["cx"] + CENTRE, shape["cy"] + CENTRE)
    if kind == "point":
        return Geometry(kind=GeometryKind.POINT, values=centre)
    if kind == "circle":
        return Geometry(kind=GeometryKind.CIRCLE, values=(*centre, _positive(shape["r"])))
    degrees = math.degrees(float(shape.get("theta") or 0))
    radii = (_positive(shape["rx"]), _positive(shape["ry"]))
    return Geometry(kind=GeometryKind.ELLIPSE, values=(*centre, *radii, degrees))


def _ring(xs: list[float], ys: list[float]) -> Ring:
    ring = tuple((x + CENTRE, y + CENTRE) for x, y in zip(xs, ys, strict=True))
    if len(set(ring)) < 3:
        raise ValueError(f"it has {len(set(ring))} different points")
    return ring


def _opened(ring: Ring) -> Ring:
    return ring[:-1] if ring[0] == ring[-1] else ring


def _positive(radius: float) -> float:
    if not radius > 0:
        raise ValueError(f"its radius is {radius}")
    return float(radius)
