"""Duke's tables: one box a patient, 97 clinical columns under three title lines, the path mapping.

All are xlsx on the TCIA page and often saved again as csv. Annotation_Boxes circulates with extra
columns and with every row twelve times; Clinical_and_Other_Features with 55 columns from whose
words `NA` was cut ("Manufacturer Model me"), which is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etl.readers.listing import suffix, wanted
from etl.readers.runs import slice_number
from etl.readers.sheets import iterate_sheet, read_grid, sheet_names
from etl.readers.tables import read_rows
from schemas.errors import ContentError, MammoError
from schemas.rejects import RejectReason
from schemas.release import Release

__all__ = ["PATIENT_ID", "Box", "Clinical", "Mapped", "Tables", "find_tables", "read_mapping"]

PATIENT_ID = re.compile(r"Breast_MRI_\d{3,}")

BOX_COLUMNS = ("Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice")
CLINICAL_COLUMNS = (
    "Days to MRI (From the Date of Diagnosis)",
    "Manufacturer",
    "Manufacturer Model Name",
    "Image Position of Patient",
    "Rows",
    "Columns",
    "Date of Birth (Days)",
    "Histologic type",
    "Tumor Location",
    "Position",
    "Bilateral Information",
    "Side Annotated",
    "Multicentric/Multifocal",
    "Contralateral Breast Involvement",
    "Breast Density",
)
NUM_CLINICAL_COLUMNS = 97

_NAMES = {
    "boxes": re.compile(r"annotation.?boxes", re.IGNORECASE),
    "clinical": re.compile(r"clinical.?and.?other.?features", re.IGNORECASE),
    "mapping": re.compile(r"filepath.?filename.?mapping", re.IGNORECASE),
}
_ENDINGS = (".xlsx", ".xls", ".csv", ".tsv")
_TITLE_LINES = 3
_SEQUENCE = re.compile(r"(pre|post_?(\d)|t1)", re.IGNORECASE)

Line = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Box:
    """A row of Annotation_Boxes: stored rows, columns and slices, counted from 1, inclusive."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    slices: tuple[int, int]

    def native(self) -> tuple[float, float, float, float]:
        """Return x0, y0, x1, y1 in corner coordinates, half-open: [Start - 1, End).

        >>> Box((234, 271), (308, 341), (89, 112)).native()
        (307.0, 233.0, 341.0, 271.0)
        """
        (top, bottom), (left, right) = self.rows, self.columns
        return left - 1.0, top - 1.0, float(right), float(bottom)


@dataclass(frozen=True, slots=True)
class Clinical:
    """A patient's row of Clinical_and_Other_Features: cells by title without its code list."""

    where: str
    cells: Mapping[str, str | None]

    def word(self, title: str, known: Mapping[str, object] | frozenset[str]) -> str | None:
        """Return a cell that is one of the known words, or None where it is blank.

        Raises
        ------
        ContentError
            `unknown_word`.
        """
        cell = self.cells.get(title)
        if cell is not None and cell not in known:
            raise ContentError(
                RejectReason.UNKNOWN_WORD,
                f"{self.where} has {title} {cell!r}; known are {', '.join(sorted(known))}",
            )
        return cell

    def number(self, title: str) -> float | None:
        """Return a cell as a number, None where it is blank or a word such as NC."""
        try:
            value = float(self.cells.get(title) or "")
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    @property
    def corner(self) -> tuple[float, float, float] | None:
        """Position of the first stored pixel: text such as `-191.8003 X -176.1259 X 86.6065`."""
        try:
            text = (self.cells["Image Position of Patient"] or "").lower()
            x, y, z = (float(part) for part in text.split("x"))
        except (KeyError, ValueError):
            return None
        return x, y, z


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the mapping says of one series' folder.

    Parameters
    ----------
    sequence
        `pre`, `post_1`, … or `T1`.
    order
        1: the numbers in file names are the slice numbers of the boxes; -1: they run the other
        way; 0: neither.
    """

    sequence: str
    order: int


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows of a copy's tables by patient; a row that cannot be read is the error that it gave."""

    boxes_path: str
    boxes: Mapping[str, Box | ContentError]
    num_box_rows: int
    strays: Mapping[str, ContentError]
    clinical_path: str | None = None
    clinical: Mapping[str, Clinical] = field(default_factory=dict)


def find_tables(release: Release) -> Tables:
    """Read the boxes and, where it is there, the clinical table.

    Raises
    ------
    MammoError
        There is no table of boxes, or a table is of a shape that circulates and is wrong.
    """
    path = _named(release, "boxes")
    if path is None:
        raise MammoError(
            f"no Annotation_Boxes.xlsx under {release.root}: download it from the release's page "
            "and put it beside the images"
        )
    boxes, strays, count = _boxes(path, release.read(path))
    clinical_path = _named(release, "clinical")
    clinical = _clinical(clinical_path, release.read(clinical_path)) if clinical_path else {}
    return Tables(path, boxes, count, strays, clinical_path, clinical)


def read_mapping(release: Release) -> dict[tuple[str, str], Mapped]:
    """Return what the mapping of paths says, by (patient, folder name of the series).

    A series stands under the name of its folder in both layouts: its UID, and the descriptive
    `3.000000-ax dyn pre-12345`. Empty where the copy has no mapping. It has a row an image, so
    only what is needed is kept while it is read.
    """
    path = _named(release, "mapping")
    if path is None:
        return {}
    found: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for row in _mapping_rows(path, release.read(path)):
        original = (row.get("original_path_and_filename") or "").split("/")
        match = _SEQUENCE.fullmatch(original[-2]) if len(original) > 3 else None
        if match is None:
            continue  # rows of segmentations
        sequence = f"post_{match[2]}" if match[2] else match[1].upper().replace("PRE", "pre")
        last = re.search(r"(\d+)\D*$", original[-1].rpartition(".")[0])
        for title in ("classic_path", "descriptive_path"):
            *folders, name = [part for part in (row.get(title) or "").split("/") if part]
            number = slice_number(name)
            if folders and number is not None and last:
                _, seen = found.setdefault((original[-3], folders[-1]), (sequence, [0, 0, 0]))
                _count(seen, int(last[1]), number)
    return {key: Mapped(sequence, _order(seen)) for key, (sequence, seen) in found.items()}


def _count(seen: list[int], slice_: int, file: int) -> None:
    # rows, rows whose two numbers agree, and what the sum of both is as long as it never changes
    seen[0] += 1
    seen[1] += slice_ == file
    total = slice_ + file
    seen[2] = total if seen[0] == 1 or seen[2] == total else -1


def _order(seen: Sequence[int]) -> int:
    if seen[1] == seen[0]:
        return 1
    return -1 if seen[2] > 0 else 0


def _mapping_rows(path: str, data: bytes) -> Iterator[Mapping[str, str | None]]:
    columns = ("original_path_and_filename", "classic_path", "descriptive_path")
    if suffix(path) in (".csv", ".tsv"):
        return read_rows(data, columns=columns)
    return iterate_sheet(data)


def _named(release: Release, which: str) -> str | None:
    # endings first: the listing has three quarters of a million slices
    files = [entry for entry in release.entries if entry.path.lower().endswith(_ENDINGS)]
    paths = [
        entry.path for entry in wanted(files) if _NAMES[which].search(entry.path.rpartition("/")[2])
    ]
    return min(paths, key=lambda path: (_ENDINGS.index(suffix(path)), path), default=None)


def _lines(path: str, data: bytes, sheet: str) -> list[Line]:
    """Return all lines of a workbook's sheet (the first where none has this name), or of a csv."""
    try:
        if suffix(path) not in (".csv", ".tsv"):
            try:
                return list(read_grid(data, sheet))
            except ContentError:
                return list(read_grid(data, sheet_names(data)[0]))
        rows = list(read_rows(data))
    except ContentError as error:
        raise MammoError(f"{path} cannot be read: {error.detail}; download it again") from error
    return [list(rows[0]), *(list(row.values()) for row in rows)] if rows else []


def _titled(path: str, lines: Sequence[Line]) -> tuple[list[str], list[Line]]:
    """Find the line of titles among the first three, and return it with the patients' lines."""
    for number, line in enumerate(lines[:_TITLE_LINES]):
        titles = [_title(cell) for cell in line]
        if "Patient ID" in titles:
            first = titles.index("Patient ID")
            body = [row for row in lines[number + 1 :] if len(row) > first and row[first]]
            return titles, body
    raise MammoError(
        f"{path} has no column 'Patient ID' in its first {_TITLE_LINES} lines: download the table "
        "again from the release's page"
    )


def _title(cell: str | None) -> str:
    """Return a title without its code list: blanks and line breaks in it vary."""
    return " ".join((cell or "").partition("{")[0].split())


def _cells(titles: Sequence[str], line: Line) -> dict[str, str | None]:
    cells: dict[str, str | None] = {}
    for title, cell in zip(titles, line, strict=False):
        cells.setdefault(title, cell)  # the first of titles that repeat
    return cells


def _boxes(
    path: str, data: bytes
) -> tuple[dict[str, Box | ContentError], dict[str, ContentError], int]:
    """Read boxes: extra columns and rows that say the same again do not count."""
    titles, lines = _titled(path, _lines(path, data, "Sheet1"))
    missing = [title for title in BOX_COLUMNS if title not in titles]
    if missing:
        raise MammoError(f"{path} has no column {missing[0]!r}: download it again")
    boxes: dict[str, Box | ContentError] = {}
    strays: dict[str, ContentError] = {}
    for number, line in enumerate(lines, start=1):
        cells = _cells(titles, line)
        patient = cells["Patient ID"] or ""
        where = f"row {number} of {path}"
        if not PATIENT_ID.fullmatch(patient):
            strays[where] = ContentError(
                RejectReason.BAD_ROW, f"{where} has the Patient ID {patient!r}"
            )
            continue
        box = _box(cells, where)
        if patient in boxes and not _alike(boxes[patient], box):
            box = ContentError(
                RejectReason.BAD_ROW, f"{where} gives {patient} another box than a row above"
            )
        boxes[patient] = box
    return boxes, strays, len(lines)


def _alike(one: Box | ContentError, other: Box | ContentError) -> bool:
    if isinstance(one, ContentError) or isinstance(other, ContentError):
        return isinstance(one, ContentError) and isinstance(other, ContentError)
    return one == other


def _box(cells: Mapping[str, str | None], where: str) -> Box | ContentError:
    try:
        top, bottom, left, right, first, last = (int(cells[t] or "") for t in BOX_COLUMNS)
    except ValueError:
        return ContentError(RejectReason.BAD_ROW, f"{where} has a cell that is no whole number")
    pairs = ((top, bottom), (left, right), (first, last))
    if any(start < 1 or end < start for start, end in pairs):
        return ContentError(RejectReason.BAD_ROW, f"{where} has a box that ends before it starts")
    return Box(*pairs)


def _clinical(path: str, data: bytes) -> dict[str, Clinical]:
    titles, lines = _titled(path, _lines(path, data, "Data"))
    count = sum(map(bool, titles))
    missing = [title for title in CLINICAL_COLUMNS if title not in titles]
    if missing:
        raise MammoError(
            f"{path} has {count} columns, without {missing[0]!r}; the release's table has "
            f"{NUM_CLINICAL_COLUMNS}: this is a changed copy (one of 55 columns, from whose words "
            "'NA' was cut, is known); download the table again from the release's page"
        )
    found: dict[str, Clinical] = {}
    for line in lines:
        cells = _cells(titles, line)
        patient = cells["Patient ID"] or ""
        if PATIENT_ID.fullmatch(patient):
            kept = {title: cells[title] for title in CLINICAL_COLUMNS}
            found.setdefault(patient, Clinical(f"{patient} of {path}", kept))
    return found
