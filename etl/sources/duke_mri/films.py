"""Duke's boxes joined with the series of a copy: four Films a patient."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from etl.readers.listing import natural_key
from etl.sources.duke_mri.series import Run, Study, folders_of, named_series, runs_of, study_of
from etl.sources.duke_mri.tables import Box, Clinical, Mapped, Tables, find_tables, read_mapping
from etl.sources.duke_mri.words import (
    ANNOTATIONS,
    BASES,
    DENSITIES,
    MANUFACTURERS,
    MATRICES,
    MODELS,
    PATHOLOGIES,
    SIDES,
    YES_NO,
)
from schemas.errors import ContentError
from schemas.film import Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    FrameKind,
    GeometryKind,
    LabelScope,
    Laterality,
    Modality,
    QualityFlag,
)

__all__ = [
    "KINDS",
    "RELEASE",
    "box_side",
    "files_to_index",
    "plan",
    "planned_from",
    "recorded_side",
    "resolve",
    "series_to_index",
]

RELEASE = ReleaseInfo(
    key="duke_mri",
    title="Duke Breast Cancer MRI",
    modalities=(Modality.MRI,),
    licence=Licence(
        key="CC-BY-NC-4.0",
        title="Creative Commons Attribution-NonCommercial 4.0 International",
        redistributable=True,
        weights_releasable=True,
    ),
    citation=(
        "Saha A, Harowicz MR, Grimm LJ et al. (2018) A machine learning approach to radiogenomics "
        "of breast cancer. Br J Cancer 119:508-516; Saha A et al. (2021) Dynamic "
        "contrast-enhanced magnetic resonance images of breast cancer patients with tumor "
        "locations. The Cancer Imaging Archive, doi 10.7937/TCIA.e3sv-re93"
    ),
    url="https://www.cancerimagingarchive.net/collection/duke-breast-cancer-mri/",
    how_to_get=(
        "download the images with the NBIA Data Retriever (368 GB) and Annotation_Boxes.xlsx and "
        "Clinical_and_Other_Features.xlsx from the url, and put the tables beside the images; or "
        "collection duke_breast_cancer_mri of the Imaging Data Commons"
    ),
    tissue=TissueRule.MRI,
    size="922 patients, 773,126 slices, 368 GB",
    header_tags=(
        *("PatientID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
        *("ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns"),
    ),
    image_files="1-NNN.dcm in a folder a series",
)

KINDS = {"sub1_mip": FrameKind.MIP, "sub1_slice": FrameKind.SLICE}
"""Samples of each breast: first post-contrast phase minus pre, all slices and one."""

PHASE = "sub1"
_OLDEST = 90
_DAYS_A_YEAR = 365.25
_AGE = re.compile(r"(\d{3})Y")


@dataclass(frozen=True, slots=True)
class _Patient:
    """All that is known of one patient."""

    key: str
    box: Box
    side: Laterality
    study: Study
    clinical: Clinical | None

    @property
    def flags(self) -> tuple[QualityFlag, ...]:
        told = recorded_side(self.clinical) if self.clinical else None
        return (QualityFlag.LATERALITY_CONFLICT,) if told not in (None, self.side) else ()


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield four films a patient, patient by patient; opens the tables only.

    Raises
    ------
    MammoError
        There is no table of boxes, or a table is a changed copy.
    """
    tables = find_tables(release)
    yield from planned_from(tables, runs_of(release, index, read_mapping(release)))


def planned_from(tables: Tables, runs: Mapping[str, list[Run]]) -> Iterator[Film | Reject | Absent]:
    """Yield what tables and series give, patient by patient."""
    for where, error in tables.strays.items():
        yield _reject(where, tables.boxes_path, error)
    for patient in sorted({*tables.boxes, *tables.clinical, *runs}, key=natural_key):
        yield from _planned(patient, tables, runs.get(patient, []))


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return a file of each series that names do not describe, or of all without clinical table.

    Headers then also say on which side of the image the patient's left is.
    """
    return series_to_index(release, find_tables(release), read_mapping(release))


def series_to_index(
    release: Release, tables: Tables, mapping: Mapping[tuple[str, str], Mapped]
) -> tuple[str, ...]:
    """Return a file of each series that neither its folder nor the mapping describes."""
    without_clinical = tables.clinical_path is None
    wanted = []
    for folder, files in folders_of(release):
        patient, number, _, modality = named_series(folder)
        known = number is not None or (patient or "", folder.split("/")[-2]) in mapping
        if modality != "SEG" and (without_clinical or not known):
            wanted.append(files.entries[0].path)
    return tuple(wanted)


def resolve(film: Film, header: Header) -> Film:
    """Fill age and device; flag a box that the header puts into the other breast."""
    age = _AGE.fullmatch(header.get("PatientAge", ""))
    flags = set(film.flags)
    for lesion in film.lesions:
        if lesion.geometry and _side_by_header(lesion.geometry.values, header) not in (
            None,
            film.laterality,
        ):
            flags.add(QualityFlag.LATERALITY_CONFLICT)
    return replace(
        film,
        age=min(int(age[1]), _OLDEST) if film.age is None and age else film.age,
        manufacturer=film.manufacturer or header.get("Manufacturer"),
        model=film.model or header.get("ManufacturerModelName"),
        flags=tuple(sorted(flags)),
    )


def box_side(x0: float, x1: float, columns: int, *, towards_left: bool) -> Laterality:
    """Return the breast in which a box lies, by the half of the image that its centre is in.

    Parameters
    ----------
    x0, x1
        Borders in stored pixels.
    towards_left
        Stored columns run towards the patient's left (Siemens); GE's run the other way.

    >>> box_side(307, 341, 448, towards_left=True).value  # Breast_MRI_001, Siemens
    'L'
    >>> box_side(107, 136, 512, towards_left=False).value  # Breast_MRI_002, GE
    'L'
    """
    in_first_half = (x0 + x1) / 2 < columns / 2
    return Laterality.R if in_first_half == towards_left else Laterality.L


def recorded_side(clinical: Clinical) -> Laterality | None:
    """Return the side that the clinical table names, None where it names none or both.

    `Side Annotated` (bilateral cancers), else `Tumor Location`, which is blank for 271 patients,
    else the letters that begin the parts of `Position`.
    """
    for title in ("Side Annotated", "Tumor Location"):
        side = SIDES.get(clinical.word(title, SIDES) or "")
        if side is not None:
            return side
    parts = (clinical.cells.get("Position") or "").upper().split(",")
    letters = {part.strip()[:1] for part in parts} & {"L", "R"}
    return Laterality(letters.pop()) if len(letters) == 1 else None


def _planned(key: str, tables: Tables, runs: list[Run]) -> Iterator[Film | Reject | Absent]:
    try:
        patient = _patient(key, tables, runs)
        if patient is None:
            yield from (_absent(key, film_key) for film_key in _keys(key))
            return
        films = [_film(patient, side, kind) for side in Laterality for kind in KINDS]
    except ContentError as error:
        place = runs[0].folder if runs else tables.boxes_path
        yield from (_reject(film_key, place, error) for film_key in _keys(key))
        return
    yield from films
    for copy in patient.study.copies:
        yield _reject(
            copy.folder,
            copy.folder,
            ContentError(
                RejectReason.DUPLICATE_FILE,
                f"{copy.folder} is series {copy.series_number} of {key} again",
            ),
        )


def _patient(key: str, tables: Tables, runs: list[Run]) -> _Patient | None:
    """Return the patient, None where this copy does not hold the two phases whole.

    Raises
    ------
    ContentError
        No box, one that cannot be read, an unknown word, or nothing that tells the side.
    """
    box = tables.boxes.get(key)
    if box is None:
        raise ContentError(RejectReason.NO_TABLE_ROW, f"{key} has no row in {tables.boxes_path}")
    if isinstance(box, ContentError):
        raise box
    study = study_of(key, runs, box.slices[1])
    if study is None:
        return None
    clinical = tables.clinical.get(key)
    return _Patient(key, box, _side(key, box, study, clinical), study, clinical)


def _side(key: str, box: Box, study: Study, clinical: Clinical | None) -> Laterality:
    """Return the breast of the box: by a header where one was read, else by the clinical table.

    Images whose first pixel lies at x > 0 run from the patient's left to the right (GE), the
    others from right to left: 647 of the 651 patients with a recorded side agree.
    """
    x0, _, x1, _ = box.native()
    for run in (study.pre, study.post):
        side = _side_by_header(box.native(), run.header)
        if side is not None:
            return side
    columns = _matrix(clinical)
    corner = clinical.corner if clinical else None
    if columns is None or corner is None:
        raise ContentError(
            RejectReason.BAD_ROW,
            f"nothing tells the side of {key}: the clinical table has no Columns or Image Position "
            "of it, and no header was indexed",
        )
    return box_side(x0, x1, columns, towards_left=corner[0] <= 0)


def _side_by_header(box: tuple[float, ...], header: Header) -> Laterality | None:
    try:
        cosine = float(header["ImageOrientationPatient"].split("\\")[0])
        columns = int(header["Columns"])
    except (KeyError, ValueError):
        return None
    return box_side(box[0], box[2], columns, towards_left=cosine > 0)


def _matrix(clinical: Clinical | None) -> int | None:
    if clinical is None:
        return None
    return MATRICES.get(clinical.word("Columns", MATRICES) or "")


def _film(patient: _Patient, side: Laterality, kind: str) -> Film:
    clinical, pre = patient.clinical, patient.study.pre
    box = "box" if side is patient.side else "no box"
    is_slice = KINDS[kind] is FrameKind.SLICE
    middle = _middle(patient.box, pre)
    lesions = (_lesion(patient, pre),) if box == "box" else ()
    matrix = _matrix(clinical)
    density = clinical.word("Breast Density", DENSITIES) if clinical else None
    return Film(
        source=RELEASE.key,
        film_key=f"{patient.key}/{side}/{kind}",
        patient_key=patient.key,
        exam_key=patient.key,  # one study each
        pair_key=f"{patient.key}/{side}",  # both kinds show one breast in one examination
        files=(pre.ref("pre"), patient.study.post.ref("post")),
        modality=Modality.MRI,
        laterality=side,
        frame_kind=KINDS[kind],
        frame=middle if is_slice else None,
        depth_fraction=(middle + 0.5) / pre.count if is_slice else None,
        phase=PHASE,
        pathology=PATHOLOGIES[box],
        label_basis=BASES[box],
        label_scope=LabelScope.BREAST,
        density=DENSITIES.get(density or ""),
        density_scale="birads" if DENSITIES.get(density or "") else None,
        raw=_raw_words(clinical, box) if clinical else RawWords(),
        lesions=lesions,
        annotation=_annotation(clinical) if lesions else Annotation.NONE,
        annotation_kind=AnnotationKind.BOX if lesions else None,
        age=_age(clinical) if clinical else None,
        manufacturer=_device(clinical, "Manufacturer", MANUFACTURERS),
        model=_device(clinical, "Manufacturer Model Name", MODELS),
        image_size=(_rows(clinical), matrix) if clinical and matrix else None,
        flags=patient.flags,
        licence=RELEASE.licence.key,
    )


def _rows(clinical: Clinical) -> int:
    return MATRICES.get(clinical.word("Rows", MATRICES) or "", 0)


def _middle(box: Box, run: Run) -> int:
    first, last = slices_in_order(box, run.mapped, run.count)
    return (first + last) // 2


def slices_in_order(box: Box, mapped: Mapped | None, count: int) -> tuple[int, int]:
    """Return first and last slice of a box, counted from 0 in the order of InstanceNumber.

    Boxes count the slices of the original file names. That the number in `1-NNN.dcm` is the same
    number is not written anywhere; where the mapping of paths is there it says so for each file,
    and where it counts from the other end, the box is turned round.

    Raises
    ------
    ContentError
        `bad_row`: the mapping puts the slices in no order.
    """
    first, last = box.slices[0] - 1, box.slices[1] - 1
    if mapped is None or mapped.order == 1:
        return first, last
    if mapped.order == -1:
        return count - 1 - last, count - 1 - first
    raise ContentError(
        RejectReason.BAD_ROW,
        "the mapping of paths gives the files of the pre-contrast series other numbers than their "
        "slices, in no order",
    )


def _lesion(patient: _Patient, pre: Run) -> FilmLesion:
    first, last = slices_in_order(patient.box, pre.mapped, pre.count)
    return FilmLesion(
        lesion_id="1",
        lesion_key=f"{patient.key}/1",
        pathology=PATHOLOGIES["box"],
        label_basis=BASES["box"],
        label_raw=_said(patient.clinical, "Histologic type") if patient.clinical else None,
        geometry=Geometry(kind=GeometryKind.BOX, values=patient.box.native()),
        slice_first=first,
        slice_last=last,
    )


def _annotation(clinical: Clinical | None) -> Annotation:
    if clinical is None:
        return Annotation.PARTIAL
    word = clinical.word("Multicentric/Multifocal", ANNOTATIONS)
    return ANNOTATIONS.get(word or "NC", Annotation.PARTIAL)


def _raw_words(clinical: Clinical, box: str) -> RawWords:
    """Keep what is said of either breast: bilateral cancer and the other breast's involvement."""
    for title in ("Bilateral Information", "Contralateral Breast Involvement"):
        clinical.word(title, YES_NO)
    status = ("Bilateral Information", "Contralateral Breast Involvement")
    finding = ("Histologic type", "Multicentric/Multifocal")
    return RawWords(
        label=_joined(clinical, ("Side Annotated", "Tumor Location", "Position")),
        density=clinical.cells.get("Breast Density"),
        finding=_joined(clinical, finding) if box == "box" else None,
        status=_joined(clinical, status),
    )


def _joined(clinical: Clinical, titles: tuple[str, ...]) -> str | None:
    return "; ".join(filter(None, (_said(clinical, title) for title in titles))) or None


def _said(clinical: Clinical, title: str) -> str | None:
    cell = clinical.cells.get(title)
    return f"{title} {cell}" if cell else None


def _age(clinical: Clinical) -> int | None:
    """Return full years at the examination; both days are counted from the day of diagnosis."""
    born = clinical.number("Date of Birth (Days)")
    seen = clinical.number("Days to MRI (From the Date of Diagnosis)")
    if born is None or seen is None or born >= seen:
        return None
    return min(int((seen - born) / _DAYS_A_YEAR), _OLDEST)


def _device(clinical: Clinical | None, title: str, codes: dict[str, str]) -> str | None:
    return codes.get(clinical.word(title, codes) or "") if clinical else None


def _keys(patient: str) -> list[str]:
    return [f"{patient}/{side}/{kind}" for side in Laterality for kind in KINDS]


def _absent(patient: str, film_key: str) -> Absent:
    return Absent(source=RELEASE.key, film_key=film_key, file=f"{patient}/", split_key=patient)


def _reject(key: str, path: str, error: ContentError) -> Reject:
    return Reject(
        source=RELEASE.key,
        film_key=key,
        file=path,
        reason=error.reason,
        detail=error.detail,
        stage="plan",
    )
