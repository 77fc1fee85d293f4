"""Rows and files of BCDR's sets merged to Films: one for each image, whatever sets it is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from etl.readers.listing import suffix, wanted
from etl.sources.bcdr.tables import (
    ImageId,
    Row,
    Sets,
    Table,
    find_tables,
    image_id,
    is_mask,
    set_of,
)
from etl.sources.bcdr.words import (
    CLASSES,
    DENSITIES,
    FINDINGS,
    MODALITIES,
    TYPE_IDS,
    VIEW_IDS,
    VIEWS,
)
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, FilmLesion, Geometry, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import Header, HeaderIndex, Licence, Release, ReleaseInfo, TissueRule
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    AnnotationKind,
    Density,
    Finding,
    GeometryKind,
    LabelBasis,
    LabelScope,
    Modality,
    Pathology,
    QualityFlag,
    worst,
)

__all__ = ["RELEASE", "Found", "files_to_index", "find", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="bcdr",
    title="BCDR (Breast Cancer Digital Repository)",
    modalities=(Modality.SFM, Modality.FFDM),
    licence=Licence(
        key="BCDR-research",
        title="BCDR agreement: research after registration, no right to pass the images on",
        redistributable=False,
        weights_releasable=False,  # the agreement is silent on derivatives
    ),
    citation=(
        "Moura DC, Guevara Lopez MA (2013) An evaluation of image descriptors combined with "
        "clinical data for breast cancer diagnosis, Int J CARS 8:561-574; for F03: Arevalo J et "
        "al. (2016) Comput Methods Programs Biomed 127:248-257"
    ),
    url="https://bcdr.eu",
    how_to_get="register at the url, download BCDR-<SET>_dataset for F01 F02 F03 D01 D02 DN01",
    tissue=TissueRule.FILM,
    tissues={Modality.FFDM: TissueRule.DIGITAL},
    size="six sets of some hundred images each",
    image_files="img_*.tif",
)

DIGITAL_PIXEL_MM = 0.07
"""Of the digital sets, as two independent users give it; that of the films is nowhere written."""

_PICTURES = frozenset({".tif", ".tiff", ".png"})
_NORMAL_SET = "DN"
_OLDEST = 90
_CLASS_BY_WORD = {word.lower(): pathology for word, pathology in CLASSES.items()}


@dataclass(slots=True)
class Found:
    """Everything a copy has of one image."""

    files: dict[str, list[Entry]] = field(default_factory=dict)
    """By set; '' where no set is known."""
    rows: list[Row] = field(default_factory=list)

    @property
    def sets(self) -> tuple[str, ...]:
        """Sets whose tables or folders hold the image."""
        return tuple(sorted({row.set for row in self.rows} | set(self.files) - {""}))

    @property
    def entry(self) -> Entry | None:
        """The file to read, of those of all sets."""
        return min((e for some in self.files.values() for e in some), key=_preferred, default=None)


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every image of tables and listing, patient by patient; opens only the tables.

    Raises
    ------
    MammoError
        The copy holds neither a table of a set nor a folder named as one.
    """
    del index  # names and tables say everything
    sets = find_tables(release)
    images, others = find(release, sets)
    for image in sorted(images):
        yield _planned(image, images[image])
        yield from _copies(image, images[image])
    for row in sets.rows():
        if row.image is None:
            detail = f"{row} names no image such as img_3_4_1_LO.tif: {row.file!r}"
            yield _reject(str(row), row.table, RejectReason.BAD_ROW, detail)
    for entry in others:
        detail = f"{entry.path} has no name such as img_3_4_1_LO.tif and no known set"
        yield _reject(entry.path, entry.path, RejectReason.NO_TABLE_ROW, detail)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: a TIFF has no header that planning needs."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Return the film as it is: the TIFFs' resolution tags are not those of the detector."""
    del header
    return film


def find(release: Release, sets: Sets) -> tuple[dict[ImageId, Found], tuple[Entry, ...]]:
    """Return files and rows by image, and pictures that cannot be placed."""
    images: dict[ImageId, Found] = {}
    for row in sets.rows():
        if row.image is not None:
            images.setdefault(row.image, Found()).rows.append(row)
    others = []
    for entry in sorted(wanted(release.entries), key=lambda entry: entry.path):
        if suffix(entry.path) not in _PICTURES or is_mask(entry.path):
            continue
        name = set_of(entry, sets.tables)
        image = _placed(entry, name, images, sets.tables)
        if image is None:
            others.append(entry)
        else:
            images.setdefault(image, Found()).files.setdefault(name or "", []).append(entry)
    if not images:
        raise MammoError(
            f"no BCDR set under {release.root}: no table such as bcdr_d01_img.csv and no folder "
            "such as BCDR-F03 with images named img_3_4_1_LO.tif"
        )
    return images, tuple(others)


def _placed(
    entry: Entry, name: str | None, images: Mapping[ImageId, Found], tables: Sequence[Table]
) -> ImageId | None:
    """Return a file's image; where no folder says its set, the rows that name it do.

    Flattened copies keep images of several sets in one folder, with all tables.
    """
    if name is not None:
        return image_id(entry.path, name[0])
    here = sorted({table.set[0] for table in tables})
    candidates = [image for family in here if (image := image_id(entry.path, family))]
    known = [image for image in candidates if image in images]
    if len(known) == 1:
        return known[0]
    return candidates[0] if len(candidates) == 1 else None


def _planned(image: ImageId, found: Found) -> Film | Reject | Absent:
    entry = found.entry
    if entry is None:
        row = found.rows[0]
        folder = row.table.rpartition("/")[0]
        return Absent(
            source=RELEASE.key,
            film_key=image.key,
            file=f"{folder}/{row.file}" if folder else row.file,
            split_key=_patient(image),
        )
    try:
        return _film(image, entry, found)
    except ContentError as error:
        return _reject(image.key, entry.path, error.reason, error.detail)


def _copies(image: ImageId, found: Found) -> Iterator[Reject]:
    """Reject a second file of one set; the same image in two sets is the release's own doing."""
    for name, entries in sorted(found.files.items()):
        kept, *others = sorted(entries, key=_preferred)
        for entry in others:
            where = f" of set {name}" if name else ""
            detail = f"{entry.path} is image {image.key}{where} again, as {kept.path}"
            yield _reject(entry.path, entry.path, RejectReason.DUPLICATE_FILE, detail)


def _preferred(entry: Entry) -> tuple[int, int, str]:
    """Sort the largest first, because some copies hold fewer bits; then the least deep."""
    return (-entry.size, entry.path.count("/"), entry.path)


def _film(image: ImageId, entry: Entry, found: Found) -> Film:
    if image.view not in VIEWS:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{entry.path} has the view {image.view!r}, known are {', '.join(VIEWS)}",
        )
    laterality, view = VIEWS[image.view]
    outlines = [row for row in found.rows if row.is_outline]
    lesions = _lesions(image, outlines)
    normal = any(name.startswith(_NORMAL_SET) for name in found.sets)
    pathology, basis = _label(lesions, normal)
    densities = _densities(found.rows)
    digital = MODALITIES[image.family] is Modality.FFDM
    return Film(
        source=RELEASE.key,
        film_key=image.key,
        patient_key=_patient(image),
        exam_key=f"{image.family}-{image.study}",
        files=(FileRef(role="image", path=entry.path, size=entry.size),),
        modality=MODALITIES[image.family],
        view=view,
        laterality=laterality,
        pathology=pathology,
        label_basis=basis,
        label_scope=LabelScope.LESION if lesions else LabelScope.IMAGE,
        density=densities[0] if densities else None,
        density_scale="birads" if densities else None,
        raw=RawWords(
            label=_joined(row["classification"] for row in outlines),
            density=_joined(row["density"] for row in found.rows),
            view=image.view,
            finding=_joined(title for row in outlines for title in _set_flags(row)),
            status=_joined(found.sets),
        ),
        lesions=lesions,
        annotation=Annotation.COMPLETE if lesions or normal else Annotation.NONE,
        annotation_kind=AnnotationKind.OUTLINE if lesions else None,
        age=next((age for row in found.rows if (age := _age(row["age"])) is not None), None),
        native_pixel_mm=(DIGITAL_PIXEL_MM, DIGITAL_PIXEL_MM) if digital else None,
        flags=_flags(image, found.rows, normal),
        licence=RELEASE.licence.key,
    )


def _label(lesions: Sequence[FilmLesion], normal: bool) -> tuple[Pathology, LabelBasis]:
    """Return the worst lesion's label; a view without outline is unknown, but in DN01 normal."""
    if lesions:
        pathology = worst(*(lesion.pathology for lesion in lesions))
        known = pathology is not Pathology.UNKNOWN
        return pathology, LabelBasis.BIOPSY if known else LabelBasis.UNKNOWN
    if normal:
        return Pathology.NORMAL, LabelBasis.READER
    return Pathology.UNKNOWN, LabelBasis.UNKNOWN


def _lesions(image: ImageId, outlines: Sequence[Row]) -> tuple[FilmLesion, ...]:
    """Return one lesion for each segmentation, which D01 and D02 may both hold.

    The same number with other points is another outline and keeps its set in its id.
    """
    merged: dict[str, list[tuple[Row, Geometry]]] = {}
    for row in outlines:
        geometry = outline_of(row)
        number = row["segmentation_id"] or f"line-{row.line}"
        known = merged.get(number)
        if known and known[0][1] != geometry:
            number = f"{number}-{row.set}"
        merged.setdefault(number, []).append((row, geometry))
    return tuple(_lesion(image, number, merged[number]) for number in sorted(merged, key=_order))


def _order(number: str) -> tuple[int, str]:
    digits = number.partition("-")[0]
    return (int(digits) if digits.isdecimal() else -1, number)


def _lesion(image: ImageId, number: str, rows: Sequence[tuple[Row, Geometry]]) -> FilmLesion:
    pathology = worst(*(_class(row) for row, _ in rows))
    first, geometry = rows[0]
    return FilmLesion(
        lesion_id=number,
        lesion_key=f"{image.family}-{first['lesion_id']}" if first["lesion_id"] else None,
        source_ids=(first["lesion_id"], first["segmentation_id"]),
        finding=_finding([row for row, _ in rows]),
        pathology=pathology,
        label_basis=LabelBasis.UNKNOWN if pathology is Pathology.UNKNOWN else LabelBasis.BIOPSY,
        label_raw=_joined(row["classification"] for row, _ in rows),
        geometry=geometry,
    )


def _class(row: Row) -> Pathology:
    """Return an outline's class: `Malign`, not Malignant, is the release's word."""
    word = row["classification"]
    if word.lower() not in _CLASS_BY_WORD:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{row} has the classification {word!r}, known are {', '.join(CLASSES)}",
        )
    return _CLASS_BY_WORD[word.lower()]


def _finding(rows: Sequence[Row]) -> Finding:
    given = {title for row in rows for title in _set_flags(row)}
    return next((FINDINGS[title] for title in FINDINGS if title in given), Finding.UNKNOWN)


def _set_flags(row: Row) -> list[str]:
    return [title for title in FINDINGS if row[title] == "1"]


def outline_of(row: Row) -> Geometry:
    """Return an outline as a polygon through the centres of the pixels that it names.

    x are columns, y rows from the top; whether they count from 0 or 1 is not written. The list is
    not closed (its ends lie 16 to 91 pixels apart): the last point is joined to the first.
    """
    try:
        xs, ys = ([float(n) for n in row[title].split()] for title in _POINTS)
        points = tuple((x + 0.5, y + 0.5) for x, y in zip(xs, ys, strict=True))
        if len(set(points)) < 3:
            raise ValueError(f"{len(set(points))} different points")
        return Geometry(kind=GeometryKind.POLYGON, rings=(points,))
    except ValueError as error:
        detail = f"{row} has an outline that cannot be drawn: {error}"
        raise ContentError(RejectReason.BAD_ROW, detail) from error


_POINTS = ("lw_x_points", "lw_y_points")


def _densities(rows: Sequence[Row]) -> list[Density]:
    given = (DENSITIES.get(row["density"]) for row in rows)
    return list(dict.fromkeys(letter for letter in given if letter is not None))


def _age(text: str) -> int | None:
    digits = text.partition(".")[0]
    return min(int(digits), _OLDEST) if digits.isdecimal() and int(digits) else None


def _flags(image: ImageId, rows: Sequence[Row], normal: bool) -> tuple[QualityFlag, ...]:
    flags = []
    if _label_conflict([row for row in rows if row.is_outline], normal):
        flags.append(QualityFlag.LABEL_CONFLICT)
    if len(_densities(rows)) > 1:
        flags.append(QualityFlag.DENSITY_CONFLICT)
    if any(_other_side(image, row) for row in rows):
        flags.append(QualityFlag.LATERALITY_CONFLICT)
    return tuple(flags)


def _label_conflict(outlines: Sequence[Row], normal: bool) -> bool:
    """Say whether a normal image has outlines, or one outline two classes."""
    classes: dict[str, set[Pathology]] = {}
    for row in outlines:
        classes.setdefault(row["segmentation_id"], set()).add(_class(row))
    return (normal and bool(outlines)) or any(len(words) > 1 for words in classes.values())


def _other_side(image: ImageId, row: Row) -> bool:
    """Say whether a code names the other breast than the file name, which is believed."""
    code = VIEW_IDS.get(row["image_view"]) or TYPE_IDS.get(row["image_type_id"])
    return code is not None and VIEWS[code][0] is not VIEWS[image.view][0]


def _patient(image: ImageId) -> str:
    """Return the patient, who has one number in all sets.

    It is not written whether film and digital numbers are one count; taken as one, no woman can
    be on two sides of a split.
    """
    return f"bcdr-{image.patient}"


def _joined(words: Iterable[str]) -> str | None:
    return "; ".join(dict.fromkeys(word for word in words if word)) or None


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
