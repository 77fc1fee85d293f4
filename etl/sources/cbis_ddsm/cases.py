"""The case tables of CBIS-DDSM: find them, read them, turn their words into ours.

One row is one abnormality on one film. A row is read in two steps: what film it is of
(`CaseRow`), which must succeed for the row to count anywhere, and what it says (`lesion`,
`label`, `density`), which raises `ContentError` naming table, record and word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeVar

from etl.readers.listing import suffix, wanted
from etl.readers.tables import read_rows
from schemas.errors import ContentError, MammoError
from schemas.film import FilmLesion
from schemas.rejects import RejectReason
from schemas.release import Release
from schemas.vocabulary import (
    Birads,
    CalcDistribution,
    CalcType,
    Density,
    Finding,
    LabelBasis,
    Laterality,
    Margin,
    MassShape,
    Pathology,
    View,
    birads_rank,
)

__all__ = [
    "PATIENT_ID",
    "BadRow",
    "CaseRow",
    "CaseTables",
    "FilmId",
    "SeriesName",
    "assessment",
    "density",
    "film_id",
    "find_tables",
    "label",
    "lesion",
]

Word = TypeVar("Word", bound=StrEnum)

PATIENT_ID = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)(?:_(\d+))?")
"""PatientID of a film, and with a last number that of one abnormality's mask and crop."""

LABELS = {
    "MALIGNANT": (Pathology.MALIGNANT, LabelBasis.BIOPSY),
    "BENIGN": (Pathology.BENIGN, LabelBasis.BIOPSY_OR_IMAGING),
    "BENIGN_WITHOUT_CALLBACK": (Pathology.BENIGN, LabelBasis.READER),
}
"""The gravest first."""
FINDINGS = {"mass": Finding.MASS, "calcification": Finding.CALCIFICATION}
SHAPES = {
    "ROUND": MassShape.ROUND,
    "OVAL": MassShape.OVAL,
    "LOBULATED": MassShape.LOBULATED,
    "IRREGULAR": MassShape.IRREGULAR,
    "ARCHITECTURAL_DISTORTION": MassShape.ARCHITECTURAL_DISTORTION,
    "ASYMMETRIC_BREAST_TISSUE": MassShape.ASYMMETRIC_BREAST_TISSUE,
    "FOCAL_ASYMMETRIC_DENSITY": MassShape.FOCAL_ASYMMETRIC_DENSITY,
    "LYMPH_NODE": MassShape.LYMPH_NODE,
}
MARGINS = {
    "CIRCUMSCRIBED": Margin.CIRCUMSCRIBED,
    "MICROLOBULATED": Margin.MICROLOBULATED,
    "OBSCURED": Margin.OBSCURED,
    "ILL_DEFINED": Margin.ILL_DEFINED,
    "SPICULATED": Margin.SPICULATED,
}
CALC_TYPES = {
    "AMORPHOUS": CalcType.AMORPHOUS,
    "COARSE": CalcType.COARSE,
    "DYSTROPHIC": CalcType.DYSTROPHIC,
    "EGGSHELL": CalcType.EGGSHELL,
    "FINE_LINEAR_BRANCHING": CalcType.FINE_LINEAR_BRANCHING,
    "LARGE_RODLIKE": CalcType.LARGE_RODLIKE,
    "LUCENT_CENTER": CalcType.LUCENT_CENTERED,
    "LUCENT_CENTERED": CalcType.LUCENT_CENTERED,
    "MILK_OF_CALCIUM": CalcType.MILK_OF_CALCIUM,
    "PLEOMORPHIC": CalcType.PLEOMORPHIC,
    "PUNCTATE": CalcType.PUNCTATE,
    "ROUND_AND_REGULAR": CalcType.ROUND_AND_REGULAR,
    "SKIN": CalcType.SKIN,
    "VASCULAR": CalcType.VASCULAR,
}
DISTRIBUTIONS = {
    "CLUSTERED": CalcDistribution.CLUSTERED,
    "DIFFUSELY_SCATTERED": CalcDistribution.DIFFUSELY_SCATTERED,
    "LINEAR": CalcDistribution.LINEAR,
    "REGIONAL": CalcDistribution.REGIONAL,
    "SEGMENTAL": CalcDistribution.SEGMENTAL,
}
ASSESSMENTS = {word: Birads(word) for word in "0123456"}
DENSITIES = {"0": None, "1": Density.A, "2": Density.B, "3": Density.C, "4": Density.D}
"""0 is written for P_01743 and is on no scale."""
SUBTLETIES = {"0": None, **{word: int(word) for word in "12345"}}
"""1 subtle to 5 obvious; two rows have 0."""
SIDES = {"LEFT": Laterality.L, "RIGHT": Laterality.R}
OFFICIAL = {"Training": "train", "Test": "test"}

_NEEDED = frozenset({"pathology", "image file path", "abnormality id"})
_LARGEST_TABLE = 16 << 20
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FilmId:
    """What a film's PatientID says."""

    key: str
    kind: str
    official: str
    patient: str
    laterality: Laterality
    view: View


class SeriesName(NamedTuple):
    """What a csv path says: PatientID, UIDs of study and series, and a meaningless file name."""

    patient: str
    study: str
    series: str
    file: str


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One record: the film it is of, and its cells by small, single-spaced title."""

    film: FilmId
    image: SeriesName
    abnormality: int
    where: str
    cells: Mapping[str, str | None] = field(hash=False)

    @property
    def mask(self) -> SeriesName | None:
        """Where the table says that the mask is."""
        return _series_name(self.cells.get("roi mask file path"))

    @property
    def crop(self) -> SeriesName | None:
        """Where the table says that the cropped lesion is."""
        return _series_name(self.cells.get("cropped image file path"))


class BadRow(NamedTuple):
    """A record that names no film."""

    where: str
    table: str
    detail: str


@dataclass(frozen=True, slots=True)
class CaseTables:
    """The rows of a copy; `used` is the file of each table, `unused` are poorer and empty ones."""

    rows: tuple[CaseRow, ...]
    bad: tuple[BadRow, ...]
    used: Mapping[tuple[str, str], str]
    unused: tuple[str, ...]


def find_tables(release: Release) -> CaseTables:
    """Read every case table of a copy, recognised by its titles, whatever its name.

    Where two files hold rows of the same table (mass train, ...), the one with more rows counts.

    Raises
    ------
    MammoError
        No file is a case table, or one cannot be read as csv.
    """
    read = {path: tuple(_records(path, data)) for path, data in _candidates(release)}
    if not read:
        raise MammoError(
            f"no CBIS-DDSM case table under {release.root}: put the four csv files from the "
            "collection page (mass_case_description_train_set.csv, ...) beside the images"
        )
    groups: dict[tuple[str, str], dict[str, list[CaseRow]]] = {}
    for path, records in read.items():
        for row in records:
            if isinstance(row, CaseRow):
                table = groups.setdefault((row.film.kind, row.film.official), {})
                table.setdefault(path, []).append(row)
    used = {
        table: min(files, key=lambda path: (-len(files[path]), path))
        for table, files in sorted(groups.items())
    }
    chosen = set(used.values()) or set(read)
    return CaseTables(
        rows=tuple(row for table, path in used.items() for row in groups[table][path]),
        bad=tuple(x for path in sorted(chosen) for x in read[path] if isinstance(x, BadRow)),
        used=used,
        unused=tuple(sorted(set(read) - chosen)),
    )


def film_id(text: str) -> FilmId | None:
    """Return what a film's PatientID says; None for a lesion's or a foreign id."""
    match = PATIENT_ID.fullmatch(text)
    if match is None or match[6]:
        return None
    kind, official, patient, side, view, _ = match.groups()
    return FilmId(text, kind, OFFICIAL[official], patient, SIDES[side], View(view))


def lesion(row: CaseRow) -> FilmLesion:
    """Return what a row says of its abnormality, without geometry."""
    raw = row.cells.get("pathology")
    pathology, basis = _known(LABELS, row, "pathology", raw)
    return FilmLesion(
        lesion_id=str(row.abnormality),
        source_ids=(f"{row.film.key}_{row.abnormality}",),
        finding=_known(FINDINGS, row, "abnormality type", row.cells.get("abnormality type")),
        pathology=pathology,
        label_basis=basis,
        label_raw=raw,
        birads=_optional(ASSESSMENTS, row, "assessment"),
        shape=_joined_words(SHAPES, row, "mass shape"),
        margin=_joined_words(MARGINS, row, "mass margins"),
        calc_type=_joined_words(CALC_TYPES, row, "calc type"),
        distribution=_joined_words(DISTRIBUTIONS, row, "calc distribution"),
        subtlety=_optional(SUBTLETIES, row, "subtlety"),
    )


def label(rows: Sequence[CaseRow]) -> tuple[Pathology, LabelBasis]:
    """Return the gravest label among rows: MALIGNANT, BENIGN, BENIGN_WITHOUT_CALLBACK."""
    ranks = list(LABELS.values())
    found = (_known(LABELS, row, "pathology", row.cells.get("pathology")) for row in rows)
    return min(found, key=ranks.index)


def assessment(rows: Sequence[CaseRow]) -> Birads | None:
    """Return the highest BI-RADS assessment among rows, None where no row has one."""
    found = [_optional(ASSESSMENTS, row, "assessment") for row in rows]
    given = [value for value in found if value]
    return max(given, key=lambda value: birads_rank(value) or 0.0, default=None)


def density(rows: Sequence[CaseRow]) -> Density | None:
    """Return the first density that rows of one film give; BI-RADS A-D are written 1-4."""
    found = [_optional(DENSITIES, row, "breast density") for row in rows]
    return next((value for value in found if value), None)


def _candidates(release: Release) -> Iterator[tuple[str, bytes]]:
    for entry in wanted(release.entries):
        if suffix(entry.path) == ".csv" and entry.size <= _LARGEST_TABLE:
            data = release.read(entry.path)
            head = _title(data[:_HEADER_BYTES].split(b"\n", 1)[0].decode("utf-8", "replace"))
            if all(title in head for title in _NEEDED):
                yield entry.path, data


def _records(path: str, data: bytes) -> Iterator[CaseRow | BadRow]:
    try:
        for number, cells in enumerate(read_rows(data), start=1):
            where = f"record {number} of {path}"
            titled = {_title(name): value for name, value in cells.items()}
            try:
                yield _case_row(titled, where)
            except ContentError as error:
                yield BadRow(where, path, error.detail)
    except ContentError as error:
        raise MammoError(
            f"{path} cannot be read as a table ({error.detail}): download it again"
        ) from error


def _title(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def _case_row(cells: Mapping[str, str | None], where: str) -> CaseRow:
    image = _series_name(cells.get("image file path"))
    film = film_id(image.patient) if image else None
    if image is None or film is None:
        path = cells.get("image file path")
        raise _bad(where, f"has the image file path {path!r}, which names no film")
    number = cells.get("abnormality id") or ""
    if not number.isdecimal():
        raise _bad(where, f"has the abnormality id {number!r}, a number is needed")
    _agrees(film, cells, where)
    return CaseRow(film, image, int(number), where, cells)


def _agrees(film: FilmId, cells: Mapping[str, str | None], where: str) -> None:
    """Refuse a row whose columns and path speak of two films."""
    columns = {
        "patient id": film.patient,
        "left or right breast": "LEFT" if film.laterality is Laterality.L else "RIGHT",
        "image view": film.view.value,
    }
    for title, expected in columns.items():
        if cells.get(title) not in (expected, None):
            raise _bad(where, f"has the {title} {cells[title]!r}, its path says {film.key}")


def _series_name(cell: str | None) -> SeriesName | None:
    """Read a csv path from its end, with `/` or backslashes, whatever stands above the ids."""
    parts = [part.strip() for part in (cell or "").replace("\\", "/").split("/")]
    if len(parts) < 4 or not PATIENT_ID.fullmatch(parts[-4]):
        return None
    return SeriesName(*parts[-4:])


_Value = TypeVar("_Value")


def _known(words: Mapping[str, _Value], row: CaseRow, title: str, word: str | None) -> _Value:
    if word is None:
        raise _bad(row.where, f"({row.film.key}) has no {title}")
    if word not in words:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{row.where} ({row.film.key}) has the {title} {word!r}, known are {', '.join(words)}",
        )
    return words[word]


def _optional(words: Mapping[str, _Value], row: CaseRow, title: str) -> _Value | None:
    word = row.cells.get(title)
    return None if word is None else _known(words, row, title, word)


def _joined_words(words: Mapping[str, Word], row: CaseRow, title: str) -> tuple[Word, ...]:
    """Split `IRREGULAR-LYMPH_NODE`; two words for one thing, or one twice, become one."""
    cell = row.cells.get(title)
    parts: Iterable[str] = () if cell is None else cell.split("-")
    return tuple(dict.fromkeys(_known(words, row, title, part) for part in parts))


def _bad(where: str, what: str) -> ContentError:
    return ContentError(RejectReason.BAD_ROW, f"{where} {what}")
