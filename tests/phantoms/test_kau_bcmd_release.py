"""The phantom KAU-BCMD against its published layout, read here by the simplest means."""

from __future__ import annotations

import hashlib
import re

import cv2
import numpy as np
import openpyxl
import pydicom
import pytest

from etl.phantoms import kau_bcmd
from etl.phantoms.truth import load_mask
from schemas.errors import UsageError

NAME = re.compile(r"^(\d{4})_(BC\d+)_ (CC|MLO)_([LR])\.jpg$")
FOLDERS = {"1": "BIRAD1/b1", "3": "Birad3/b3", "4": "Birad4/b4", "5": "Birad5/Birad5"}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "kau_bcmd"
    return root, kau_bcmd.write(root, 8, 5, side_px=320)


def films(truth):
    return [film for film in truth.films if film.birads]


def test_titles_are_those_of_the_specification_byte_for_byte(release, shared):
    root, _ = release
    real = shared / "data/tables/kau-bcmd/SYNTHETIC_correctSheetlast.xlsx"
    books = [openpyxl.load_workbook(x) for x in (root / "archive/correctSheetlast.xlsx", real)]
    assert books[0].sheetnames == books[1].sheetnames == ["tabel ", "correctSheet"]
    first = [[cell.value for cell in book["correctSheet"][1]] for book in books]
    assert first[0] == first[1]


def test_films_lie_in_the_folder_of_their_category_under_a_name_with_a_blank(release):
    root, truth = release
    for film in films(truth):
        if film.expect == "absent":
            assert not (root / film.path).exists()
            continue
        folder, _, name = film.path.rpartition("/")
        year, patient, view, side = NAME.match(name).groups()
        assert folder == f"archive/{FOLDERS[film.birads]}"
        assert (patient, view, side) == (film.patient, film.view, film.side)
        assert film.exam == f"{year}_{patient}"


def test_films_are_8_bits_within_a_black_border(release):
    root, truth = release
    channels = set()
    for film in truth.expected("sample"):
        image = cv2.imread(str(root / film.path), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == (film.rows, film.columns)
        channels.add(image.ndim)
        grey = image if image.ndim == 2 else image[..., 0]
        border = np.concatenate([grey[:8].ravel(), grey[-8:].ravel(), grey[:, :8].ravel()])
        assert border.max() <= 8
        breast = load_mask(root, film.breast_mask)
        assert grey[breast].mean() > 60
    assert channels == {2, 3}


@pytest.mark.parametrize(
    ("trap", "count"),
    [
        *[("rgb", 1), ("row_twice", 1), ("two_folders", 4), ("says:BIRAD 4", 1), ("says:nan", 1)],
        *[("no_row", 2), ("landscape", 1), ("two_densities", 1), ("other_side", 1)],
        *[("foreign", 1), ("empty_path", 1), ("absent", 1), ("truncated", 1)],
        ("unknown_density", 1),
    ],
)
def test_each_trap_is_there(release, trap, count):
    _, truth = release
    assert sum(trap in film.traps for film in truth.films) == count


def test_a_patient_was_seen_in_two_years_and_one_picture_is_wide(release):
    _, truth = release
    exams = {}
    for film in films(truth):
        exams.setdefault(film.patient, set()).add(film.exam)
    assert sorted(len(found) for found in exams.values()) == [1] * 7 + [2]
    assert sum(film.columns > 1.3 * film.rows for film in films(truth)) == 1


def test_rejects_have_their_reasons(release):
    _, truth = release
    reasons = sorted(film.reason for film in truth.expected("reject"))
    assert reasons == [
        *("bad_row", "duplicate_file", "duplicate_file", "no_table_row", "truncated"),
        "unknown_word",
    ]


def test_the_dicom_edition_has_doubled_folders_and_no_blank_in_names(tmp_path):
    truth = kau_bcmd.write(tmp_path / "k", 1, 5, layout="C", side_px=320)
    for film in films(truth):
        assert re.fullmatch(r"BIRAD 1/BIRAD 1/\d{4}_BC\d+_(CC|MLO)_[LR]\.dcm", film.path)
        data = pydicom.dcmread(tmp_path / "k" / film.path)
        assert (data.Rows, data.Columns, data.BitsStored) == (film.rows, film.columns, 12)
        assert film.flags == []


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_more_patients_begin_with_the_files_of_fewer(release, tmp_path):
    root, _ = release
    kau_bcmd.write(tmp_path / "kau_bcmd", 2, 5, side_px=320)
    few, many = digests(tmp_path / "kau_bcmd"), digests(root)
    pictures = [name for name in few if name.endswith(".jpg")]
    assert {name: few[name] for name in pictures} == {name: many[name] for name in pictures}
    kau_bcmd.write(tmp_path / "again", 2, 5, side_px=320)
    assert digests(tmp_path / "again") == few


def test_a_clean_release_has_no_trap(tmp_path):
    truth = kau_bcmd.write(tmp_path / "k", 2, 5, traps=False, side_px=320)
    assert not any(film.traps for film in truth.films)
    assert {film.expect for film in truth.films} == {"sample"}
    assert {tuple(film.flags) for film in truth.films} == {("lossy",)}


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(UsageError, match="KAU-BCMD has no layout 'Z'; there are A, B, C"):
        kau_bcmd.write(tmp_path / "k", 1, layout="Z")
