"""EMBED Open Data: 480,323 digital and synthetic mammograms of 23,256 patients of Emory.

Facts and their sources
-----------------------
- One row of the metadata table is one DICOM file, 2D or C-view; one row of the clinical table is
  one finding (README). They are joined on patient, exam **and side**: an empty side or B is both
  breasts; on the exam alone rows double (sample notebook: 77,526 against 42,511).
- The label of a breast is the worst specimen's that `bside` gives to it, else its assessment by
  the BI-RADS rule; the other breast of a one-sided bilateral exam is normal by implication.
- Boxes are (ymin, xmin, ymax, xmax) with inclusive maxima and belong to a **mirrored PNG copy**:
  mirrored where PatientOrientation begins with P for CC, MLO and ML (sample notebook, ROI
  Reference v1.2). Issues 5 and 9 of the release report boxes on the wrong side all the same, so
  the kernel tries the mirror where a box lies beside the breast.
- Boxes have no link to findings. They exist almost only on screening exams of BI-RADS 0.
- Ids are text: 16 digits of an exam's number do not fit a float. All dates are shifted by patient,
  so `exam_day` is null; only differences within an exam's row are used.
- There is no official split. cohort_1 and cohort_2 share no patient.
- The agreement forbids passing on anything made from it, weights included.

Traps
-----
`anon_dicom_path` names a folder of the hospital's server; `NA` is a code of path1-path10 and `0`
one of massdens; numbers as floats; asses is not alphabetical; addended screening exams; specimens
of other exams; spot views that GE does not mark; repeats; C-views beside their 2D image; men;
implants; README spellings that differ from the tables; editions with other columns, and a
datathon's edition with another meaning of severity 5; converted PNG copies, which are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from etl.sources.embed import check
from etl.sources.embed.exams import OLDEST, Exam
from etl.sources.embed.films import film_of
from etl.sources.embed.images import (
    METADATA_COLUMNS,
    Image,
    exam_images,
    instance_of,
    read,
    tail_of,
)
from etl.sources.embed.release import RELEASE
from etl.sources.embed.tables import (
    Files,
    by_patient,
    exam_rows,
    find_tables,
    is_picture_copy,
    plain,
)
from etl.sources.embed.words import WORDS
from schemas.errors import ContentError, MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Release, Remark

__all__ = ["RELEASE", "WORDS", "files_to_index", "plan", "resolve", "verify"]


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every image of the metadata table, patient by patient, then files without a row.

    Raises
    ------
    MammoError
        A table is missing or damaged, or the copy holds converted pictures only.
    """
    del index  # tables and paths say everything
    _refuse_pictures(release)
    tables = find_tables(release)
    exams = exam_rows(release, tables.clinical)
    files = Files(release)
    used: set[str] = set()
    metadata = tables.metadata.read(release, METADATA_COLUMNS)
    for patient, rows in by_patient(metadata):
        for key, group in groupby(rows, key=lambda row: plain(row["acc_anon"])):
            images = list(group)
            exam = Exam(
                key,
                exams.get((patient, key), ()),
                images[0]["StudyDescription"],
                nus=tables.clinical.is_nus,
            )
            yield from _planned(patient, exam, images, files, used)
    del metadata
    yield from (_without_row(path, tables.metadata.path) for path in files.unused(used))


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: tables and paths say everything."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Return the film with the age of its header, where the tables have none."""
    age = header.get("PatientAge", "")
    if film.age is None and age[:3].isdecimal() and age[3:] in ("", "Y") and int(age[:3]):
        return replace(film, age=min(int(age[:3]), OLDEST))
    return film


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the notebook's counts; say what its edition means."""
    del index
    try:
        _refuse_pictures(release)
        yield from check.remarks(release)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")


def _refuse_pictures(release: Release) -> None:
    if is_picture_copy(release):
        raise MammoError(
            f"{release.root} holds PNG files that were converted from EMBED's DICOM, some of them "
            "mirrored and with other grey levels, which are not supported: sync images/ from the "
            "bucket instead"
        )


def _planned(
    patient: str, exam: Exam, rows: Sequence[dict[str, Any]], files: Files, used: set[str]
) -> Iterator[Film | Reject | Absent]:
    """Yield what becomes of the images of one exam."""
    tails = [tail_of(row["anon_dicom_path"]) for row in rows]
    found = [files.find(tail) if tail else None for tail in tails]
    used.update(file[0] for file in found if file)
    if all(tails) and not any(found):  # most exams of a partial copy
        yield from (_absent(patient, tail) for tail in tails)
        return
    items: list[Image | Reject] = [
        _read(patient, exam.key, place, row, tail)
        for place, (row, tail) in enumerate(zip(rows, tails, strict=True))
    ]
    images = iter(exam_images(exam.key, [item for item in items if isinstance(item, Image)]))
    for tail, file, item in zip(tails, found, items, strict=True):
        image = next(images) if isinstance(item, Image) else item
        if tail and file is None:
            yield _absent(patient, tail)
        elif isinstance(image, Image) and file is not None:
            yield _film(patient, exam, image, file)
        elif isinstance(image, Reject):
            yield replace(image, file=file[0] if file else image.file)


def _absent(patient: str, tail: str) -> Absent:
    return Absent(
        source=RELEASE.key, film_key=instance_of(tail), file=f"images/{tail}", split_key=patient
    )


def _film(patient: str, exam: Exam, image: Image, file: tuple[str, int]) -> Film | Reject:
    try:
        if not patient:
            detail = f"the row of {file[0]} in the metadata table has no empi_anon"
            raise ContentError(RejectReason.BAD_ROW, detail)
        return film_of(patient, exam, image, file)
    except ContentError as error:
        return _rejected(image.key, file[0], error)


def _read(patient: str, exam: str, place: int, row: dict[str, Any], tail: str) -> Image | Reject:
    try:
        return read(row, tail)
    except ContentError as error:
        key = instance_of(tail) or f"{patient}/{exam}/row {place + 1} without path"
        return _rejected(key, tail, error)


def _rejected(key: str, file: str, error: ContentError) -> Reject:
    return Reject(
        source=RELEASE.key,
        film_key=key,
        file=file,
        reason=error.reason,
        detail=error.detail,
        stage="plan",
    )


def _without_row(path: str, table: str) -> Reject:
    detail = f"{path} has no row in {table}"
    return _rejected(instance_of(path), path, ContentError(RejectReason.NO_TABLE_ROW, detail))
