"""Compare a copy of EMBED with the counts that its notebook printed.

Editions of the tables differ, so a difference is reported and stops nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etl.readers.listing import named
from etl.sources.embed import words
from etl.sources.embed.exams import Exam, number
from etl.sources.embed.images import instance_of, tail_of
from etl.sources.embed.tables import Files, Tables, exam_rows, find_tables, plain
from schemas.release import Release, Remark

__all__ = ["EDITIONS", "remarks"]


class _Counts(NamedTuple):
    images: int
    findings: int
    patients: int
    exams: int


EDITIONS = {
    "open release": _Counts(480_323, 81_776, 23_256, 72_770),
    "NUS datathon": _Counts(480_081, 85_669, 23_253, 72_731),
}
"""Rows, patients and exams of the metadata table, findings of the clinical one (printed outputs
of the official notebooks; the README's 22,382 patients and 76,373 exams fit neither)."""

_COLUMNS = (
    "empi_anon", "acc_anon", "anon_dicom_path", "ImageLateralityFinal", "FinalImageType",
    "num_roi", "ROI_coords", "PNG_ROI_coords", "DCM_ROI_coords", "spot_mag", "Manufacturer",
)  # fmt: skip

Cells = Mapping[str, Any]


def remarks(release: Release) -> Iterator[Remark]:
    """Yield the tables' edition, the files, the join, and what editions differ in."""
    tables = find_tables(release)
    exams = exam_rows(release, tables.clinical)
    read = tables.metadata.read(release, _COLUMNS)
    rows = [row for batch in read.to_batches(4096) for row in batch.to_pylist()]
    yield from _edition(tables, rows, sum(len(found) for found in exams.values()))
    yield from _files(Files(release), rows, tables)
    yield from _joined(exams, rows)
    yield from _readings(tables, rows, exams)


def _edition(tables: Tables, rows: Sequence[Cells], findings: int) -> Iterator[Remark]:
    patients = {row["empi_anon"] for row in rows}
    found = _Counts(len(rows), findings, len(patients), len({row["acc_anon"] for row in rows}))
    name = "NUS datathon" if tables.clinical.is_nus else "open release"
    same = found == EDITIONS[name]
    yield Remark(
        ok=same,
        what=(
            f"{tables.metadata.path} and {tables.clinical.path}: {found.images} images, "
            f"{found.findings} findings, {found.patients} patients, {found.exams} exams"
        ),
        meaning=""
        if same
        else f"the {name} has {', '.join(str(count) for count in EDITIONS[name])}: these tables "
        "are of another edition or a part, so counts of the corpus differ from published ones",
    )
    if tables.others:
        yield Remark(
            ok=True,
            what=f"other tables of the same kind: {', '.join(tables.others)}",
            meaning="they are not read; the fullest table of each kind is",
        )


def _files(files: Files, rows: Sequence[Cells], tables: Tables) -> Iterator[Remark]:
    used = {file[0] for row in rows if (file := files.find(tail_of(row["anon_dicom_path"])))}
    missing = len(rows) - len(used)
    yield Remark(
        ok=not missing,
        what=f"{len(used)} of {len(rows)} images are in this copy",
        meaning=f"{missing} become absent: a partial copy is normal" if missing else "",
    )
    unused = list(files.unused(used))
    if unused:
        yield Remark(
            ok=False,
            what=f"{len(unused)} DICOM files have no row in {tables.metadata.path}: "
            f"{named([instance_of(path) for path in unused], 3)}",
            meaning="they become rejects (no_table_row); the table is of another edition",
        )


def _joined(
    exams: Mapping[tuple[str, str], Sequence[Cells]], rows: Sequence[Cells]
) -> Iterator[Remark]:
    imaged: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for row in rows:
        key = plain(row["empi_anon"]), plain(row["acc_anon"])
        imaged[key].add(row["ImageLateralityFinal"])
    without = [key for key in imaged if key not in exams]
    yield Remark(
        ok=not without,
        what=f"{len(without)} exams have images and no clinical row",
        meaning="their images have the label unknown" if without else "",
    )
    lost = sum(key not in imaged for key in exams)
    yield Remark(
        ok=not lost,
        what=f"{lost} exams have clinical rows and no image",
        meaning="they make no sample" if lost else "",
    )
    other = sum(
        _names_no_image(found, imaged[key]) for key, found in exams.items() if key in imaged
    )
    yield Remark(
        ok=not other,
        what=f"{other} clinical rows name a breast that their exam has no image of",
        meaning="these findings are on no sample" if other else "",
    )


def _names_no_image(rows: Sequence[Cells], sides: set[str | None]) -> int:
    return sum(row["side"] in words.LATERALITIES and row["side"] not in sides for row in rows)


def _readings(
    tables: Tables,
    rows: Sequence[Cells],
    exams: Mapping[tuple[str, str], Sequence[Cells]],
) -> Iterator[Remark]:
    """Say which reading of the facts that rest on memory or on one reader this copy shows."""
    native = "DCM_ROI_coords" in tables.metadata.titles
    drawn = sum((number(row["num_roi"]) or "0") != "0" for row in rows)
    yield Remark(
        ok=True,
        what=f"{drawn} images have boxes, in coordinates of the {'DICOM' if native else 'PNG'}",
        meaning=""
        if native
        else "boxes of CC, MLO and ML are mirrored by PatientOrientation; boxes that lie beside "
        "the breast are tried mirrored and carry the flag geometry_mirrored",
    )
    spots = Counter(row["spot_mag"] for row in rows if row["spot_mag"])
    makers = {row["Manufacturer"] for row in rows if number(row["spot_mag"]) not in (None, "0")} - {
        None
    }
    held = ", ".join(f"{word} ({count})" for word, count in sorted(spots.items())) or "nothing"
    yield Remark(
        ok=True,
        what=f"spot_mag holds {held}" + (f", of {', '.join(sorted(makers))}" if makers else ""),
        meaning="where it is empty, view modifier and series description tell spot views",
    )
    if tables.clinical.is_nus:
        yield Remark(
            ok=True,
            what="path_severity is that of the datathon, which calls 5 non-breast cancer",
            meaning="images of severity 5 have the label unknown, in the open release benign",
        )
    kinds = Counter(Exam(key[1], found).kind for key, found in exams.items())
    yield Remark(
        ok=None not in kinds,
        what=", ".join(f"{kinds[kind]} exams are {kind or 'of no stated kind'}" for kind in kinds),
        meaning="an exam without description has no exam_kind and implies nothing of the other "
        "breast"
        if None in kinds
        else "",
    )
