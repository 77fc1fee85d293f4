"""INbreast's tables: INbreast.csv, and Sheet1 of INbreast.xls, which alone marks findings.

Both describe the same 410 images with the same words. The csv counts where both are there; the
findings' columns are read from Sheet1 (or a csv made of it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from etl.readers.listing import suffix, wanted
from etl.readers.sheets import read_sheet, sheet_names
from etl.readers.tables import read_rows
from schemas.errors import ContentError, MammoError
from schemas.rejects import RejectReason
from schemas.release import Release
from schemas.vocabulary import Birads, Density, Finding, Laterality, View

__all__ = [
    "CATEGORIES",
    "DENSITIES",
    "MARKS",
    "SIDES",
    "VIEWS",
    "BadRow",
    "Row",
    "Tables",
    "find_tables",
]

SIDES = {"L": Laterality.L, "R": Laterality.R}
VIEWS = {"CC": View.CC, "MLO": View.MLO, "ML": View.MLO, "FB": View.FB}
"""File names write ML where the tables write MLO; FB is "from below", one film."""
CATEGORIES = {
    **{word: Birads(word) for word in "1235"},
    "4a": Birads.B4A,
    "4b": Birads.B4B,
    "4c": Birads.B4C,
    "6": Birads.B6,
}
DENSITIES = {"1": Density.A, "2": Density.B, "3": Density.C, "4": Density.D}
"""ACR, the four steps of BI-RADS in figures."""
MARKS = {
    "mass": Finding.MASS,
    "micros": Finding.CALCIFICATION,
    "distortion": Finding.ARCHITECTURAL_DISTORTION,
    "asymmetry": Finding.ASYMMETRY,
}
"""Columns of Sheet1 that hold an X where the finding is on the image."""

_NEEDED = frozenset({"file name", "bi-rads", "laterality", "view"})
_SHEET = "Sheet1"
_LARGEST_TABLE = 16 << 20
_FILE_NAME = re.compile(r"(\d{8})(?:\.0)?")

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its film, its cells by small title, and where it stands."""

    file: str
    where: str
    cells: Mapping[str, str | None] = field(hash=False)

    def known(self, title: str, words: Mapping[str, _Value]) -> _Value:
        """Return what a cell's word means; `ContentError` where it is empty or unknown."""
        value = self.optional(title, words)
        if value is None:
            raise ContentError(RejectReason.BAD_ROW, f"{self.where} has no {title}")
        return value

    def optional(self, title: str, words: Mapping[str, _Value]) -> _Value | None:
        """Return what a cell's word means, None where it is empty."""
        word = self.cells.get(title)
        if word is None:
            return None
        by_case = {known.lower(): value for known, value in words.items()}
        if word.lower() not in by_case:
            raise ContentError(
                RejectReason.UNKNOWN_WORD,
                f"{self.where} ({self.file}) has the {title} {word!r}, known are "
                f"{', '.join(words)}",
            )
        return by_case[word.lower()]

    @property
    def marks(self) -> tuple[str, ...]:
        """Titles of `MARKS` that hold an X; `ContentError` for another mark."""
        return tuple(title for title in MARKS if self.optional(title, {"X": True}))

    @property
    def semester(self) -> str | None:
        """`YYYY_SS` as the reports' names write the acquisition date, which is not a date."""
        date = self.cells.get("acquisition date") or ""
        return f"{date[:4]}_{date[4:]}" if re.fullmatch(r"\d{6}", date) else None


class BadRow(NamedTuple):
    """A record that names no film or contradicts an earlier one."""

    where: str
    table: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of a copy by film, the rows with findings' marks, and which files they are of."""

    rows: Mapping[str, Row]
    marked: Mapping[str, Row]
    bad: tuple[BadRow, ...]
    used: str
    marks_from: str | None
    unused: tuple[str, ...]


def find_tables(release: Release) -> Tables:
    """Read every table of a copy, recognised by its titles, whatever its name.

    Raises
    ------
    MammoError
        No file is a table of INbreast, or one that looks like it cannot be read.
    """
    read: dict[str, list[Row | BadRow]] = {}
    for entry in wanted(release.entries):
        if entry.size <= _LARGEST_TABLE and suffix(entry.path) in (".csv", ".xls", ".xlsx"):
            try:
                records = list(_records(entry.path, release.read(entry.path)))
            except ContentError as error:
                raise MammoError(
                    f"{entry.path} cannot be read as a table ({error.detail}): download it again"
                ) from error
            if records:
                read[entry.path] = records
    if not read:
        raise MammoError(
            f"no INbreast table under {release.root}: put the release's INbreast.csv or "
            "INbreast.xls beside AllDICOMs"
        )
    return _chosen({path: _unique(path, records) for path, records in read.items()})


def _chosen(read: Mapping[str, tuple[dict[str, Row], list[BadRow]]]) -> Tables:
    """Take labels from the csv with most rows, else from a workbook; marks from where they are."""
    used = min(read, key=lambda path: (suffix(path) != ".csv", -len(read[path][0]), path))
    marks = [path for path, (rows, _) in read.items() if _has_marks(rows)]
    marks_from = min(marks, key=lambda path: (-len(read[path][0]), path), default=None)
    rows, bad = read[used]
    return Tables(
        rows=rows,
        marked=read[marks_from][0] if marks_from else {},
        bad=tuple(bad),
        used=used,
        marks_from=marks_from,
        unused=tuple(sorted(set(read) - {used, marks_from})),
    )


def _has_marks(rows: Mapping[str, Row]) -> bool:
    return all(title in next(iter(rows.values())).cells for title in MARKS) if rows else False


def _records(path: str, data: bytes) -> Iterator[Row | BadRow]:
    for number, cells in enumerate(_lines(path, data), start=1):
        titled = {_title(title): cell for title, cell in cells.items()}
        if not titled.keys() >= _NEEDED:
            return
        where = f"record {number} of {path}"
        if is_totals(titled):
            continue
        match = _FILE_NAME.fullmatch(titled["file name"] or "")
        if match:
            yield Row(match[1], where, titled)
        else:
            detail = f"{where} has the file name {titled['file name']!r}, 8 digits are needed"
            yield BadRow(where, path, detail)


def is_totals(cells: Mapping[str, str | None]) -> bool:
    """Tell the last line of Sheet1, which holds sums under its columns and names no file."""
    return cells["file name"] is None


def _lines(path: str, data: bytes) -> Iterator[dict[str, str | None]]:
    """Yield a table's records; Sheet2 holds names of patients that were not removed: never it."""
    if suffix(path) == ".csv":
        yield from read_rows(data)
        return
    names = sheet_names(data)
    if len(names) == 1 or _SHEET.lower() in (name.strip().lower() for name in names):
        yield from read_sheet(data, names[0] if len(names) == 1 else _SHEET)


def _title(text: str) -> str:
    return " ".join(text.lower().split())


def _unique(path: str, records: list[Row | BadRow]) -> tuple[dict[str, Row], list[BadRow]]:
    rows: dict[str, Row] = {}
    bad: list[BadRow] = []
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
        elif (first := rows.setdefault(record.file, record)).cells != record.cells:
            detail = f"{record.where} says other things of {record.file} than {first.where}"
            bad.append(BadRow(record.where, path, detail))
    return rows, bad
