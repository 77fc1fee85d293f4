"""Duke Breast Cancer MRI: golden rows, sides, phases, layouts and copies of tables.

Truth is the specification's printed rows, and the real tables read by openpyxl and csv here.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter, defaultdict
from dataclasses import replace

import openpyxl
import pytest

from etl import phantoms
from etl.phantoms.duke_tables import BOX_TITLES, CODES, GROUPS, MAPPING_TITLES, TITLES
from etl.phantoms.workbook import workbook
from etl.sources import duke_mri, source
from etl.sources.duke_mri import words
from schemas.errors import MammoError
from schemas.film import FileRef
from schemas.rejects import Absent, Reject, RejectReason
from schemas.release import HeaderIndex, Release
from schemas.store import Entry
from schemas.vocabulary import Annotation, FrameKind, LabelBasis, Laterality, Pathology, QualityFlag
from tests.sources.copies import absent, films, planned, rejects

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


# ---- golden rows


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


def test_golden_row_of_siemens_anna(tmp_path):
    """Breast_MRI_001 234 271 308 341 89 112: stored columns run to the patient's left."""
    found = films(plan(tmp_path, study()))
    check_both_kinds(found, "Breast_MRI_001", "L", (307, 233, 341, 271), (88, 111), 99)
    film = found["Breast_MRI_001/L/sub1_slice"]
    pre = STUDY.format("Breast_MRI_001") + "/3.000000-ax dyn pre-40003/"
    post = STUDY.format("Breast_MRI_001") + "/5.000000-ax dyn 1st pass-40005/"
    assert film.files == (
        FileRef(role="pre", path=pre, size=160_000, first=1, last=160),
        FileRef(role="post", path=post, size=160_000, first=1, last=160),
    )
    assert film.depth_fraction == pytest.approx(99.5 / 160)
    assert (film.age, film.image_size) == (41, (448, 448))
    assert (film.manufacturer, film.model) == ("SIEMENS", "Avanto")
    assert film.annotation is Annotation.COMPLETE
    assert film.raw.status == "Bilateral Information 0; Contralateral Breast Involvement 0"
    assert film.raw.label == "Side Annotated NP; Tumor Location L; Position L 9 medial"
    assert film.flags == ()


def test_golden_rows_of_ge_berta_and_clara(tmp_path):
    """Breast_MRI_002 and 003: GE's stored columns run to the patient's right."""
    series = {"500": "ax 3d dyn", "501": "Ph1/ax 3d dyn", "502": "Ph2/ax 3d dyn", "3": "ax t1"}
    tables = {BOXES: boxes(*SPEC_ROWS[1:]), CLINICAL: clinical(BERTA, CLARA)}
    entries = study("Breast_MRI_002", series) + study("Breast_MRI_003", series)
    found = films(plan(tmp_path, entries, tables))
    berta = {key: film for key, film in found.items() if film.patient_key == "Breast_MRI_002"}
    clara = {key: film for key, film in found.items() if film.patient_key == "Breast_MRI_003"}
    check_both_kinds(berta, "Breast_MRI_002", "L", (107, 250, 136, 294), (58, 71), 64)
    check_both_kinds(clara, "Breast_MRI_003", "L", (81, 350, 139, 412), (95, 107), 101)
    film = clara["Breast_MRI_003/L/sub1_mip"]
    assert film.annotation is Annotation.PARTIAL  # other foci are not boxed
    assert film.raw.status == "Bilateral Information NC; Contralateral Breast Involvement 0"
    assert film.image_size == (512, 512)


# ---- sides


def test_a_box_against_the_recorded_side_is_flagged_and_the_box_decides(tmp_path):
    row = {**ANNA, "Tumor Location": "R", "Position": "R 10"}
    found = films(plan(tmp_path, study(), {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(row)}))
    assert found["Breast_MRI_001/L/sub1_mip"].pathology is Pathology.MALIGNANT
    assert {film.flags for film in found.values()} == {(QualityFlag.LATERALITY_CONFLICT,)}


@pytest.mark.parametrize(
    ("annotated", "location", "position", "flagged"),
    [
        ("L", "R", "R 1", False),  # bilateral: the annotated side counts first
        ("NC", None, "L 2", False),
        ("NC", None, " R 10 ", True),
        ("NC", None, "L 12, R 330", False),  # names both
        ("NP", "R", "L 2", True),
    ],
)
def test_the_recorded_side_is_annotated_then_location_then_position(
    tmp_path, annotated, location, position, flagged
):
    row = {**ANNA, "Side Annotated": annotated, "Tumor Location": location, "Position": position}
    found = films(plan(tmp_path, study(), {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(row)}))
    assert all(bool(film.flags) == flagged for film in found.values())


def test_a_header_that_puts_the_box_into_the_other_breast_is_flagged(tmp_path):
    film = films(plan(tmp_path, study()))["Breast_MRI_001/L/sub1_mip"]
    good = {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "Columns": "448", "PatientAge": "050Y"}
    assert duke_mri.resolve(film, good) == film
    turned = {**good, "ImageOrientationPatient": "-1\\0\\0\\0\\-1\\0"}
    assert duke_mri.resolve(film, turned).flags == (QualityFlag.LATERALITY_CONFLICT,)
    blank = replace(film, age=None, manufacturer=None, model=None)
    filled = duke_mri.resolve(blank, {**good, "Manufacturer": "SIEMENS"})
    assert (filled.age, filled.manufacturer, filled.model) == (50, "SIEMENS", None)


# ---- phases


def folders(items):
    return {ref.path.split("/")[-2] for film in films(items).values() for ref in film.files}


@pytest.mark.parametrize(
    ("series", "chosen"),
    [
        (
            {"2": "ax t1 pre", "500": "Ax Vibrant MultiPhase", "501": "Ph1/Ax Vibrant MultiPhase"},
            {"500", "501"},
        ),
        (
            {"3": "t1_fl3d_tra_dynVIEWS_spair_ pre", "4": "t1_fl3d_tra_dynVIEWS_spair 1st pass"},
            {"3", "4"},
        ),
        (
            {"7": "ax dyn", "8": "ax dyn", "11": "ax dyn", "13": "ax dyn", "15": "ax dyn"},
            {"7", "8"},
        ),
        ({"600": "ax dynamic", "700": "ax dynamic", "702": "Ph2/ax dynamic"}, {"600", "700"}),
        ({"9": "1st ax dyn", "6": "ax 3d pre", "12": "2nd ax dyn"}, {"6", "9"}),
        ({"6": "ax dyn pre", "10": "ax dyn 1st pas"}, {"6", "10"}),
    ],
)
def test_phases_are_the_first_two_dynamic_series_by_number(tmp_path, series, chosen):
    found = folders(plan(tmp_path, study(series=series)))
    assert {name.partition(".")[0] for name in found} == chosen


@pytest.mark.parametrize(
    "series",
    [
        {"5": "ax dyn 1st pass", "8": "ax dyn 2nd pass"},  # no pre
        {"3": "ax dyn pre", "8": "ax dyn 2nd pass"},  # no first pass
        {"3": "ax dyn pre"},
        {"600": "ax dynamic", "702": "Ph2/ax dynamic", "703": "Ph3/ax dynamic"},
        {"2": "ax t1"},
        {},
    ],
)
def test_a_missing_phase_makes_the_patient_absent(tmp_path, series):
    items = plan(tmp_path, study(series=series))
    assert len(items) == 4
    assert all(isinstance(item, Absent) for item in items)


def test_the_patient_without_first_pass_has_the_second(tmp_path):
    """Breast_MRI_700 has pre, 2nd and 3rd pass only (index of the Imaging Data Commons)."""
    patient = "Breast_MRI_700"
    series = {"5": "ax dyn pre", "9": "ax dyn 2nd pass", "12": "ax dyn 3rd pass"}
    row = {**ANNA, "Patient ID": patient}
    tables = {BOXES: boxes([patient, *SPEC_ROWS[0][1:]]), CLINICAL: clinical(row)}
    found = folders(plan(tmp_path, study(patient, series), tables))
    assert {name.partition(".")[0] for name in found} == {"5", "9"}


def test_an_unnumbered_patient_with_a_series_missing_is_absent(tmp_path):
    """Five series of Breast_MRI_120 are called `ax dyn`: of four, nobody knows which is missing."""
    patient = "Breast_MRI_120"
    tables = {
        BOXES: boxes([patient, *SPEC_ROWS[0][1:]]),
        CLINICAL: clinical({**ANNA, "Patient ID": patient}),
    }
    series = dict.fromkeys(("8", "11", "13", "15"), "ax dyn")
    items = plan(tmp_path, study(patient, series), tables)
    assert [type(item) for item in items] == [Absent] * 4


def test_segmentations_are_no_phase_and_unknown_series_are_rejected(tmp_path):
    seg = Entry(STUDY.format("Breast_MRI_001") + "/300.000000-Segmentation-1/1-1.dcm", 5)
    assert len(films(plan(tmp_path, [*study(), seg]))) == 4
    odd = study(series={**PASSES, "9": "sag t2"})
    told = rejects(plan(tmp_path, odd))
    assert [(one.reason, one.stage) for one in told] == [(RejectReason.UNKNOWN_WORD, "plan")] * 4
    assert "'sag t2'" in told[0].detail


def test_a_second_copy_of_a_series_is_a_duplicate(tmp_path):
    again = [Entry(f"backup/{entry.path}", entry.size) for entry in study()]
    items = plan(tmp_path, [*study(), *again])
    assert len(films(items)) == 4
    told = rejects(items)
    assert Counter(one.reason for one in told) == {RejectReason.DUPLICATE_FILE: 3}
    assert len({one.film_key for one in told}) == 3


# ---- slices


@pytest.mark.parametrize("digits", [2, 3])
def test_names_of_two_or_three_digits_are_the_same_numbers(tmp_path, digits):
    tables = {BOXES: boxes(["Breast_MRI_001", 1, 9, 300, 310, 5, 9]), CLINICAL: clinical(ANNA)}
    found = films(plan(tmp_path, study(count=26, digits=digits), tables))
    assert {(ref.first, ref.last) for film in found.values() for ref in film.files} == {(1, 26)}


@pytest.mark.parametrize("gone", ["1-001", "1-080", "1-160", "1-159"])
def test_a_phase_that_lacks_a_slice_makes_the_patient_absent(tmp_path, gone):
    entries = [e for e in study() if not (f"/{gone}.dcm" in e.path and "1st pass" in e.path)]
    assert len(absent(plan(tmp_path, entries))) == 4


def test_a_phase_that_ends_before_the_box_makes_the_patient_absent(tmp_path):
    assert len(absent(plan(tmp_path, study(count=111)))) == 4
    assert len(films(plan(tmp_path, study(count=112)))) == 4


# ---- the other layouts


def as_classic(entries):
    """Move descriptive folders to UIDs; return entries and what headers say of each series."""
    moved, headers = [], {}
    for entry in entries:
        *root, _, folder, name = entry.path.split("/")
        number, _, rest = folder.partition(".000000-")
        path = f"{'/'.join(root)}/1.3.6.1.4.1.14519.5.2.1.1/1.3.6.1.4.1.14519.5.2.1.{number}/{name}"
        moved.append(Entry(path, entry.size))
        headers[path] = {
            "PatientID": root[-1],
            "SeriesNumber": number,
            "SeriesDescription": rest.rpartition("-")[0],
            "Modality": "MR",
            "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
            "Columns": "448",
        }
    return moved, headers


def as_bucket(entries):
    moved, headers = as_classic(entries)
    out, said = [], {}
    for number, entry in enumerate(moved):
        series = entry.path.split("/")[-2].rpartition(".")[2]
        path = f"{int(series):08x}-c445-478e-b2a8-5aca15f372ab/{(number * 7919) % 99991:08x}-e.dcm"
        out.append(Entry(path, entry.size))
        said[path] = headers[entry.path]
    return out, said


def without_files(film):
    return replace(film, files=(FileRef(role="image", path="x", size=1),))


@pytest.mark.parametrize("move", [as_classic, as_bucket])
def test_layouts_of_uids_plan_the_same_from_one_header_a_series(tmp_path, move):
    described = films(plan(tmp_path, study()))
    entries, headers = move(study())
    release = copy(tmp_path, entries)
    asked = duke_mri.files_to_index(release)
    assert len(asked) == len(PASSES)
    index = HeaderIndex({path: headers[path] for path in asked})
    found = films(planned(source("duke_mri"), release, index))
    assert {key: without_files(film) for key, film in found.items()} == {
        key: without_files(film) for key, film in described.items()
    }
    sizes = {(ref.role, ref.size, ref.first, ref.last) for f in found.values() for ref in f.files}
    assert sizes == {("pre", 160_000, 1, 160), ("post", 160_000, 1, 160)}


def test_a_seg_series_of_a_bucket_is_told_by_modality(tmp_path):
    entries, headers = as_bucket(study())
    seg = Entry("ffffffff-c445-478e-b2a8-5aca15f372ab/00000000-e.dcm", 10)
    headers[seg.path] = {"PatientID": "Breast_MRI_001", "Modality": "SEG", "SeriesNumber": "4"}
    release = copy(tmp_path, [*entries, seg])
    assert seg.path in duke_mri.files_to_index(release)
    assert len(films(planned(source("duke_mri"), release, HeaderIndex(headers)))) == 4


def test_without_clinical_table_the_side_comes_from_headers(tmp_path):
    release = copy(tmp_path, study(), {BOXES: boxes(SPEC_ROWS[0])})
    asked = duke_mri.files_to_index(release)
    assert len(asked) == 4
    turned = {"ImageOrientationPatient": "-1\\0\\0\\0\\-1\\0", "Columns": "448"}
    found = films(planned(source("duke_mri"), release, HeaderIndex(dict.fromkeys(asked, turned))))
    assert found["Breast_MRI_001/R/sub1_mip"].pathology is Pathology.MALIGNANT
    assert found["Breast_MRI_001/R/sub1_mip"].annotation is Annotation.PARTIAL
    told = rejects(planned(source("duke_mri"), release))
    assert {one.reason for one in told} == {RejectReason.BAD_ROW}
    assert "nothing tells the side" in told[0].detail


# ---- the mapping of paths


def mapping(entries, number=lambda slice_, count: slice_):
    """Return the mapping of classic entries; file `number(slice)` holds the slice."""
    names = {"3": "pre", "5": "post1", "8": "post_2", "26": "T1"}
    rows = []
    for entry in entries:
        *_, patient, study_uid, series, _ = entry.path.split("/")
        slice_ = int(entry.path[-7:-4])
        sequence = names[series.rpartition(".")[2]]
        classic = f"D/{patient}/{study_uid}/{series}/1-{number(slice_, 160):03d}.dcm"
        original = f"DICOM_Images/{patient}/{sequence}/{patient}_{sequence}_{slice_}.dcm"
        rows.append([original, classic, f"D/{patient}//odd/1-{slice_:03d}.dcm"])
    return [list(MAPPING_TITLES), *rows]


def with_mapping(tmp_path, rows, *, as_csv=False):
    entries, _ = as_classic(study())
    tables = {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(ANNA)}
    if as_csv:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        tables[MAPPING.replace("xlsx", "csv")] = text.getvalue().encode()
    else:
        tables[MAPPING] = workbook({"Sheet1": rows})
    return copy(tmp_path, entries, tables)


@pytest.mark.parametrize("as_csv", [False, True])
def test_the_mapping_names_phases_and_no_header_is_needed(tmp_path, as_csv):
    rows = mapping(as_classic(study())[0])
    release = with_mapping(tmp_path, rows, as_csv=as_csv)
    assert duke_mri.files_to_index(release) == ()
    found = films(planned(source("duke_mri"), release))
    check_both_kinds(found, "Breast_MRI_001", "L", (307, 233, 341, 271), (88, 111), 99)
    assert {path.rpartition(".")[2] for path in folders(found.values())} == {"3", "5"}


def test_a_mapping_that_counts_from_the_other_end_turns_the_box_round(tmp_path):
    rows = mapping(as_classic(study())[0], lambda slice_, count: count + 1 - slice_)
    release = with_mapping(tmp_path, rows)
    found = films(planned(source("duke_mri"), release))
    check_both_kinds(found, "Breast_MRI_001", "L", (307, 233, 341, 271), (48, 71), 59)
    said = [remark.what for remark in duke_mri.verify(release, HeaderIndex())]
    assert any("run the other way in 4" in what for what in said)


def test_a_mapping_without_order_rejects_the_patient(tmp_path):
    rows = mapping(as_classic(study())[0], lambda slice_, count: slice_ * 7 % 161)
    told = rejects(planned(source("duke_mri"), with_mapping(tmp_path, rows)))
    assert {one.reason for one in told} == {RejectReason.BAD_ROW}


# ---- copies of tables


def test_rows_that_stand_twelve_times_and_extra_columns_do_not_count(tmp_path):
    row = [*SPEC_ROWS[0], "=B2-A2"]
    table = boxes(*[row] * 12, titles=(*BOX_TITLES, "height"))
    release = copy(tmp_path, study(), {BOXES: table, CLINICAL: clinical(ANNA)})
    assert len(films(planned(source("duke_mri"), release))) == 4
    said = [remark.what for remark in duke_mri.verify(release, HeaderIndex())]
    assert any("12 rows for 1 patients" in what for what in said)


def test_a_patient_with_two_boxes_is_rejected(tmp_path):
    other = [*SPEC_ROWS[0][:6], 113]
    tables = {BOXES: boxes(SPEC_ROWS[0], other), CLINICAL: clinical(ANNA)}
    told = rejects(plan(tmp_path, study(), tables))
    assert len(told) == 4
    assert "row 2 of Annotation_Boxes.xlsx gives Breast_MRI_001 another box" in told[0].detail


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["Breast_MRI_001", 271, 234, 308, 341, 89, 112], "ends before it starts"),
        (["Breast_MRI_001", 0, 234, 308, 341, 89, 112], "ends before it starts"),
        (["Breast_MRI_001", "x", 271, 308, 341, 89, 112], "no whole number"),
        (["Breast_MRI_001", None, 271, 308, 341, 89, 112], "no whole number"),
    ],
)
def test_a_box_that_cannot_be_one_is_rejected(tmp_path, row, words):
    told = rejects(plan(tmp_path, study(), {BOXES: boxes(row), CLINICAL: clinical(ANNA)}))
    assert [one.reason for one in told] == [RejectReason.BAD_ROW] * 4
    assert re.search(words, told[0].detail)


def test_rows_and_patients_without_their_partner_are_not_lost(tmp_path):
    tables = {BOXES: boxes(["P1", 1, 2, 3, 4, 5, 6], SPEC_ROWS[1]), CLINICAL: clinical(ANNA)}
    items = plan(tmp_path, study(), tables)
    told = rejects(items)
    assert [one.reason for one in told] == [
        RejectReason.BAD_ROW,
        *[RejectReason.NO_TABLE_ROW] * 4,
    ]
    assert {item.split_key for item in absent(items)} == {"Breast_MRI_002"}


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ("Columns", 7),
        ("Manufacturer", 9),
        ("Tumor Location", "X"),
        ("Bilateral Information", "maybe"),
        ("Contralateral Breast Involvement", 2),
        ("Multicentric/Multifocal", "many"),
        ("Breast Density", 6),
    ],
)
def test_an_unknown_word_rejects_the_patient_naming_it(tmp_path, column, word):
    row = {**ANNA, column: word}
    tables = {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(row)}
    told = rejects(plan(tmp_path, study(), tables))
    assert [one.reason for one in told] == [RejectReason.UNKNOWN_WORD] * 4
    assert f"has {column} '{word}'" in told[0].detail


def test_the_copy_of_55_columns_is_refused(tmp_path):
    kept = [name for name in TITLES if title(name) != "Bilateral Information"][:55]
    tables = {BOXES: boxes(SPEC_ROWS[0]), CLINICAL: clinical(ANNA, titles=kept)}
    with pytest.raises(MammoError, match=r"has 55 columns.*has 97: this is a changed copy"):
        plan(tmp_path, study(), tables)


def test_without_boxes_nothing_can_be_planned(tmp_path):
    with pytest.raises(MammoError, match="no Annotation_Boxes"):
        plan(tmp_path, study(), {CLINICAL: clinical(ANNA)})


def test_a_clinical_table_saved_as_csv_reads_the_same(tmp_path):
    from_xlsx = plan(tmp_path, study())
    book = openpyxl.load_workbook(io.BytesIO(clinical(ANNA)), read_only=True)
    text = io.StringIO()
    rows = [[*row, *[None] * 97][:97] for row in book["Data"].iter_rows(values_only=True)]
    csv.writer(text).writerows(rows)
    (tmp_path / CLINICAL).unlink()
    tables = {BOXES: boxes(SPEC_ROWS[0]), CLINICAL.replace("xlsx", "csv"): text.getvalue().encode()}
    assert plan(tmp_path, study(), tables) == from_xlsx


# ---- real tables


@pytest.fixture(scope="module")
def real(shared):
    folder = shared / "data/tables/duke-mri"
    if not folder.is_dir():
        pytest.skip("needs the real tables of Duke's MRI")
    return folder


@pytest.fixture(scope="module")
def clinical_rows(real):
    """All lines of the real sheet: titles are the second, patients begin with the fourth."""
    book = openpyxl.load_workbook(real / CLINICAL, read_only=True)
    return list(book["Data"].iter_rows(values_only=True))


@pytest.fixture(scope="module")
def idc_series(real):
    with gzip.open(real / "idc_series.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(real, idc_series):
    """The real tables and a listing of every series with its true count of slices."""
    entries = [Entry(name, (real / name).stat().st_size) for name in (BOXES, CLINICAL)]
    for row in idc_series:
        if row["analysis_result_id"]:
            continue
        described = row["SeriesDescription"].replace("/", "")
        folder = (
            f"{row['PatientID']}/01-01-1990-NA-x-{row['StudyInstanceUID'][-5:]}/"
            f"{row['SeriesNumber']}.000000-{described}-{row['SeriesInstanceUID'][-5:]}"
        )
        entries += slices(folder, int(row["instanceCount"]), 1)
    release = Release(root=str(real), entries=tuple(entries))
    return release, planned(source("duke_mri"), release)


def test_phases_of_the_real_series_are_counted_as_in_the_specification(idc_series):
    counts = Counter()
    by_patient = defaultdict(list)
    for row in idc_series:
        if row["Modality"] == "MR":
            told = words.phase_of(row["SeriesDescription"])
            assert told is not None, row["SeriesDescription"]
            if told == "T1":
                counts["T1"] += 1
            else:
                by_patient[row["PatientID"]].append(int(row["SeriesNumber"]))
    for numbers in by_patient.values():
        counts.update(range(len(numbers)))
    assert counts == {"T1": 922, 0: 922, 1: 922, 2: 922, 3: 913, 4: 433}


def test_all_real_patients_are_planned_from_both_tables(whole, real):
    _, items = whole
    found = films(items)
    assert len(items) == len(found) == 4 * 922
    sheet = openpyxl.load_workbook(real / BOXES, read_only=True).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))[1:]
    malignant = {
        film.patient_key: film
        for film in found.values()
        if film.pathology is Pathology.MALIGNANT and film.frame_kind is FrameKind.SLICE
    }
    assert Counter(film.pathology for film in found.values()) == {
        Pathology.MALIGNANT: 1844,
        Pathology.UNKNOWN: 1844,
    }
    assert Counter(film.laterality for film in malignant.values()) == {
        Laterality.R: 465,
        Laterality.L: 457,
    }
    for patient, top, bottom, left, right, first, last in rows:
        (lesion,) = malignant[patient].lesions
        assert lesion.geometry.values == (left - 1, top - 1, right, bottom)
        assert (lesion.slice_first, lesion.slice_last) == (first - 1, last - 1)
        assert lesion.slice_first <= malignant[patient].frame <= lesion.slice_last
    assert sum(film.lesions[0].geometry.values[1] + 1 for film in malignant.values()) == 229_689


def test_the_four_patients_whose_box_lies_elsewhere_are_flagged(whole, clinical_rows):
    recorded = {row[0] for row in clinical_rows[3:] if row[36] in ("L", "R")}
    _, items = whole
    flagged = {film.patient_key for film in films(items).values() if film.flags}
    numbers = {"050", "088", "546", "558"}
    assert len(recorded) == 651
    assert flagged & recorded == {f"Breast_MRI_{number}" for number in numbers}


def test_words_of_the_real_table_are_known_and_counted(clinical_rows):
    rows = clinical_rows
    titles = [title(name or "") for name in rows[1]]
    for item in words.WORDS:
        if item.column in titles:
            cells = Counter(str(row[titles.index(item.column)]) for row in rows[3:])
            cells = {word: n for word, n in cells.items() if word not in ("None", "NA")}
            assert dict(item.counts) == cells, item.column
            assert set(cells) <= set(item.words)


def test_verify_says_that_the_real_tables_are_the_published_ones(whole):
    release, _ = whole
    remarks = list(duke_mri.verify(release, HeaderIndex()))
    assert [remark.what for remark in remarks if not remark.ok] == []
    said = " | ".join(remark.what for remark in remarks)
    assert "922 of 922 boxes, sums as published" in said
    assert "in 647 of 651" in said
    assert "773126 of 773126 slices" in said


def test_a_copy_of_one_file_in_a_hundred_is_absent(whole):
    release, _ = whole
    tables = [entry for entry in release.entries if "/" not in entry.path]
    few = [entry for entry in release.entries[2::100] if entry not in tables]
    items = planned(source("duke_mri"), Release(root=release.root, entries=(*tables, *few)))
    assert len(items) == 4 * 922
    assert all(isinstance(item, Absent) for item in items)


# ---- phantoms in every layout


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("duke")
    truth = phantoms.write(root, ["duke_mri"], patients=8, seed=2, slices=6)["duke_mri"]
    return Release.open(str(root / "duke_mri")), truth


def test_the_phantom_plans_as_it_was_drawn(drawn):
    release, truth = drawn
    assert duke_mri.files_to_index(release) == ()
    items = planned(source("duke_mri"), release)
    assert not any(isinstance(item, Reject) for item in items)
    found = films(items)
    assert {item.film_key for item in absent(items)} == {
        film.film_key for film in truth.expected("absent")
    }
    for film in truth.films:
        if film.expect == "absent":
            continue
        one = found[film.film_key]
        told = [one.laterality, one.pathology, one.label_basis, one.annotation, one.frame, one.age]
        assert told == [
            *(film.side, film.pathology, film.label_basis),
            *(film.annotation, film.frame, film.age),
        ]
        assert [list(lesion.geometry.values) for lesion in one.lesions] == [
            lesion.outline["values"] for lesion in film.lesions
        ]
        assert [flag.value for flag in one.flags] == film.flags
        assert (one.raw.density, one.density) == (film.density, film.density_letter)
