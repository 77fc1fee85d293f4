"""Finding a series' files by UID, tails, metadata.csv and header."""

from __future__ import annotations

import re

import pytest

from etl.readers.series import SeriesFiles, listed_folders
from schemas.release import HeaderIndex, Release
from schemas.store import Entry

STUDY, SERIES = "1.3.6.1.4.1.9590.100.1.2.40928", "1.3.6.1.4.1.9590.100.1.2.41226"
OTHER = "1.3.6.1.4.1.9590.100.1.2.99999"
PATIENT = re.compile(r"P\d")
NBIA = f"""Series UID,Collection,Subject ID,Study UID,Number of Images,File Location
{SERIES},C,P1,{STUDY},2,.\\C\\odd name\\x
"""


def series(*paths: str, index=None, folders=None) -> SeriesFiles:
    return SeriesFiles([Entry(path, 1) for path in paths], PATIENT, index, folders)


def found(files: SeriesFiles) -> list[list[str]]:
    return [[entry.path for entry in copy] for copy in files.find("P1", STUDY, SERIES)]


@pytest.mark.parametrize(
    "folder",
    [
        f"P1/{STUDY}/{SERIES}",
        f"any/{SERIES}",
        f"C/P1/10-04-2016-DDSM-{STUDY[-5:]}/1.000000-ROI mask images-{SERIES[-5:]}",
        f"P1/{STUDY}",
        "P1",
        "P1/whatever/deeper",
    ],
)
def test_a_folder_s_name_places_its_files_in_natural_order(folder):
    paths = [f"{folder}/1-{number}.dcm" for number in (10, 2, 1)]
    assert found(series(*paths, f"P2/{OTHER}/1-1.dcm")) == [
        [f"{folder}/1-{number}.dcm" for number in (1, 2, 10)]
    ]


@pytest.mark.parametrize(
    "path", [f"c/P1/{STUDY}/MG_{SERIES}/5f0c-11.dcm", f"flat/{SERIES}.dcm", f"P2/{SERIES}.dcm"]
)
def test_a_prefix_before_the_uid_or_the_file_s_own_name_places_it_too(path):
    assert found(series(path, f"P1/{OTHER}/1.dcm")) == [[path]]


def test_a_study_of_several_series_stands_for_none_of_them():
    files = series(f"P1/{STUDY}/MG_{OTHER}/1.dcm")
    assert files.find("P1", STUDY, SERIES, alone=False) == ()


def test_equal_tails_of_another_patient_are_another_series():
    tail = f"10-04-2016-D-{STUDY[-5:]}/1.000000-x-{SERIES[-5:]}/1-1.dcm"
    assert found(series(f"P2/{tail}")) == []


def test_copies_in_two_folders_are_two_copies_with_dicom_first():
    assert found(series(f"a/{SERIES}/1.jpg", f"b/{SERIES}/1.png", f"c/{SERIES}/1.dcm")) == [
        *([f"c/{SERIES}/1.dcm"], [f"b/{SERIES}/1.png"], [f"a/{SERIES}/1.jpg"]),
    ]


def test_conversions_beside_their_dicom_are_left_out():
    assert found(series(f"{SERIES}/1.dcm", f"{SERIES}/1.jpg")) == [[f"{SERIES}/1.dcm"]]


def test_other_files_are_no_images():
    names = ("LICENSE", "index.html", "1.xml", "._1-1.dcm", "a.csv")
    assert found(series(*(f"{SERIES}/{name}" for name in names))) == []


def test_a_header_overrules_the_folder():
    index = HeaderIndex({f"{OTHER}/1.dcm": {"SeriesInstanceUID": SERIES, "PatientID": "P1"}})
    assert found(series(f"{OTHER}/1.dcm", index=index)) == [[f"{OTHER}/1.dcm"]]


def test_only_files_without_any_name_need_their_header():
    files = series("x/1-1.dcm", "00000001", f"{SERIES}/1.dcm", "P1/1.dcm", "y/1.jpg", "README")
    assert [entry.path for entry in files.unnamed()] == ["x/1-1.dcm", "00000001"]


@pytest.mark.parametrize("above", ["", "moved/to/here/"])
def test_a_metadata_csv_names_folders_wherever_they_were_moved(tmp_path, above):
    (tmp_path / "metadata.csv").write_text(NBIA)
    release = Release(root=str(tmp_path), entries=(Entry("metadata.csv", len(NBIA)),))
    path = f"{above}C/odd name/x/1-1.dcm"
    assert found(series(path, folders=listed_folders(release))) == [[path]]


def test_a_metadata_csv_of_something_else_lists_nothing(tmp_path):
    (tmp_path / "metadata.csv").write_text("a,b\n1,2\n")
    release = Release(root=str(tmp_path), entries=(Entry("metadata.csv", 8),))
    assert listed_folders(release) == {}
