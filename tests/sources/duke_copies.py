"""Copies of Duke Breast Cancer MRI made row by row and entry by entry."""

from __future__ import annotations

import pytest

from etl.phantoms.duke_tables import BOX_TITLES, CODES, GROUPS, TITLES
from etl.phantoms.workbook import workbook
from etl.sources import source
from schemas.release import Release
from schemas.store import Entry
from schemas.vocabulary import Annotation, FrameKind, LabelBasis, Pathology
from tests.sources.copies import films, planned

BOXES, CLINICAL = "Annotation_Boxes.xlsx", "Clinical_and_Other_Features.xlsx"
MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping.xlsx"
SPEC_ROWS = [
    ["Breast_MRI_001", 234, 271, 308, 341, 89, 112],
    ["Breast_MRI_002", 251, 294, 108, 136, 59, 72],
    ["Breast_MRI_003", 351, 412, 82, 139, 96, 108],
]
"""As printed in the specification."""

ANNA = {
    "Patient ID": "Breast_MRI_001",
    "Days to MRI (From the Date of Diagnosis)": 6,
    "Manufacturer": 2,
    "Manufacturer Model Name": 0,
    "Image Position of Patient": "-191.8003 X -176.1259 X 86.6065",
    "Rows": 1,
    "Columns": 1,
    "Date of Birth (Days)": -15209,
    "Histologic type": 1,
    "Tumor Location": "L",
    "Position": "L 9 medial",
    "Bilateral Information": 0,
    "Side Annotated": "NP",
    "Multicentric/Multifocal": 0,
    "Contralateral Breast Involvement": 0,
    "Breast Density": "NC",
}
"""Breast_MRI_001 as in the real table."""
BERTA = {
    **ANNA,
    "Patient ID": "Breast_MRI_002",
    "Days to MRI (From the Date of Diagnosis)": 12,
    "Manufacturer": 0,
    "Manufacturer Model Name": 4,
    "Image Position of Patient": "154.724 X 176.048 X 94.5771",
    "Rows": 2,
    "Columns": 2,
    "Date of Birth (Days)": -14061,
    "Position": "L 1",
}
CLARA = {
    **BERTA,
    "Patient ID": "Breast_MRI_003",
    "Manufacturer Model Name": 3,
    "Image Position of Patient": "174.658 X 228.317 X 88.4878",
    "Tumor Location": None,
    "Histologic type": None,
    "Position": "L 2",
    "Bilateral Information": "NC",
    "Side Annotated": "NC",
    "Multicentric/Multifocal": 1,
}
PASSES = {"3": "ax dyn pre", "5": "ax dyn 1st pass", "8": "ax dyn 2nd pass", "26": "ax t1 tse +c"}
STUDY = "manifest-1/Duke-Breast-Cancer-MRI/{}/01-01-1990-NA-MRI BREAST BILATERAL WWO-97538"


def title(text):
    return " ".join(text.partition("{")[0].split())


def boxes(*rows, titles=BOX_TITLES):
    return workbook({"Sheet1": [list(titles), *map(list, rows)]})


def clinical(*rows, titles=TITLES):
    heads = [[line.get(k) for k in range(len(titles))] for line in (GROUPS, CODES)]
    body = [[row.get(title(name)) for name in titles] for row in rows]
    legend = [["NP = not pertinent"]]
    return workbook({"Data": [heads[0], list(titles), heads[1], *body], "Legend": legend})


def slices(folder, count, size=1000, digits=3):
    return [Entry(f"{folder}/1-{k:0{digits}d}.dcm", size) for k in range(1, count + 1)]


def study(patient="Breast_MRI_001", series=PASSES, count=160, **options):
    """Entries of a patient's series in the descriptive layout."""
    root = STUDY.format(patient)
    return [
        entry
        for number, name in series.items()
        for entry in slices(
            f"{root}/{number}.000000-{name.replace('/', '')}-{40000 + int(number)}",
            count,
            **options,
        )
    ]


def copy(tmp_path, entries, tables=None):
    tables = {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(ANNA)} if tables is None else tables
    listed = list(entries)
    for name, data in tables.items():
        (tmp_path / name).write_bytes(data)
        listed.append(Entry(name, len(data)))
    return Release(root=str(tmp_path), entries=tuple(sorted(listed)))


def plan(*args, index=None):
    return planned(source("duke_mri"), copy(*args), index)


def folders(items):
    return {ref.path.split("/")[-2] for film in films(items).values() for ref in film.files}


def check_both_kinds(found, patient, side, box, slices_, middle):
    """Hold a patient's four films against a row of the specification."""
    other = "R" if side == "L" else "L"
    assert set(found) == {f"{patient}/{s}/{k}" for s in "LR" for k in ("sub1_mip", "sub1_slice")}
    for kind, frame_kind, frame in (
        ("sub1_mip", FrameKind.MIP, None),
        ("sub1_slice", FrameKind.SLICE, middle),
    ):
        film, free = found[f"{patient}/{side}/{kind}"], found[f"{patient}/{other}/{kind}"]
        (lesion,) = film.lesions
        assert lesion.geometry.values == pytest.approx(box, abs=0.5)
        assert (lesion.slice_first, lesion.slice_last) == slices_
        assert (film.frame_kind, film.frame, film.phase) == (frame_kind, frame, "sub1")
        assert (free.frame_kind, free.frame, free.phase) == (frame_kind, frame, "sub1")
        assert (film.laterality, free.laterality) == (side, other)
        assert (film.pathology, film.label_basis) == (Pathology.MALIGNANT, LabelBasis.BIOPSY)
        assert (free.pathology, free.label_basis) == (Pathology.UNKNOWN, LabelBasis.UNKNOWN)
        assert (free.annotation, free.lesions) == (Annotation.NONE, ())
