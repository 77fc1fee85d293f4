"""Duke Breast Cancer MRI in its other layouts: series by UID, public buckets, the mapping of paths.

The descriptive layout is the truth of the others.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from etl import phantoms
from etl.phantoms.duke_tables import MAPPING_TITLES
from etl.phantoms.workbook import workbook
from etl.sources import duke_mri, source
from schemas.film import FileRef
from schemas.rejects import Reject, RejectReason
from schemas.release import HeaderIndex, Release
from schemas.store import Entry
from schemas.vocabulary import Annotation, Pathology
from tests.sources.copies import absent, films, planned, rejects
from tests.sources.duke_copies import (
    ANNA,
    BOXES,
    CLINICAL,
    MAPPING,
    PASSES,
    SPEC_ROWS,
    boxes,
    check_both_kinds,
    clinical,
    copy,
    folders,
    plan,
    study,
)

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
