"""`mammo-etl verify-release` for Duke: tables against the official counts, series against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from etl.readers.listing import named, natural_key
from etl.sources.duke_mri.films import (
    box_side,
    planned_from,
    recorded_side,
    series_to_index,
)
from etl.sources.duke_mri.series import Run, runs_of
from etl.sources.duke_mri.tables import Box, Clinical, Mapped, Tables, find_tables, read_mapping
from etl.sources.duke_mri.words import MATRICES, phase_of
from schemas.errors import ContentError, MammoError
from schemas.film import Film
from schemas.rejects import Absent, Reject
from schemas.release import HeaderIndex, Release, Remark

__all__ = ["verify"]

PATIENTS = 922
SUMS = {
    "Start Row": 229_689,
    "End Row": 274_065,
    "Start Column": 205_317,
    "End Column": 242_985,
    "Start Slice": 70_898,
    "End Slice": 93_402,
}
"""Sums of the official Annotation_Boxes.xlsx."""
SIDES_AGREE = (647, 651)
NUM_SLICES = 773_126
"""MR files in the Imaging Data Commons' index v25; the release's page says 773,888 images."""


def verify(release: Release, index: HeaderIndex) -> Iterator[Remark]:
    """Compare a copy with the official tables and its 922 patients."""
    try:
        tables = find_tables(release)
        mapping = read_mapping(release)
        runs = runs_of(release, index, mapping)
        items = list(planned_from(tables, runs))
    except MammoError as error:
        yield Remark(ok=False, what=str(error), meaning="this copy cannot be read")
        return
    yield from _boxes(tables)
    yield from _clinical(tables)
    yield _slice_numbers(mapping)
    yield from _names(series_to_index(release, tables, mapping), runs, index)
    yield from _images(items, runs)
    yield from _rejects([item for item in items if isinstance(item, Reject)])


def _boxes(tables: Tables) -> Iterator[Remark]:
    boxes = [box for box in tables.boxes.values() if isinstance(box, Box)]
    sums = [sum(getattr(box, axis)[end] for box in boxes) for axis in _AXES for end in (0, 1)]
    differ = [name for name, total in zip(SUMS, sums, strict=True) if SUMS[name] != total]
    official = len(boxes) == PATIENTS and not differ
    yield Remark(
        ok=official,
        what=f"{tables.boxes_path}: {len(boxes)} of {PATIENTS} boxes"
        + (f"; sums differ in {', '.join(differ)}" if differ else ", sums as published"),
        meaning="" if official else "boxes are not those of the published table",
    )
    if tables.num_box_rows != len(tables.boxes) + len(tables.strays):
        yield Remark(
            ok=False,
            what=f"{tables.boxes_path} has {tables.num_box_rows} rows for {len(tables.boxes)} "
            "patients (a copy that repeats each row 12 times is known)",
            meaning="rows that say the same are one; patients with two boxes are rejected",
        )


_AXES = ("rows", "columns", "slices")


def _clinical(tables: Tables) -> Iterator[Remark]:
    if tables.clinical_path is None:
        yield Remark(
            ok=False,
            what="no Clinical_and_Other_Features.xlsx",
            meaning="sides come from headers; age, density and what is known of the other breast "
            "are missing, and every box counts as partial annotation",
        )
        return
    agree, known, against = _sides(tables)
    yield Remark(
        ok=(agree, known) == SIDES_AGREE,
        what=f"{tables.clinical_path}: {len(tables.clinical)} of {PATIENTS} patients; the box lies "
        f"in the recorded breast in {agree} of {known} (published tables: {SIDES_AGREE[0]} of "
        f"{SIDES_AGREE[1]})" + (f"; not in {named(against)}" if against else ""),
        meaning="those carry the flag laterality_conflict; the box decides" if against else "",
    )


def _sides(tables: Tables) -> tuple[int, int, list[str]]:
    """Count patients whose box lies in the breast of `Side Annotated` or `Tumor Location`."""
    agree, against = 0, []
    for patient in sorted(tables.clinical, key=natural_key):
        try:
            lies, told = _two_sides(tables.boxes.get(patient), tables.clinical[patient])
        except ContentError:
            continue
        if lies is None or told is None:
            continue
        agree += lies == told
        if lies != told:
            against.append(patient)
    return agree, agree + len(against), against


def _two_sides(box: Box | ContentError | None, row: Clinical) -> tuple[str | None, str | None]:
    columns = MATRICES.get(row.word("Columns", MATRICES) or "")
    # without `Position`, whose text is compared by nobody else
    cells = {title: cell for title, cell in row.cells.items() if title != "Position"}
    told = recorded_side(Clinical(row.where, cells))
    if not isinstance(box, Box) or columns is None or row.corner is None:
        return None, told
    x0, _, x1, _ = box.native()
    return box_side(x0, x1, columns, towards_left=row.corner[0] <= 0), told


def _slice_numbers(mapping: Mapping[tuple[str, str], Mapped]) -> Remark:
    """Say which reading of the boxes' slice numbers the copy shows."""
    if not mapping:
        return Remark(
            ok=True,
            what="no mapping of paths: slice numbers of boxes are taken as those of 1-NNN.dcm, "
            "which is InstanceNumber",
            meaning="the mapping of the release's page would prove it",
        )
    orders = Counter(mapped.order for mapped in mapping.values())
    return Remark(
        ok=set(orders) == {1},
        what=f"mapping of paths: file numbers are slice numbers in {orders[1]} folders, run the "
        f"other way in {orders[-1]}, follow no order in {orders[0]}",
        meaning="boxes are turned round with their series; series without order are rejected"
        if set(orders) != {1}
        else "slice numbers of boxes are those of the files",
    )


def _names(
    wanted: Sequence[str], runs: Mapping[str, Sequence[Run]], index: HeaderIndex
) -> Iterator[Remark]:
    every = [run for one in runs.values() for run in one]
    unnumbered = [run.folder for run in every if run.numbers is None and run.count > 1]
    if unnumbered:
        yield Remark(
            ok=True,
            what=f"{len(unnumbered)} series have files without numbers (a bucket's layout)",
            meaning="slices are ordered by InstanceNumber, as always; a missing last slice of both "
            "phases goes unnoticed",
        )
    unread = [path for path in wanted if path not in index.headers]
    if wanted:
        yield Remark(
            ok=not unread,
            what=f"{len(wanted)} series are told by the header of one slice"
            + (f"; not read yet: {len(unread)}" if unread else ""),
            meaning="run `mammo-etl index` (plan and run do it); until then they seem absent"
            if unread
            else "",
        )


def _images(
    items: Sequence[Film | Reject | Absent], runs: Mapping[str, Sequence[Run]]
) -> Iterator[Remark]:
    films = {item.patient_key for item in items if isinstance(item, Film)}
    absent = {item.split_key for item in items if isinstance(item, Absent)}
    partly = sorted(absent & set(runs), key=natural_key)
    every = (run for one in runs.values() for run in one)
    slices = sum(run.count for run in every if phase_of(run.description or "") is not None)
    yield Remark(
        ok=not absent and len(films) == PATIENTS,
        what=f"both phases of {len(films)} of {PATIENTS} patients, {slices} of {NUM_SLICES} slices"
        + (f"; in part: {named(partly)}" if partly else ""),
        meaning="the others are counted as absent" if absent else "",
    )


def _rejects(rejects: Sequence[Reject]) -> Iterator[Remark]:
    for reason, count in sorted(Counter(item.reason for item in rejects).items()):
        example = next(item.detail for item in rejects if item.reason == reason)
        yield Remark(ok=False, what=f"rejected as {reason}: {count}, such as: {example}")
