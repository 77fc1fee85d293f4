"""Does a copy of BCDR match its specification? It says which sets are there and what is missing.

No complete table is public, so counts of others are told beside those found, never required.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from etl.readers.listing import named, suffix, wanted
from etl.sources.bcdr.films import Found, find, plan
from etl.sources.bcdr.tables import ImageId, Sets, find_tables, is_mask
from etl.sources.bcdr.words import TYPE_IDS, VIEW_IDS
from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark

__all__ = ["verify"]

EXPECTED_SETS = ("D01", "D02", "DN01", "F01", "F02", "F03")
REPORTED_OUTLINES = {"D01": 143, "D02": 455, "F01": 362, "F03": 736}
"""Outlines (F03: images) as users report them; public excerpts hold fewer."""

FULL_DIGITAL_PIXELS = 3072 * 2816
"""Pixels of the smallest digital image that users report."""


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification; opens tables, no image."""
    sets = find_tables(release)
    try:
        images, _ = find(release, sets)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    yield from _sets(sets, images)
    yield from _shared(images)
    yield from _codes(sets)
    yield from _depth(images)
    yield from _masks(release)
    yield from _planned(list(plan(release, index)))


def _sets(sets: Sets, images: Mapping[ImageId, Found]) -> Iterator[Remark]:
    present = {name for found in images.values() for name in found.sets}
    for name in sorted({*EXPECTED_SETS, *present}):
        if name not in present:
            yield Remark(
                ok=False,
                what=f"set {name} is not here",
                meaning=_meaning_of_missing(name),
            )
            continue
        here = [found for found in images.values() if name in found.sets]
        outlines = sum(row.set == name and row.is_outline for row in sets.rows())
        reported = REPORTED_OUTLINES.get(name)
        listed = any(table.set == name and table.kind == "img" for table in sets.tables)
        drawn = any(table.set == name and table.kind == "outlines" for table in sets.tables)
        lacking = not drawn and not name.startswith("DN")
        yield Remark(
            ok=not lacking,
            what=f"set {name}: {len(here)} images, {sum(f.entry is not None for f in here)} of "
            f"them here; {outlines} outlines"
            + (f" ({reported} reported)" if reported else "")
            + ("" if listed else "; no image table"),
            meaning="without its outline table its images are unknown" if lacking else "",
        )
    for path, why in sets.unread:
        yield Remark(ok=False, what=f"{path}: {why}", meaning="the table is not used")


def _meaning_of_missing(name: str) -> str:
    if name == "D02":
        return "images of D01 are complete as far as D01 goes: lesions outlined only in D02 are not"
    return "its images are not made"


def _shared(images: Mapping[ImageId, Found]) -> Iterator[Remark]:
    several = [image.key for image in sorted(images) if len(images[image].sets) > 1]
    if several:
        yield Remark(
            ok=True,
            what=f"images in more than one set: {len(several)}, {named(several, 3)}",
            meaning="each becomes one film with the outlines of all its sets",
        )


def _codes(sets: Sets) -> Iterator[Remark]:
    """Say which code the copy's `image_view` is in; two readers disagree by one."""
    for title, codes in (("image_view", VIEW_IDS), ("image_type_id", TYPE_IDS)):
        rows = [row for row in sets.rows() if row.image is not None and row[title]]
        fits = sum(codes.get(row[title]) == row.image.view for row in rows if row.image)
        if rows:
            yield Remark(
                ok=fits == len(rows),
                what=f"{title} agrees with the file name in {fits} of {len(rows)} rows",
                meaning="" if fits == len(rows) else "file names are believed, codes are not",
            )


def _depth(images: Mapping[ImageId, Found]) -> Iterator[Remark]:
    """Say how deep the digital TIFFs seem to be: readers report 8 bits, the text 14."""
    sizes = [
        found.entry.size for image, found in images.items() if image.family == "D" and found.entry
    ]
    if sizes:
        deep = sum(size >= 2 * FULL_DIGITAL_PIXELS for size in sizes)
        yield Remark(
            ok=True,
            what=f"digital images too large for 8 bits a pixel: {deep} of {len(sizes)}",
            meaning="the depth is taken from each file; both 8- and 16-bit copies are in use",
        )


def _masks(release: Release) -> Iterator[Remark]:
    masks = [
        entry.path
        for entry in wanted(release.entries)
        if is_mask(entry.path) and suffix(entry.path) in (".tif", ".tiff", ".png")
    ]
    if masks:
        yield Remark(
            ok=True,
            what=f"mask images that are not films: {len(masks)}, {named(sorted(masks), 2)}",
            meaning="they are not used: the outlines are in the tables",
        )


def _planned(items: list[Film | Reject | Absent]) -> Iterator[Remark]:
    films = [item for item in items if isinstance(item, Film)]
    gone = sorted(item.film_key for item in items if isinstance(item, Absent))
    if gone:
        yield Remark(
            ok=False,
            what=f"images of the tables that are not here: {len(gone)}, {named(gone)}",
            meaning="they are counted as absent",
        )
    rejects = Counter(item.reason for item in items if isinstance(item, Reject))
    for reason, count in sorted(rejects.items()):
        yield Remark(ok=False, what=f"rejected while planning as {reason}: {count}")
    labels = Counter(film.pathology for film in films)
    yield Remark(
        ok=True,
        what="films by label: " + ", ".join(f"{word} {n}" for word, n in sorted(labels.items())),
    )
