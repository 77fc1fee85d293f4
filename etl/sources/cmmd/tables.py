"""The clinical table of CMMD and its optional companion TOMPEI-CMMD: their words and ours.

Every map of this file is a table that `docs/labels.md` prints.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from etl.readers.listing import suffix, wanted
from etl.readers.sheets import read_sheet
from etl.readers.tables import read_rows
from etl.readers.tompei import Breast, read_breasts
from schemas.errors import ContentError, MammoError
from schemas.rejects import RejectReason
from schemas.release import Release, Words
from schemas.vocabulary import Birads, Density, Finding, Laterality, Pathology, View

__all__ = [
    "PATIENT_ID",
    "BadRow",
    "Clinical",
    "Row",
    "Tompei",
    "find_clinical",
    "find_tompei",
    "known",
]

PATIENT_ID = re.compile(r"D[12]-\d{4}")

SIDES = {"L": Laterality.L, "R": Laterality.R}
CLASSES = {"Benign": Pathology.BENIGN, "Malignant": Pathology.MALIGNANT}
ABNORMALITIES = {
    "mass": (Finding.MASS,),
    "calcification": (Finding.CALCIFICATION,),
    "both": (Finding.CALCIFICATION, Finding.MASS),
}
SUBTYPES = {"Luminal A": None, "Luminal B": None, "HER2-enriched": None, "triple negative": None}
VIEWS = {
    "399162004": View.CC,
    "R-10242": View.CC,
    "cranio-caudal": View.CC,
    "399368009": View.MLO,
    "R-10226": View.MLO,
    "medio-lateral oblique": View.MLO,
}
"""Code values of DICOM CID 4014 (SNOMED CT, SNOMED RT), then their meanings in small letters."""

OUTLINE_LABELS = {
    "mass": Finding.MASS,
    "calc": Finding.CALCIFICATION,
    "dist": Finding.ARCHITECTURAL_DISTORTION,
    "FAD": Finding.FOCAL_ASYMMETRY,
    "FA": Finding.MASS,
    "lipoma": Finding.MASS,
}
TOMPEI_CLASSES = dict.fromkeys(("Malignant", "Benign", "Normal", "Invisible", "Exclusion"))
DENSITIES = {
    "fatty": Density.A,
    "scattered": Density.B,
    "heterogeneous dense": Density.C,
    "heterogeneously dense": Density.C,
    "extremely dense": Density.D,
}
CATEGORIES = {word.value: word for word in Birads}

_SPEC = "CMMD_clinicaldata_revision.xlsx (TCIA, doi 10.7937/tcia.eqde-4b16)"
_TOMPEI = "TOMPEI-CMMD, version 01 (TCIA analysis result, 2025-01)"
WORDS: tuple[Words, ...] = (
    Words(
        column="classification",
        becomes="pathology",
        words=CLASSES,
        cited=_SPEC,
        counts={"Malignant": 1316, "Benign": 556},
        note="of one breast, by biopsy (basis biopsy, scope breast); the join is on patient and "
        "side. An imaged breast without a row (729 of 2,601) is unknown, never normal; there is "
        "no normal class.",
    ),
    Words(
        column="abnormality",
        becomes="finding",
        words=ABNORMALITIES,
        cited=_SPEC,
        counts={"mass": 1149, "both": 461, "calcification": 262},
        note="findings of the breast without geometry, on both of its views.",
    ),
    Words(
        column="subtype",
        becomes="raw",
        words=SUBTYPES,
        cited=_SPEC,
        counts={"Luminal B": 376, "Luminal A": 152, "HER2-enriched": 135, "triple negative": 86},
        note="kept in raw.status as it stands; empty in 1,123 rows.",
    ),
    Words(
        column="LeftRight, ImageLaterality (0020,0062)",
        becomes="laterality",
        words=SIDES,
        cited=_SPEC,
        counts={"L": 988, "R": 884},
        note="counts are rows; a tag that is known to be wrong is kept, with laterality_conflict.",
    ),
    Words(
        column="ViewCodeSequence (0054,0220)",
        becomes="view",
        words=VIEWS,
        cited="DICOM PS3.16 CID 4014",
        counts={"cranio-caudal": 2601, "medio-lateral oblique": 2601},
        note="ViewPosition is empty on every file.",
    ),
    Words(
        column="TOMPEI label",
        becomes="finding",
        words=OUTLINE_LABELS,
        cited=_TOMPEI,
        note="outlines of 1,773 lesions on 1,385 MLO images. FAD: focal asymmetric density. FA is "
        "spelt out nowhere and read as fibroadenoma, like lipoma a diagnosis of a mass.",
    ),
    Words(
        column="TOMPEI classification",
        becomes="raw",
        words=TOMPEI_CLASSES,
        cited=_TOMPEI,
        counts={
            "Malignant": 1167,
            "Normal": 1054,
            "Benign": 215,
            "Invisible": 140,
            "Exclusion": 25,
        },
        note="kept in raw.status and no label. Normal holds 342 breasts that CMMD calls Benign "
        "and whose lesion could not be located; Invisible is malignant without a lesion that can "
        "be located: on neither is anything drawn, and annotation is none.",
    ),
    Words(
        column="TOMPEI Breast density",
        becomes="density",
        words=DENSITIES,
        cited=_TOMPEI,
        counts={
            "heterogeneous dense": 1671,
            "extremely dense": 551,
            "scattered": 340,
            "fatty": 30,
        },
        note="CMMD itself has none. The third word is spelt in both ways by those who cite "
        "it; another word would stay raw and fill nothing, as it would below.",
    ),
    Words(
        column="TOMPEI BI-RADS Category",
        becomes="birads",
        words=CATEGORIES,
        cited=_TOMPEI,
        note="the readers' category of the breast; the pathology stays CMMD's.",
    ),
)

EXPECTED_ROWS = 1872
EXPECTED_PATIENTS = 1775
EXPECTED_CLASSES = {"Malignant": 1316, "Benign": 556}

_CLINICAL_TITLES = frozenset({"ID1", "LeftRight", "classification"})
_LARGEST_TABLE = 16 << 20
_TOMPEI_NAME = re.compile(r"(D[12]-\d{4})_MLO_([LR])_AnnotationFile\.json", re.IGNORECASE)

Side = tuple[str, Laterality]
"""Patient and side."""
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Row:
    """What the clinical table says of one breast, in its own words."""

    patient: str
    laterality: Laterality
    where: str
    age: str | None
    abnormality: str | None
    classification: str | None
    subtype: str | None

    def said(self) -> tuple[str | None, ...]:
        """Return the words that must agree where a breast has two rows."""
        return self.age, self.abnormality, self.classification, self.subtype


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of the clinical table that names no breast."""

    where: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class Clinical:
    """The clinical table of a copy: rows by breast, in the table's order."""

    path: str
    rows: Mapping[Side, tuple[Row, ...]]
    bad: tuple[BadRow, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tompei:
    """What of TOMPEI-CMMD lies in a copy.

    Parameters
    ----------
    outlines
        Annotation file by patient and side, the side being the readers' corrected one.
    breasts
        Lines of the sheet by breast.
    sheet
        The workbook's path, None where it is not there or cannot be read.
    trouble
        Why a workbook of that name could not be read.
    """

    outlines: Mapping[Side, str]
    breasts: Mapping[Side, Breast]
    sheet: str | None = None
    trouble: str | None = None


def find_clinical(release: Release) -> Clinical:
    """Read the clinical table, recognised by its titles, as xlsx or as csv with `,` or `;`.

    Of several, the one with most rows counts, then an xlsx, then the first path: the values of the
    three files in circulation are identical cell by cell.

    Raises
    ------
    MammoError
        No file has the table's titles.
    """
    tables = {path: rows for path, rows in _candidates(release) if rows}
    if not tables:
        raise MammoError(
            f"no CMMD clinical table under {release.root}: put CMMD_clinicaldata_revision.xlsx "
            "from the collection page beside the images"
        )
    path = min(tables, key=lambda path: (-len(tables[path]), suffix(path) != ".xlsx", path))
    rows: dict[Side, tuple[Row, ...]] = {}
    bad = []
    for number, cells in enumerate(tables[path], start=1):
        row = _row(cells, f"row {number} of {path}")
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            side = (row.patient, row.laterality)
            rows[side] = (*rows.get(side, ()), row)
    return Clinical(path, rows, tuple(bad), tuple(sorted(set(tables) - {path})))


def find_tompei(release: Release) -> Tompei:
    """Return the annotation files and the sheet of a copy, by name, wherever they lie."""
    outlines: dict[Side, str] = {}
    breasts: dict[Side, Breast] = {}
    sheet = trouble = None
    for entry in sorted(wanted(release.entries)):
        name = entry.path.rsplit("/", 1)[-1]
        if match := _TOMPEI_NAME.fullmatch(name):
            outlines.setdefault((match[1].upper(), SIDES[match[2].upper()]), entry.path)
        elif name.upper().startswith("TOMPEI-CMMD") and suffix(name) == ".xlsx" and sheet is None:
            try:
                breasts = _by_breast(read_breasts(release.read(entry.path)))
                sheet = entry.path
            except ContentError as error:
                trouble = f"{entry.path}: {error.detail}"
    return Tompei(outlines, breasts, sheet, None if sheet else trouble)


def known(words: Mapping[str, _Value], where: str, title: str, word: str | None) -> _Value:
    """Return our word for the release's.

    Raises
    ------
    ContentError
        `bad_row` where the cell is empty, `unknown_word` where the table does not know it.
    """
    if word is None:
        raise ContentError(RejectReason.BAD_ROW, f"{where} has no {title}")
    if word not in words:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{where} has the {title} {word!r}, known are {', '.join(words)}",
        )
    return words[word]


def _candidates(release: Release) -> Iterator[tuple[str, list[dict[str, str | None]]]]:
    for entry in wanted(release.entries):
        ending = suffix(entry.path)
        if ending not in (".csv", ".xlsx", ".xls") or entry.size > _LARGEST_TABLE:
            continue
        data = release.read(entry.path)
        lines = read_rows(data) if ending == ".csv" else read_sheet(data)
        try:
            first = next(lines, None)
        except ContentError:
            continue  # no table at all, so not this one
        if first is not None and first.keys() >= _CLINICAL_TITLES:
            yield entry.path, [first, *_rest(lines, entry.path)]


def _rest(lines: Iterator[dict[str, str | None]], path: str) -> Iterator[dict[str, str | None]]:
    try:
        yield from lines
    except ContentError as error:
        raise MammoError(
            f"{path} cannot be read as a table ({error.detail}): download it again"
        ) from error


def _row(cells: Mapping[str, str | None], where: str) -> Row | BadRow:
    patient, side = cells["ID1"] or "", cells["LeftRight"] or ""
    if not PATIENT_ID.fullmatch(patient):
        return BadRow(where, RejectReason.BAD_ROW, f"{where} has the ID1 {patient!r}")
    try:
        laterality = known(SIDES, f"{where} ({patient})", "LeftRight", side or None)
    except ContentError as error:
        return BadRow(where, error.reason, error.detail)
    return Row(
        patient=patient,
        laterality=laterality,
        where=f"{where} ({patient} {laterality})",
        age=cells.get("Age"),
        abnormality=cells.get("abnormality"),
        classification=cells["classification"],
        subtype=cells.get("subtype"),
    )


def _by_breast(lines: Iterable[Breast]) -> dict[Side, Breast]:
    return {
        (line.patient, SIDES[line.side]): line
        for line in lines
        if PATIENT_ID.fullmatch(line.patient) and line.side in SIDES
    }


def classes(clinical: Clinical) -> Counter[str]:
    """Count breasts by the table's own class."""
    return Counter(rows[0].classification or "" for rows in clinical.rows.values())
