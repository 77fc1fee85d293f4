"""Duke Breast Cancer MRI: golden rows, sides, phases and slices.

Truth is the specification's printed rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from etl.sources import duke_mri
from schemas.film import FileRef
from schemas.rejects import Absent, RejectReason
from schemas.store import Entry
from schemas.vocabulary import Annotation, Pathology, QualityFlag
from tests.sources.copies import absent, films, rejects
from tests.sources.duke_copies import (
    ANNA,
    BERTA,
    BOXES,
    CLARA,
    CLINICAL,
    PASSES,
    SPEC_ROWS,
    STUDY,
    boxes,
    check_both_kinds,
    clinical,
    folders,
    plan,
    study,
)

# ---- golden rows


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
