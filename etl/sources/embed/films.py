"""From a row of the metadata table and its exam to a Film."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from etl.sources.embed.exams import OLDEST, Breast, Exam
from etl.sources.embed.images import Image
from etl.sources.embed.release import RELEASE
from schemas.errors import ContentError
from schemas.film import FileRef, Film, FilmLesion, RawWords
from schemas.rejects import RejectReason
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    GeometryFrame,
    Intent,
    LesionFlag,
    Pathology,
    QualityFlag,
)

__all__ = ["film_of"]

_AGE = re.compile(r"(\d{1,3})Y?")


def film_of(patient: str, exam: Exam, image: Image, file: tuple[str, int]) -> Film:
    """Return the Film of an image.

    Raises
    ------
    ContentError
        `unknown_word` where its exam holds one, `duplicate_file` for a raw image whose processed
        twin is there.
    """
    if image.twin_of_presentation:
        raise ContentError(
            RejectReason.DUPLICATE_FILE,
            f"{file[0]} is the raw image of a view whose processed image is planned",
        )
    breast = exam.breast(image.side)
    lesions = linked(image, breast.lesions)
    density = exam.density()
    return Film(
        source=RELEASE.key,
        film_key=image.key,
        patient_key=patient,
        exam_key=exam.key or None,
        exam_kind=exam.kind,
        pair_key=image.pair,
        files=(FileRef(role="image", path=file[0], size=file[1]),),
        modality=image.modality,
        view=image.view,
        laterality=image.side,
        intent=Intent.PROCESSING if image.processing else None,
        spot_mag=image.spot,
        implant=True if breast.implant else image.implant,
        pathology=breast.pathology,
        label_basis=breast.basis,
        label_scope=breast.scope,
        birads=breast.birads,
        density=density,
        density_scale="birads" if density else None,
        months_to_cancer=breast.months_to_cancer,
        raw=_raw_words(exam, image, breast),
        lesions=lesions,
        annotation=_annotation(image, breast, lesions),
        annotation_kind=AnnotationKind.BOX if image.regions else None,
        age=exam.age or _header_age(image.age),
        geometry_frame=image.frame if image.regions else GeometryFrame.NATIVE,
        image_size=image.size if image.regions else None,
        flags=tuple(sorted(set(_flags(exam, image, breast, lesions)))),
        licence=RELEASE.licence.key,
    )


def linked(image: Image, findings: tuple[FilmLesion, ...]) -> tuple[FilmLesion, ...]:
    """Return findings and boxes as lesions.

    The release links no box to a finding; only where a breast has one finding and the image one
    box can they be the same. Else they are entries of their own, all flagged unlinked.
    """
    regions = image.regions
    if not regions:
        return findings
    if len(regions) == image.num_regions == len(findings) == 1:
        flags = (*findings[0].flags, *regions[0].flags)
        return (replace(findings[0], geometry=regions[0].geometry, flags=flags),)
    boxes = tuple(
        FilmLesion(
            lesion_id=f"roi{place}",
            geometry=region.geometry,
            flags=(LesionFlag.UNLINKED, *region.flags),
        )
        for place, region in enumerate(regions, start=1)
    )
    unlinked = (
        replace(finding, flags=(*finding.flags, LesionFlag.UNLINKED)) for finding in findings
    )
    return (*unlinked, *boxes)


def _annotation(image: Image, breast: Breast, lesions: tuple[FilmLesion, ...]) -> Annotation:
    """Say whether everything is drawn: boxes exist almost only on recalled screening exams."""
    if image.regions:
        whole = all(lesion.geometry for lesion in lesions) and len(lesions) == 1
        return Annotation.COMPLETE if whole and breast.lesions else Annotation.PARTIAL
    nothing = breast.pathology is Pathology.NORMAL and not lesions and not image.regions_lost
    return Annotation.COMPLETE if nothing and not image.num_regions else Annotation.NONE


def _header_age(text: str | None) -> int | None:
    match = _AGE.fullmatch(text or "")
    return min(int(match[1]), OLDEST) if match and int(match[1]) else None


def _raw_words(exam: Exam, image: Image, breast: Breast) -> RawWords:
    return RawWords(
        label=breast.raw_label,
        density=exam.rows[0]["tissueden"] if exam.rows else None,
        view=image.raw_view,
        finding=breast.raw_finding,
        status=exam.description,
    )


def _flags(
    exam: Exam, image: Image, breast: Breast, lesions: tuple[FilmLesion, ...]
) -> Iterator[QualityFlag]:
    yield from (*exam.flags, *breast.flags)
    said = (
        (image.spot, QualityFlag.SPOT),
        (image.male, QualityFlag.MALE),
        (image.repeated, QualityFlag.REPEAT),
        (image.processing, QualityFlag.PROCESSING_ONLY),
        (image.regions_lost, QualityFlag.GEOMETRY_DROPPED),
        (
            any(lesion.geometry and LesionFlag.UNLINKED in lesion.flags for lesion in lesions),
            QualityFlag.UNLINKED_GEOMETRY,
        ),
    )
    yield from (flag for is_so, flag in said if is_so)
