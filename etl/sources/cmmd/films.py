"""CMMD's images joined with the clinical table: one Film an image file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from etl.readers.listing import natural_key, suffix, wanted
from etl.readers.tompei import Outline, read_outlines
from etl.sources.cmmd.oddities import (
    film_flags,
    has_wrong_side,
    outline_side,
    split_key,
    twin_of,
)
from etl.sources.cmmd.tables import (
    ABNORMALITIES,
    CATEGORIES,
    CLASSES,
    DENSITIES,
    OUTLINE_LABELS,
    PATIENT_ID,
    SIDES,
    VIEWS,
    Clinical,
    Row,
    Tompei,
    find_clinical,
    find_tompei,
    known,
)
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, Point, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Finding,
    GeometryKind,
    Intent,
    LabelBasis,
    LabelScope,
    Laterality,
    LesionFlag,
    Modality,
    Pathology,
    QualityFlag,
    View,
)

__all__ = ["RELEASE", "files_to_index", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="cmmd",
    title="CMMD",
    modalities=(Modality.FFDM,),
    licence=Licence(
        key="CC-BY-4.0",
        title="Creative Commons Attribution 4.0 International",
        redistributable=True,
        weights_releasable=True,
    ),
    citation=(
        "Cui C, Li L, Cai H, Fan Z, Zhang L, Dan T, Li J, Wang J (2021) The Chinese Mammography "
        "Database (CMMD). The Cancer Imaging Archive, doi 10.7937/tcia.eqde-4b16; "
        "Clark K et al. (2013) J Digit Imaging 26:1045"
    ),
    url="https://www.cancerimagingarchive.net/collection/cmmd/",
    how_to_get=(
        "download the images with the NBIA Data Retriever (22.9 GB) and "
        "CMMD_clinicaldata_revision.xlsx from the url, and put the table beside the images; "
        "optional: the annotations and the workbook of TOMPEI-CMMD, put anywhere below them"
    ),
    tissue=TissueRule.DIGITAL,
    size="5,202 images of 1,775 patients, 22.9 GB",
    header_tags=(
        *("PatientID", "SOPInstanceUID", "ImageLaterality"),
        *("ViewCodeValue", "ViewCodeMeaning"),
    ),
    already_windowed=True,
    image_files="*.dcm",
)

_NO_IMAGE_NAMES = frozenset({"license", "licence", "readme", "dicomdir", "version", "changelog"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_HALF = 0.5
"""From a pixel's index to its centre: outlines are integer clicks."""

Breast = tuple[str, Laterality]


@dataclass(frozen=True, slots=True)
class _Image:
    """An image file and what its header says."""

    entry: Entry
    uid: str
    patient: str
    laterality: Laterality
    view: View
    view_word: str | None

    @property
    def name(self) -> str:
        return f"{self.laterality}_{self.view}"

    @property
    def key(self) -> str:
        return f"{self.patient}_{self.name}"


@dataclass(frozen=True, slots=True)
class _Copy:
    """Everything that planning reads of a copy."""

    release: Release
    clinical: Clinical
    tompei: Tompei


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every image, patient by patient, rows and outlines without image, then bad files.

    A patient without any image is absent in both views of each breast that a row or an outline
    names; who has neither is not known to the copy.

    Raises
    ------
    MammoError
        There is no clinical table, or the copy holds pictures instead of DICOM files.
    """
    _refuse_pictures(release)
    copy = _Copy(release, find_clinical(release), find_tompei(release))
    for bad in copy.clinical.bad:
        yield _reject(bad.where, copy.clinical.path, bad.reason, bad.detail)
    images, rejects = _images(release, index)
    breasts = {patient for patient, _ in (*copy.clinical.rows, *copy.tompei.outlines)}
    for patient in sorted({*images, *breasts}, key=natural_key):
        yield from _patient(patient, images.get(patient, ()), copy)
    yield from rejects


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return every DICOM file: side and view of this release stand in headers alone."""
    return tuple(entry.path for entry in wanted(release.entries) if _may_be_dicom(entry.path))


def resolve(film: Film, header: Header) -> Film:
    """Fill the spacing from Imager Pixel Spacing, whatever Pixel Spacing (0028,0030) says."""
    try:
        row, column = (float(word) for word in header.get("ImagerPixelSpacing", "").split("\\"))
        return replace(film, native_pixel_mm=(row, column))
    except ValueError:
        return film


# ---- files


def _may_be_dicom(path: str) -> bool:
    """Tell DICOM files by their ending; without one, by a name that is no word of a package."""
    ending, name = suffix(path), path.rsplit("/", 1)[-1].lower()
    if ending:
        return ending in (".dcm", ".dicom", ".ima")
    return name not in _NO_IMAGE_NAMES and any(letter.isdigit() for letter in name)


def _refuse_pictures(release: Release) -> None:
    """Refuse re-exports to PNG or JPEG: their sides and views are lost (layout I)."""
    entries = wanted(release.entries)
    pictures = [entry.path for entry in entries if suffix(entry.path) in _PICTURES]
    if pictures and not any(_may_be_dicom(entry.path) for entry in entries):
        raise MammoError(
            f"{release.root} holds {len(pictures)} pictures such as {min(pictures)} and no DICOM "
            "file: CMMD's sides and views stand in DICOM headers alone, so a re-export cannot be "
            f"read; get the DICOM files from {RELEASE.url}"
        )


def _images(release: Release, index: HeaderIndex) -> tuple[dict[str, list[_Image]], list[Reject]]:
    """Return the images by patient, and a reject for every DICOM file that is none of them."""
    images: dict[str, list[_Image]] = defaultdict(list)
    rejects = []
    for entry in sorted(wanted(release.entries), key=lambda entry: natural_key(entry.path)):
        if not _may_be_dicom(entry.path):
            continue
        header = index[entry.path]
        if not header and not suffix(entry.path):
            continue
        try:
            image = _image(entry, header)
            images[image.patient].append(image)
        except ContentError as error:
            rejects.append(_reject(entry.path, entry.path, error.reason, error.detail))
    return images, rejects


def _image(entry: Entry, header: Header) -> _Image:
    """Read patient, side and view; ViewPosition serves where a copy lost the coded view."""
    patient = header.get("PatientID", "").strip()
    if not patient:
        raise ContentError(
            RejectReason.HEADER_INVALID,
            f"{entry.path} has no readable DICOM header with a PatientID",
        )
    if not PATIENT_ID.fullmatch(patient):
        raise ContentError(
            RejectReason.NO_TABLE_ROW, f"{entry.path} is of {patient!r}, who is no CMMD patient"
        )
    where = f"the header of {entry.path} ({patient})"
    side = header.get("ImageLaterality") or header.get("Laterality")
    code = header.get("ViewCodeValue", "").strip()
    meaning = header.get("ViewCodeMeaning", "").strip().lower()
    position = header.get("ViewPosition", "").strip().upper()
    if code in VIEWS or meaning in VIEWS:
        view = VIEWS.get(code) or VIEWS[meaning]
    elif not code and not meaning and position in (View.CC, View.MLO):
        view = View(position)
    else:
        view = known(VIEWS, where, "ViewCodeSequence", code or meaning or None)
    return _Image(
        entry=entry,
        uid=header.get("SOPInstanceUID", ""),
        patient=patient,
        laterality=known(SIDES, where, "ImageLaterality", side.strip() if side else None),
        view=view,
        view_word=header.get("ViewCodeMeaning") or header.get("ViewPosition"),
    )


# ---- patients


def _patient(
    patient: str, images: Iterable[_Image], copy: _Copy
) -> Iterator[Film | Reject | Absent]:
    by_key: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        by_key[image.key].append(image)
    expected = {f"{patient}_{side}_{view}" for side, view in _expected(patient, copy)}
    for key in sorted({*by_key, *expected}, key=natural_key):
        if key not in by_key:
            yield Absent(source=RELEASE.key, film_key=key, file=key, split_key=split_key(patient))
            continue
        # UIDs decide, so that every layout keeps the same one
        first, *others = sorted(by_key[key], key=lambda image: natural_key(image.uid))
        yield _planned(first, copy)
        for other in others:
            same = "the same image" if other.uid == first.uid else "another image of"
            yield _reject(
                other.entry.path,
                other.entry.path,
                RejectReason.DUPLICATE_FILE,
                f"{other.entry.path} is {same} {key}, which is read from {first.entry.path}",
            )


def _expected(patient: str, copy: _Copy) -> Iterator[tuple[Laterality, View]]:
    for side in Laterality:
        if (patient, side) in copy.clinical.rows:
            yield from ((side, View.CC), (side, View.MLO))
        if (patient, outline_side(patient, side)) in copy.tompei.outlines:
            yield side, View.MLO


def _planned(image: _Image, copy: _Copy) -> Film | Reject:
    try:
        return _film(image, copy)
    except ContentError as error:
        return _reject(image.key, image.entry.path, error.reason, error.detail)


def _one_row(rows: Sequence[Row]) -> Row | None:
    """Return the row of a breast; two that say the same are one."""
    if len({row.said() for row in rows}) > 1:
        raise ContentError(
            RejectReason.BAD_ROW, f"{rows[0].where} and {rows[1].where} contradict one another"
        )
    return rows[0] if rows else None


def _film(image: _Image, copy: _Copy) -> Film:
    breast = (image.patient, image.laterality)
    row = _one_row(copy.clinical.rows.get(breast, ()))
    where = row.where if row else ""
    pathology = known(CLASSES, where, "classification", row.classification) if row else None
    lesions, annotation = _lesions(image, row, copy)
    seen = copy.tompei.breasts.get((image.patient, _seen_side(image)))
    density = DENSITIES.get((seen.density or "").lower()) if seen else None
    twins = twin_of(image.patient, image.name)
    return Film(
        source=RELEASE.key,
        film_key=image.key,
        patient_key=image.patient,
        split_key=split_key(image.patient),
        exam_key=image.patient,
        pair_key=f"{'='.join(twins)}_{image.name}" if twins else None,
        files=(FileRef(role="image", path=image.entry.path, size=image.entry.size),),
        modality=Modality.FFDM,
        view=image.view,
        laterality=image.laterality,
        intent=Intent.PRESENTATION,
        pathology=pathology or Pathology.UNKNOWN,
        label_basis=LabelBasis.BIOPSY if row else LabelBasis.UNKNOWN,
        label_scope=LabelScope.BREAST,
        birads=CATEGORIES.get((seen.birads or "").upper()) if seen else None,
        density=density,
        density_scale="birads" if density else None,
        raw=RawWords(
            label=row.classification if row else None,
            density=seen.density if seen else None,
            view=image.view_word,
            finding=row.abnormality if row else None,
            status=_status(row, seen.classification if seen else None),
        ),
        lesions=lesions,
        annotation=annotation,
        annotation_kind=AnnotationKind.OUTLINE if annotation is not Annotation.NONE else None,
        age=_age(image.patient, copy.clinical),
        flags=tuple(sorted(_flags(image, row, twins, copy.clinical))),
        licence=RELEASE.licence.key,
    )


def _seen_side(image: _Image) -> Laterality:
    """Return the side under which TOMPEI's readers judged the breast on this image."""
    if not has_wrong_side(image.patient, image.view):
        return image.laterality
    return Laterality.R if image.laterality is Laterality.L else Laterality.L


def _status(row: Row | None, seen: str | None) -> str | None:
    words = [row.subtype if row else None, f"TOMPEI: {seen}" if seen else None]
    return "; ".join(word for word in words if word) or None


def _age(patient: str, clinical: Clinical) -> int | None:
    """Return the patient's age; both rows of a patient agree, and her other breast has none."""
    for side in Laterality:
        for row in clinical.rows.get((patient, side), ()):
            if row.age is not None and row.age.isdecimal():
                return min(int(row.age), 90)
    return None


def _flags(
    image: _Image, row: Row | None, twins: tuple[str, str] | None, clinical: Clinical
) -> set[QualityFlag]:
    flags = film_flags(image.patient, image.laterality, image.view)
    if twins:
        flags.add(QualityFlag.TWIN_FILM)
        other = twins[1] if image.patient == twins[0] else twins[0]
        for their in clinical.rows.get((other, image.laterality), ()):
            if row and _said(their) != _said(row):
                flags.add(QualityFlag.LABEL_CONFLICT)
    return flags


def _said(row: Row) -> tuple[str | None, str | None]:
    return row.classification, row.abnormality


# ---- lesions


def _lesions(
    image: _Image, row: Row | None, copy: _Copy
) -> tuple[tuple[FilmLesion, ...], Annotation]:
    """Return what is drawn on an image, what the row names beside it, and whether that is all."""
    findings = known(ABNORMALITIES, row.where, "abnormality", row.abnormality) if row else ()
    drawn = _outlines(image, copy)
    trusted = None if has_wrong_side(image.patient, image.view) else row
    kinds = Counter(_is_calcification(finding) for _, finding in drawn)
    lesions = [
        _drawn(place, outline, finding, label(trusted, finding, kinds))
        for place, (outline, finding) in enumerate(drawn, start=1)
    ]
    missed = [finding for finding in findings if not kinds[_is_calcification(finding)]]
    flags = (LesionFlag.UNLINKED,) if drawn else ()
    lesions += [
        FilmLesion(
            lesion_id=finding.value,
            finding=finding,
            pathology=CLASSES[str(row.classification)],
            label_basis=LabelBasis.BIOPSY,
            label_raw=row.classification,
            flags=flags,
        )
        for finding in missed
        if row
    ]
    if not drawn:
        return tuple(lesions), Annotation.NONE
    return tuple(lesions), Annotation.PARTIAL if missed else Annotation.COMPLETE


def _outlines(image: _Image, copy: _Copy) -> list[tuple[Outline, Finding]]:
    """Return TOMPEI's outlines of an MLO image with their kinds; CC images have none."""
    if image.view is not View.MLO:
        return []
    path = copy.tompei.outlines.get((image.patient, outline_side(image.patient, image.laterality)))
    if path is None:
        return []
    try:
        found = read_outlines(copy.release.read(path))
    except ContentError as error:
        raise ContentError(error.reason, f"{path}: {error.detail}") from error
    return [(outline, known(OUTLINE_LABELS, path, "label", outline.label)) for outline in found]


def _is_calcification(finding: Finding) -> bool:
    return finding is Finding.CALCIFICATION


def label(
    row: Row | None, finding: Finding, kinds: Mapping[bool, int]
) -> tuple[Pathology, LabelBasis]:
    """Return what a breast's row says of one outline.

    The row speaks of the breast and of the kinds it names (mass stands for all soft tissue). In a
    benign breast every outline is benign. In a malignant one an outline is malignant where it is
    the only one of a kind that the row names; which of several was the cancer is not said.

    Parameters
    ----------
    kinds
        Outlines on the image by whether they are calcifications.
    """
    if row is None:
        return Pathology.UNKNOWN, LabelBasis.UNKNOWN
    named = {_is_calcification(kind) for kind in ABNORMALITIES[str(row.abnormality)]}
    kind = _is_calcification(finding)
    pathology = CLASSES[str(row.classification)]
    if pathology is Pathology.BENIGN or (kind in named and kinds[kind] == 1):
        return pathology, LabelBasis.BIOPSY
    return Pathology.UNKNOWN, LabelBasis.UNKNOWN


def _drawn(
    place: int, outline: Outline, finding: Finding, said: tuple[Pathology, LabelBasis]
) -> FilmLesion:
    return FilmLesion(
        lesion_id=str(place),
        source_ids=(outline.name,),
        finding=finding,
        pathology=said[0],
        label_basis=said[1],
        label_raw=outline.label,
        geometry=from_clicks(outline.points),
    )


def from_clicks(points: Sequence[Point]) -> Geometry:
    """Return clicked pixels as a closed outline through their centres.

    >>> from_clicks([(10, 20), (12, 20), (12, 24)]).rings
    (((10.5, 20.5), (12.5, 20.5), (12.5, 24.5)),)
    """
    ring = tuple((x + _HALF, y + _HALF) for x, y in points)
    if len(ring) > 3 and ring[0] == ring[-1]:
        ring = ring[:-1]
    if len(ring) == 1:
        return Geometry(kind=GeometryKind.POINT, values=ring[0])
    kind = GeometryKind.POLYGON if len(ring) > 2 else GeometryKind.POLYLINE
    return Geometry(kind=kind, rings=(ring,))


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
