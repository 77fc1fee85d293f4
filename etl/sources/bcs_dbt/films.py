"""Volumes of Breast-Cancer-Screening-DBT joined with a copy's files: one Film a slice or slab."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from etl.readers.dicom_frames import frame_at
from etl.readers.listing import named, suffix
from etl.readers.series import SeriesFiles, file_uid, listed_folders
from etl.sources.bcs_dbt.tables import (
    BASES,
    CLASSES,
    DISTORTION,
    EXAM_KINDS,
    LABELS,
    SIDES,
    SPLITS,
    VIEWS,
    Box,
    DbtTables,
    Volume,
    VolumeId,
    find_tables,
    patients,
)
from schemas.errors import ContentError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    ExamKind,
    Finding,
    FrameKind,
    GeometryFrame,
    GeometryKind,
    LabelBasis,
    LabelScope,
    LesionFlag,
    Modality,
    Pathology,
    QualityFlag,
    Split,
)

__all__ = [
    "RELEASE",
    "Disk",
    "files_to_index",
    "hashed_depth",
    "nameless",
    "plan",
    "plan_tables",
    "resolve",
]

RELEASE = ReleaseInfo(
    key="bcs_dbt",
    title="Breast-Cancer-Screening-DBT",
    modalities=(Modality.DBT,),
    licence=Licence(
        key="CC-BY-NC-4.0",
        title="Creative Commons Attribution-NonCommercial 4.0 International",
        redistributable=True,
        weights_releasable=True,  # for uses that are not commercial
    ),
    citation=(
        "Buda M et al. (2020) Breast Cancer Screening - Digital Breast Tomosynthesis "
        "(BCS-DBT). The Cancer Imaging Archive, doi 10.7937/E4WT-CD02; "
        "Buda M et al. (2021) JAMA Netw Open 4(8):e2119100; Clark K et al. (2013) J Digit "
        "Imaging 26:1045"
    ),
    url="https://www.cancerimagingarchive.net/collection/breast-cancer-screening-dbt/",
    how_to_get=(
        "download volumes with the NBIA Data Retriever (1.63 TB in all, any part will do) and the "
        "nine csv files of labels, boxes and file paths from the url, and put them together"
    ),
    tissue=TissueRule.DIGITAL,
    size="22,032 volumes, 1.63 TB",
    header_tags=("PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    image_files="*.dcm",
    slabs=True,
)

PATIENT_ID = re.compile(r"DBT-P\d{5}")
DEPTHS = (0.25, 0.75)
"""Between these depths the slices without boxes are chosen, a half of it for each of the two."""
NUM_DEPTHS = 2


@dataclass(frozen=True, slots=True)
class _Slice:
    """What one sample shows: a frame with its boxes, a depth, or the whole volume (a slab)."""

    name: str
    kind: FrameKind = FrameKind.SLICE
    frame: int | None = None
    depth: float | None = None
    boxes: tuple[tuple[int, Box], ...] = ()


@dataclass(frozen=True, slots=True)
class _Study:
    """What a study's rows and the patient's splits say of every volume in it."""

    words: frozenset[str]
    views: frozenset[str]
    sides: tuple[Split, ...]


class Disk:
    """The copy's files by series, and what became of them."""

    def __init__(self, release: Release, index: HeaderIndex) -> None:
        entries = [entry for entry in release.entries if _may_be_volume(entry)]
        self.series = SeriesFiles(entries, PATIENT_ID, index, listed_folders(release))
        self._taken: set[str] = set()
        self._copies: dict[str, str] = {}

    def volume(self, key: VolumeId, volume: Volume) -> Entry | None:
        """Return a volume's file and remember it; None where this copy does not hold it."""
        if volume.location is None:
            return None
        place = volume.location
        copies = self.series.find(key.patient, place.study, place.series, alone=False)
        files = [entry for copy in copies for entry in copy]
        if not files:
            return None
        self._taken.add(files[0].path)
        self._copies |= {entry.path: files[0].path for entry in files[1:]}
        return files[0]

    def left_over(self) -> Iterator[tuple[Entry, str | None]]:
        """Yield files that no sample is read from, and the file that they are a copy of."""
        for entry in self.series.entries:
            if entry.path not in self._taken:
                yield entry, self._copies.get(entry.path)


def _may_be_volume(entry: Entry) -> bool:
    return suffix(entry.path) in ("", ".dcm", ".dicom")


def plan(
    release: Release, index: HeaderIndex, *, slabs: bool = False
) -> Iterator[Film | Reject | Absent]:
    """Yield every slice of the tables' volumes, patient by patient, then files without a row.

    A slice that has boxes is called by its number, those at a hashed depth are d0 and d1:
    `DBT-P00013/DBT-S00163/rmlo/16`, `DBT-P00029/DBT-S00044/lcc/d0`.

    Parameters
    ----------
    slabs
        Also yield one film of each volume, whatever its label: the mean of all its slices
        (`etl.pixels.slab`) with all its boxes, `DBT-P00013/DBT-S00163/rmlo/slab`. Slices and slab
        share the volume's pair_key.

    Raises
    ------
    MammoError
        No table is there, or one is no table.
    """
    yield from plan_tables(find_tables(release), release, index, slabs=slabs)


def plan_tables(
    tables: DbtTables, release: Release, index: HeaderIndex, *, slabs: bool = False
) -> Iterator[Film | Reject | Absent]:
    """Yield what `plan` yields, from tables that were read."""
    disk = Disk(release, index)
    for bad in tables.bad:
        yield _reject(bad.where, bad.table, RejectReason.BAD_ROW, bad.detail)
    for volumes in patients(tables.volumes):
        studies = _studies(volumes)
        for key, volume in volumes.items():
            yield from _planned(key, volume, studies[key.study], disk, slabs)
    yield from _without_row(disk, tables)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return the DICOM files that no folder, metadata.csv or name from the tables places."""
    return nameless(find_tables(release), release)


def nameless(tables: DbtTables, release: Release) -> tuple[str, ...]:
    """Return what `files_to_index` returns, from tables that were read."""
    known = {volume.location.series for volume in tables.volumes.values() if volume.location}
    entries = [entry for entry in release.entries if _may_be_volume(entry)]
    series = SeriesFiles(entries, PATIENT_ID, folders=listed_folders(release))
    return tuple(entry.path for entry in series.unnamed() if file_uid(entry.path) not in known)


def resolve(film: Film, header: Header) -> Film:
    """Fill the frame at a hashed depth and the depth of a frame; flag men and odd volumes.

    A box whose slice lies at another depth of the file than of the table's `VolumeSlices` is
    suspect; on a slab, which shows all depths, one whose slice the file lacks. FrameLaterality is
    not read: it says L of every volume (`dcmread_image` of github.com/mazurowski-lab/duke-dbt-data
    calls it unreliable).
    """
    count = int(header.get("NumberOfFrames", "1"))
    frame, depth = film.frame, film.depth_fraction
    flags, lesions = set(film.flags), film.lesions
    odd = any(lesion.slice_last is not None and lesion.slice_last >= count for lesion in lesions)
    if frame is None and depth is not None:
        frame = frame_at(depth, count)
    elif frame is not None and depth is None:
        depth = _depth(frame, count)
    elif frame is not None:
        odd = depth != _depth(frame, count)
    if odd:
        flags.add(QualityFlag.GEOMETRY_SUSPECT)
        lesions = tuple(
            replace(lesion, flags=(*lesion.flags, LesionFlag.SUSPECT)) for lesion in lesions
        )
    if header.get("PatientSex") == "M":
        flags.add(QualityFlag.MALE)
    implant = {"YES": True, "NO": False}.get(header.get("BreastImplantPresent", ""))
    return replace(
        film,
        frame=frame,
        depth_fraction=depth,
        lesions=lesions,
        implant=implant if film.implant is None else film.implant,
        flags=tuple(sorted(flags)),
    )


def hashed_depth(key: VolumeId, number: int) -> float:
    """Return the depth of a volume's slice without box, 0.25 to 0.5 or 0.5 to 0.75.

    It depends on the volume's name alone, so no label, no other volume and no copy can move it.
    """
    digest = hashlib.sha256(f"{key.key}/d{number}".encode()).digest()
    low, high = DEPTHS
    part = (number + int.from_bytes(digest[:4], "big") / (1 << 32)) / NUM_DEPTHS
    return round(low + (high - low) * part, 4)


def _depth(frame: int, count: int) -> float:
    return round((frame + 0.5) / count, 4)


def _studies(volumes: Mapping[VolumeId, Volume]) -> dict[str, _Study]:
    """Return what each study of one patient says: one label, whatever the number of its rows."""
    words: dict[str, set[str]] = {}
    views: dict[str, set[str]] = {}
    for key, volume in volumes.items():
        words.setdefault(key.study, set()).update(volume.words)
        views.setdefault(key.study, set()).add(key.view)
    official = {split for volume in volumes.values() for split in volume.splits}
    sides = tuple(side for word, side in SPLITS.items() if word in official)
    return {
        study: _Study(frozenset(words[study]), frozenset(views[study]), sides) for study in words
    }


def _planned(
    key: VolumeId, volume: Volume, study: _Study, disk: Disk, slabs: bool
) -> Iterator[Film | Reject | Absent]:
    entry = disk.volume(key, volume)
    try:
        if volume.trouble:
            raise volume.trouble
        slices = (*_slices(key, volume), *(_slabs(volume) if slabs else ()))
        alone = len(slices) == 1
        films = [_film(key, volume, study, entry, one, alone=alone) for one in slices if entry]
    except ContentError as error:
        path = entry.path if entry else key.key
        yield _reject(key.key, path, error.reason, error.detail)
        return
    yield from films
    if entry is None:
        file = volume.location.text if volume.location else key.key
        for one in slices:
            name = f"{key.key}/{one.name}"
            yield Absent(source=RELEASE.key, film_key=name, file=file, split_key=key.patient)


def _slices(key: VolumeId, volume: Volume) -> tuple[_Slice, ...]:
    """Return the slices with boxes, each with those on it; else two at hashed depths."""
    if key.base and not volume.boxes:
        return tuple(
            _Slice(f"d{number}", depth=hashed_depth(key, number)) for number in range(NUM_DEPTHS)
        )
    numbered = _numbered(volume)
    slices = []
    for frame in sorted({box.slice for box in volume.boxes}):
        boxes = tuple((number, box) for number, box in numbered if box.slice == frame)
        depths = [_depth(frame, box.volume_slices) for _, box in boxes if box.volume_slices]
        depth = depths[0] if depths else None
        slices.append(_Slice(str(frame), frame=frame, depth=depth, boxes=boxes))
    return tuple(slices)


def _slabs(volume: Volume) -> tuple[_Slice, ...]:
    return (_Slice("slab", FrameKind.SLAB, boxes=_numbered(volume)),)


def _numbered(volume: Volume) -> tuple[tuple[int, Box], ...]:
    return tuple(enumerate(sorted(volume.boxes, key=_place), start=1))


def _place(box: Box) -> tuple[int, ...]:
    return box.slice, box.x, box.y, box.width, box.height


def _film(
    key: VolumeId, volume: Volume, study: _Study, entry: Entry, one: _Slice, *, alone: bool
) -> Film:
    pathology, basis, words = _label(volume, study)
    description = volume.location.description if volume.location else None
    official = sorted(volume.splits, key=list(SPLITS).index)
    lesions = tuple(_lesion(number, box, one) for number, box in one.boxes)
    return Film(
        source=RELEASE.key,
        film_key=f"{key.key}/{one.name}",
        patient_key=key.patient,
        exam_key=key.study,
        exam_kind=_exam_kind(description),
        pair_key=None if alone else key.key,
        files=(FileRef(role="image", path=entry.path, size=entry.size),),
        modality=Modality.DBT,
        view=VIEWS[key.base],
        laterality=SIDES[key.base],
        implant=True if "implant" in (description or "").lower() else None,
        frame_kind=one.kind,
        frame=one.frame,
        depth_fraction=one.depth,
        pathology=pathology,
        label_basis=basis,
        label_scope=LabelScope.EXAM,
        raw=RawWords(
            label="; ".join(words) or None,
            view=key.view,
            finding="; ".join(dict.fromkeys(_words(box) for _, box in one.boxes)) or None,
            status=description,
        ),
        lesions=lesions,
        annotation=_annotation(volume, pathology, one),
        annotation_kind=AnnotationKind.BOX if lesions else None,
        official_split=official[-1],
        official_sides=study.sides,
        geometry_frame=GeometryFrame.DBT_UPRIGHT,
        flags=tuple(sorted(_flags(key, volume, study, words))),
        licence=RELEASE.licence.key,
    )


def _label(volume: Volume, study: _Study) -> tuple[Pathology, LabelBasis, list[str]]:
    """Return the study's label and the words it is made of, the gravest first.

    A row without any flag, and a volume without row, is unknown, never normal; a volume without
    row whose boxes say what they hold takes the gravest of them.
    """
    words = [word for word in LABELS if word in study.words] if volume.words else []
    if words:
        return LABELS[words[0]], BASES[words[0]], words
    if volume.boxes and not volume.labelled:
        found = {CLASSES[box.word] for box in volume.boxes}
        gravest = Pathology.MALIGNANT if Pathology.MALIGNANT in found else Pathology.BENIGN
        return gravest, LabelBasis.BIOPSY, sorted({box.word for box in volume.boxes})
    return Pathology.UNKNOWN, LabelBasis.UNKNOWN, []


def _words(box: Box) -> str:
    return box.word if box.distortion is None else f"{box.word} AD={box.distortion}"


def _exam_kind(description: str | None) -> ExamKind | None:
    text = (description or "").lower()
    return next((kind for word, kind in EXAM_KINDS.items() if word in text), None)


def _lesion(number: int, box: Box, one: _Slice) -> FilmLesion:
    """Return a box: [X, X + Width) by [Y, Y + Height) pixels, corners of the upright picture."""
    depth = box.slice if one.kind is FrameKind.SLAB else None
    values = (box.x, box.y, box.x + box.width, box.y + box.height)
    return FilmLesion(
        lesion_id=str(number),
        finding=DISTORTION[box.distortion] if box.distortion else Finding.UNKNOWN,
        pathology=CLASSES[box.word],
        label_basis=LabelBasis.BIOPSY,
        label_raw=box.word,
        geometry=Geometry(kind=GeometryKind.BOX, values=tuple(float(value) for value in values)),
        slice_first=depth,
        slice_last=depth,
    )


def _annotation(volume: Volume, pathology: Pathology, one: _Slice) -> Annotation:
    """Return what is drawn: normal slices and those with all the boxes that show on them.

    On a slab that is every box of its volume. A box of another slice shows where it is nearer than
    the square root of its mean side, the depth that github.com/mateuszbuda/duke-dbt-detection gives
    a lesion.
    """
    if not volume.boxes:
        return Annotation.COMPLETE if pathology is Pathology.NORMAL else Annotation.NONE
    drawn = {number for number, _ in one.boxes}
    others = (box for number, box in _numbered(volume) if number not in drawn)
    near = any(
        abs(box.slice - (one.frame or 0)) <= ((box.width + box.height) / 2) ** 0.5 for box in others
    )
    return Annotation.PARTIAL if near else Annotation.COMPLETE


def _flags(
    key: VolumeId, volume: Volume, study: _Study, words: Iterable[str]
) -> Iterator[QualityFlag]:
    pathology = _label(volume, study)[0]
    boxed = {CLASSES[box.word] for box in volume.boxes}
    if len(list(words)) > 1 or boxed - {pathology}:
        yield QualityFlag.LABEL_CONFLICT
    if len(volume.splits) > 1 or len(study.sides) > 1:
        yield QualityFlag.OFFICIAL_SPLIT_CONFLICT
    if _is_repeated(key, study):
        yield QualityFlag.REPEAT


def _is_repeated(key: VolumeId, study: _Study) -> bool:
    """Say whether the view was taken again: `rmlo` where the study has `rmlo1` too."""
    base = key.base
    number = int(key.view[len(base) :] or 0)
    later = (view[len(base) :] for view in study.views if view.startswith(base))
    return any(text.isdecimal() and int(text) > number for text in later)


def _without_row(disk: Disk, tables: DbtTables) -> Iterator[Reject]:
    tabled = named(sorted(path for (kind, _), path in tables.used.items() if kind == "file-paths"))
    for entry, other in disk.left_over():
        if other:
            detail = f"{entry.path} is the volume again that is read from {other}"
            yield _reject(entry.path, entry.path, RejectReason.DUPLICATE_FILE, detail)
        else:
            detail = f"{entry.path} is in no file-paths table ({tabled or 'there is none'})"
            yield _reject(entry.path, entry.path, RejectReason.NO_TABLE_ROW, detail)


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
