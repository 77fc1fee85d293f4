"""Does a copy of CBIS-DDSM match its specification? One remark a finding, worst things said first.

Expected counts are those of the four official tables of 2017-09-30.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from etl.readers.listing import named, natural_key, suffix
from etl.sources.cbis_ddsm.cases import LABELS, CaseRow, CaseTables, find_tables
from etl.sources.cbis_ddsm.films import files_to_index, plan
from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark
from schemas.vocabulary import QualityFlag

__all__ = ["verify"]

EXPECTED_RECORDS = {
    ("Mass", "train"): 1318,
    ("Mass", "test"): 378,
    ("Calc", "train"): 1546,
    ("Calc", "test"): 326,
}
EXPECTED_FILMS = 3103
EXPECTED_LABELS = {"MALIGNANT": 1375, "BENIGN": 1329, "BENIGN_WITHOUT_CALLBACK": 399}
"""Films by the gravest word of their own rows."""
EXPECTED_BOTH_SPLITS = 31
NO_FILES_OF_KAGGLE = "Calc-Training_P_01563_RIGHT_MLO_2"
"""The one abnormality whose mask and crop the Kaggle copy lacks."""


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification; opens tables, no image."""
    try:
        tables = find_tables(release)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    planned = list(plan(release, index))
    films = [item for item in planned if isinstance(item, Film)]
    yield from _tables(tables)
    if set(EXPECTED_RECORDS) == set(tables.used):
        yield from _counts(tables.rows)
    yield from _headers(release, index)
    yield from _films(films, [item for item in planned if isinstance(item, Absent)])
    yield from _rois(films)
    yield from _rejects([item for item in planned if isinstance(item, Reject)])


def _tables(tables: CaseTables) -> Iterator[Remark]:
    records = Counter((row.film.kind, row.film.official) for row in tables.rows)
    for table, expected in EXPECTED_RECORDS.items():
        title = " ".join(table)
        if table not in tables.used:
            yield Remark(
                ok=False,
                what=f"no table {title}",
                meaning="its films are not made, twins and patients it shares are not recognised",
            )
            continue
        found = records[table]
        yield Remark(
            ok=found == expected,
            what=f"table {title}: {found} of {expected} records in {tables.used[table]}",
            meaning="" if found == expected else "an excerpt or another edition",
        )
    for path in tables.unused:
        yield Remark(
            ok=True, what=f"{path} is not used: another file has more records, or it has none"
        )


def _counts(rows: Sequence[CaseRow]) -> Iterator[Remark]:
    words = list(LABELS)
    gravest: dict[str, str] = {}
    official: dict[str, set[str]] = {}
    for row in rows:
        word = row.cells.get("pathology") or ""
        if word in words:
            best = gravest.setdefault(row.film.key, word)
            gravest[row.film.key] = min(best, word, key=words.index)
        official.setdefault(row.film.patient, set()).add(row.film.official)
    labels = Counter(gravest.values())
    yield Remark(
        ok=labels == EXPECTED_LABELS,
        what="films by label: "
        + ", ".join(f"{word} {labels[word]} of {n}" for word, n in EXPECTED_LABELS.items()),
    )
    both = sum(len(sides) > 1 for sides in official.values())
    yield Remark(
        ok=both == EXPECTED_BOTH_SPLITS,
        what=f"patients in both official splits: {both} of {EXPECTED_BOTH_SPLITS}",
        meaning="all their films go to test",
    )


def _headers(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    unnamed = [path for path in files_to_index(release) if path not in index.headers]
    if unnamed:
        yield Remark(
            ok=False,
            what="DICOM files that only their header can place, and it has not been read: "
            f"{len(unnamed)}, {named(unnamed, 2)}",
            meaning="run `mammo-etl index` (plan and run do it); until then films seem absent",
        )


def _films(films: Sequence[Film], absent: Sequence[Absent]) -> Iterator[Remark]:
    missing = sorted((item.film_key for item in absent), key=natural_key)
    yield Remark(
        ok=not missing and len(films) == EXPECTED_FILMS,
        what=f"{len(films)} of {EXPECTED_FILMS} films"
        + (f"; rows without film: {len(missing)}, {named(missing)}" if missing else ""),
        meaning="films of the tables that are not here are counted as absent" if missing else "",
    )
    if lossy := sum(QualityFlag.LOSSY in film.flags for film in films):
        yield Remark(
            ok=False,
            what=f"films in 8-bit JPEG (the Kaggle copy): {lossy}",
            meaning="grey levels are not those of the DICOM files; samples carry the flag lossy",
        )
    if exported := sum(suffix(film.image.path) in (".png", ".tif", ".tiff") for film in films):
        yield Remark(
            ok=False,
            what=f"films that are exported pictures, not DICOM: {exported}",
            meaning="grey levels are whatever the export made of them",
        )


def _rois(films: Sequence[Film]) -> Iterator[Remark]:
    lesions = [(film, lesion) for film in films for lesion in film.lesions]
    counts = {lesion.source_ids[0]: len(film.rois(lesion.lesion_id)) for film, lesion in lesions}
    missing = sorted((key for key, files in counts.items() if not files), key=natural_key)
    single = sorted((key for key, files in counts.items() if files == 1), key=natural_key)
    kaggle = " (the Kaggle copy lacks it)" if NO_FILES_OF_KAGGLE in missing else ""
    yield Remark(
        ok=not missing,
        what=f"{len(counts) - len(missing)} of {len(counts)} lesions have mask and crop files"
        + (f"; none for {named(missing)}{kaggle}" if missing else ""),
        meaning="their films are not completely annotated" if missing else "",
    )
    if single:
        yield Remark(
            ok=False,
            what=f"one file instead of mask and crop for {named(single)}",
            meaning="if it is the crop, the lesion has no outline",
        )


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        examples = [item.detail for item in rejects if item.reason == reason]
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {examples[0]}")
