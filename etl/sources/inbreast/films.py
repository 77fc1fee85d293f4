"""INbreast's rows, drawings and files of a copy joined: one Film an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from etl.readers.listing import named, suffix, wanted
from etl.readers.osirix import Region, read_regions
from etl.sources.inbreast.outlines import NAMES, drawn_kind, lesions, name_of
from etl.sources.inbreast.tables import (
    CATEGORIES,
    DENSITIES,
    MARKS,
    SIDES,
    VIEWS,
    Row,
    Tables,
    find_tables,
)
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, FilmLesion, RawWords
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import (
    Header,
    HeaderIndex,
    Licence,
    Release,
    ReleaseInfo,
    TissueRule,
    Words,
)
from schemas.store import Entry
from schemas.vocabulary import (
    Annotation,
    Birads,
    LabelScope,
    Laterality,
    Modality,
    QualityFlag,
    birads_label,
)

__all__ = ["RELEASE", "WORDS", "Disk", "files_to_index", "find_files", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="inbreast",
    title="INbreast",
    modalities=(Modality.FFDM,),
    licence=Licence(
        key="INbreast-research",
        title="INbreast: research on request to the authors, no right to pass the films on",
        redistributable=False,
        weights_releasable=False,  # nothing is granted beyond research
    ),
    citation=(
        "Moreira IC, Amaral I, Domingues I, Cardoso A, Cardoso MJ, Cardoso JS (2012) INbreast: "
        "toward a full-field digital mammographic database. Acad Radiol 19(2):236-248"
    ),
    url="https://doi.org/10.1016/j.acra.2011.09.014",
    how_to_get=(
        "ask the authors (INESC Porto) for INbreast Release 1.0 and unpack it; keep the names of "
        "the files in AllDICOMs, which alone say who the patient is"
    ),
    tissue=TissueRule.DIGITAL,
    size="410 films, 9 GB",
    image_files="*_MG_*_ANON.dcm (or .png, .tif under the same name)",
)

PIXEL_MM = 0.07
"""Moreira et al. 2012; Area (cm2) of a real outline over its pixels gives 0.0700. Files that were
exported again lack the spacing or say 1."""
DEVICE = ("Siemens", "MammoNovation")
"""Moreira et al. 2012; all films come from one device."""

WORDS = (
    Words(
        column="Bi-Rads",
        becomes="birads",
        words=CATEGORIES,
        cited="INbreast.csv; Moreira et al. 2012",
        counts={"1": 67, "2": 220, "3": 23, "4a": 13, "4b": 8, "4c": 22, "5": 49, "6": 8},
        note="the image's category; a lesion has it only where no other one could be its cause",
    ),
    Words(
        column="Bi-Rads",
        becomes="pathology",
        words={word: birads_label(category)[0] for word, category in CATEGORIES.items()},
        cited="ACR BI-RADS Atlas; the basis is birads, of category 6 biopsy",
        counts={"1": 67, "2": 220, "3": 23, "4a": 13, "4b": 8, "4c": 22, "5": 49, "6": 8},
        note="4a to 4c are malignant in the literature on INbreast, unknown here",
    ),
    Words(
        column="ACR",
        becomes="density",
        words=DENSITIES,
        cited="INbreast.csv",
        counts={"1": 136, "2": 146, "3": 99, "4": 28},
        note="one image has none",
    ),
    Words(
        column="Laterality",
        becomes="laterality",
        words=SIDES,
        cited="INbreast.csv",
        counts={"L": 209, "R": 201},
    ),
    Words(
        column="View",
        becomes="view",
        words=VIEWS,
        cited="INbreast.csv; ML is what the files' names write for MLO",
        counts={"CC": 203, "MLO": 206, "FB": 1},
    ),
    Words(
        column="Mass, Micros, Distortion, Asymmetry",
        becomes="finding",
        words=MARKS,
        cited="INbreast.xls, Sheet1: X where the finding is on the image",
        counts={"mass": 108, "micros": 308, "distortion": 3, "asymmetry": 14},
        note="a mark without a region of its kind is a lesion without geometry",
    ),
    Words(
        column="ROI Name",
        becomes="finding",
        words={word: meant.finding for word, meant in NAMES.items()},
        cited="AllXML, names met by public readers of the release",
        note="cluster: distribution clustered; spiculated region: margin spiculated",
    ),
)

_IMAGE = r"\.(?:dcm|dicom|png|tiff?)"
_FILM = re.compile(rf"(\d{{8}})_([0-9a-f]{{16}})_MG_([RL])_([A-Z]{{2,3}})_ANON{_IMAGE}", re.I)
_RENAMED = re.compile(rf"(\d{{8}})(?:\D.*)?{_IMAGE}", re.I)
_OUTLINE = re.compile(r"(\d{8})\.xml", re.I)
_PATCH = re.compile(r"\d{8} ?\(\d+\)\.(?:png|jpe?g)", re.I)
_NO_FILM = ("mask", "muscle")
_RANKS = {".dcm": 0, ".dicom": 0, ".tif": 1, ".tiff": 1, ".png": 2}


@dataclass(frozen=True, slots=True)
class _Named:
    entry: Entry
    patient: str
    side: str
    view: str


@dataclass(frozen=True, slots=True)
class Disk:
    """The copy's files by 8-digit name: films with all their copies, outlines, renamed films."""

    films: Mapping[str, tuple[_Named, ...]]
    outlines: Mapping[str, Entry]
    renamed: tuple[Entry, ...]


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every film of table and listing, patient by patient; opens tables and outline files.

    Raises
    ------
    MammoError
        No table is there; the films were renamed, so that nobody knows whose they are; or the
        copy holds the augmented patches.
    """
    del index  # names and tables say everything
    tables, disk = find_tables(release), find_files(release)
    for bad in tables.bad:
        yield _reject(bad.where, bad.table, RejectReason.BAD_ROW, bad.detail)
    by_patient = sorted((copies[0].patient, file) for file, copies in disk.films.items())
    for _, file in by_patient:
        yield _planned(release, file, tables, disk)
        for copy in disk.films[file][1:]:
            path, first = copy.entry.path, disk.films[file][0].entry.path
            detail = f"{path} is film {file} again, which is read from {first}"
            yield _reject(path, path, RejectReason.DUPLICATE_FILE, detail)
    for entry in disk.renamed:
        detail = f"{entry.path} was renamed: its name has no patient, so it can be in no split"
        yield _reject(entry.path, entry.path, RejectReason.BAD_ROW, detail)
    for file in sorted(set(tables.rows) - set(disk.films)):
        # only the missing file's name knows the patient, so the film stands for itself
        name = f"AllDICOMs/{file}_*.dcm"
        yield Absent(source=RELEASE.key, film_key=file, file=name, split_key=file)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: names and tables say what planning needs."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Fill the device, from the header or as documented; flag a header of the other breast."""
    side = header.get("ImageLaterality") or header.get("Laterality") or film.laterality
    conflict = {QualityFlag.LATERALITY_CONFLICT} if side != film.laterality else set()
    return replace(
        film,
        manufacturer=film.manufacturer or header.get("Manufacturer") or DEVICE[0],
        model=film.model or header.get("ManufacturerModelName") or DEVICE[1],
        flags=tuple(sorted({*film.flags, *conflict})),
    )


def find_files(release: Release) -> Disk:
    """Return the copy's files by 8-digit name.

    Raises
    ------
    MammoError
        Films are there and all were renamed, or they are the augmented patches.
    """
    films: dict[str, list[_Named]] = {}
    outlines: dict[str, Entry] = {}
    renamed = []
    patches = []
    for entry in sorted(wanted(release.entries), key=lambda entry: entry.path):
        name = entry.path.rsplit("/", 1)[-1]
        if match := _FILM.fullmatch(name):
            file, patient, side, view = match.groups()
            one = _Named(entry, patient.lower(), side.upper(), view.upper())
            films.setdefault(file, []).append(one)
        elif match := _OUTLINE.fullmatch(name):
            outlines.setdefault(match[1], entry)
        elif _PATCH.fullmatch(name):
            patches.append(entry.path)
        elif _RENAMED.fullmatch(name) and not any(word in name.lower() for word in _NO_FILM):
            renamed.append(entry)
    if not films:
        _refuse_patches(release.root, patches)
        _refuse_renamed(release.root, renamed)
    ordered = {
        file: tuple(sorted(copies, key=lambda one: (_RANKS[suffix(one.entry.path)], one.entry)))
        for file, copies in films.items()
    }
    return Disk(ordered, outlines, tuple(renamed))


def _refuse_patches(root: str, patches: Sequence[str]) -> None:
    if patches:
        raise MammoError(
            f"{root} holds the augmented 227 x 227 patches made of INbreast ({named(patches, 2)}), "
            "not the release: they name no patient, and turned copies of one film would stand on "
            f"both sides of a split; {RELEASE.how_to_get}"
        )


def _refuse_renamed(root: str, renamed: Sequence[Entry]) -> None:
    if renamed:
        raise MammoError(
            f"the films under {root} were renamed ({named([x.path for x in renamed], 2)}): the "
            "patient stands only in names such as 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm, and "
            "without it one woman's films would stand on both sides of a split; restore the names "
            "of the release's AllDICOMs"
        )


def _planned(release: Release, file: str, tables: Tables, disk: Disk) -> Film | Reject:
    found = disk.films[file][0]
    if file not in tables.rows:
        detail = f"{found.entry.path} has no row in {tables.used}"
        return _reject(file, found.entry.path, RejectReason.NO_TABLE_ROW, detail)
    try:
        return _film(
            found, tables.rows[file], tables.marked.get(file), _regions(release, file, disk)
        )
    except ContentError as error:
        return _reject(file, found.entry.path, error.reason, error.detail)


def _regions(release: Release, file: str, disk: Disk) -> tuple[Region, ...] | None:
    entry = disk.outlines.get(file)
    return None if entry is None else read_regions(release.read(entry.path), entry.path)


def _film(found: _Named, row: Row, marked: Row | None, regions: tuple[Region, ...] | None) -> Film:
    category = row.optional("bi-rads", CATEGORIES)
    density = row.optional("acr", DENSITIES)
    marks = marked.marks if marked else ()
    drawn = lesions(regions or (), marks, row.cells["bi-rads"], category, f"{row.file}.xml")
    pathology, basis = birads_label(category)
    annotation = _annotation(drawn, category, is_drawn=regions is not None)
    return Film(
        source=RELEASE.key,
        film_key=row.file,
        patient_key=found.patient,
        exam_key=f"{found.patient}_{row.semester}" if row.semester else None,
        files=(FileRef(role="image", path=found.entry.path, size=found.entry.size),),
        modality=Modality.FFDM,
        view=row.known("view", VIEWS),
        laterality=row.known("laterality", SIDES),
        pathology=pathology,
        label_basis=basis,
        label_scope=LabelScope.IMAGE,
        birads=category,
        density=density,
        density_scale="birads" if density else None,
        raw=_raw_words(row, marked, marks, regions or ()),
        lesions=drawn,
        annotation=annotation,
        annotation_kind=None if annotation is Annotation.NONE else drawn_kind(drawn),
        native_pixel_mm=(PIXEL_MM, PIXEL_MM),
        flags=tuple(sorted(set(_flags(found, row, marked, marks, drawn, regions)))),
        licence=RELEASE.licence.key,
    )


def _annotation(
    found: Sequence[FilmLesion], category: Birads | None, *, is_drawn: bool
) -> Annotation:
    """Return what is drawn; nothing listed is complete only where the table says normal."""
    drawn = sum(lesion.geometry is not None for lesion in found)
    if not found:
        return Annotation.COMPLETE if category is Birads.B1 else Annotation.NONE
    if not (is_drawn and drawn):
        return Annotation.NONE
    return Annotation.COMPLETE if drawn == len(found) else Annotation.PARTIAL


def _flags(
    film: _Named,
    row: Row,
    marked: Row | None,
    marks: Sequence[str],
    found: Sequence[FilmLesion],
    regions: tuple[Region, ...] | None,
) -> Iterator[QualityFlag]:
    normal = row.optional("bi-rads", CATEGORIES) is Birads.B1
    if regions is None and (found or not normal):
        yield QualityFlag.MASK_MISSING
    if (normal and found) or (marked and marked.cells.get("bi-rads") != row.cells["bi-rads"]):
        yield QualityFlag.LABEL_CONFLICT
    if Laterality(film.side) is not row.known("laterality", SIDES):
        yield QualityFlag.LATERALITY_CONFLICT
    told = {MARKS[title] for title in marks}
    if marked and any(one.geometry and one.finding not in told for one in found):
        yield QualityFlag.UNLINKED_GEOMETRY


def _raw_words(
    row: Row, marked: Row | None, marks: Sequence[str], regions: Iterable[Region]
) -> RawWords:
    names = dict.fromkeys(name_of(region, row.file)[0] for region in regions)
    sources = (("table", marks), ("outlines", [name or "no name" for name in names]))
    told = [f"{where}: {', '.join(words)}" for where, words in sources if words]
    return RawWords(
        label=row.cells["bi-rads"],
        density=row.cells.get("acr"),
        view=row.cells["view"],
        finding="; ".join(told) or None,
        status=(marked or row).cells.get("lesion annotation status"),
    )


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
