"""Does a copy of CDD-CESM match its specification? Expected counts are those of the tables of TCIA.

One fact has two readings: 2,006 images are published, while the workbook names 2,002. Whether the
other four files exist, and under which names, is told here from the copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from etl.readers.listing import named
from etl.sources.cdd_cesm.films import images_on_disk, plan
from etl.sources.cdd_cesm.tables import LABEL, Name, Regions, Workbook, find_regions, find_workbook
from etl.sources.cdd_cesm.words import LABELS, findings_of
from schemas.errors import MammoError
from schemas.film import Film
from schemas.rejects import Reject
from schemas.release import HeaderIndex, Release, Remark
from schemas.store import Entry
from schemas.vocabulary import Finding, Modality

__all__ = ["verify"]

EXPECTED_ROWS = 2006
EXPECTED_NAMES = 2002
EXPECTED_LABELS = {"Normal": 753, "Malignant": 662, "Benign": 587}
"""Of the different names."""
EXPECTED_FOLDER = 1003
"""Files of each kind that the paper states; the workbook names 1,001 of each."""
EXPECTED_PAIRS_APART = 83
EXPECTED_REGIONS = 2971
EXPECTED_OUTLINED = 1233


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification; opens tables, no image."""
    try:
        images, _ = images_on_disk(release)
        workbook = find_workbook(release)
        regions = find_regions(release)
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    yield from _workbook(workbook)
    yield from _regions(regions, workbook)
    yield from _images(images, workbook)
    yield from _sizes(images, regions)
    yield from _planned(list(plan(release, index)))


def _workbook(workbook: Workbook) -> Iterator[Remark]:
    full = workbook.num_rows == EXPECTED_ROWS and len(workbook.rows) == EXPECTED_NAMES
    doubled = sum(row.doubled for row in workbook.rows.values())
    yield Remark(
        ok=full,
        what=f"table {workbook.path}: {workbook.num_rows} of {EXPECTED_ROWS} rows, "
        f"{len(workbook.rows)} of {EXPECTED_NAMES} images, {doubled} of them twice",
        meaning="" if full else "images without a row are rejected; an excerpt or another edition",
    )
    for other in workbook.others:
        yield Remark(ok=True, what=f"{other} is not used: {workbook.path} is the table")
    labels = Counter(row[LABEL] for row in workbook.rows.values())
    if full:
        yield Remark(
            ok=labels == EXPECTED_LABELS,
            what="images by label: "
            + ", ".join(f"{word} {labels[word]} of {n}" for word, n in EXPECTED_LABELS.items()),
        )
    apart = _pairs_apart(workbook)
    yield Remark(
        ok=not full or apart == EXPECTED_PAIRS_APART,
        what=f"low-energy and subtracted images of one view with different labels: {apart}",
        meaning="each keeps its own: a lesion that takes up no contrast is normal on one of them",
    )


def _pairs_apart(workbook: Workbook) -> int:
    labels: dict[str, set[str]] = {}
    for name, row in workbook.rows.items():
        labels.setdefault(name.pair, set()).add(row[LABEL])
    return sum(len(words) > 1 for words in labels.values())


def _regions(regions: Regions, workbook: Workbook) -> Iterator[Remark]:
    if regions.path is None:
        yield Remark(
            ok=False,
            what="no Radiology_hand_drawn_segmentations_v2.csv",
            meaning="no lesion is drawn: benign and malignant images have annotation none",
        )
        return
    count = sum(len(some) for some in regions.by_image.values())
    full = count == EXPECTED_REGIONS and len(regions.by_image) == EXPECTED_OUTLINED
    yield Remark(
        ok=full,
        what=f"regions in {regions.path}: {count} of {EXPECTED_REGIONS} on "
        f"{len(regions.by_image)} of {EXPECTED_OUTLINED} images",
        meaning=""
        if full
        else "an older export or an excerpt; what is not drawn is annotation none or partial",
    )
    for other in regions.others:
        yield Remark(ok=True, what=f"{other} is not used: {regions.path} is newer or fuller")
    lost = [name.key for name in sorted(set(regions.by_image) - set(workbook.rows))]
    if lost or regions.unread:
        names = named([*lost, *regions.unread])
        yield Remark(
            ok=False,
            what=f"regions of images that the table does not name: {names}",
            meaning="they are not used",
        )


def _images(images: Mapping[Name, tuple[Entry, ...]], workbook: Workbook) -> Iterator[Remark]:
    for kind, title in (("DM", "low-energy"), ("CM", "subtracted")):
        here = {name for name in images if name.kind == kind}
        rows = {name for name in workbook.rows if name.kind == kind}
        missing = [name.key for name in sorted(rows - here)]
        yield Remark(
            ok=not missing,
            what=f"{title} images: {len(here & rows)} of {len(rows)} named by the table"
            + (f"; missing: {named(missing)}" if missing else ""),
            meaning="images of the table that are not here are counted as absent"
            if missing
            else "",
        )
        if len(here) > len(rows):
            stated = " as the paper states" if len(here) == EXPECTED_FOLDER else ""
            yield Remark(
                ok=False,
                what=f"{title} images that the table does not name: {len(here - rows)} of "
                f"{len(here)}{stated}: {named(name.key for name in sorted(here - rows))}",
                meaning="they have no label and are rejected as no_table_row",
            )


def _sizes(images: Mapping[Name, tuple[Entry, ...]], regions: Regions) -> Iterator[Remark]:
    """Compare bytes with `file_size`, which differs from image to image."""
    both = [
        (name, images[name][0].size, some[0].file_size)
        for name, some in sorted(regions.by_image.items())
        if name in images and some[0].file_size is not None
    ]
    other = [name.key for name, here, there in both if here != there]
    if both:
        yield Remark(
            ok=not other,
            what=f"outlined images of the size that the annotators had: {len(both) - len(other)} "
            f"of {len(both)}" + (f"; others: {named(other)}" if other else ""),
            meaning="outlines belong to the original JPEGs: resized or re-coded copies may not fit"
            if other
            else "",
        )


def _planned(items: list[object]) -> Iterator[Remark]:
    films = [item for item in items if isinstance(item, Film)]
    flags = Counter(flag for film in films for flag in film.flags)
    if flags:
        yield Remark(
            ok=True,
            what="images with flags: " + ", ".join(f"{f} {n}" for f, n in sorted(flags.items())),
        )
    texts = {
        film.raw.finding
        for film in films
        if Finding.OTHER in findings_of(film.raw.finding or "", Modality(film.modality))
    }
    if texts:
        yield Remark(
            ok=True,
            what=f"findings without a known phrase: {named(sorted(t for t in texts if t), 3)}",
            meaning="their finding is `other`",
        )
    rejects = Counter(item.reason for item in items if isinstance(item, Reject))
    for reason, count in sorted(rejects.items()):
        yield Remark(ok=False, what=f"rejected while planning as {reason}: {count}")
    labels = Counter(film.pathology for film in films)
    yield Remark(
        ok=True,
        what="films by label: "
        + ", ".join(f"{word} {labels[word]}" for word in dict.fromkeys(LABELS.values())),
    )
