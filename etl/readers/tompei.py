r"""TOMPEI-CMMD: outlines drawn over another release's films, and the sheet that goes with them.

One JSON file a film: a list of objects ``{_id, color, type, label, cgPoints}``, `type` being
``Draw`` (freehand) or ``Polyline`` (clicked); `cgPoints` is a list of ``{"x": ..., "y": ...}``,
pixels of the original DICOM file, x to the right, y down, the first point not repeated at the end.
The workbook's sheet of breasts has two or three title lines: line 1 names the columns, line 2 parts
of some of them (Mass: Location, Shape, ...).

Format and counts as two public projects describe the files of version 01 (2025-01): labels carry
stray blanks, titles line feeds (``BI-RADS\nCategory``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from etl.readers.sheets import read_grid, sheet_names
from schemas.errors import ContentError
from schemas.film import Point
from schemas.rejects import RejectReason

__all__ = ["BREAST_SHEET", "Breast", "Outline", "read_breasts", "read_outlines"]

BREAST_SHEET = "Imaging Diagnosis Details Sheet"

_COLUMNS = {
    "id": ("id", "id1", "patientid"),
    "side": ("leftright",),
    "classification": ("classification",),
    "density": ("breastdensity", "density"),
    "birads": ("biradscategory", "birads"),
}
"""Field to the spellings of its title, without blanks and signs."""
_NEEDED = ("id", "side", "classification")
_TITLE_LINES = 4


@dataclass(frozen=True, slots=True)
class Outline:
    """One drawn object: stripped label, tool, and the pixels that were clicked (x, y)."""

    name: str
    label: str
    tool: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Breast:
    """One line of the sheet: what the readers say of one breast, in their own words."""

    patient: str
    side: str
    classification: str | None
    density: str | None
    birads: str | None


def read_outlines(data: bytes) -> tuple[Outline, ...]:
    """Return the objects of one annotation file in the file's order.

    Points are pixel indices as they stand in the file; a centre lies half a pixel further.

    Raises
    ------
    ContentError
        `bad_row`: no JSON list, or an object without label or points.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _bad(f"the annotation file is no JSON: {error}") from error
    if not isinstance(found, list):
        raise _bad("the annotation file holds no list of objects")
    return tuple(_outline(item, place) for place, item in enumerate(found, start=1))


def read_breasts(data: bytes) -> Iterator[Breast]:
    """Yield the lines of the workbook's sheet of breasts; lines without id or side are skipped.

    Raises
    ------
    ContentError
        `bad_row`: no workbook, no such sheet, or no line that titles id, side and classification.
    """
    names = sheet_names(data)
    sheet = next((name for name in names if "imaging diagnosis" in name.lower()), BREAST_SHEET)
    grid = read_grid(data, sheet)
    titled = [_columns(line) for line in grid[:_TITLE_LINES]]
    columns = next((found for found in titled if all(map(found.__contains__, _NEEDED))), None)
    if columns is None:
        raise _bad(f"the first lines of sheet {sheet!r} do not title ID, LeftRight, classification")
    for line in grid[titled.index(columns) + 1 :]:
        cells = {field: line[at] if at < len(line) else None for field, at in columns.items()}
        if cells["id"] and cells["side"]:
            yield Breast(
                patient=cells["id"],
                side=cells["side"],
                classification=cells["classification"],
                density=cells.get("density"),
                birads=cells.get("birads"),
            )


def _columns(line: tuple[str | None, ...]) -> dict[str, int]:
    plain = ["".join(filter(str.isalnum, cell or "")).lower() for cell in line]
    places = {
        field: next((plain.index(title) for title in titles if title in plain), None)
        for field, titles in _COLUMNS.items()
    }
    return {field: place for field, place in places.items() if place is not None}


def _outline(item: Any, place: int) -> Outline:
    if not isinstance(item, Mapping) or not str(item.get("label") or "").strip():
        raise _bad(f"object {place} of the annotation file has no label")
    try:
        points = tuple((float(at["x"]), float(at["y"])) for at in item["cgPoints"])
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(
            f"object {place} of the annotation file has a point that is not x and y"
        ) from error
    if not points:
        raise _bad(f"object {place} of the annotation file has no point")
    return Outline(
        name=str(item.get("_id") or place),
        label=str(item["label"]).strip(),
        tool=str(item.get("type") or "").strip(),
        points=points,
    )


def _bad(what: str) -> ContentError:
    return ContentError(RejectReason.BAD_ROW, what)
