"""Comparing a copy of OMI-DB with what its owner says of the release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from etl.readers.dicom_json import read_json_header
from etl.readers.listing import named
from etl.readers.nbss import Mark
from etl.sources.omi_db.episodes import client_status, episode_of
from etl.sources.omi_db.images import ClientData, exposures, listed, read_ahead, unlisted
from etl.sources.omi_db.listing import is_hollow
from etl.sources.omi_db.release import RELEASE
from schemas.release import HeaderIndex, Release, Remark
from schemas.vocabulary import Intent

__all__ = ["verify"]

_STATUSES = ("N", "B", "M", "CI")


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the specification: files of each kind, links, marks and their sizes."""
    told: Counter[str] = Counter()
    damaged: list[str] = []
    for read in read_ahead(release):
        told.update(_counts(read, index))
        damaged.extend(_damaged(read, release))
    if not told["clients"]:
        yield Remark(
            ok=False,
            what=f"no client folder (demd… or optm… and digits) under {release.root}",
            meaning="nothing can be planned: give the folder that holds data/ and images/, and "
            f"see {RELEASE.url}",
        )
        return
    yield from _files(told, damaged)
    yield from _links(told)
    yield from _marks(told)


def _counts(read: ClientData, index: HeaderIndex) -> Iterator[str]:
    yield "clients"
    for kind in ("nbss", "imagedb"):
        if kind not in read.client.tables:
            yield f"no {kind}"
    if read.episodes and read.problem is None:
        yield f"status {client_status(read.episodes)}"
        yield from (f"outcome {judged.outcome}" for judged in read.judged.values())
    found = listed(read, index)
    for shown, raw in exposures(found):
        yield "exposures"
        yield "files" if shown.file or (raw and raw.file) else "absent"
        if raw is not None:
            yield "twins"
        elif shown.intent is Intent.PROCESSING:
            yield "processing only"
    yield from ("unlisted" for _ in unlisted(read, index))
    for study in read.db.studies:
        yield "studies"
        if episode_of(study, read.episodes) is None:
            yield "unlinked studies"
    for shot in found:
        for mark in shot.entry.marks:
            yield "marks"
            yield from _mark_traits(mark, shot.size)
            if shot.intent is Intent.PROCESSING:
                yield "processing marks"


def _mark_traits(mark: Mark, size: tuple[int, int] | None) -> Iterator[str]:
    if not mark.linked:
        yield "unlinked marks"
    if mark.corners is None:
        yield "marks without corners"
        return
    x1, y1, x2, y2 = mark.corners
    if y1 > y2:
        yield "falling marks"
    if size is not None and (
        min(x1, x2, y1, y2) < 0 or max(x1, x2) >= size[1] or max(y1, y2) >= size[0]
    ):
        yield "marks outside"


def _damaged(read: ClientData, release: Release) -> Iterator[str]:
    if read.problem is not None:
        yield read.problem.detail
    for _, entry in sorted(read.client.headers.items()):
        if is_hollow(entry):
            yield f"{entry.path} is empty"
        elif not read_json_header(release.read(entry.path))[1]:
            yield f"{entry.path} is cut"


def _files(told: Counter[str], damaged: list[str]) -> Iterator[Remark]:
    absent = told["absent"]
    yield Remark(
        ok=not absent,
        what=f"{told['clients']} clients, {told['studies']} studies, {told['exposures']} exposures"
        f", {absent} of them without an image here",
        meaning="they are counted as absent; a part of the release is normal" if absent else "",
    )
    for kind, lost in (("nbss", "labels are unknown"), ("imagedb", "marks and dates are lost")):
        if count := told[f"no {kind}"]:
            yield Remark(
                ok=False, what=f"clients without {kind} JSON: {count}", meaning=f"their {lost}"
            )
    if damaged:
        yield Remark(
            ok=False,
            what=f"damaged JSON: {len(damaged)} files, e.g. {named(damaged, 2)}",
            meaning="images of a client whose NBSS or ImageDB JSON is damaged are rejected; a "
            "damaged header JSON gives what stands before the cut. Copy them again",
        )
    if count := told["unlisted"]:
        yield Remark(
            ok=False,
            what=f"images that no study of their client's ImageDB JSON lists: {count}",
            meaning="they are rejected, or kept without label where the JSON is not here",
        )


def _links(told: Counter[str]) -> Iterator[Remark]:
    yield Remark(
        ok=True,
        what="clients by status: " + ", ".join(f"{w} {told[f'status {w}']}" for w in _STATUSES),
        meaning="labels come from episodes, not from this",
    )
    if count := told["unlinked studies"]:
        yield Remark(
            ok=False,
            what=f"studies without episode: {count} of {told['studies']}",
            meaning="no EpisodeID, and no event on their day, or several: their label is unknown",
        )
    if count := told["outcome undefined"]:
        yield Remark(
            ok=False,
            what=f"episodes whose events are missing or contradict their type: {count}",
            meaning="their images are unknown",
        )
    if told["twins"] or told["processing only"]:
        yield Remark(
            ok=True,
            what=f"images for processing: {told['twins']} beside one for presentation, "
            f"{told['processing only']} alone",
            meaning="twins are left out; those alone are kept with the flag processing_only",
        )


def _marks(told: Counter[str]) -> Iterator[Remark]:
    if not told["marks"]:
        yield Remark(ok=True, what="no mark in this copy", meaning="no lesion is drawn")
        return
    yield Remark(
        ok=True,
        what=f"{told['marks']} marks, {told['unlinked marks']} of them linked to no lesion, "
        f"{told['processing marks']} on images for processing",
        meaning="unlinked ones are drawn with unknown pathology",
    )
    odd = told["marks outside"] + told["marks without corners"]
    yield Remark(
        ok=not odd,
        what=f"marks outside of their image or without corners: {odd}",
        meaning="read as indices from the top left, marks must lie inside; tell us, because the "
        "owner's documentation says lower left and her users' code top left"
        if odd
        else "",
    )
    yield Remark(
        ok=True,
        what=f"marks whose first corner is the lower one (Y1 > Y2): {told['falling marks']} of "
        f"{told['marks']}",
        meaning="corners are sorted, so both orders give one box",
    )
