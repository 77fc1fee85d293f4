"""MIAS (mini-MIAS): 322 digitised screen-film mammograms, 161 women, both breasts, MLO only.

Facts and their sources
-----------------------
- `Info.txt` of the release (19 January 1995): films reduced to 200 um and clipped or padded to
  1024 x 1024; columns; notes 1-4. Pairs of films are one woman, even numbers her left breast,
  odd ones her right (note 1). **y counts from the bottom** (note 3). Widely distributed
  calcifications have no circle (note 4).
- The view is MLO throughout: Suckling et al. 1994, not written anywhere in the release.
- Severity rests on two radiologists' reading ("Truth-Data: C R M Boggis and I Hutt"); the
  release names no biopsy, so the basis is `reader`.
- Background tissue F, G, D is MIAS's own scale of three and is kept as a raw word: it is not
  BI-RADS density.

Traps
-----
Several rows a film (005, 132, 144, 223, 226, 239, 249); a film with a benign and a malignant
lesion (144); rows without circle, marked ``*NOTE 3*`` (216, 233, 245) or unmarked (059, and all
of them in copies that dropped the mark); copies with a header line, commas, CRLF or trailing
blanks; the table under the names Info.txt, README or labels; the full-resolution edition 1.21,
whose coordinates are others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from etl.readers.listing import named, suffix, wanted
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import (
    Header,
    HeaderIndex,
    Licence,
    Release,
    ReleaseInfo,
    Remark,
    TissueRule,
    Words,
)
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Finding,
    GeometryKind,
    LabelBasis,
    LabelScope,
    Laterality,
    Margin,
    Modality,
    Pathology,
    QualityFlag,
    View,
    worst,
)

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]

RELEASE = ReleaseInfo(
    key="mias",
    title="MIAS (mini-MIAS)",
    modalities=(Modality.SFM,),
    licence=Licence(
        key="MIAS-research",
        title="MIAS licence agreement: research purposes only, no right to pass the films on",
        redistributable=False,
        weights_releasable=False,  # not granted by the agreement, which is silent on derivatives
    ),
    citation=(
        "J Suckling et al. (1994) The Mammographic Image Analysis Society Digital Mammogram "
        "Database. Exerpta Medica, International Congress Series 1069, pp 375-378"
    ),
    url="http://peipa.essex.ac.uk/info/mias.html",
    how_to_get="download all-mias.tar.gz (about 100 MB) from the url, unpack, keep Info.txt",
    tissue=TissueRule.FILM,
    size="322 films, 338 MB",
    image_files="mdb*.pgm, mdb*.png",
)

SIDE_PX = 1024
PIXEL_MM = 0.2
PGM_BYTES = 1_048_593
GIMP_PGM_BYTES = 1_048_632
"""A file of this size carries GIMP's comment; the copy known to have it has edited pixels."""

FINDINGS: dict[str, tuple[Finding, tuple[Margin, ...]]] = {
    "CALC": (Finding.CALCIFICATION, ()),
    "CIRC": (Finding.MASS, (Margin.CIRCUMSCRIBED,)),
    "SPIC": (Finding.MASS, (Margin.SPICULATED,)),
    "MISC": (Finding.MASS, (Margin.ILL_DEFINED,)),
    "ARCH": (Finding.ARCHITECTURAL_DISTORTION, ()),
    "ASYM": (Finding.ASYMMETRY, ()),
}
"""Info.txt, 3rd column; MISC is "Other, ill-defined masses"."""

SEVERITIES = {"B": Pathology.BENIGN, "M": Pathology.MALIGNANT}
NO_LESION = {"NORM": Pathology.NORMAL}
TISSUES = {"F": None, "G": None, "D": None}

WORDS = (
    Words(
        column="severity",
        becomes="pathology",
        words=SEVERITIES,
        cited="Info.txt, 4th column",
        counts={"B": 69, "M": 54},
        note="of a lesion, counted in rows; two radiologists' opinion (basis reader), no biopsy is "
        "named. The film has the worst of its lesions: 63 benign, 52 malignant.",
    ),
    Words(
        column="class",
        becomes="pathology",
        words=NO_LESION,
        cited="Info.txt, 3rd column",
        counts={"NORM": 207},
        note="the film shows no lesion (basis reader).",
    ),
    Words(
        column="class",
        becomes="finding, margin",
        words=FINDINGS,
        cited="Info.txt, 3rd column",
        counts={"CALC": 30, "CIRC": 25, "SPIC": 19, "MISC": 15, "ARCH": 19, "ASYM": 15},
        note="MISC is written out as other, ill-defined masses.",
    ),
    Words(
        column="background tissue",
        becomes="raw",
        words=TISSUES,
        cited="Info.txt, 2nd column",
        counts={"F": 106, "G": 104, "D": 112},
        note="fatty, fatty-glandular, dense-glandular: a scale of three, which no letter of "
        "BI-RADS equals; density_scale is mias. Counts are films.",
    ),
)

EXPECTED_ROWS = 330
EXPECTED_FILMS = 322
EXPECTED_LABELS = {Pathology.NORMAL: 207, Pathology.BENIGN: 63, Pathology.MALIGNANT: 52}
"""Counts over the official table."""

_FILM_NAME = re.compile(r"mdb(\d{3})\.(pgm|png)", re.IGNORECASE)
_FULL_EDITION_NAME = re.compile(r"mdb\d{3}[lr][smlx]\.\w+", re.IGNORECASE)
_TABLE_ENDINGS = frozenset({"", ".txt", ".csv", ".tsv", ".md", ".dat", ".lst"})
_LARGEST_TABLE = 1 << 20
_TABLE_LINE = re.compile(
    r'^["\s]*mdb\d{3}["\s,;]+[FGD]["\s,;]+(?:CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)\b',
    re.IGNORECASE | re.MULTILINE,
)
_DATA_LINE = re.compile(r'["\s]*mdb(\d{3})["\s,;]', re.IGNORECASE)
_CELL_BORDER = re.compile(r'["\s,;]+')
_NULL_WORDS = frozenset({"", "n/a", "na", "nan", "null", "none"})


@dataclass(frozen=True, slots=True)
class _Row:
    tissue: str
    word: str
    severity: str | None = None
    circle: tuple[float, float, float] | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    path: str
    lines: Mapping[int, tuple[str, ...]]
    others: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        return sum(len(lines) for lines in self.lines.values())


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every film of table and listing, pair by pair; opens nothing but the table.

    Raises
    ------
    MammoError
        No file has a data row, or the copy is the full-resolution edition.
    """
    del index  # names and table say everything
    films = _films_on_disk(release)
    table = _find_table(release)
    for number in sorted({*films, *table.lines}):
        entries = films.get(number, ())
        yield _planned(number, table, entries)
        for copy in entries[1:]:
            yield _reject(
                copy.path,
                copy.path,
                RejectReason.DUPLICATE_FILE,
                f"{copy.path} is film {_key(number)} again, which is read from {entries[0].path}",
            )


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: neither PGM nor PNG has a header that planning needs."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Return the film as it is: a PGM's header says nothing of patient, spacing or device."""
    del header
    return film


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the official table and its 322 films."""
    del index
    try:
        films = _films_on_disk(release)
        table = _find_table(release)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    yield from _verify_table(table)
    yield from _verify_films(films, table)
    yield from _verify_sizes(films)


def _films_on_disk(release: Release) -> dict[int, tuple[Entry, ...]]:
    """Return the files of each film number, the preferred one (pgm, then path) first."""
    found: dict[int, list[Entry]] = {}
    full_edition = []
    for entry in wanted(release.entries):
        name = entry.path.rsplit("/", 1)[-1]
        if match := _FILM_NAME.fullmatch(name):
            found.setdefault(int(match[1]), []).append(entry)
        elif _FULL_EDITION_NAME.fullmatch(name):
            full_edition.append(entry.path)
    if full_edition and not found:
        _refuse_full_edition(release.root, full_edition)
    return {
        number: tuple(sorted(entries, key=lambda entry: (suffix(entry.path), entry.path)))
        for number, entries in found.items()
    }


def _refuse_full_edition(root: str, paths: list[str]) -> None:
    raise MammoError(
        f"{root} holds the full-resolution MIAS, edition 1.21 ({named(sorted(paths), 2)}), which "
        "is not supported: Info.txt's coordinates belong to the 1024 x 1024 films of mini-MIAS "
        f"only; get those from {RELEASE.url}"
    )


def _find_table(release: Release) -> _Table:
    """Return, of the text files with a data row, the one with most of them (then by path)."""
    texts: dict[str, str] = {}
    for entry in wanted(release.entries):
        if suffix(entry.path) in _TABLE_ENDINGS and entry.size <= _LARGEST_TABLE:
            text = release.read(entry.path).decode("utf-8-sig", errors="replace")
            if _TABLE_LINE.search(text):
                texts[entry.path] = text
    if not texts:
        raise MammoError(
            f"no MIAS table under {release.root}: none of its text files has a line such as "
            "'mdb001 G CIRC B 535 425 197'; put the release's Info.txt beside the films"
        )
    path = min(texts, key=lambda path: (-len(_TABLE_LINE.findall(texts[path])), path))
    lines: dict[int, list[str]] = {}
    for line in texts[path].splitlines():
        if match := _DATA_LINE.match(line):
            lines.setdefault(int(match[1]), []).append(line.strip())
    others = tuple(sorted(set(texts) - {path}))
    return _Table(path, {n: tuple(dict.fromkeys(rows)) for n, rows in lines.items()}, others)


def _planned(number: int, table: _Table, entries: tuple[Entry, ...]) -> Film | Reject | Absent:
    key = _key(number)
    if not entries:
        return Absent(
            source=RELEASE.key, film_key=key, file=f"{key}.pgm", split_key=_patient(number)
        )
    path = entries[0].path
    if number not in table.lines:
        detail = f"{path} has no row in {table.path}"
        return _reject(key, path, RejectReason.NO_TABLE_ROW, detail)
    try:
        rows = [_parsed(line, table.path) for line in table.lines[number]]
    except ContentError as error:
        return _reject(key, path, error.reason, error.detail)
    return _film(number, entries[0], rows)


def _parsed(line: str, table: str) -> _Row:
    """Read one row by splitting, never by column: rows have 3, 4, 6 or 7 words."""
    cells = [cell for cell in _CELL_BORDER.split(line) if cell.lower() not in _NULL_WORDS]
    if len(cells) < 3:
        raise _bad_row(line, table, f"has {len(cells)} words, at least 3 are needed")
    tissue, word, *rest = (cell.upper() for cell in cells[1:])
    if tissue not in TISSUES:
        raise _unknown(line, table, "background tissue", tissue, "F, G, D")
    if word in NO_LESION:
        if rest:
            raise _bad_row(line, table, "is NORM and yet describes a lesion")
        return _Row(tissue, word)
    if word not in FINDINGS:
        raise _unknown(line, table, "class", word, ", ".join([*FINDINGS, *NO_LESION]))
    if not rest:
        raise _bad_row(line, table, "has a lesion without severity")
    severity, *where = rest
    if severity not in SEVERITIES:
        raise _unknown(line, table, "severity", severity, "B, M")
    if where and where[0].startswith("*"):
        return _Row(tissue, word, severity, note=" ".join(where))
    return _Row(tissue, word, severity, _circle(where, line, table))


def _circle(where: list[str], line: str, table: str) -> tuple[float, float, float] | None:
    if not where:
        return None
    try:
        x, y, radius = (float(cell) for cell in where)
    except ValueError:
        raise _bad_row(line, table, "does not end with the numbers x, y and radius") from None
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(radius) and radius > 0):
        raise _bad_row(line, table, "has a circle that cannot be drawn")
    return x, y, radius


def from_bottom(circle: tuple[float, float, float]) -> Geometry:
    """Return Info.txt's circle in native coordinates.

    x, y are a pixel's column and its row counted from the bottom one (note 3), so the row from
    the top is 1023 - y, and the pixel's centre lies half a pixel further:

    >>> from_bottom((535, 425, 197)).values
    (535.5, 598.5, 197.0)
    """
    x, y, radius = circle
    centre_y = (SIDE_PX - 1 - y) + 0.5
    return Geometry(kind=GeometryKind.CIRCLE, values=(x + 0.5, centre_y, float(radius)))


def _film(number: int, entry: Entry, rows: list[_Row]) -> Film:
    lesions = tuple(
        _lesion(lesion_id, row)
        for lesion_id, row in enumerate((row for row in rows if row.severity), start=1)
    )
    tissues = list(dict.fromkeys(row.tissue for row in rows))
    flags = []
    if lesions and len(lesions) < len(rows):
        flags.append(QualityFlag.LABEL_CONFLICT)
    if len(tissues) > 1:
        flags.append(QualityFlag.DENSITY_CONFLICT)
    return Film(
        source=RELEASE.key,
        film_key=_key(number),
        patient_key=_patient(number),
        files=(FileRef(role="image", path=entry.path, size=entry.size),),
        modality=Modality.SFM,
        view=View.MLO,
        laterality=Laterality.R if number % 2 else Laterality.L,
        pathology=worst(*(lesion.pathology for lesion in lesions))
        if lesions
        else NO_LESION["NORM"],
        label_basis=LabelBasis.READER,
        label_scope=LabelScope.LESION if lesions else LabelScope.IMAGE,
        density_scale="mias",
        raw=_raw_words(rows, tissues),
        lesions=lesions,
        annotation=_annotation(lesions),
        annotation_kind=AnnotationKind.CIRCLE if any(x.geometry for x in lesions) else None,
        native_pixel_mm=(PIXEL_MM, PIXEL_MM),
        image_size=(SIDE_PX, SIDE_PX),
        flags=tuple(flags),
        licence=RELEASE.licence.key,
    )


def _lesion(lesion_id: int, row: _Row) -> FilmLesion:
    finding, margin = FINDINGS[row.word]
    return FilmLesion(
        lesion_id=str(lesion_id),
        finding=finding,
        pathology=SEVERITIES[row.severity or ""],
        label_basis=LabelBasis.READER,
        label_raw=row.severity,
        margin=margin,
        geometry=from_bottom(row.circle) if row.circle else None,
    )


def _annotation(lesions: tuple[FilmLesion, ...]) -> Annotation:
    drawn = sum(lesion.geometry is not None for lesion in lesions)
    if drawn == len(lesions):
        return Annotation.COMPLETE
    return Annotation.PARTIAL if drawn else Annotation.NONE


def _raw_words(rows: list[_Row], tissues: list[str]) -> RawWords:
    return RawWords(
        label=_joined(row.severity or row.word for row in rows),
        density=_joined(tissues),
        finding=_joined(row.word for row in rows),
        status=_joined(row.note for row in rows),
    )


def _joined(words: Iterable[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(word for word in words if word)) or None


def _key(number: int) -> str:
    return f"mdb{number:03d}"


def _patient(number: int) -> str:
    return f"mias-{(number + 1) // 2:03d}"


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )


def _bad_row(line: str, table: str, what: str) -> ContentError:
    return ContentError(RejectReason.BAD_ROW, f"row {line!r} of {table} {what}")


def _unknown(line: str, table: str, field: str, word: str, known: str) -> ContentError:
    detail = f"row {line!r} of {table} has the {field} {word!r}, known are {known}"
    return ContentError(RejectReason.UNKNOWN_WORD, detail)


def _verify_table(table: _Table) -> Iterator[Remark]:
    full = table.num_rows == EXPECTED_ROWS and len(table.lines) == EXPECTED_FILMS
    yield Remark(
        ok=full,
        what=f"table {table.path}: {table.num_rows} of {EXPECTED_ROWS} rows, "
        f"{len(table.lines)} of {EXPECTED_FILMS} films",
        meaning="" if full else "films without a row are rejected; this is no complete Info.txt",
    )
    for other in table.others:
        yield Remark(ok=True, what=f"{other} is not used: it has no more rows")
    labels: Counter[Pathology] = Counter()
    for number in sorted(table.lines):
        try:
            rows = [_parsed(line, table.path) for line in table.lines[number]]
        except ContentError as error:
            yield Remark(ok=False, what=error.detail, meaning=f"film {_key(number)} is rejected")
            continue
        labels[worst(Pathology.NORMAL, *(SEVERITIES[r.severity] for r in rows if r.severity))] += 1
    if full:
        yield Remark(
            ok=labels == EXPECTED_LABELS,
            what="films by label: "
            + ", ".join(f"{word} {labels[word]} of {n}" for word, n in EXPECTED_LABELS.items()),
        )


def _verify_films(films: dict[int, tuple[Entry, ...]], table: _Table) -> Iterator[Remark]:
    numbers = range(1, EXPECTED_FILMS + 1)
    missing = [_key(number) for number in numbers if number not in films]
    yield Remark(
        ok=not missing,
        what=f"{len(films)} of {EXPECTED_FILMS} films"
        + (f"; missing: {named(missing)}" if missing else ""),
        meaning="films of the table that are not here are counted as absent" if missing else "",
    )
    rowless = [_key(number) for number in sorted(films) if number not in table.lines]
    if rowless:
        yield Remark(
            ok=False, what=f"no row for {named(rowless)}", meaning="these films are rejected"
        )
    doubled = [_key(number) for number in sorted(films) if len(films[number]) > 1]
    if doubled:
        yield Remark(
            ok=False,
            what=f"more than one file for {named(doubled)}",
            meaning="the pgm is read, other copies are rejected as duplicates",
        )


def _verify_sizes(films: dict[int, tuple[Entry, ...]]) -> Iterator[Remark]:
    sizes = Counter(
        entries[0].size for entries in films.values() if suffix(entries[0].path) == ".pgm"
    )
    if edited := sizes.pop(GIMP_PGM_BYTES, 0):
        yield Remark(
            ok=False,
            what=f"films with the size of copies saved by GIMP: {edited}",
            meaning="pixels of that copy were edited; its samples carry the flag edited_pixels",
        )
    sizes.pop(PGM_BYTES, 0)
    if others := sum(sizes.values()):
        yield Remark(
            ok=False,
            what=f"PGM files that are not {PGM_BYTES} bytes long: {others}",
            meaning="they are cut or of another size, and are rejected when read",
        )
