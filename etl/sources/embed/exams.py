"""The clinical table: rows of one exam, and what they say of each breast.

A row is one finding (or one exam without finding). It is joined with images on patient, exam and
side; its specimen belongs to the breast that `bside` names, which may be the other one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from etl.sources.embed import words
from schemas.errors import ContentError
from schemas.film import FilmLesion
from schemas.rejects import RejectReason
from schemas.vocabulary import (
    Birads,
    Density,
    ExamKind,
    Finding,
    LabelBasis,
    LabelScope,
    Laterality,
    LesionFlag,
    Pathology,
    QualityFlag,
    by_birads,
)

__all__ = ["CLINICAL_COLUMNS", "PATHS", "Breast", "Exam", "number"]

PATHS = tuple(f"path{place}" for place in range(1, 11))
CLINICAL_COLUMNS = (
    "empi_anon", "acc_anon", "study_date_anon", "desc", "tissueden", "asses", "numfind", "side",
    "massshape", "massmargin", "massdens", "calcfind", "calcdistri", "calcnumber", "otherfind",
    "implanfind", "bside", "procdate_anon", "path_severity", "age_at_study", "GENDER_DESC", *PATHS,
)  # fmt: skip
"""Columns of the clinical table that are read."""

DESCRIPTORS = ("massshape", "massmargin", "massdens", "calcfind", "calcdistri")
"""Columns of codes that describe a finding; `0` is a code of massdens (fat containing)."""

LONGEST_WAIT_DAYS = 365
"""A specimen taken later, or before the exam, says nothing of the exam's images; the release
repeats specimens on several exams of a patient. The bound is our judgement."""
DAYS_A_MONTH = 30.4375
OLDEST = 90

Cells = Mapping[str, str | None]
Word = TypeVar("Word")

_WHOLE = re.compile(r"(\d+)\.0*")
_APART = re.compile(r"[\s,;/]+")


def number(cell: str | None) -> str | None:
    """Return a whole number as it was before pandas made it a float: `2.0` is `2`.

    Works on text, because 16 digits of an exam's number do not fit a float.
    """
    match = _WHOLE.fullmatch(cell) if cell else None
    return match[1] if match else cell


def _known(table: Mapping[str, Word], cells: Cells, column: str, word: str) -> Word:
    if word not in table:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"exam {cells['acc_anon']}, finding {cells['numfind']}: {column} is {word!r}; known "
            f"are {', '.join(table)}",
        )
    return table[word]


def _codes(table: Collection[str], cell: str | None) -> tuple[str, ...]:
    """Return a cell's codes; several may stand together, apart by a comma or not at all."""
    if cell is None:
        return ()
    found: list[str] = []
    for part in _APART.split(cell.upper()):
        split = part not in table and all(letter in table for letter in part)
        found += part if split else [part]
    return tuple(dict.fromkeys(code for code in found if code))


def _day(cell: str | None) -> date | None:
    try:
        return date.fromisoformat((cell or "")[:10])
    except ValueError:
        return None


def _says(cell: str | None) -> bool:
    return cell is not None and number(cell) != "0"


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One row, its words checked; `severity` is None where its specimen does not count."""

    cells: Cells
    sides: tuple[Laterality, ...]
    specimen_sides: tuple[Laterality, ...]
    severity: str | None
    assessment: str | None
    wait: int | None

    @property
    def is_late_cancer(self) -> bool:
        severity = number(self.cells["path_severity"])
        late = self.wait is not None and self.wait > LONGEST_WAIT_DAYS
        return late and severity in ("0", "1")

    @property
    def is_finding(self) -> bool:
        """A row with a side that is more than "negative"."""
        described = any(self.cells[column] for column in DESCRIPTORS) or any(
            _says(self.cells[column]) for column in ("calcnumber", "otherfind")
        )
        counted = self.severity is not None or described
        return self.cells["side"] is not None and (
            counted or self.assessment not in (None, "N", "X")
        )


def _read(cells: Cells, *, screening: bool) -> _Row:
    side, bside = cells["side"], cells["bside"]
    both = words.SIDES["B"]
    sides = _known(words.SIDES, cells, "side", side.upper()) if side else both
    specimen = _known(words.SIDES, cells, "bside", bside.upper()) if bside else sides
    severity = number(cells["path_severity"])
    if severity is not None:
        _known(words.SEVERITIES, cells, "path_severity", severity)
    wait = _wait(cells)
    if wait is not None and not 0 <= wait <= LONGEST_WAIT_DAYS:
        severity = None
    assessment = (cells["asses"] or "").upper() or None
    if assessment is not None:
        _known(words.ASSESSMENTS, cells, "asses", assessment)
    if screening and severity is not None:
        assessment = before_addendum(assessment)
    return _Row(cells, sides, specimen, severity, assessment, wait)


def _wait(cells: Cells) -> int | None:
    """Return the days from exam to specimen; both dates are shifted alike."""
    taken, seen = _day(cells["procdate_anon"]), _day(cells["study_date_anon"])
    return None if taken is None or seen is None else (taken - seen).days


def before_addendum(assessment: str | None) -> str | None:
    """Return what a screening exam with a specimen said before it was addended.

    Recalled exams are sometimes overwritten by the work-up's N or B, with the pathology on the
    same row (sample notebook): a negative screen is not biopsied, so it was A.

    >>> before_addendum("N"), before_addendum("S")
    ('A', 'S')
    """
    return "A" if assessment in ("N", "B") else assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class Breast:
    """What an exam says of one breast."""

    pathology: Pathology = Pathology.UNKNOWN
    basis: LabelBasis = LabelBasis.UNKNOWN
    scope: LabelScope = LabelScope.IMAGE
    birads: Birads | None = None
    months_to_cancer: float | None = None
    lesions: tuple[FilmLesion, ...] = ()
    implant: bool | None = None
    raw_label: str | None = None
    raw_finding: str | None = None
    flags: tuple[QualityFlag, ...] = ()


@dataclass(slots=True)
class Exam:
    """One exam of the clinical table."""

    key: str
    rows: Sequence[Cells]
    study_description: str | None = None
    nus: bool = False
    _breasts: dict[Laterality | None, Breast | ContentError] = field(default_factory=dict)

    @property
    def description(self) -> str | None:
        """`desc`, which wins over the images' StudyDescription (README)."""
        return next((row["desc"] for row in self.rows if row["desc"]), self.study_description)

    @property
    def kind(self) -> ExamKind | None:
        """Screening or diagnostic, by the description (README)."""
        text = (self.description or "").lower()
        if "screen" in text:
            return ExamKind.SCREENING
        return ExamKind.DIAGNOSTIC if "diag" in text else None

    @property
    def is_bilateral(self) -> bool:
        """Both breasts were imaged, by the description (sample notebook)."""
        return "bilat" in (self.description or "").lower()

    @property
    def densities(self) -> tuple[str, ...]:
        """The exam's values of `tissueden` without their decimals."""
        found = (number(row["tissueden"]) for row in self.rows)
        return tuple(dict.fromkeys(value for value in found if value))

    def density(self) -> Density | None:
        """Return the density, the highest where the rows differ."""
        letters = [
            _known(words.DENSITIES, row, "tissueden", number(row["tissueden"]) or "")
            for row in self.rows
            if row["tissueden"]
        ]
        return max((letter for letter in letters if letter), default=None)

    @property
    def age(self) -> int | None:
        """Full years; 90 is 90 or more."""
        for row in self.rows:
            match = re.match(r"\d{1,3}", row["age_at_study"] or "")
            if match and int(match[0]):
                return min(int(match[0]), OLDEST)
        return None

    @property
    def flags(self) -> tuple[QualityFlag, ...]:
        """What the images of both breasts have to say."""
        sexes = {(row["GENDER_DESC"] or "").lower() for row in self.rows}
        male = "5" in self.densities or "male" in sexes
        found = [QualityFlag.MALE] if male else []
        return (*found, QualityFlag.DENSITY_CONFLICT) if len(self.densities) > 1 else (*found,)

    def breast(self, side: Laterality | None) -> Breast:
        """Return what the exam says of one breast; None: of a picture whose side is not known.

        Raises
        ------
        ContentError
            `unknown_word`: a row of this breast holds a word that no table knows.
        """
        if side not in self._breasts:
            try:
                self._breasts[side] = self._breast(side)
            except ContentError as error:
                self._breasts[side] = error
        found = self._breasts[side]
        if isinstance(found, ContentError):
            raise ContentError(found.reason, found.detail)
        return found

    def _breast(self, side: Laterality | None) -> Breast:
        if not self.rows:
            return Breast()
        screening = self.kind is ExamKind.SCREENING
        rows = [_read(row, screening=screening) for row in self.rows]
        wanted = words.SIDES["B"] if side is None else (side,)
        own = [row for row in rows if set(wanted) <= set(row.sides)]
        specimens = [row for row in rows if set(wanted) <= set(row.specimen_sides)]
        specimens = [row for row in specimens if row.severity is not None]
        if not own and not specimens:
            return self._implied() if side else Breast()
        return self._said(side, own, specimens)

    def _implied(self) -> Breast:
        """Return the breast that no row names, where rows name the other one.

        MagView has rows for breasts with findings only; of a bilateral exam with rows for one side
        the other breast was negative (sample notebook).
        """
        if not self.is_bilateral:
            return Breast()
        return Breast(pathology=Pathology.NORMAL, basis=LabelBasis.IMPLIED, scope=LabelScope.BREAST)

    def _said(
        self, side: Laterality | None, own: Sequence[_Row], specimens: Sequence[_Row]
    ) -> Breast:
        assessment = min(
            (row.assessment for row in own if row.assessment in tuple(words.WORST_FIRST)),
            key=words.WORST_FIRST.index,
            default=None,
        )
        birads = words.ASSESSMENTS[assessment] if assessment else None
        pathology, basis = by_birads(birads)
        months, flags = None, []
        late = [row for row in own if row.is_late_cancer]
        if specimens:
            severity = min(str(row.severity) for row in specimens)
            pathology, basis = self._severities[severity]
            if severity in ("2", "3"):
                flags.append(QualityFlag.HIGH_RISK)
        elif late:
            pathology, basis = Pathology.UNKNOWN, LabelBasis.UNKNOWN
            months = min(row.wait or 0 for row in late) / DAYS_A_MONTH
            flags.append(QualityFlag.PRIOR)
        return Breast(
            pathology=pathology,
            basis=basis,
            scope=LabelScope.BREAST if side else LabelScope.EXAM,
            birads=birads,
            months_to_cancer=months,
            lesions=self._lesions(side, own, specimens),
            implant=any(_says(row.cells["implanfind"]) for row in own) or None,
            raw_label=_joined(_label_words(row) for row in dict.fromkeys((*own, *specimens))),
            raw_finding=_joined(_finding_words(row) for row in own),
            flags=tuple(flags),
        )

    @property
    def _severities(self) -> Mapping[str, tuple[Pathology, LabelBasis]]:
        return words.NUS_SEVERITIES if self.nus else words.SEVERITIES

    def _lesions(
        self, side: Laterality | None, own: Sequence[_Row], specimens: Sequence[_Row]
    ) -> tuple[FilmLesion, ...]:
        """Return the breast's findings, one a `numfind`; a finding may have several rows."""
        groups: dict[str, list[_Row]] = {}
        for row in own:
            if row.is_finding:
                groups.setdefault(number(row.cells["numfind"]) or "0", []).append(row)
        return tuple(
            self._lesion(name, side, group, [row for row in group if row in specimens])
            for name, group in sorted(groups.items(), key=lambda item: (len(item[0]), item[0]))
        )

    def _lesion(
        self, name: str, side: Laterality | None, rows: Sequence[_Row], specimens: Sequence[_Row]
    ) -> FilmLesion:
        assessment = min(
            (row.assessment for row in rows if row.assessment in tuple(words.WORST_FIRST)),
            key=words.WORST_FIRST.index,
            default=None,
        )
        birads = words.ASSESSMENTS[assessment] if assessment else None
        severity = min((str(row.severity) for row in specimens), default=None)
        pathology, basis = self._severities[severity] if severity else by_birads(birads)
        if severity is None and any(row.is_late_cancer for row in rows):
            pathology, basis = Pathology.UNKNOWN, LabelBasis.UNKNOWN
        return FilmLesion(
            lesion_id=name,
            lesion_key=f"{self.key}/{side}/{name}" if side else None,
            finding=_finding(rows),
            pathology=pathology,
            label_basis=basis,
            label_raw=_joined(_label_words(row) for row in rows),
            birads=birads,
            shape=tuple(
                dict.fromkeys(
                    shape for shapes in _words(words.SHAPES, rows, "massshape") for shape in shapes
                )
            ),
            margin=_words(words.MARGINS, rows, "massmargin"),
            calc_type=tuple(
                kind for kind in _words(words.CALC_TYPES, rows, "calcfind") if kind is not None
            ),
            distribution=_words(words.CALC_DISTRIBUTIONS, rows, "calcdistri"),
            flags=(LesionFlag.HIGH_RISK,) if severity in ("2", "3") else (),
        )


def _words(table: Mapping[str, Word], rows: Iterable[_Row], column: str) -> tuple[Word, ...]:
    found = (
        _known(table, row.cells, column, code)
        for row in rows
        for code in _codes(table, row.cells[column])
    )
    return tuple(dict.fromkeys(found))


def _finding(rows: Sequence[_Row]) -> Finding:
    """Return the kind of a finding by the sample notebook's rules, a mass before its calcium."""
    shapes = _words(words.SHAPE_FINDINGS, rows, "massshape")
    if shapes:
        return shapes[0]

    def any_of(*columns: str) -> bool:
        return any(_says(row.cells[column]) for row in rows for column in columns)

    if any(row.cells["massmargin"] or row.cells["massdens"] for row in rows):
        return Finding.MASS
    if any_of("calcfind", "calcdistri", "calcnumber"):
        return Finding.CALCIFICATION
    return Finding.OTHER if any_of("otherfind") else Finding.UNKNOWN


def _label_words(row: _Row) -> str:
    cells = row.cells
    severity = number(cells["path_severity"])
    parts = (cells["asses"], severity and f"path {severity}", *(cells[path] for path in PATHS))
    return " ".join(part for part in parts if part)


def _finding_words(row: _Row) -> str:
    return " ".join(f"{name} {row.cells[name]}" for name in DESCRIPTORS if row.cells[name])


def _joined(texts: Iterable[str]) -> str | None:
    return "; ".join(dict.fromkeys(text for text in texts if text)) or None
