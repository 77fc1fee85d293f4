"""From a client's images and episodes to Films."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from etl.readers.nbss import ImageDb, Mark, Study
from etl.sources.omi_db.episodes import (
    UNKNOWN,
    Judged,
    SideLabel,
    episode_of,
    months_between,
    side_label,
)
from etl.sources.omi_db.images import (
    ClientData,
    Shot,
    exposures,
    listed,
    read_ahead,
    same_view,
    unlisted,
)
from etl.sources.omi_db.lesions import Drawn, drawn
from etl.sources.omi_db.listing import clients, is_hollow
from etl.sources.omi_db.release import RELEASE
from schemas.age import age_in_years
from schemas.errors import ContentError
from schemas.film import FileRef, Film, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Release
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    ExamKind,
    Intent,
    LabelBasis,
    LabelScope,
    LesionFlag,
    Modality,
    Pathology,
    QualityFlag,
    worst,
)

__all__ = ["files_to_index", "plan", "resolve"]

_SAID = (Pathology.NORMAL, Pathology.BENIGN)


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every film, client by client; reads JSON only, a few clients ahead."""
    for read in read_ahead(release):
        yield from _client_films(read, index)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return the images without a JSON of their own, or with an empty one."""
    return tuple(
        sorted(
            files[0].path
            for client in clients(release)
            for uid, files in client.images.items()
            if uid not in client.headers or is_hollow(client.headers[uid])
        )
    )


def resolve(film: Film, header: Header) -> Film:
    """Fill age, implant and device from the file where its JSON was missing."""
    return replace(
        film,
        age=age_in_years(header.get("PatientAge")) if film.age is None else film.age,
        implant=_implant(header) if film.implant is None else film.implant,
    )


# ---- films


def _client_films(read: ClientData, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    for shown, raw in exposures(listed(read, index)):
        if shown.file is None:
            yield _absent(read, shown)
            if raw is not None and raw.file is not None:
                yield from _planned(read, raw, shown)
        else:
            yield from _planned(read, shown, raw)
    yield from _unlisted_films(read, index)


def _unlisted_films(read: ClientData, index: HeaderIndex) -> Iterator[Film | Reject]:
    for shot in unlisted(read, index):
        if "imagedb" in read.client.tables and read.problem is None:
            detail = f"image {shot.uid} is in no study of {read.client.tables['imagedb'][0].path}"
            yield _reject(shot, ContentError(RejectReason.NO_TABLE_ROW, detail))
        else:
            yield from _planned(read, shot, None)


def _planned(read: ClientData, shot: Shot, twin: Shot | None) -> Iterator[Film | Reject]:
    problem = read.problem or shot.problem
    try:
        if problem is not None:
            raise problem
        yield _film(read, shot, twin)
    except ContentError as error:
        yield _reject(shot, error)
    for copy in read.client.images[shot.uid][1:]:
        detail = f"{copy.path} is image {shot.uid} again, which is read from another folder"
        twice = _reject(shot, ContentError(RejectReason.DUPLICATE_FILE, detail))
        yield replace(twice, film_key=copy.path, file=copy.path)


def _film(read: ClientData, shot: Shot, twin: Shot | None) -> Film:
    client, study = read.client.key, shot.study
    key = episode_of(study, read.episodes) if study else None
    judged = read.judged[key] if key else None
    side = shot.side.value if shot.side else None
    found = drawn(client, judged, side, _marks(shot, twin))
    label, scope = _label(judged, side)
    pathology = _pathology(label, found)
    assert shot.file is not None  # noqa: S101 - planned from a file
    return Film(
        source=RELEASE.key,
        film_key=shot.uid,
        patient_key=client,
        exam_key=study.uid if study else read.client.studies.get(shot.uid),
        exam_day=_exam_day(read.db, study),
        exam_kind=_exam_kind(study, judged),
        pair_key=_pair(shot, twin),
        files=(FileRef(role="image", path=shot.file.path, size=shot.file.size),),
        modality=Modality.FFDM,
        view=shot.view,
        laterality=shot.side,
        intent=shot.intent,
        spot_mag=shot.spot,
        implant=_implant(shot.header),
        pathology=pathology,
        label_basis=label.basis if pathology is label.pathology else LabelBasis.BIOPSY,
        label_scope=scope,
        months_to_cancer=_months(study, judged),
        raw=_raw_words(shot, judged, side),
        lesions=found.lesions,
        annotation=_annotation(found, pathology),
        annotation_kind=AnnotationKind.BOX if found.num_drawn else None,
        age=_age(shot.header, judged),
        image_size=shot.size if found.num_drawn else None,
        flags=tuple(_flags(shot, judged, label, found, pathology)),
        licence=RELEASE.licence.key,
    )


def _pair(shot: Shot, twin: Shot | None) -> str | None:
    """Return one name for both pictures of an exposure, that of the one for presentation."""
    if twin is None:
        return None
    return twin.uid if shot.intent is Intent.PROCESSING else shot.uid


def _marks(shot: Shot, twin: Shot | None) -> Sequence[Mark]:
    """Return an image's marks; those of its twin only where the two are of one size and view."""
    if shot.entry.marks or twin is None or shot.size is None or shot.size != twin.size:
        return shot.entry.marks
    return twin.entry.marks if same_view(shot, twin) else ()


def _label(judged: Judged | None, side: str | None) -> tuple[SideLabel, LabelScope]:
    if judged is None:
        return UNKNOWN, LabelScope.BREAST
    if side is not None:
        return side_label(judged, side), LabelScope.BREAST
    left, right = side_label(judged, "L"), side_label(judged, "R")
    return (left if left == right else replace(UNKNOWN, prior=left.prior)), LabelScope.EXAM


def _pathology(label: SideLabel, found: Drawn) -> Pathology:
    """Return the breast's label, or that of a worse lesion whose tissue was examined."""
    lesions = worst(*(x.pathology for x in found.lesions if x.label_basis is LabelBasis.BIOPSY))
    if label.pathology is Pathology.UNKNOWN and lesions is not Pathology.MALIGNANT:
        return label.pathology
    return worst(label.pathology, lesions)


def _flags(
    shot: Shot, judged: Judged | None, label: SideLabel, found: Drawn, pathology: Pathology
) -> Iterator[QualityFlag]:
    if label.conflict or (pathology is not label.pathology and label.pathology in _SAID):
        yield QualityFlag.LABEL_CONFLICT
    if label.prior:
        yield QualityFlag.PRIOR
    if found.unlinked:
        yield QualityFlag.UNLINKED_GEOMETRY
    if judged is not None and shot.side is not None and shot.side.value in judged.operated:
        yield QualityFlag.POSTOPERATIVE
    if shot.intent is Intent.PROCESSING:
        yield QualityFlag.PROCESSING_ONLY
    if shot.spot:
        yield QualityFlag.SPOT
    if any(LesionFlag.HIGH_RISK in lesion.flags for lesion in found.lesions):
        yield QualityFlag.HIGH_RISK


def _annotation(found: Drawn, pathology: Pathology) -> Annotation:
    if not found.lesions:
        return Annotation.COMPLETE if pathology is Pathology.NORMAL else Annotation.NONE
    if not found.num_drawn:
        return Annotation.NONE
    whole = found.num_drawn == len(found.lesions)
    return Annotation.COMPLETE if whole else Annotation.PARTIAL


def _exam_day(db: ImageDb, study: Study | None) -> int | None:
    """Return days since the client's first study: dates are shifted, all of a client by as much."""
    days = [one.day for one in db.studies if one.day is not None]
    return (study.day - min(days)).days if study is not None and study.day is not None else None


def _exam_kind(study: Study | None, judged: Judged | None) -> ExamKind | None:
    """Return why a study was made: the events of its day; none, or both kinds, say nothing."""
    if study is None or study.day is None or judged is None:
        return None
    kinds = {event.kind for event in judged.episode.events if study.day in event.dates}
    screens = kinds & {"SCREENING", "OTHERSCREENING"}
    if not kinds or (screens and kinds - screens):
        return None
    return ExamKind.SCREENING if screens else ExamKind.DIAGNOSTIC


def _months(study: Study | None, judged: Judged | None) -> float | None:
    if study is None or study.day is None or judged is None or judged.cancer is None:
        return None
    return max(0.0, months_between(study.day, judged.cancer))


def _age(header: Header, judged: Judged | None) -> int | None:
    age = age_in_years(header.get("PatientAge"))
    if age is None and judged is not None:
        age = age_in_years(judged.episode.fields.get("PatientAge"))
    return age


def _implant(header: Header) -> bool | None:
    return {"YES": True, "NO": False}.get(header.get("BreastImplantPresent", "").upper())


def _raw_words(shot: Shot, judged: Judged | None, side: str | None) -> RawWords:
    view = shot.header.get("ViewPosition")  # a word of the table, or the film were rejected
    if judged is None:
        return RawWords(view=view)
    episode = judged.episode
    opinions = [
        f"{event.kind} {event.opinions[side]}"
        for event in episode.events
        if side and side in event.opinions
    ]
    described = [
        fields["LesionDescription"]
        for (lesion_side, _), fields in sorted(episode.lesions.items())
        if lesion_side == side and "LesionDescription" in fields
    ]
    kind = episode.fields.get("EpisodeType", "")
    state = "" if judged.closed else " open"
    return RawWords(
        label="; ".join(opinions) or None,
        view=view,
        finding="; ".join(described) or None,
        status=f"{kind} {judged.status}/{judged.outcome}{state}".strip(),
    )


# ---- the rest


def _absent(read: ClientData, shot: Shot) -> Absent:
    folder = f"{shot.study.uid}/" if shot.study else ""
    return Absent(
        source=RELEASE.key,
        film_key=shot.uid,
        file=f"images/{read.client.key}/{folder}{shot.uid}.dcm",
        split_key=read.client.key,
    )


def _reject(shot: Shot, error: ContentError) -> Reject:
    return Reject(
        source=RELEASE.key,
        film_key=shot.uid,
        file=shot.file.path if shot.file else "",
        reason=error.reason,
        detail=error.detail,
        stage="plan",
    )
