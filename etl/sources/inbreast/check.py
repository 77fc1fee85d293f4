"""Does a copy of INbreast match its specification? One remark a finding, worst things first.

Expected counts are those of the official INbreast.csv and INbreast.xls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from etl.readers.listing import named, suffix
from etl.readers.peek import peek
from etl.sources.inbreast.films import PIXEL_MM, WORDS, Disk, find_files, plan
from etl.sources.inbreast.tables import MARKS, VIEWS, Row, Tables, find_tables
from schemas.errors import ContentError, MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark
from schemas.vocabulary import QualityFlag

__all__ = ["verify"]

EXPECTED_FILMS = 410
EXPECTED_OUTLINES = 343
MOST_PATIENTS = 107
"""115 examinations, of which at least 16 are those of 8 women."""
SIZES = {("4084", "3328"), ("3328", "2560")}
"""Rows and columns of the release's two detectors."""


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification; opens tables, outlines and one film's header."""
    try:
        tables, disk = find_tables(release), find_files(release)
        planned = list(plan(release, index))
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    films = [item for item in planned if isinstance(item, Film)]
    yield from _tables(tables)
    yield from _files(films, planned, disk)
    yield from _outlines(films, disk)
    yield from _names(films, disk)
    yield from _header(release, films)
    yield from _rejects([item for item in planned if isinstance(item, Reject)])


def _tables(tables: Tables) -> Iterator[Remark]:
    rows = tables.rows
    yield Remark(
        ok=len(rows) == EXPECTED_FILMS,
        what=f"table {tables.used}: {len(rows)} of {EXPECTED_FILMS} images",
        meaning="" if len(rows) == EXPECTED_FILMS else "films without a row are rejected",
    )
    for path in tables.unused:
        yield Remark(ok=True, what=f"{path} is not used: it says nothing more")
    if len(rows) == EXPECTED_FILMS:
        yield from _columns(tables.rows)
    if tables.marks_from is None:
        yield Remark(
            ok=False,
            what="no INbreast.xls (or its Sheet1): findings are known from the outlines only",
            meaning="a finding that was marked and not drawn is missing from its film",
        )
        return
    found = Counter(mark for row in tables.marked.values() for mark in _marks(row))
    wanted = next(words.counts for words in WORDS if words.words is MARKS)
    yield _counted(f"findings marked in {tables.marks_from}", found, wanted)


def _columns(rows: Mapping[str, Row]) -> Iterator[Remark]:
    expected = {words.column.lower(): words.counts for words in WORDS if words.counts}
    for title, counts in expected.items():
        cells = [row.cells[title] for row in rows.values() if title in row.cells]
        if cells:
            yield _counted(title, Counter(cell for cell in cells if cell), counts)


def _marks(row: Row) -> tuple[str, ...]:
    try:
        return row.marks
    except ContentError:
        return ()


def _counted(title: str, found: Mapping[str, int], expected: Mapping[str, int]) -> Remark:
    small = {word.lower(): count for word, count in found.items()}
    return Remark(
        ok=small == {word.lower(): count for word, count in expected.items()},
        what=f"images by {title}: "
        + ", ".join(f"{word} {small.get(word.lower(), 0)} of {n}" for word, n in expected.items()),
    )


def _files(films: Sequence[Film], planned: Sequence[object], disk: Disk) -> Iterator[Remark]:
    missing = [item.film_key for item in planned if isinstance(item, Absent)]
    patients = {film.patient_key for film in films}
    yield Remark(
        ok=not missing and len(disk.films) == EXPECTED_FILMS,
        what=f"{len(disk.films)} of {EXPECTED_FILMS} films"
        + (f"; missing: {named(missing)}" if missing else ""),
        meaning="films of the table that are not here are counted as absent" if missing else "",
    )
    yield Remark(
        ok=len(patients) <= MOST_PATIENTS,
        what=f"{len(patients)} patients; the release has {MOST_PATIENTS} at most",
        meaning="" if len(patients) <= MOST_PATIENTS else "names of films were changed",
    )
    pictures = [film for film in films if suffix(film.image.path) in (".png", ".tif", ".tiff")]
    if pictures:
        yield Remark(
            ok=False,
            what=f"films that are exported pictures, not DICOM: {len(pictures)}",
            meaning="grey levels are whatever the export made of them, and outlines fit only if "
            "the export kept the size (3328 x 4084 or 2560 x 3328 pixels)",
        )


def _outlines(films: Sequence[Film], disk: Disk) -> Iterator[Remark]:
    lost = [film.film_key for film in films if QualityFlag.MASK_MISSING in film.flags]
    yield Remark(
        ok=not lost and len(disk.outlines) == EXPECTED_OUTLINES,
        what=f"{len(disk.outlines)} of {EXPECTED_OUTLINES} outline files"
        + (f"; none for {named(lost)}, which are not normal" if lost else ""),
        meaning="these films are not annotated and carry the flag mask_missing" if lost else "",
    )
    alone = sorted(set(disk.outlines) - set(disk.films))
    if alone:
        yield Remark(
            ok=False, what=f"outlines without a film: {named(alone)}", meaning="they are not used"
        )
    unlike = [film.film_key for film in films if QualityFlag.UNLINKED_GEOMETRY in film.flags]
    if unlike:
        yield Remark(
            ok=True,
            what=f"films with drawn findings that the table does not mark: {named(unlike)}",
            meaning="the release contradicts itself there; both are kept",
        )


def _names(films: Sequence[Film], disk: Disk) -> Iterator[Remark]:
    other = [
        film.film_key
        for film in films
        if VIEWS.get(disk.films[film.film_key][0].view) is not film.view
        or disk.films[film.film_key][0].side != film.laterality
    ]
    if other:
        yield Remark(
            ok=False,
            what=f"name and table disagree about side or view of {named(other)}",
            meaning="the table counts; where the sides differ the flag is laterality_conflict",
        )


def _header(release: Release, films: Sequence[Film]) -> Iterator[Remark]:
    """Say of one film what the release's papers leave open."""
    path = next((x.image.path for x in films if suffix(x.image.path) in (".dcm", ".dicom")), None)
    header = peek(release, path) if path else {}
    if not header:
        return
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    yield Remark(
        ok=(header.get("Rows", ""), header.get("Columns", "")) in SIZES,
        what=f"{path}: {header.get('Columns')} x {header.get('Rows')} pixels, "
        f"{header.get('BitsStored')} bits, {header.get('PhotometricInterpretation')}, "
        f"{header.get('PresentationIntentType', 'no intent')}, "
        + (f"spacing {spacing}" if spacing else f"no spacing: {PIXEL_MM} mm are documented"),
        meaning="outlines belong to films of 3328 x 4084 and 2560 x 3328 pixels",
    )


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        examples = [item.detail for item in rejects if item.reason == reason]
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {examples[0]}")
