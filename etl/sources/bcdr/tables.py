"""BCDR's sets in a copy: which folder holds which set, its tables' rows, and its images' names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.readers.listing import suffix, wanted
from etl.readers.tables import read_rows
from etl.sources.bcdr.words import TYPE_IDS, VIEW_IDS
from schemas.errors import ContentError
from schemas.release import Release
from schemas.store import Entry

__all__ = ["ImageId", "Row", "Sets", "Table", "find_tables", "image_id", "is_mask", "set_of"]

_TABLE = re.compile(r"bcdr[_-]([df]n?\d\d)[_-](img|outlines)\.csv", re.IGNORECASE)
_RENAMED_TABLE = re.compile(r"(img|outlines)\.csv", re.IGNORECASE)
_FOLDER = re.compile(r"bcdr[-_ ]?([df]n?\d\d)", re.IGNORECASE)
_IMAGE = re.compile(r"(?:^|_)img_(\d+)_(\d+)_(\d+)_([a-z]+(?:[-_][a-z]+)?\d?)$", re.IGNORECASE)
_PICTURES = frozenset({".tif", ".tiff", ".png"})


@dataclass(frozen=True, slots=True, order=True)
class ImageId:
    """What a file name says: `img_3_4_1_LO` of a digital set (`family` D) or a film set (F).

    Film and digital numbers are apart: nothing says that study 4 of both is one examination.
    """

    patient: int
    family: str
    study: int
    series: int
    view: str

    @property
    def key(self) -> str:
        """Image id of the corpus; the same for all sets of a family, which share images."""
        return f"{self.family}/img_{self.patient}_{self.study}_{self.series}_{self.view}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an image or outline table."""

    set: str
    table: str
    line: int
    image: ImageId | None
    file: str
    cells: Mapping[str, str | None]

    def __getitem__(self, title: str) -> str:
        """Return a cell, empty where it holds nothing."""
        return self.cells.get(title) or ""

    @property
    def is_outline(self) -> bool:
        """Whether the row draws a lesion."""
        return "lw_x_points" in self.cells

    def __str__(self) -> str:
        """Return how the row is called in messages."""
        return f"line {self.line} of {self.table}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one set and the folder that its file names start from."""

    set: str
    kind: str
    path: str
    rows: tuple[Row, ...]

    @property
    def folder(self) -> str:
        """Folder of the table, empty for the root."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Sets:
    """The tables of a copy; `unread` are those that are no tables, with the reason."""

    tables: tuple[Table, ...]
    unread: tuple[tuple[str, str], ...] = ()

    def rows(self) -> Iterator[Row]:
        """Yield every row, in the order of the tables."""
        for table in self.tables:
            yield from table.rows


def find_tables(release: Release) -> Sets:
    """Read the image and outline tables of every set, wherever their folders lie.

    Some copies have renamed tables (`outlines.csv`) in a folder that still names the set.
    """
    tables, unread = [], []
    for entry in sorted(wanted(release.entries), key=lambda entry: entry.path):
        named = _table_name(entry.path)
        if named is None:
            continue
        name, kind = named
        try:
            rows = tuple(_rows(release.read(entry.path), name, entry.path))
        except ContentError as error:
            unread.append((entry.path, error.detail))
            continue
        tables.append(Table(name, kind, entry.path, rows))
    return Sets(tuple(sorted(tables, key=lambda one: (one.set, one.path))), tuple(unread))


def _table_name(path: str) -> tuple[str, str] | None:
    folder, _, name = path.rpartition("/")
    if match := _TABLE.fullmatch(name):
        return match[1].upper(), match[2].lower()
    here = _set_named(folder)
    if here and (match := _RENAMED_TABLE.fullmatch(name)):
        return here, match[1].lower()
    return None


def _set_named(folder: str) -> str | None:
    """Return the set that the deepest folder with a set in its name is of."""
    for part in reversed(folder.split("/")):
        if match := _FOLDER.match(part):
            return match[1].upper()
    return None


def _rows(data: bytes, name: str, path: str) -> Iterator[Row]:
    for line, cells in enumerate(read_rows(data, ","), start=2):
        file = (cells.get("image_filename") or "").replace("\\", "/").strip("/")
        image = image_id(file, name[0]) or _from_columns(cells, name[0])
        yield Row(name, path, line, image, file, cells)


def _from_columns(cells: Mapping[str, str | None], family: str) -> ImageId | None:
    """Return an image by its numbers, where the file's name is no help."""
    view = (cells.get("image_type_name") or "").upper().replace("-", "")
    view = view or TYPE_IDS.get(cells.get("image_type_id") or "", "")
    view = view or VIEW_IDS.get(cells.get("image_view") or "", "")
    numbers = [cells.get(title) or "" for title in ("patient_id", "study_id", "series")]
    if not view or not all(number.isdecimal() for number in numbers):
        return None
    patient, study, series = (int(number) for number in numbers)
    return ImageId(patient, family, study, series, view)


def image_id(path: str, family: str) -> ImageId | None:
    r"""Return what an image's name says, None for other files.

    Flattened copies have the folders in the name:

    >>> image_id("patient_106_study_144_img_106_144_1_RCC.tif", "F").key
    'F/img_106_144_1_RCC'
    """
    stem = path.rpartition("/")[2].rpartition(".")[0]
    match = _IMAGE.search(stem)
    if match is None or suffix(path) not in _PICTURES or is_mask(path):
        return None
    patient, study, series = (int(number) for number in match.groups()[:3])
    view = match[4].upper().replace("-", "").replace("_", "")
    return ImageId(patient, family, study, series, view)


def is_mask(path: str) -> bool:
    """Say whether a picture is a mask that some downloads hold beside the films.

    They are named `img_9_10_1_RCC_mask_id_10.tif` or `..._RCC_MASK.tif`.
    """
    return "mask" in path.rpartition("/")[2].lower()


def set_of(entry: Entry, tables: Sequence[Table]) -> str | None:
    """Return the set of a picture: its folder's name says, or the only table of its folder.

    None where tables of several sets lie together, or none at all.
    """
    folder = entry.path.rpartition("/")[0]
    if (here := _set_named(folder)) is not None:
        return here
    while True:
        sets = {table.set for table in tables if table.folder == folder}
        if sets:
            return sets.pop() if len(sets) == 1 else None
        if not folder:
            return None
        folder = folder.rpartition("/")[0]
