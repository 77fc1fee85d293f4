"""Rows, regions and files of CDD-CESM joined to Films."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from etl.readers.listing import named, suffix, wanted
from etl.readers.via import Region
from etl.sources.cdd_cesm.tables import (
    LABEL,
    Name,
    Regions,
    Row,
    Workbook,
    find_regions,
    find_workbook,
    name_of,
)
from etl.sources.cdd_cesm.words import (
    BIRADS,
    DENSITIES,
    LABELS,
    MARGINS,
    MODALITIES,
    SHAPES,
    findings_of,
)
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Birads,
    Density,
    Finding,
    GeometryKind,
    LabelBasis,
    LabelScope,
    Laterality,
    LesionFlag,
    Margin,
    MassShape,
    Modality,
    Pathology,
    QualityFlag,
    View,
    birads_rank,
)

__all__ = ["RELEASE", "files_to_index", "images_on_disk", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="cdd_cesm",
    title="CDD-CESM",
    modalities=(Modality.CESM_LE, Modality.CESM_SUB),
    licence=Licence(
        key="CC-BY-4.0",
        title="Creative Commons Attribution 4.0 International",
        redistributable=True,
        weights_releasable=True,
    ),
    citation=(
        "Khaled R et al. (2021) Categorized Digital Database for Low energy and Subtracted "
        "Contrast Enhanced Spectral Mammography images (CDD-CESM), The Cancer Imaging Archive, doi "
        "10.7937/29kw-ae92; Khaled R et al. (2022) Categorized contrast enhanced mammography "
        "dataset for diagnostic and artificial intelligence research, Sci Data 9:122"
    ),
    url="https://doi.org/10.7937/29kw-ae92",
    how_to_get=(
        "from the collection page: the package PKG - CDD-CESM (Aspera, about 1.5 GB), "
        "Radiology-manual-annotations.xlsx and Radiology_hand_drawn_segmentations_v2.csv"
    ),
    tissue=TissueRule.DIGITAL,
    tissues={Modality.CESM_SUB: TissueRule.SUBTRACTION},
    size="2,006 images, 1.5 GB",
    image_files="P*_[LR]_[DC]M_*.jpg",
)

POINT_RADIUS = 25.0
"""Radius in pixels of the disc that the authors' own drawing script puts about a point."""

_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_CLASS_FOLDERS = frozenset({"benign", "malignant", "normal"})
_OLDEST = 90
_PARTS = re.compile(r"\s*-\s*")
_BASIS = LabelBasis.BIOPSY_OR_FOLLOW_UP
_COARSENESS = {
    GeometryKind.POLYGON: AnnotationKind.OUTLINE,
    GeometryKind.ELLIPSE: AnnotationKind.COARSE_OUTLINE,
    GeometryKind.BOX: AnnotationKind.BOX,
    GeometryKind.CIRCLE: AnnotationKind.CIRCLE,
}


@dataclass(frozen=True, slots=True)
class _Copy:
    workbook: Workbook
    regions: Regions
    images: Mapping[Name, tuple[Entry, ...]]
    dense: Mapping[int, frozenset[Density]]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A region: its number, its shape (None for an empty one), whether only its place is known."""

    number: str
    geometry: Geometry | None
    rough: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """One row's words, understood."""

    pathology: Pathology
    scores: tuple[Birads | None, ...]
    birads: Birads | None
    findings: tuple[tuple[Finding, ...], ...]
    shapes: tuple[MassShape, ...]
    margins: tuple[Margin, ...]

    @property
    def kinds(self) -> tuple[Finding, ...]:
        """Return the different findings of the image."""
        return tuple(dict.fromkeys(kind for part in self.findings for kind in part))


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every image of workbook and listing, patient by patient; opens only the tables.

    Raises
    ------
    MammoError
        No workbook describes images, or the copy is one sorted into class folders.
    """
    del index  # names and workbook say everything
    images, others = images_on_disk(release)
    workbook = find_workbook(release)
    copy = _Copy(workbook, find_regions(release), images, _densities(workbook))
    for name in sorted({*workbook.rows, *images}):
        yield _planned(name, copy)
        for entry in images.get(name, ())[1:]:
            detail = f"{entry.path} is {name.key} again, read from {images[name][0].path}"
            yield _reject(entry.path, entry.path, RejectReason.DUPLICATE_FILE, detail)
    for text in sorted(set(workbook.unread)):
        detail = f"row {text!r} of {workbook.path} has no name such as P1_L_DM_MLO"
        yield _reject(f"row {text!r}", workbook.path, RejectReason.BAD_ROW, detail)
    for entry in others:
        detail = f"{entry.path} has no row in {workbook.path} and no name such as P1_L_DM_MLO"
        yield _reject(entry.path, entry.path, RejectReason.NO_TABLE_ROW, detail)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: a JPEG has no header that planning needs."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Return the film as it is: JPEGs say nothing of spacing, window or device."""
    del header
    return film


def images_on_disk(release: Release) -> tuple[dict[Name, tuple[Entry, ...]], tuple[Entry, ...]]:
    """Return the files of each image, the one to be read first, and pictures of other names.

    Raises
    ------
    MammoError
        All images lie in folders named by class: such copies are resized and mostly of one kind.
    """
    found: dict[Name, list[Entry]] = {}
    others = []
    for entry in wanted(release.entries):
        stem, _, _ = entry.path.rpartition("/")[2].rpartition(".")
        if suffix(entry.path) not in _PICTURES or "mask" in stem.lower():
            continue
        name = name_of(stem)
        if name is None:
            others.append(entry)
        else:
            found.setdefault(name, []).append(entry)
    _refuse_class_folders(release.root, [entry for some in found.values() for entry in some])
    return (
        {name: tuple(sorted(some, key=_preferred)) for name, some in found.items()},
        tuple(sorted(others, key=lambda entry: entry.path)),
    )


def _preferred(entry: Entry) -> tuple[bool, str]:
    return suffix(entry.path) == ".png", entry.path


def _refuse_class_folders(root: str, entries: Sequence[Entry]) -> None:
    folders = [entry.path.split("/")[-2:-1] for entry in entries]
    if entries and all(folder and folder[0].lower() in _CLASS_FOLDERS for folder in folders):
        raise MammoError(
            f"{root} holds CDD-CESM sorted into class folders ({named(e.path for e in entries[:1])}"
            "), which is not supported: those copies are resized and their outlines are lost; get "
            f"the package from {RELEASE.url}"
        )


def _densities(workbook: Workbook) -> dict[int, frozenset[Density]]:
    found: dict[int, set[Density]] = {}
    for name, row in workbook.rows.items():
        letter = DENSITIES.get(row.density)
        if letter is not None and name.kind == "DM":
            found.setdefault(name.patient, set()).add(letter)
    return {patient: frozenset(letters) for patient, letters in found.items()}


def _planned(name: Name, copy: _Copy) -> Film | Reject | Absent:
    entries = copy.images.get(name)
    row = copy.workbook.rows.get(name)
    if entries is None:
        return Absent(
            source=RELEASE.key,
            film_key=name.key,
            file=f"{name.key}.jpg",
            split_key=f"P{name.patient}",
        )
    path = entries[0].path
    if row is None:
        detail = f"{path} has no row in {copy.workbook.path}"
        return _reject(name.key, path, RejectReason.NO_TABLE_ROW, detail)
    try:
        return _film(name, entries[0], row, copy)
    except ContentError as error:
        return _reject(name.key, path, error.reason, error.detail)


def _film(name: Name, entry: Entry, row: Row, copy: _Copy) -> Film:
    said = _said(name, row, copy.workbook.path)
    modality = MODALITIES[name.kind]
    drawn = [_drawn(region) for region in copy.regions.by_image.get(name, ())]
    lesions = _lesions(said, row[LABEL], drawn)
    density = _density(name, copy)
    return Film(
        source=RELEASE.key,
        film_key=name.key,
        patient_key=f"P{name.patient}",
        pair_key=name.pair,
        files=(FileRef(role="image", path=entry.path, size=entry.size),),
        modality=modality,
        view=View(name.view),
        laterality=Laterality(name.side),
        pathology=said.pathology,
        label_basis=_BASIS,
        label_scope=LabelScope.IMAGE,
        birads=said.birads,
        density=density,
        density_scale="birads" if density else None,
        raw=RawWords(
            label=row[LABEL],
            density=None if row.density == "_" else row.density,
            view=name.view,
            finding=" ".join(row["Findings"].split()) or None,
            status=f"BIRADS {row['BIRADS']}" if row["BIRADS"] else None,
        ),
        lesions=lesions,
        annotation=_annotation(said, drawn),
        annotation_kind=_coarsest(lesions),
        age=_age(row["Age"]),
        flags=_flags(name, row, said, lesions, copy),
        licence=RELEASE.licence.key,
    )


def _said(name: Name, row: Row, table: str) -> _Said:
    """Understand a row; `ContentError` names it and the word that no table knows."""

    def known(words: Mapping[str, object], word: str, column: str) -> object:
        if word not in words:
            raise ContentError(
                RejectReason.UNKNOWN_WORD,
                f"row {name.key!r} of {table} has the {column} {word!r}, known are "
                + ", ".join(words),
            )
        return words[word]

    known(LABELS, row[LABEL], LABEL)
    known(DENSITIES, row.density, "Breast density (ACR)")
    scores = [part.strip() for part in (row["BIRADS"] or "_").split("$")]
    for score in scores:
        known(BIRADS, score, "BIRADS")
    shapes, margins = (_words_of(row, title) for title in ("Mass shape", "Mass margin"))
    for word in shapes:
        known(SHAPES, word, "Mass shape")
    for word in margins:
        known(MARGINS, word, "Mass margin")
    categories = tuple(BIRADS[score] for score in scores)
    modality = MODALITIES[name.kind]
    return _Said(
        pathology=LABELS[row[LABEL]],
        scores=categories,
        birads=max(categories, key=lambda one: birads_rank(one) or 0.0),
        findings=_findings(row, modality),
        shapes=tuple(dict.fromkeys(s for word in shapes if (s := SHAPES[word]) is not None)),
        margins=tuple(dict.fromkeys(m for word in margins if (m := MARGINS[word]) is not None)),
    )


def _words_of(row: Row, title: str) -> list[str]:
    """Return the words of a mass sheet's cell, such as ``Round- Irregular``."""
    cells = [" ".join((mass.get(title) or "_").lower().split()) for mass in row.masses]
    return [word for cell in cells for word in _PARTS.split(cell) if word]


def _findings(row: Row, modality: Modality) -> tuple[tuple[Finding, ...], ...]:
    """Return the findings of each part; where an operated breast shows none, the operation is it.

    Sheet `postoperative` lists images whose text is only `Non enhancement`.
    """
    parts = tuple(findings_of(part, modality) for part in row["Findings"].split("$"))
    if row.postoperative and not any(parts):
        return ((Finding.POSTOPERATIVE,), *parts[1:])
    return parts


def _drawn(region: Region) -> _Drawn:
    """Return a region's shape: lines are outlines that were not closed, points get their disc.

    The authors' script skips polylines, which are outlines all the same (P37, P54, P74, ...), and
    draws discs of 25 pixels about points.
    """
    geometry = region.geometry()
    kind = geometry.kind if geometry else None
    if geometry and kind is GeometryKind.POLYLINE:
        geometry = Geometry(kind=GeometryKind.POLYGON, rings=geometry.rings)
    if geometry and kind is GeometryKind.POINT:
        geometry = Geometry(kind=GeometryKind.CIRCLE, values=(*geometry.values, POINT_RADIUS))
    return _Drawn(region.region_id, geometry, kind is GeometryKind.POINT)


def _lesions(said: _Said, label: str, drawn: Sequence[_Drawn]) -> tuple[FilmLesion, ...]:
    """Return the drawn regions, and the findings that cannot be laid at one of them.

    The release links no region to a finding: an image with one kind of finding has its regions of
    that kind; with several kinds, regions and findings are entries of their own.
    """
    kinds = said.kinds
    linked = len(kinds) == 1
    regions = tuple(
        _described(
            FilmLesion(
                lesion_id=region.number,
                finding=kinds[0] if linked else Finding.UNKNOWN,
                pathology=said.pathology,
                label_basis=_BASIS,
                label_raw=label,
                birads=said.birads if linked and len(said.scores) == 1 else None,
                flags=_region_flags(region, linked),
                geometry=region.geometry,
            ),
            said,
        )
        for region in drawn
        if region.geometry is not None
    )
    if regions and linked:
        return regions
    flags = (LesionFlag.UNLINKED,) if regions else ()
    return (*regions, *_undrawn(said, label, flags))


def _region_flags(region: _Drawn, linked: bool) -> tuple[LesionFlag, ...]:
    flags = () if linked else (LesionFlag.UNLINKED,)
    return (*flags, LesionFlag.ROUGH) if region.rough else flags


def _undrawn(said: _Said, label: str, flags: tuple[LesionFlag, ...]) -> Iterator[FilmLesion]:
    """Yield each kind of finding once, with its own score.

    Of several findings of a malignant image one at least is malignant, and it is not said which.
    """
    unsure = said.pathology is Pathology.MALIGNANT and len(said.kinds) > 1
    for number, kind in enumerate(said.kinds, start=1):
        yield _described(
            FilmLesion(
                lesion_id=f"finding-{number}",
                finding=kind,
                pathology=Pathology.UNKNOWN if unsure else said.pathology,
                label_basis=LabelBasis.UNKNOWN if unsure else _BASIS,
                label_raw=label,
                birads=_score(said, kind),
                flags=flags,
            ),
            said,
        )


def _score(said: _Said, kind: Finding) -> Birads | None:
    if len(said.scores) != len(said.findings):
        return None
    own = [score for score, part in zip(said.scores, said.findings, strict=True) if kind in part]
    return max(own, key=lambda one: birads_rank(one) or 0.0, default=None)


def _described(lesion: FilmLesion, said: _Said) -> FilmLesion:
    """Return a mass with the shapes and margins that the mass sheets give for its image."""
    if lesion.finding not in (Finding.MASS, Finding.ENHANCEMENT):
        return lesion
    return replace(lesion, shape=said.shapes, margin=said.margins)


def _annotation(said: _Said, drawn: Sequence[_Drawn]) -> Annotation:
    """Say whether all is drawn: fewer regions than named findings are not all of them."""
    shown = sum(region.geometry is not None for region in drawn)
    if not drawn and said.pathology is Pathology.NORMAL:
        return Annotation.COMPLETE
    if not shown:
        return Annotation.NONE
    named_here = sum(bool(part) for part in said.findings)
    return Annotation.COMPLETE if shown >= max(named_here, len(drawn)) else Annotation.PARTIAL


def _coarsest(lesions: Sequence[FilmLesion]) -> AnnotationKind | None:
    order = list(AnnotationKind)
    kinds = [_COARSENESS[lesion.geometry.kind] for lesion in lesions if lesion.geometry]
    return max(kinds, key=order.index, default=None)


def _density(name: Name, copy: _Copy) -> Density | None:
    """Return the density of the low-energy image: subtracted ones have none of their own."""
    for kind in dict.fromkeys(("DM", name.kind)):
        row = copy.workbook.rows.get(replace(name, kind=kind))
        letter = DENSITIES.get(row.density) if row else None
        if letter is not None:
            return letter
    return None


def _age(text: str) -> int | None:
    return min(int(text), _OLDEST) if text.isdecimal() and int(text) else None


def _flags(
    name: Name, row: Row, said: _Said, lesions: Sequence[FilmLesion], copy: _Copy
) -> tuple[QualityFlag, ...]:
    flags = []
    if row.differs or _contradicts(said):
        flags.append(QualityFlag.LABEL_CONFLICT)
    if len(copy.dense.get(name.patient, ())) > 1:
        flags.append(QualityFlag.DENSITY_CONFLICT)
    if row["Side"] not in ("", name.side):
        flags.append(QualityFlag.LATERALITY_CONFLICT)
    if not said.kinds and any(lesion.geometry for lesion in lesions):
        flags.append(QualityFlag.UNLINKED_GEOMETRY)
    if row.postoperative:
        flags.append(QualityFlag.POSTOPERATIVE)
    return tuple(flags)


def _contradicts(said: _Said) -> bool:
    """Say whether score and label exclude each other.

    BI-RADS 1 with a lesion is one seen on other images only (P111_R, P214_L, P230_R, P299_R);
    BI-RADS 6 with Normal is a complete response to treatment (P156_L, P201_R).
    """
    if said.birads is Birads.B1:
        return said.pathology is not Pathology.NORMAL
    return said.birads is Birads.B6 and said.pathology is Pathology.NORMAL


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
