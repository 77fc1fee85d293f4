"""CBIS-DDSM's rows joined with the files of a copy: one Film an image file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from etl.readers.listing import natural_key, suffix
from etl.readers.series import SeriesFiles, listed_folders
from etl.sources.cbis_ddsm.cases import (
    PATIENT_ID,
    CaseRow,
    CaseTables,
    FilmId,
    SeriesName,
    assessment,
    density,
    film_id,
    find_tables,
    label,
    lesion,
)
from schemas.errors import ContentError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Finding,
    GeometryKind,
    LabelScope,
    Laterality,
    Modality,
    QualityFlag,
    Split,
    View,
)

__all__ = ["RELEASE", "Disk", "files_to_index", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="cbis_ddsm",
    title="CBIS-DDSM",
    modalities=(Modality.SFM,),
    licence=Licence(
        key="CC-BY-3.0",
        title="Creative Commons Attribution 3.0 Unported",
        redistributable=True,
        weights_releasable=True,
    ),
    citation=(
        "Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D (2016) Curated Breast Imaging Subset of DDSM. "
        "The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2016.7O02S9CY; "
        "Lee RS et al. (2017) Sci Data 4:170177; Clark K et al. (2013) J Digit Imaging 26:1045"
    ),
    url="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
    how_to_get=(
        "download the images with the NBIA Data Retriever (163.6 GB) and the four case "
        "description csv files from the url, and put the csv files beside the images"
    ),
    tissue=TissueRule.FILM,
    size="3,103 films with masks, 163.6 GB",
    header_tags=("PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    image_files="*.dcm (or *.jpg, *.png in folders that keep the UIDs)",
)

_SIDES = {"train": Split.TRAIN, "test": Split.TEST}


@dataclass(frozen=True, slots=True)
class _Patient:
    """What one patient's rows say together."""

    films: Mapping[FilmId, tuple[CaseRow, ...]]
    views: Mapping[tuple[Laterality, View], tuple[CaseRow, ...]]
    sides: tuple[Split, ...]
    flags: tuple[QualityFlag, ...]


class Disk:
    """The copy's files by series, and which of them a film was made of."""

    def __init__(self, release: Release, index: HeaderIndex) -> None:
        self.series = SeriesFiles(release.entries, PATIENT_ID, index, listed_folders(release))
        self._taken: set[str] = set()

    def film(self, image: SeriesName) -> Entry | None:
        """Return the film's file and remember it; None where this copy does not hold it."""
        copies = self.series.find(image.patient, image.study, image.series)
        if not copies:
            return None
        self._taken.add(copies[0][0].path)
        return copies[0][0]

    def rois(self, row: CaseRow) -> tuple[Entry, ...]:
        """Return the files among which a lesion's mask and crop are, the alleged mask first.

        The two are often swapped against the table, and one series description stands for both,
        so nothing is decided here.
        """
        mask, crop = row.mask, row.crop
        found: dict[str, Entry] = {}
        for name in (mask, crop):
            copies = self.series.find(*name[:3]) if name else ()
            found |= {entry.path: entry for entry in (copies[0] if copies else ())}
        entries = tuple(found.values())
        shared = mask and crop and mask.series == crop.series
        if shared and mask and crop and natural_key(mask.file) > natural_key(crop.file):
            return entries[::-1]
        return entries

    def left_over(self, films: Mapping[str, FilmId]) -> Iterator[tuple[Entry, FilmId]]:
        """Yield files that are films and became none; `films` are known ones by series UID."""
        for entry in self.series.entries:
            if entry.path not in self._taken:
                uid, patient = self.series.identity(entry)
                film = films.get(uid or "") or film_id(patient or "")
                if film:
                    yield entry, film


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every film of the case tables, patient by patient, then files that none describes.

    Raises
    ------
    MammoError
        No case table is there, or one is no table.
    """
    tables = find_tables(release)
    disk = Disk(release, index)
    for bad in tables.bad:
        yield _reject(bad.where, bad.table, RejectReason.BAD_ROW, bad.detail)
    for patient in _patients(tables.rows):
        for film in sorted(patient.films, key=lambda film: natural_key(film.key)):
            yield _planned(film, patient, disk)
    yield from _not_described(tables, disk)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return the DICOM files that neither folder names nor a metadata.csv place."""
    series = SeriesFiles(release.entries, PATIENT_ID, folders=listed_folders(release))
    return tuple(entry.path for entry in series.unnamed())


def resolve(film: Film, header: Header) -> Film:
    """Fill vendor and model; flag a header that speaks of another breast or another film.

    Laterality (0020,0060) is compared only. PatientOrientation (0020,0020) holds the view in this
    release and is not an orientation.
    """
    flags = set(film.flags)
    if header.get("Laterality", film.laterality) != film.laterality:
        flags.add(QualityFlag.LATERALITY_CONFLICT)
    named, own = film_id(header.get("PatientID", "")), film_id(film.film_key)
    if named and own and named.key != own.key:  # a pseudonym is no id that could be compared
        flags.add(QualityFlag.LABEL_CONFLICT)
    return replace(
        film,
        manufacturer=film.manufacturer or header.get("Manufacturer"),
        model=film.model or header.get("ManufacturerModelName"),
        flags=tuple(sorted(flags)),
    )


def _patients(rows: Iterable[CaseRow]) -> Iterator[_Patient]:
    by_patient: dict[str, list[CaseRow]] = {}
    for row in rows:
        by_patient.setdefault(row.film.patient, []).append(row)
    for patient in sorted(by_patient, key=natural_key):
        yield _patient(by_patient[patient])


def _patient(rows: Sequence[CaseRow]) -> _Patient:
    ordered = sorted(rows, key=lambda row: (natural_key(row.film.key), row.abnormality))
    films: dict[FilmId, tuple[CaseRow, ...]] = {}
    views: dict[tuple[Laterality, View], tuple[CaseRow, ...]] = {}
    for row in ordered:
        view = (row.film.laterality, row.film.view)
        films[row.film] = (*films.get(row.film, ()), row)
        views[view] = (*views.get(view, ()), row)
    official = {row.film.official for row in ordered}
    densities = {row.cells.get("breast density") for row in ordered} - {None, "0"}
    flags = []
    if len(official) > 1:
        flags.append(QualityFlag.OFFICIAL_SPLIT_CONFLICT)
    if len(densities) > 1:
        flags.append(QualityFlag.DENSITY_CONFLICT)
    sides = tuple(side for word, side in _SIDES.items() if word in official)
    return _Patient(films, views, sides, tuple(flags))


def _planned(film: FilmId, patient: _Patient, disk: Disk) -> Film | Reject | Absent:
    rows = patient.films[film]
    entry = disk.film(rows[0].image)
    if entry is None:
        return Absent(
            source=RELEASE.key,
            film_key=film.key,
            file="/".join(rows[0].image),
            split_key=film.patient,
        )
    try:
        _refuse_doubled(rows)
        return _film(film, entry, patient, disk)
    except ContentError as error:
        return _reject(film.key, entry.path, error.reason, error.detail)


def _refuse_doubled(rows: Sequence[CaseRow]) -> None:
    for first, second in itertools.pairwise(rows):
        if first.abnormality == second.abnormality:
            raise ContentError(
                RejectReason.BAD_ROW,
                f"{first.where} and {second.where} both describe abnormality "
                f"{first.abnormality} of {first.film.key}",
            )


def _film(film: FilmId, entry: Entry, patient: _Patient, disk: Disk) -> Film:
    rows = patient.films[film]
    seen = patient.views[film.laterality, film.view]
    is_twin = len({row.film for row in seen}) > 1
    rois = {str(row.abnormality): disk.rois(row) for row in rows}
    lesions = tuple(_drawn(lesion(row), rois) for row in rows)
    pathology, basis = label(seen)
    flags = [*patient.flags, *_flags(entry, lesions, is_twin=is_twin)]
    return Film(
        source=RELEASE.key,
        film_key=film.key,
        patient_key=film.patient,
        pair_key=_view_key(film) if is_twin else None,
        files=_files(entry, rois),
        modality=Modality.SFM,
        view=film.view,
        laterality=film.laterality,
        pathology=pathology,
        label_basis=basis,
        label_scope=LabelScope.LESION,
        birads=assessment(seen),
        density=density(rows),
        density_scale="birads" if density(rows) else None,
        raw=_raw_words(rows, seen),
        lesions=lesions,
        annotation=_annotation(lesions, is_twin=is_twin),
        annotation_kind=_annotation_kind(lesions),
        official_split=film.official,
        official_sides=patient.sides,
        flags=tuple(sorted(flags)),
        licence=RELEASE.licence.key,
    )


def _drawn(found: FilmLesion, rois: Mapping[str, tuple[Entry, ...]]) -> FilmLesion:
    if not rois[found.lesion_id]:
        return found
    return replace(found, geometry=Geometry(kind=GeometryKind.MASK))


def _files(entry: Entry, rois: Mapping[str, tuple[Entry, ...]]) -> tuple[FileRef, ...]:
    image = FileRef(role="image", path=entry.path, size=entry.size)
    return (
        image,
        *(
            FileRef(role="roi", path=roi.path, size=roi.size, lesion=lesion_id)
            for lesion_id, entries in rois.items()
            for roi in entries
        ),
    )


def _flags(entry: Entry, lesions: Iterable[FilmLesion], *, is_twin: bool) -> Iterator[QualityFlag]:
    if suffix(entry.path) in (".jpg", ".jpeg"):
        yield QualityFlag.LOSSY
    if any(found.geometry is None for found in lesions):
        yield QualityFlag.MASK_MISSING
    if is_twin:
        yield QualityFlag.TWIN_FILM


def _annotation(lesions: Sequence[FilmLesion], *, is_twin: bool) -> Annotation:
    """Return what is drawn: never all of a twin, whose other half's lesions are not here."""
    drawn = sum(found.geometry is not None for found in lesions)
    if not drawn:
        return Annotation.NONE
    if is_twin or drawn < len(lesions):
        return Annotation.PARTIAL
    return Annotation.COMPLETE


def _annotation_kind(lesions: Iterable[FilmLesion]) -> AnnotationKind | None:
    drawn = {found.finding for found in lesions if found.geometry}
    if Finding.CALCIFICATION in drawn:
        return AnnotationKind.COARSE_OUTLINE
    return AnnotationKind.OUTLINE if drawn else None


def _raw_words(rows: Sequence[CaseRow], seen: Sequence[CaseRow]) -> RawWords:
    return RawWords(
        label=_joined(row.cells.get("pathology") for row in seen),
        density=_joined(row.cells.get("breast density") for row in rows),
        view=rows[0].cells.get("image view"),
        finding=_joined(_finding_words(row) for row in rows),
    )


def _finding_words(row: CaseRow) -> str:
    titles = ("abnormality type", "mass shape", "mass margins", "calc type", "calc distribution")
    return " ".join(row.cells[title] or "N/A" for title in titles if title in row.cells)


def _joined(words: Iterable[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(word for word in words if word)) or None


def _view_key(film: FilmId) -> str:
    return f"{film.patient}_{film.laterality}_{film.view}"


def _not_described(tables: CaseTables, disk: Disk) -> Iterator[Reject]:
    films = {row.image.series: row.film for row in tables.rows}
    known = set(films.values())
    for entry, film in disk.left_over(films):
        if film in known:
            detail = f"{entry.path} is {film.key} again, which is read from another file"
            yield _reject(entry.path, entry.path, RejectReason.DUPLICATE_FILE, detail)
        else:
            detail = f"{entry.path} is {film.key}, which no case table of this copy describes"
            yield _reject(film.key, entry.path, RejectReason.NO_TABLE_ROW, detail)


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
