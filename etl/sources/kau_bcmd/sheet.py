"""KAU-BCMD's sheet of densities, ages and a second opinion on the category.

`correctSheetlast.xlsx` has the sheets `tabel ` (unknown) and `correctSheet`. Titles are compared
without case and with single blanks, as the release breaks one by a newline and doubles others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from etl.readers.listing import suffix, wanted
from etl.readers.sheets import read_sheet, sheet_names
from etl.readers.tables import read_rows
from schemas.errors import ContentError
from schemas.rejects import RejectReason
from schemas.release import Release
from schemas.vocabulary import Birads, Density, Laterality, View

__all__ = [
    "ASSESSMENTS",
    "DENSITIES",
    "SIDES",
    "BadRow",
    "FilmName",
    "Row",
    "Sheet",
    "film_name",
    "find_sheet",
]

DENSITIES = {
    "0%-25%": Density.A,
    "26%-50%": Density.B,
    "51%-75%": Density.C,
    ">75%": Density.D,
}
"""Share of glandular tissue, in the quarters of BI-RADS, 4th edition; blanks do not count."""
ASSESSMENTS = {word: Birads(word) for word in "0123456"}
"""The figure behind BIRAD in the column `Assesment`."""
SIDES = {
    **dict.fromkeys(("L", "LEFT"), Laterality.L),
    **dict.fromkeys(("R", "RIGHT"), Laterality.R),
}
_DENSITY = "percentage of grandular tissue(density)"
_PATH = "image path"
_ASSESSMENT = "assesment"
_NEEDED = frozenset({_PATH, _ASSESSMENT})
_SHEET = "correctsheet"
_LARGEST_TABLE = 64 << 20
_STEM = re.compile(r"(\d{4})_BC(\d+)_(CC|MLO)_(L|R)")
_CATEGORY = re.compile(r"(?:BI-?RADS?)?[ _:]*([0-6])", re.I)
_AGE = re.compile(r"(\d{1,3})\s*(?:Y|YEARS?)?", re.I)
_OLDEST = 90
"""Ages from here on are one group."""


class FilmName(NamedTuple):
    """What a film's name says; digits have no fixed width and stay text."""

    year: str
    patient: str
    view: View
    side: Laterality

    @property
    def key(self) -> str:
        """The name without blank and ending, in capitals."""
        return f"{self.year}_{self.patient}_{self.view}_{self.side}"


def film_name(path: str) -> FilmName | None:
    """Return what the last part of a path says, blanks removed; None for a foreign name.

    >>> film_name("BIRAD1/b1/2018_BC0021981_ MLO_R.jpg").key
    '2018_BC0021981_MLO_R'
    """
    name = "".join(path.replace("\\", "/").rsplit("/", 1)[-1].split()).upper()
    match = _STEM.fullmatch(name.rpartition(".")[0] or name)
    if match is None:
        return None
    year, digits, view, side = match.groups()
    return FilmName(year, f"BC{digits}", View(view), Laterality(side))


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the film it names, its cells by small title, and where it stands."""

    film: FilmName
    where: str
    cells: Mapping[str, str | None] = field(hash=False)

    @property
    def path(self) -> str:
        """The cell that names the file, `.dcm` whatever the file is."""
        return (self.cells[_PATH] or "").replace("\\", "/")

    @property
    def assessment(self) -> str | None:
        """The cell as it is."""
        return self.cells[_ASSESSMENT]

    @property
    def category(self) -> Birads | None:
        """The category; None where the cell is empty or cannot be read (`verify` lists those)."""
        match = _CATEGORY.fullmatch((self.assessment or "").strip())
        return ASSESSMENTS[match[1]] if match else None

    @property
    def density_word(self) -> str | None:
        """The cell of the density as it is."""
        return self.cells.get(_DENSITY)

    @property
    def density(self) -> Density | None:
        """The density; `ContentError` where the word is unknown."""
        word = "".join((self.density_word or "").split())
        if not word:
            return None
        if word not in DENSITIES:
            raise ContentError(
                RejectReason.UNKNOWN_WORD,
                f"{self.where} ({self.film.key}) has the density {self.density_word!r}, known are "
                f"{', '.join(DENSITIES)}",
            )
        return DENSITIES[word]

    @property
    def age(self) -> int | None:
        """Whole years (`045Y` is 45; 90 is 90 or more), None where the cell says no years."""
        match = _AGE.fullmatch(self.cells.get("patient age") or "")
        return min(int(match[1]), _OLDEST) if match else None

    @property
    def side(self) -> Laterality | None:
        """The breast of the column, which the file's name overrules."""
        return SIDES.get((self.cells.get("breast type") or "").upper())


class BadRow(NamedTuple):
    """A record that names no film."""

    where: str
    table: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """The records of a copy by film; `used` is None where no sheet is there."""

    rows: Mapping[str, tuple[Row, ...]]
    bad: tuple[BadRow, ...] = ()
    used: str | None = None
    unused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def find_sheet(release: Release) -> Sheet:
    """Read the sheet, recognised by its titles, whatever its name; of several the longest.

    A copy without it is read by its folders alone.
    """
    read: dict[str, list[Row | BadRow]] = {}
    unread = []
    for entry in wanted(release.entries):
        if suffix(entry.path) in (".xlsx", ".xls", ".csv") and entry.size <= _LARGEST_TABLE:
            try:
                records = list(_records(entry.path, release.read(entry.path)))
            except ContentError as error:
                unread.append(f"{entry.path} ({error.detail})")
                continue
            if records:
                read[entry.path] = records
    if not read:
        return Sheet({}, unread=tuple(unread))
    used = min(read, key=lambda path: (-len(read[path]), path))
    return Sheet(
        rows=_by_film(record for record in read[used] if isinstance(record, Row)),
        bad=tuple(record for record in read[used] if isinstance(record, BadRow)),
        used=used,
        unused=tuple(sorted(set(read) - {used})),
        unread=tuple(unread),
    )


def _records(path: str, data: bytes) -> Iterator[Row | BadRow]:
    for number, cells in enumerate(_lines(path, data), start=1):
        titled = {" ".join(title.lower().split()): cell for title, cell in cells.items()}
        if not titled.keys() >= _NEEDED:
            return
        where = f"record {number} of {path}"
        film = film_name(titled[_PATH] or "")
        if film is None:
            detail = f"{where} has the image path {titled[_PATH]!r}, which names no film"
            yield BadRow(where, path, detail)
        else:
            yield Row(film, where, titled)


def _lines(path: str, data: bytes) -> Iterator[dict[str, str | None]]:
    """Yield the records of `correctSheet`; of the first sheet where none has this name."""
    if suffix(path) == ".csv":
        yield from read_rows(data)
        return
    names = sheet_names(data)
    right = [name for name in names if "".join(name.split()).lower() == _SHEET]
    yield from read_sheet(data, (right or list(names))[0])


def _by_film(rows: Iterator[Row]) -> dict[str, tuple[Row, ...]]:
    """Return the rows of each film without those that repeat an earlier one word for word."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        same = found.setdefault(row.film.key, [])
        if all(row.cells != other.cells for other in same):
            same.append(row)
    return {key: tuple(same) for key, same in found.items()}
