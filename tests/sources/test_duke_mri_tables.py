"""Duke Breast Cancer MRI: copies of its tables, and the real ones.

The real tables are read by openpyxl and csv here.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter, defaultdict

import openpyxl
import pytest

from etl.phantoms.duke_tables import BOX_TITLES, TITLES
from etl.sources import duke_mri, source
from etl.sources.duke_mri import words
from schemas.errors import MammoError
from schemas.rejects import Absent, RejectReason
from schemas.release import HeaderIndex, Release
from schemas.store import Entry
from schemas.vocabulary import FrameKind, Laterality, Pathology
from tests.sources.copies import absent, films, planned, rejects
from tests.sources.duke_copies import (
    ANNA,
    BOXES,
    CLINICAL,
    SPEC_ROWS,
    boxes,
    clinical,
    copy,
    plan,
    slices,
    study,
    title,
)

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
