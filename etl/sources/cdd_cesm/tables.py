"""The two tables of CDD-CESM: labels of images in a workbook, regions of images in a csv."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from etl.readers.listing import suffix, wanted
from etl.readers.sheets import read_sheet, sheet_names
from etl.readers.via import Region, is_via, read_regions
from schemas.errors import ContentError, MammoError
from schemas.release import Release
from schemas.store import Entry

__all__ = ["Name", "Regions", "Row", "Workbook", "find_regions", "find_workbook", "name_of"]

_Cells = Mapping[str, str | None]

LABEL = "Pathology Classification/ Follow up"
_NEEDED = frozenset({"Image_name", "BIRADS", "Findings", LABEL})
_MASSES = ("mass_description", "mass enhancement_description")
_POSTOPERATIVE = "postoperative"
_LARGEST_TABLE = 64 << 20
_USUAL_NAME = re.compile(r"annotations", re.IGNORECASE)
_NEW_EXPORT = re.compile(r"_v2\b", re.IGNORECASE)
_NAME = re.compile(r"P(\d+)_([LR])_(DM|CM)_(CC|MLO)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """An image's name, which says patient, side, kind and view: `P1_L_DM_MLO`."""

    patient: int
    side: str
    view: str
    kind: str

    @property
    def key(self) -> str:
        """The name without its ending and without the blank that some files have before it."""
        return f"P{self.patient}_{self.side}_{self.kind}_{self.view}"

    @property
    def pair(self) -> str:
        """Low-energy and subtracted image of one exposure share this."""
        return f"P{self.patient}_{self.side}_{self.view}"


def name_of(text: str) -> Name | None:
    """Return what a name says, None where it is none of the release's.

    Blanks around it do not count: five names have one before `.jpg` on disk and in the workbook
    and none in the csv (the authors ship a script that removes them).

    >>> name_of("P3_L_CM_CC ").key
    'P3_L_CM_CC'
    """
    match = _NAME.fullmatch(text.strip())
    if match is None:
        return None
    patient, side, kind, view = match.groups()
    return Name(int(patient), side.upper(), view.upper(), kind.upper())


@dataclass(frozen=True, slots=True)
class Row:
    """What the workbook says of one image; cells as text, `_` as it stands."""

    cells: Mapping[str, str | None]
    masses: tuple[Mapping[str, str | None], ...] = ()
    postoperative: bool = False
    doubled: bool = False
    differs: bool = False

    def __getitem__(self, title: str) -> str:
        """Return a cell, empty where it holds nothing."""
        return self.cells.get(title) or ""

    @property
    def density(self) -> str:
        """The density, whose column has two titles."""
        return self["Breast density (ACR)"] or self["ACR"] or "_"


@dataclass(frozen=True, slots=True)
class Workbook:
    """Sheet `all` by image, with what other sheets add; `unread` are its rows without a name."""

    path: str
    num_rows: int
    rows: Mapping[Name, Row]
    unread: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions by image; `path` is None where the copy has no csv."""

    path: str | None = None
    by_image: Mapping[Name, tuple[Region, ...]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def find_workbook(release: Release) -> Workbook:
    """Return the workbook whose sheet `all` describes images.

    Raises
    ------
    MammoError
        No workbook of the copy has such a sheet.
    """
    found = []
    for entry in _tables(release, ".xlsx"):
        data = release.read(entry.path)
        try:
            sheets = {name.strip().lower() for name in sheet_names(data)}
            rows = list(read_sheet(data, "all")) if "all" in sheets else []
        except ContentError:
            continue
        if rows and rows[0].keys() >= _NEEDED:
            found.append((entry.path, data, rows))
    if not found:
        raise MammoError(
            f"no CDD-CESM table under {release.root}: none of its .xlsx files has a sheet 'all' "
            "with the column Image_name; put Radiology-manual-annotations.xlsx beside the images"
        )
    path, data, rows = min(
        found, key=lambda item: (_USUAL_NAME.search(item[0]) is None, -len(item[2]), item[0])
    )
    others = tuple(sorted(other[0] for other in found if other[0] != path))
    return _workbook(path, data, rows, others)


def _workbook(
    path: str, data: bytes, rows: list[dict[str, str | None]], others: tuple[str, ...]
) -> Workbook:
    masses = _by_name(row for sheet in _MASSES for row in _optional(data, sheet))
    operated = _by_name(_optional(data, _POSTOPERATIVE))
    merged: dict[Name, Row] = {}
    unread = []
    for cells in rows:
        text = cells.get("Image_name") or ""
        name = name_of(text)
        if name is None:
            unread.append(text)
            continue
        known = merged.get(name)
        merged[name] = Row(
            cells=known.cells if known else cells,
            masses=tuple(masses.get(name, ())),
            postoperative=name in operated or "postoperative" in (cells.get("Tags") or "").lower(),
            doubled=known is not None,
            differs=known is not None and (known.differs or dict(known.cells) != cells),
        )
    return Workbook(path, len(rows), merged, tuple(unread), others)


def _optional(data: bytes, sheet: str) -> list[dict[str, str | None]]:
    try:
        return list(read_sheet(data, sheet))
    except ContentError:
        return []  # copies made for one purpose keep sheet `all` alone


def _by_name(
    rows: Iterable[Mapping[str, str | None]],
) -> dict[Name, list[Mapping[str, str | None]]]:
    found: dict[Name, list[Mapping[str, str | None]]] = {}
    for row in rows:
        name = name_of(row.get("Image_name") or "")
        if name is not None:
            found.setdefault(name, []).append(row)
    return found


def find_regions(release: Release) -> Regions:
    """Return the regions of the newest export: the one named `_v2`, else that of most regions."""
    found: list[tuple[str, list[Region]]] = []
    for entry in _tables(release, ".csv"):
        data = release.read(entry.path)
        if is_via(data):
            found.append((entry.path, list(read_regions(data))))
    if not found:
        return Regions()
    path, regions = min(
        found, key=lambda item: (_NEW_EXPORT.search(item[0]) is None, -len(item[1]), item[0])
    )
    by_image: dict[Name, list[Region]] = {}
    unread = []
    for region in regions:
        name = name_of(region.file.rpartition(".")[0] or region.file)
        if name is None:
            unread.append(region.file)
        else:
            by_image.setdefault(name, []).append(region)
    others = tuple(sorted(other for other, _ in found if other != path))
    return Regions(
        path,
        {name: tuple(sorted(some, key=_number)) for name, some in by_image.items()},
        tuple(dict.fromkeys(unread)),
        others,
    )


def _number(region: Region) -> tuple[int, str]:
    number = region.region_id
    return (int(number) if number.isdecimal() else -1, number)


def _tables(release: Release, ending: str) -> list[Entry]:
    """Return the tables with this ending; Word and Excel lock files begin with ``~$``."""
    return [
        entry
        for entry in sorted(wanted(release.entries), key=lambda entry: entry.path)
        if suffix(entry.path) == ending
        and entry.size <= _LARGEST_TABLE
        and not entry.path.rpartition("/")[2].startswith("~$")
    ]
