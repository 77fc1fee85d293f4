"""KAU-BCMD's folders and sheet as Films: one an image file whose name follows the release's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from etl.readers.listing import named, natural_key, suffix, wanted
from etl.sources.kau_bcmd.sheet import (
    ASSESSMENTS,
    DENSITIES,
    SIDES,
    FilmName,
    Row,
    film_name,
    find_sheet,
)
from schemas.errors import ContentError, MammoError
from schemas.film import FileRef, Film, RawWords
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
    Modality,
    Pathology,
    QualityFlag,
    View,
    birads_label,
    birads_rank,
)

__all__ = ["RELEASE", "WORDS", "Disk", "files_to_index", "find_files", "plan", "resolve"]

RELEASE = ReleaseInfo(
    key="kau_bcmd",
    title="KAU-BCMD (King Abdulaziz University)",
    modalities=(Modality.FFDM,),
    licence=Licence(
        key="KAU-BCMD-research",
        title="KAU-BCMD: sources conflict (CC0, research only, subscription); taken as research "
        "only, no right to pass the films on",
        redistributable=False,
        weights_releasable=False,  # not granted by the strictest of the conflicting sources
    ),
    citation=(
        "Alsolami AS, Shalash W, Alsaggaf W, Ashoor S, Refaat H, Elmogy M (2021) King Abdulaziz "
        "University Breast Cancer Mammogram Dataset (KAU-BCMD). Data 6(11):111, "
        "doi 10.3390/data6110111"
    ),
    url="https://www.kaggle.com/datasets/asmaasaad/king-abdulaziz-university-mammogram-dataset",
    how_to_get=(
        "download archive.zip from Kaggle (or IEEE DataPort, doi 10.21227/a4cs-ax02) and unpack it "
        "with its folders and correctSheetlast.xlsx"
    ),
    tissue=TissueRule.DIGITAL,
    size="2,206 to 5,662 films, by the copy",
    already_windowed=True,  # the JPEG edition; deeper pixels of the DICOM edition are windowed
    image_files="<year>_BC<digits>_ <CC|MLO>_<L|R>.jpg (or .png, .dcm)",
)

FOLDERS = {word: Birads(word) for word in "123456"}
"""The figure in the name of a folder; 1, 3, 4 and 5 are used."""
VIEWS = {"CC": View.CC, "MLO": View.MLO}

WORDS = (
    Words(
        column="folder (BIRAD1, Birad3, b4, BIRAD 5, ...)",
        becomes="birads",
        words=FOLDERS,
        cited="public code that reads the release; Alsolami et al. 2021",
        note="the first source of the category; where a film lies in two folders the higher counts",
    ),
    Words(
        column="folder (BIRAD1, Birad3, b4, BIRAD 5, ...)",
        becomes="pathology",
        words={word: birads_label(category)[0] for word, category in FOLDERS.items()},
        cited="ACR BI-RADS Atlas; the basis is birads, of category 6 biopsy",
        note="no biopsy is known; 4 is malignant in some of the literature, unknown here",
    ),
    Words(
        column="Assesment",
        becomes="birads",
        words=ASSESSMENTS,
        cited="public code that reads correctSheetlast.xlsx",
        note="counts where no folder says a category; a difference is the flag label_conflict",
    ),
    Words(
        column="Percentage of\\n grandular tissue(density)",
        becomes="density",
        words=DENSITIES,
        cited="public code that reads correctSheetlast.xlsx",
    ),
    Words(
        column="file name",
        becomes="view",
        words=VIEWS,
        cited="names of files in public code",
    ),
    Words(
        column="file name; Breast  type",
        becomes="laterality",
        words=SIDES,
        cited="names of files in public code; the name counts",
    ),
)

_FOLDER = re.compile(r"(?:bi-?rads?[ _]*|b)([1-6])", re.I)
_RANKS = {".dcm": 0, ".png": 1, ".jpg": 2, ".jpeg": 2}
_NO_FILM = ("mask", "report")
_ULTRASOUND = re.compile(r"ultra[ _-]?sound|sonogra|(?:^|[^a-z])us(?:[^a-z]|$)", re.I)
_MAMMO_BENCH = re.compile(r"kau-bcmd_\d+\.\w+", re.I)


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a film, and the category of its folder."""

    entry: Entry
    name: FilmName
    folder: str | None
    category: Birads | None


@dataclass(frozen=True, slots=True)
class Disk:
    """The copy's files: those of each film, the one that counts first, and what is no film."""

    films: Mapping[str, tuple[Found, ...]]
    foreign: tuple[Entry, ...]
    ultrasound: tuple[Entry, ...]
    aside: tuple[Entry, ...]


def plan(release: Release, index: HeaderIndex) -> Iterator[Film | Reject | Absent]:
    """Yield every film of folders and sheet, patient by patient, then what names no film.

    Raises
    ------
    MammoError
        No file has a film's name.
    """
    del index  # names say everything
    sheet, disk = find_sheet(release), find_files(release)
    names = {key: copies[0].name for key, copies in disk.films.items()}
    names |= {key: rows[0].film for key, rows in sheet.rows.items()}
    for key in sorted(names, key=lambda key: (natural_key(names[key].patient), key)):
        rows = sheet.rows.get(key, ())
        if key not in disk.films:
            patient = names[key].patient
            yield Absent(source=RELEASE.key, film_key=key, file=rows[0].path, split_key=patient)
            continue
        yield _planned(disk.films[key], rows)
        yield from _other_copies(disk.films[key])
    for entry in disk.foreign:
        detail = f"{entry.path} is not named as a film is (2018_BC0021981_ MLO_R.jpg)"
        yield _reject(entry.path, entry.path, RejectReason.NO_TABLE_ROW, detail)
    for bad in sheet.bad:
        yield _reject(bad.where, bad.table, RejectReason.BAD_ROW, bad.detail)


def files_to_index(release: Release) -> tuple[str, ...]:
    """Return no file: names say what planning needs, of the DICOM edition too."""
    del release
    return ()


def resolve(film: Film, header: Header) -> Film:
    """Fill the device; flag a header of the other breast."""
    side = header.get("ImageLaterality") or header.get("Laterality") or film.laterality
    conflict = {QualityFlag.LATERALITY_CONFLICT} if side != film.laterality else set()
    return replace(
        film,
        manufacturer=film.manufacturer or header.get("Manufacturer"),
        model=film.model or header.get("ManufacturerModelName"),
        flags=tuple(sorted({*film.flags, *conflict})),
    )


def find_files(release: Release) -> Disk:
    """Return the copy's files.

    Raises
    ------
    MammoError
        No image has a film's name.
    """
    films: dict[str, list[Found]] = {}
    foreign, ultrasound, aside = [], [], []
    for entry in sorted(wanted(release.entries), key=lambda entry: entry.path):
        if suffix(entry.path) not in _RANKS:
            continue
        name = film_name(entry.path)
        if any(word in entry.path.lower() for word in _NO_FILM):
            aside.append(entry)
        elif _ULTRASOUND.search(entry.path):
            ultrasound.append(entry)
        elif name is None:
            foreign.append(entry)
        else:
            folder, category = folder_category(entry.path)
            films.setdefault(name.key, []).append(Found(entry, name, folder, category))
    if not films:
        _refuse(release.root, foreign)
    ordered = {key: tuple(sorted(copies, key=_worth)) for key, copies in films.items()}
    return Disk(ordered, tuple(foreign), tuple(ultrasound), tuple(aside))


def folder_category(path: str) -> tuple[str | None, Birads | None]:
    """Return the nearest folder that names a category, upward from the file, and the category.

    >>> folder_category("archive/BIRAD1/b1/x.jpg")[1].value
    '1'
    """
    for folder in reversed(path.split("/")[:-1]):
        if match := _FOLDER.fullmatch(folder.strip()):
            return folder.strip(), FOLDERS[match[1]]
    return None, None


def _worth(found: Found) -> tuple[float, int, Entry]:
    """Order the files of a film: the highest category, DICOM before PNG before JPEG, the path."""
    rank = birads_rank(found.category)
    return -(rank or 0.0), _RANKS[suffix(found.entry.path)], found.entry


def _refuse(root: str, foreign: Sequence[Entry]) -> None:
    names = [entry.path for entry in foreign]
    if any(_MAMMO_BENCH.fullmatch(name.rsplit("/", 1)[-1]) for name in names):
        raise MammoError(
            f"{root} holds KAU-BCMD as Mammo-Bench numbers it ({named(names, 2)}): its names have "
            "no patient, so one woman's films would stand on both sides of a split; "
            f"{RELEASE.how_to_get}"
        )
    seen = f"such as {named(names, 2)}" if names else "and no image at all"
    raise MammoError(
        f"no file under {root} is named as a film of KAU-BCMD is (2018_BC0021981_ MLO_R.jpg), "
        f"{seen}: check the path; {RELEASE.how_to_get}"
    )


def _planned(copies: Sequence[Found], rows: Sequence[Row]) -> Film | Reject:
    try:
        return _film(copies, rows)
    except ContentError as error:
        return _reject(copies[0].name.key, copies[0].entry.path, error.reason, error.detail)


def _other_copies(copies: Sequence[Found]) -> Iterator[Reject]:
    for copy in copies[1:]:
        path, first = copy.entry.path, copies[0].entry.path
        detail = f"{path} is {copy.name.key} again, which is read from {first}"
        yield _reject(path, path, RejectReason.DUPLICATE_FILE, detail)


def _film(copies: Sequence[Found], rows: Sequence[Row]) -> Film:
    found = copies[0]
    category = _category(found, rows)
    pathology, basis = birads_label(category)
    densities = list(dict.fromkeys(row.density for row in rows if row.density))
    return Film(
        source=RELEASE.key,
        film_key=found.name.key,
        patient_key=found.name.patient,
        exam_key=f"{found.name.year}_{found.name.patient}",
        files=(FileRef(role="image", path=found.entry.path, size=found.entry.size),),
        modality=Modality.FFDM,
        view=found.name.view,
        laterality=found.name.side,
        pathology=pathology,
        label_basis=basis,
        label_scope=LabelScope.IMAGE,
        birads=category,
        density=densities[0] if densities else None,
        density_scale="birads" if densities else None,
        raw=RawWords(
            label=_joined([found.folder, *(row.assessment for row in rows)]),
            density=_joined(row.density_word for row in rows),
            view=found.name.view,
        ),
        annotation=Annotation.COMPLETE if pathology is Pathology.NORMAL else Annotation.NONE,
        age=next((row.age for row in rows if row.age is not None), None),
        flags=tuple(sorted(set(_flags(copies, rows, len(densities))))),
        licence=RELEASE.licence.key,
    )


def _category(found: Found, rows: Sequence[Row]) -> Birads | None:
    """Return the folder's category, else the highest of the sheet."""
    if found.category or not rows:
        return found.category
    told = [row.category for row in rows if row.category]
    unread = [row for row in rows if row.assessment and row.category is None]
    if not told and unread:
        raise ContentError(
            RejectReason.UNKNOWN_WORD,
            f"{unread[0].where} has the Assesment {unread[0].assessment!r}, and no folder says a "
            "category; known are BIRAD 0 to BIRAD 6",
        )
    return max(told, key=lambda category: birads_rank(category) or 0.0, default=None)


def _flags(copies: Sequence[Found], rows: Sequence[Row], densities: int) -> Iterator[QualityFlag]:
    told = {found.category for found in copies} | {row.category for row in rows}
    if len(told - {None}) > 1:
        yield QualityFlag.LABEL_CONFLICT
    if densities > 1:
        yield QualityFlag.DENSITY_CONFLICT
    if any(row.side not in (None, copies[0].name.side) for row in rows):
        yield QualityFlag.LATERALITY_CONFLICT


def _joined(words: Iterable[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(word for word in words if word)) or None


def _reject(key: str, path: str, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=RELEASE.key, film_key=key, file=path, reason=reason, detail=detail, stage="plan"
    )
