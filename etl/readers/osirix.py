"""Regions drawn in OsiriX, from the property list that its ROI export writes.

An Apple property list (XML, public id ``-//Apple//DTD PLIST 1.0//EN``): ``Images`` holds one
dictionary an image, its ``ROIs`` one dictionary a region, with ``Name``, ``Type`` and
``Point_px``, a list of texts such as ``(479.344727, 3092.087158)``. Parsed by `plistlib`, which
fetches no DTD; entities are refused. ``Point_mm``, ``Center`` and statistics are not read.
"""

from __future__ import annotations

import math
import plistlib
import re
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from schemas.errors import ContentError
from schemas.rejects import RejectReason

__all__ = ["Region", "read_regions"]

_POINT = re.compile(r"\s*[({]\s*([^\s,(){}]+)\s*,\s*([^\s,(){}]+)\s*[)}]\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region of one image.

    Parameters
    ----------
    name
        As written, blanks at its ends taken off; None where it is missing or empty.
    points
        (x, y) in pixels of the image, x to the right, y down, origin at the top-left corner,
        fractional; the last point is joined to the first. May be empty.
    kind
        OsiriX's number of the drawing tool (15 closed pencil, 19 point), None where missing.
    image
        ImageIndex: which image of the export it was drawn on.
    """

    name: str | None
    points: tuple[tuple[float, float], ...]
    kind: int | None = None
    image: int = 0


def read_regions(data: bytes, name: str) -> tuple[Region, ...]:
    """Return the regions of an export in the file's order.

    Parameters
    ----------
    data
        The whole file.
    name
        What to call it in an error.

    Raises
    ------
    ContentError
        `bad_row`: no property list, no `Images`, or a point that is no pair of finite numbers.
    """
    try:
        root = plistlib.loads(data, fmt=plistlib.FMT_XML)
    except (ExpatError, plistlib.InvalidFileException, ValueError, AttributeError, KeyError) as err:
        raise _bad(name, f"is no XML property list ({err})") from err
    images = root.get("Images") if isinstance(root, dict) else None
    if not isinstance(images, list):
        raise _bad(name, "has no list of Images")
    return tuple(
        _region(roi, image, number, name)
        for number, image in enumerate(images)
        for roi in _rois(image, name)
    )


def _rois(image: Any, name: str) -> list[Any]:
    rois = image.get("ROIs", []) if isinstance(image, dict) else None
    if not isinstance(rois, list) or not all(isinstance(roi, dict) for roi in rois):
        raise _bad(name, "has an image whose ROIs are no list of dictionaries")
    return rois


def _region(roi: dict[str, Any], image: dict[str, Any], number: int, name: str) -> Region:
    title = str(roi.get("Name") or "").strip() or None
    points = roi.get("Point_px") or []
    if not isinstance(points, list):
        raise _bad(name, f"has a region {title!r} whose Point_px is no list")
    kind = roi.get("Type")
    index = image.get("ImageIndex", number)
    return Region(
        name=title,
        points=tuple(_point(text, title, name) for text in points),
        kind=kind if isinstance(kind, int) else None,
        image=index if isinstance(index, int) else number,
    )


def _point(text: Any, title: str | None, name: str) -> tuple[float, float]:
    match = _POINT.fullmatch(text) if isinstance(text, str) else None
    try:
        x, y = (float(word) for word in match.groups()) if match else (math.nan, math.nan)
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise _bad(name, f"has a region {title!r} with the point {text!r}, a pair (x, y) is needed")
    return x, y


def _bad(name: str, what: str) -> ContentError:
    return ContentError(RejectReason.BAD_ROW, f"{name} {what}")
