"""Does a copy of CMMD match its specification? One remark a finding.

Expected counts are those of the clinical table and of a scan of all 5,202 headers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from etl.readers.listing import named, natural_key
from etl.readers.series import listed_folders
from etl.sources.cmmd.films import files_to_index, plan
from etl.sources.cmmd.oddities import SAME_PERSON, film_flags, twin_of
from etl.sources.cmmd.tables import (
    CATEGORIES,
    CLASSES,
    DENSITIES,
    EXPECTED_CLASSES,
    EXPECTED_PATIENTS,
    EXPECTED_ROWS,
    TOMPEI_CLASSES,
    Clinical,
    Tompei,
    classes,
    find_clinical,
    find_tompei,
)
from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark
from schemas.vocabulary import Pathology, QualityFlag, View

__all__ = ["verify"]

EXPECTED_IMAGES = 5202
EXPECTED_VIEWS = {View.CC: 2601, View.MLO: 2601}
EXPECTED_UNLABELLED = 1458
EXPECTED_OUTLINES = 1385
EXPECTED_BREASTS = 2601


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification; opens tables and outlines, no image."""
    try:
        clinical, tompei = find_clinical(release), find_tompei(release)
        planned = list(plan(release, index))
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    films = [item for item in planned if isinstance(item, Film)]
    yield from _table(clinical)
    yield from _listed(release)
    unread = [path for path in files_to_index(release) if path not in index.headers]
    if unread:
        yield Remark(
            ok=False,
            what=f"DICOM files whose header has not been read: {len(unread)}, {named(unread, 2)}",
            meaning="side and view stand in headers alone: run `mammo-etl index` (plan and run "
            "do it); until then no image can be told and every row seems absent",
        )
    else:
        absent = [item for item in planned if isinstance(item, Absent)]
        yield from _images(films, absent)
        yield from _corrections(films)
        yield from _rejects([item for item in planned if isinstance(item, Reject)])
    yield from _tompei(tompei, clinical)


def _table(clinical: Clinical) -> Iterator[Remark]:
    rows = sum(len(rows) for rows in clinical.rows.values()) + len(clinical.bad)
    patients = len({patient for patient, _ in clinical.rows})
    full = rows == EXPECTED_ROWS and patients == EXPECTED_PATIENTS
    yield Remark(
        ok=full,
        what=f"table {clinical.path}: {rows} of {EXPECTED_ROWS} rows, "
        f"{patients} of {EXPECTED_PATIENTS} patients",
        meaning="" if full else "an excerpt: breasts whose row is missing here become unknown",
    )
    counts = classes(clinical)
    if full:
        yield Remark(
            ok=counts == EXPECTED_CLASSES,
            what="breasts by class: "
            + ", ".join(f"{word} {counts[word]} of {n}" for word, n in EXPECTED_CLASSES.items()),
        )
    if unknown := sorted(set(counts) - set(CLASSES)):
        yield Remark(
            ok=False,
            what=f"classes that no edition has: {named(unknown)}",
            meaning="the images of these breasts are rejected",
        )
    for path in clinical.unused:
        yield Remark(ok=True, what=f"{path} is not used: it has no more rows")


def _listed(release: Release) -> Iterator[Remark]:
    """Compare with the NBIA retriever's metadata.csv, where the copy has one."""
    series = [one for one in listed_folders(release).values() if one.num_images is not None]
    if series:
        images = sum(one.num_images or 0 for one in series)
        held = len(files_to_index(release))
        yield Remark(
            ok=held >= images,
            what=f"metadata.csv lists {len(series)} series with {images} images; DICOM files "
            f"here: {held}",
            meaning="" if held >= images else "the download is not complete",
        )


def _images(films: Sequence[Film], absent: Sequence[Absent]) -> Iterator[Remark]:
    views = Counter(film.view for film in films)
    missing = sorted((item.film_key for item in absent), key=natural_key)
    yield Remark(
        ok=not missing and len(films) == EXPECTED_IMAGES and views == EXPECTED_VIEWS,
        what=f"{len(films)} of {EXPECTED_IMAGES} images "
        f"({views[View.CC]} CC, {views[View.MLO]} MLO)"
        + (f"; rows without image: {len(missing)}, {named(missing)}" if missing else ""),
        meaning="images of the table that are not here are counted as absent" if missing else "",
    )
    unlabelled = sum(film.pathology is Pathology.UNKNOWN for film in films)
    yield Remark(
        ok=unlabelled == EXPECTED_UNLABELLED,
        what=f"images of breasts without a row: {unlabelled} of {EXPECTED_UNLABELLED}",
        meaning="they are unknown: the table says nothing of these breasts, least of all normal",
    )


def _corrections(films: Sequence[Film]) -> Iterator[Remark]:
    """Count what is known to be wrong and is left as released."""
    here = {film.patient_key for film in films}
    sides = [film.film_key for film in films if _wrong_side(film)]
    if sides:
        yield Remark(
            ok=True,
            what=f"images whose header has the wrong side: {len(sides)}, {named(sides, 3)}",
            meaning="known; sides stay as released, the images carry laterality_conflict",
        )
    moved = [film for film in films if QualityFlag.LABEL_CONFLICT in film.flags]
    if moved:
        keys = [film.film_key for film in moved]
        yield Remark(
            ok=True,
            what=f"images with a label that the release contradicts: {len(keys)}, {named(keys, 3)}",
            meaning="known; labels stay as released, the images carry label_conflict",
        )
    same = [f"{a} = {b}" for a, b in SAME_PERSON if {a, b} <= here]
    if same:
        twins = sum(_is_twin(film) for film in films)
        yield Remark(
            ok=True,
            what=f"patients with identical pixels: {', '.join(same)} ({twins} images)",
            meaning="they share a side of the split; identical images share a pair_key",
        )


def _wrong_side(film: Film) -> bool:
    if film.laterality is None or film.view is None:
        return False
    flags = film_flags(film.patient_key, film.laterality, film.view)
    return QualityFlag.LATERALITY_CONFLICT in flags


def _is_twin(film: Film) -> bool:
    return twin_of(film.patient_key, f"{film.laterality}_{film.view}") is not None


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        examples = [item.detail for item in rejects if item.reason == reason]
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {examples[0]}")


def _tompei(tompei: Tompei, clinical: Clinical) -> Iterator[Remark]:
    if tompei.trouble:
        yield Remark(
            ok=False,
            what=f"TOMPEI-CMMD's workbook cannot be read: {tompei.trouble}",
            meaning="density, BI-RADS and the readers' class stay empty",
        )
    if not tompei.outlines and not tompei.sheet:
        yield Remark(
            ok=True,
            what="no TOMPEI-CMMD beside this copy",
            meaning="no lesion is outlined, so annotation is none throughout",
        )
        return
    outlines = len(tompei.outlines)
    yield Remark(
        ok=outlines == EXPECTED_OUTLINES,
        what=f"TOMPEI-CMMD: {outlines} of {EXPECTED_OUTLINES} annotation files, "
        f"{len(tompei.breasts)} of {EXPECTED_BREASTS} breasts in "
        f"{tompei.sheet or 'no workbook'}",
        meaning="" if outlines == EXPECTED_OUTLINES else "other MLO images have no outline",
    )
    without = [
        f"{patient} {side}"
        for patient, side in tompei.outlines
        if (patient, side) not in clinical.rows
    ]
    if without:
        yield Remark(
            ok=True,
            what=f"outlines on breasts without a clinical row: {len(without)}, {named(without, 3)}",
            meaning="their lesions are of unknown pathology",
        )
    yield from _foreign_words(tompei)


def _foreign_words(tompei: Tompei) -> Iterator[Remark]:
    breasts = tompei.breasts.values()
    columns = {
        "classification": ({line.classification for line in breasts}, set(TOMPEI_CLASSES)),
        "density": ({line.density for line in breasts}, set(DENSITIES)),
        "BI-RADS": ({line.birads for line in breasts}, set(CATEGORIES)),
    }
    for title, (said, known) in columns.items():
        foreign = sorted(word for word in said - {None} if word and word not in known)
        if foreign:
            yield Remark(
                ok=False,
                what=f"TOMPEI-CMMD's {title} has words we do not know: {named(foreign)}",
                meaning="they are kept as raw words and fill no column",
            )
