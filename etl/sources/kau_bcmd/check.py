"""What a copy of KAU-BCMD holds. Copies differ, so counts are told, not demanded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from etl.readers.codestream import jpeg_info
from etl.readers.listing import named, suffix
from etl.readers.peek import peek
from etl.sources.kau_bcmd.films import Disk, find_files, plan
from etl.sources.kau_bcmd.sheet import Sheet, find_sheet
from schemas.errors import ContentError, MammoError, StoreError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark
from schemas.vocabulary import QualityFlag

__all__ = ["verify"]

USED = ("1", "3", "4", "5")
"""Categories of the release (Alsolami et al. 2021)."""
_LOOKED_AT = 8
"""Films of each category whose size is looked up."""
_HEAD_BYTES = 1 << 16
_LANDSCAPE = 1.3


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Describe a copy; opens the sheet and the heads of some films."""
    try:
        sheet, disk = find_sheet(release), find_files(release)
        planned = list(plan(release, index))
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    films = [item for item in planned if isinstance(item, Film)]
    yield from _counts(films)
    yield from _sheet(sheet, films, [item for item in planned if isinstance(item, Absent)])
    yield from _beside(disk)
    yield from _conflicts(films)
    yield from _edition(release, films)
    yield from _shapes(release, films)
    yield from _rejects([item for item in planned if isinstance(item, Reject)])


def _counts(films: Sequence[Film]) -> Iterator[Remark]:
    patients = {film.patient_key for film in films}
    yield Remark(
        ok=True,
        what=f"{len(films)} films of {len(patients)} patients in "
        f"{len({film.exam_key for film in films})} examinations; the paper counts 5,662 films of "
        "1,416, public readers of the Kaggle copy 2,206 and 2,378",
        meaning="copies differ; what is here is read",
    )
    counts = Counter(str(film.birads) if film.birads else "none" for film in films)
    others = sorted(set(counts) - set(USED))
    yield Remark(
        ok=not others,
        what="films by category: "
        + ", ".join(f"{word} {counts[word]}" for word in (*USED, *others)),
        meaning="the release is known to use 1, 3, 4 and 5 only" if others else "",
    )


def _sheet(sheet: Sheet, films: Sequence[Film], absent: Sequence[Absent]) -> Iterator[Remark]:
    for path in sheet.unread:
        yield Remark(ok=False, what=f"cannot be read as a table: {path}", meaning="it is not used")
    if sheet.used is None:
        yield Remark(
            ok=False,
            what="no correctSheetlast.xlsx (a table with Assesment and Image path)",
            meaning="densities and ages are unknown, folders alone say the category",
        )
        return
    without = [film.film_key for film in films if film.film_key not in sheet.rows]
    yield Remark(
        ok=not (without or absent),
        what=f"sheet {sheet.used}: {len(sheet.rows)} films"
        + (f"; not in it: {named(without)}" if without else "")
        + (f"; not here: {named([item.film_key for item in absent])}" if absent else ""),
        meaning="films not in it have no density and age; its films not here are counted as absent"
        if without or absent
        else "",
    )
    for path in sheet.unused:
        yield Remark(ok=True, what=f"{path} is not used: another table has more rows")
    rows = [row for found in sheet.rows.values() for row in found]
    unread = [row.assessment or "" for row in rows if row.assessment and row.category is None]
    if unread:
        yield Remark(
            ok=False,
            what=f"cells of Assesment that are no category: {named(sorted(set(unread)))}",
            meaning="the folder's category counts; without one these films are rejected",
        )


def _beside(disk: Disk) -> Iterator[Remark]:
    if disk.ultrasound:
        yield Remark(
            ok=True,
            what=f"ultrasound pictures: {len(disk.ultrasound)}",
            meaning="they are left alone (the paper has 405)",
        )
    if disk.aside:
        yield Remark(
            ok=True,
            what=f"pictures in folders of masks and reports: {len(disk.aside)}",
            meaning="they are left alone; no public reader knows of outlines in this release",
        )
    doubled = [key for key, copies in disk.films.items() if len(copies) > 1]
    if doubled:
        yield Remark(
            ok=False,
            what=f"more than one file for {named(sorted(doubled))}",
            meaning="the folder of the highest category counts, other files are rejected",
        )


def _conflicts(films: Sequence[Film]) -> Iterator[Remark]:
    told = {
        QualityFlag.LABEL_CONFLICT: "folders or folder and sheet differ in the category of",
        QualityFlag.LATERALITY_CONFLICT: "name and sheet differ in the side of",
        QualityFlag.DENSITY_CONFLICT: "rows of the sheet differ in the density of",
    }
    for flag, words in told.items():
        keys = [film.film_key for film in films if flag in film.flags]
        if keys:
            yield Remark(
                ok=False,
                what=f"{words} {named(keys)}",
                meaning=f"these films carry the flag {flag}",
            )


def _edition(release: Release, films: Sequence[Film]) -> Iterator[Remark]:
    endings = Counter(suffix(film.image.path) for film in films)
    blanks = sum(" " in film.image.path.rsplit("/", 1)[-1] for film in films)
    yield Remark(
        ok=True,
        what="files: "
        + ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
        + f"; {blanks} with a blank in their name",
        meaning="JPEG and PNG are 8 bits without spacing, their grey levels are taken as they are",
    )
    path = next((film.image.path for film in films if suffix(film.image.path) == ".dcm"), None)
    header = peek(release, path) if path else {}
    if header:
        spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing") or "no spacing"
        yield Remark(
            ok=True,
            what=f"{path}: {header.get('BitsStored')} bits, "
            f"{header.get('PhotometricInterpretation')}, {spacing}, "
            f"{header.get('Manufacturer', 'no manufacturer')}",
            meaning="nothing is published of this edition's headers; they are read as they are",
        )


def _shapes(release: Release, films: Sequence[Film]) -> Iterator[Remark]:
    """Show sizes by category: a model may learn the category from the shape of the picture."""
    told, wide = [], 0
    for word in USED:
        of_word = [film.image.path for film in films if film.birads == word]
        sizes = Counter(filter(None, (_size(release, path) for path in of_word[:_LOOKED_AT])))
        wide += sum(count for (x, y), count in sizes.items() if x > _LANDSCAPE * y)
        if sizes:
            shapes = [f"{x} x {y}" for (x, y), _ in sorted(sizes.items())]
            told.append(f"category {word}: {named(shapes, 4)}")
    if told:
        yield Remark(
            ok=not wide,
            what=f"columns x rows of up to {_LOOKED_AT} films each; " + "; ".join(told),
            meaning="shape and size go together with the category here; the corpus keeps "
            "the breast alone, and native_height and native_width say what the picture was",
        )


def _size(release: Release, path: str) -> tuple[int, int] | None:
    if suffix(path) == ".dcm":
        header = peek(release, path)
        size = (header.get("Columns", ""), header.get("Rows", ""))
        return (int(size[0]), int(size[1])) if all(map(str.isdecimal, size)) else None
    try:
        length = min(release.sizes.get(path, 0), _HEAD_BYTES)
        info = jpeg_info(release.store.read_range(path, 0, length))
    except (ContentError, StoreError):
        return None
    return info.width, info.height


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        examples = [item.detail for item in rejects if item.reason == reason]
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {examples[0]}")
