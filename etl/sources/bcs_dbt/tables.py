"""The nine tables of Breast-Cancer-Screening-DBT: found by pattern, read, joined by volume."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etl.readers.listing import natural_key, wanted
from etl.readers.series import uid_in
from etl.readers.tables import read_rows
from schemas.errors import ContentError, MammoError
from schemas.rejects import RejectReason
from schemas.release import Release, Words
from schemas.vocabulary import (
    ExamKind,
    Finding,
    LabelBasis,
    Laterality,
    Pathology,
    Split,
    View,
)

__all__ = [
    "BASES",
    "CLASSES",
    "DISTORTION",
    "EXAM_KINDS",
    "LABELS",
    "SIDES",
    "SPLITS",
    "VIEWS",
    "WORDS",
    "BadRow",
    "Box",
    "DbtTables",
    "Location",
    "Volume",
    "VolumeId",
    "find_tables",
    "patients",
]

LABELS = {
    "Cancer": Pathology.MALIGNANT,
    "Benign": Pathology.BENIGN,
    "Actionable": Pathology.UNKNOWN,
    "Normal": Pathology.NORMAL,
}
"""Columns of the labels tables, the gravest first; exactly one is 1 in a row."""

BASES = {
    "Cancer": LabelBasis.BIOPSY,
    "Benign": LabelBasis.BIOPSY,
    "Actionable": LabelBasis.SCREENING_OUTCOME,
    "Normal": LabelBasis.SCREENING_OUTCOME,
}

CLASSES = {"benign": Pathology.BENIGN, "cancer": Pathology.MALIGNANT}
DISTORTION = {"0": Finding.MASS, "1": Finding.ARCHITECTURAL_DISTORTION}
SIDES = {"lcc": Laterality.L, "lmlo": Laterality.L, "rcc": Laterality.R, "rmlo": Laterality.R}
VIEWS = {"lcc": View.CC, "lmlo": View.MLO, "rcc": View.CC, "rmlo": View.MLO}
"""Views without the digit of a repeated acquisition, in small letters."""

EXAM_KINDS = {"screen": ExamKind.SCREENING, "diagnostic": ExamKind.DIAGNOSTIC}
"""What StudyDescription contains, in any case: "MAMMO SCREENING DIGITAL BILATERAL"."""

SPLITS = {"train": Split.TRAIN, "validation": Split.VAL, "test": Split.TEST}

_CITED = "tables of doi 10.7937/E4WT-CD02; Buda et al. 2021, doi 10.1001/jamanetworkopen.2021.19100"
_LABEL_COUNTS = {"Cancer": 76, "Benign": 124, "Actionable": 716, "Normal": 18_232}
_VIEW_COUNTS = {"lcc": 4_791, "lmlo": 4_788, "rcc": 4_779, "rmlo": 4_781}
WORDS = (
    Words(
        column="Normal, Actionable, Benign, Cancer",
        becomes="pathology",
        words=LABELS,
        cited=_CITED,
        counts=_LABEL_COUNTS,
        note=(
            "volumes of the train split; one label a study. Actionable women were recalled and not "
            "biopsied: neither benign nor normal"
        ),
    ),
    Words(
        column="Normal, Actionable, Benign, Cancer",
        becomes="label_basis",
        words=BASES,
        cited=_CITED,
        counts=_LABEL_COUNTS,
        note="normal rests on a negative screen; no long follow-up is recorded",
    ),
    Words(
        column="Class",
        becomes="pathology",
        words=CLASSES,
        cited=_CITED,
        counts={"benign": 137, "cancer": 87},
        note="boxes of the train split",
    ),
    Words(
        column="AD",
        becomes="finding",
        words=DISTORTION,
        cited=_CITED,
        counts={"0": 147, "1": 77},
        note="boxes of the train split; lesions of calcifications only were left out",
    ),
    Words(
        column="View",
        becomes="view",
        words=VIEWS,
        cited=_CITED,
        counts=_VIEW_COUNTS,
        note="train split; 9 more rows have a digit for a repeated acquisition, such as rmlo1",
    ),
    Words(
        column="View",
        becomes="laterality",
        words=SIDES,
        cited=_CITED,
        counts=_VIEW_COUNTS,
        note="the headers' laterality says L of every volume and is not read",
    ),
    Words(
        column="StudyDescription, inside descriptive_path",
        becomes="exam_kind",
        words=EXAM_KINDS,
        cited=_CITED,
        counts={"screen": 20_182, "diagnostic": 1_845},
        note="volumes of all splits whose description contains the word; 5 contain neither",
    ),
    Words(
        column="table name",
        becomes="official_split",
        words=SPLITS,
        cited=_CITED,
        counts={"train": 19_148, "validation": 1_163, "test": 1_721},
        note="volumes; the split is by patient",
    ),
)

_TABLE_NAME = re.compile(
    r".*(labels|boxes|file[-_ ]?paths)[-_ ](train|validation|test)(?![a-z]).*\.csv", re.IGNORECASE
)
_KINDS = {"labels": "labels", "boxes": "boxes", "filepaths": "file-paths"}
_COLUMNS = {
    "labels": ("PatientID", "StudyUID", "View", *LABELS),
    "boxes": ("PatientID", "StudyUID", "View", "Slice", "X", "Y", "Width", "Height", "Class"),
    "file-paths": ("PatientID", "StudyUID", "View", "descriptive_path", "classic_path"),
}
"""`Subject` has no documented meaning, `AD` and `VolumeSlices` were not in the first edition."""
_LARGEST_TABLE = 64 << 20
_VIEW = re.compile(r"([lr](?:cc|mlo))(\d*)")
_STUDY_FOLDER = re.compile(r"\d\d-\d\d-\d{4}-DBT-S\d+-(?:(.*)-)?\d{1,5}")


@dataclass(frozen=True, slots=True)
class VolumeId:
    """Key of all tables: patient, study code and view, the view in small letters."""

    patient: str
    study: str
    view: str

    @property
    def key(self) -> str:
        """The id as text, which begins the film keys of its slices."""
        return f"{self.patient}/{self.study}/{self.view}"

    @property
    def base(self) -> str:
        """The view without the digit of a repeated acquisition.

        >>> VolumeId("DBT-P01282", "DBT-S00001", "lmlo1").base
        'lmlo'
        """
        match = _VIEW.fullmatch(self.view)
        if match is None:
            raise ContentError(
                RejectReason.UNKNOWN_WORD,
                f"view {self.view!r} of {self.patient}/{self.study} is none of "
                f"{', '.join(VIEWS)} with or without a number",
            )
        return match[1]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """One row of a boxes table: 0-based slice, then pixels of the upright picture."""

    slice: int
    x: int
    y: int
    width: int
    height: int
    word: str
    distortion: str | None = None
    volume_slices: int | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a volume's file is: UIDs, or their last five digits where the table has no more."""

    study: str
    series: str
    description: str | None
    text: str


@dataclass(slots=True)
class Volume:
    """What all tables say of one volume; `trouble` = a row that cannot be read."""

    splits: set[str] = field(default_factory=set)
    labelled: bool = False
    words: set[str] = field(default_factory=set)
    boxes: list[Box] = field(default_factory=list)
    location: Location | None = None
    trouble: ContentError | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that names no volume."""

    where: str
    table: str
    detail: str


@dataclass(frozen=True, slots=True)
class DbtTables:
    """The tables of a copy.

    Parameters
    ----------
    used
        Path by (kind, split): labels, boxes, file-paths; train, validation, test.
    unused
        Older editions and copies.
    rows
        Number of rows by path.
    titled
        Columns by path.
    volumes
        By id, in natural order of patient, study and view.
    bad
        Rows that name no volume.
    """

    used: Mapping[tuple[str, str], str]
    unused: tuple[str, ...]
    rows: Mapping[str, int]
    titled: Mapping[str, frozenset[str]]
    volumes: Mapping[VolumeId, Volume]
    bad: tuple[BadRow, ...]

    def has(self, kind: str, split: str) -> bool:
        """Say whether this copy has a table."""
        return (kind, split) in self.used


def find_tables(release: Release) -> DbtTables:
    """Find, read and join a copy's tables; of two editions of one table the later counts.

    Raises
    ------
    MammoError
        There is no table, or one is not what its name says.
    """
    used, unused = _chosen(release)
    if not used:
        raise MammoError(
            f"no table of Breast-Cancer-Screening-DBT under {release.root}: put the csv files of "
            "the TCIA page (BCS-DBT-labels-train-v2.csv and the others) beside the images"
        )
    volumes: dict[VolumeId, Volume] = {}
    bad: list[BadRow] = []
    rows: dict[str, int] = {}
    titled: dict[str, frozenset[str]] = {}
    for (kind, split), path in sorted(used.items()):
        found = _read(release, path, kind)
        rows[path] = len(found)
        titled[path] = frozenset(found[0]) if found else frozenset()
        for number, row in enumerate(found, start=1):
            volume = _volume_id(row)
            if volume is None:
                where = f"row {number} of {path}"
                bad.append(BadRow(where, path, f"{where} names no patient, study or view"))
            else:
                _add(volumes.setdefault(volume, Volume()), kind, split, row, f"{path}, {number}")
    ordered = sorted(volumes, key=lambda volume: natural_key(volume.key))
    return DbtTables(
        used, unused, rows, titled, {volume: volumes[volume] for volume in ordered}, tuple(bad)
    )


def _chosen(release: Release) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    """Tell tables by their names, which differ between splits, editions and downloads."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in wanted(release.entries):
        match = _TABLE_NAME.fullmatch(entry.path.rpartition("/")[2])
        if match and entry.size <= _LARGEST_TABLE:
            kind = _KINDS[re.sub(r"[-_ ]", "", match[1].lower())]
            found.setdefault((kind, match[2].lower()), []).append(entry.path)
    used, unused = {}, []
    for key, paths in sorted(found.items()):
        used[key], *rest = sorted(paths, key=lambda path: (*_edition(path), natural_key(path)))
        unused += rest
    return used, tuple(sorted(unused, key=natural_key))


def _edition(path: str) -> tuple[int, int]:
    """Return a key that sorts later editions first: PHASE-2 before v2 before no number."""
    name = path.rpartition("/")[2].lower()
    numbers = [re.search(pattern, name) for pattern in (r"phase[-_ ]?(\d+)", r"[-_ ]v(\d+)")]
    phase, version = (-int(match[1]) if match else 0 for match in numbers)
    return phase, version


def _read(release: Release, path: str, kind: str) -> list[dict[str, str | None]]:
    try:
        rows = list(read_rows(release.read(path)))
    except ContentError as error:
        raise MammoError(f"{release.root}/{path} cannot be read: {error.detail}") from error
    missing = [title for title in _COLUMNS[kind] if rows and title not in rows[0]]
    if missing:
        raise MammoError(
            f"{release.root}/{path} has no column {missing[0]}: it is no {kind} table of "
            "Breast-Cancer-Screening-DBT, rename it"
        )
    return rows


def _volume_id(row: Mapping[str, str | None]) -> VolumeId | None:
    patient, study, view = row["PatientID"], row["StudyUID"], row["View"]
    return VolumeId(patient, study, view.lower()) if patient and study and view else None


def _add(volume: Volume, kind: str, split: str, row: Mapping[str, str | None], where: str) -> None:
    volume.splits.add(split)
    try:
        if kind == "labels":
            volume.labelled = True
            volume.words |= _flagged(row, where)
        elif kind == "boxes":
            box = _box(row, where)
            if box not in volume.boxes:
                volume.boxes.append(box)
        else:
            volume.location = _location(row, where)
    except ContentError as error:
        volume.trouble = volume.trouble or error


def _flagged(row: Mapping[str, str | None], where: str) -> set[str]:
    for word in LABELS:
        if row[word] not in ("0", "1"):
            raise ContentError(
                RejectReason.UNKNOWN_WORD, f"{word} is {row[word]!r} in {where}; 0 or 1 is known"
            )
    return {word for word in LABELS if row[word] == "1"}


def _box(row: Mapping[str, str | None], where: str) -> Box:
    word, distortion = (row["Class"] or "").lower(), row.get("AD")
    if word not in CLASSES:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"Class is {row['Class']!r} in {where}; {', '.join(CLASSES)} are known",
        )
    if distortion is not None and distortion not in DISTORTION:
        raise ContentError(
            RejectReason.UNKNOWN_WORD, f"AD is {distortion!r} in {where}; 0 or 1 is known"
        )
    titles = ("Slice", "X", "Y", "Width", "Height")
    place, x, y, width, height = (_whole(row, title, where) for title in titles)
    slices = _whole(row, "VolumeSlices", where) if row.get("VolumeSlices") else None
    if place < 0 or width <= 0 or height <= 0 or (slices is not None and place >= slices):
        raise ContentError(
            RejectReason.BAD_ROW,
            f"the box of {where} cannot be drawn: slice {place} of {slices}, {width} x {height}",
        )
    return Box(place, x, y, width, height, word, distortion, slices)


def _whole(row: Mapping[str, str | None], title: str, where: str) -> int:
    try:
        return int(row[title] or "")
    except ValueError:
        raise ContentError(
            RejectReason.BAD_ROW, f"{title} is {row[title]!r} in {where}, which is no whole number"
        ) from None


def _location(row: Mapping[str, str | None], where: str) -> Location:
    """Return what names a volume's series: its UID, else the last five digits of the folders."""
    classic = _parts(row["classic_path"])
    described = _parts(row["descriptive_path"])
    description = None
    if len(described) >= 3 and (match := _STUDY_FOLDER.fullmatch(described[-3])):
        description = match[1]
    if len(classic) >= 3 and uid_in(classic[-2]):
        return Location(classic[-3], classic[-2], description, "/".join(classic))
    if len(described) >= 3:
        tails = [folder.rpartition("-")[2] for folder in described[-3:-1]]
        return Location(tails[0], tails[1], description, "/".join(described))
    raise ContentError(RejectReason.BAD_ROW, f"{where} has no path that names a series")


def _parts(path: str | None) -> Sequence[str]:
    return [part for part in (path or "").replace("\\", "/").split("/") if part]


def patients(volumes: Mapping[VolumeId, Volume]) -> Iterator[dict[VolumeId, Volume]]:
    """Yield the volumes of one patient after another, in their order."""
    found: dict[str, dict[VolumeId, Volume]] = {}
    for key, volume in volumes.items():
        found.setdefault(key.patient, {})[key] = volume
    yield from found.values()
