"""The phantom CMMD release against its published layout, read here by the simplest means."""

from __future__ import annotations

import csv
import hashlib
import io
import json

import numpy as np
import openpyxl
import pydicom
import pytest

from etl.phantoms import cmmd
from etl.phantoms.truth import Truth, load_mask
from tests.phantoms.conftest import SEED

SMALL = {"scale": 0.15}
META = "manifest-1649260258000"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "cmmd"
    return root, cmmd.write(root, 8, SEED, **SMALL)


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def readable(truth):
    return truth.expected("sample")


def test_titles_are_those_of_the_real_tables(release, shared, tmp_path):
    root, _ = release
    real = shared / "data/tables/cmmd"
    mine, theirs = (folder / "metadata.csv" for folder in (root / META, real))
    assert mine.read_bytes().split(b"\n")[0] == theirs.read_bytes().split(b"\n")[0]
    cmmd.write(tmp_path / "c", 1, SEED, table="csv", **SMALL)
    name = "CMMD_clinicaldata_revision.csv"
    assert (tmp_path / "c" / name).read_bytes().split(b"\n")[0] == (
        (real / name).read_bytes().split(b"\n")[0]
    )
    books = [
        openpyxl.load_workbook(folder / "CMMD_clinicaldata_revision.xlsx")
        for folder in (root, real)
    ]
    first = [[cell.value for cell in book["Sheet1"][1]] for book in books]
    assert first[0] == first[1]
    assert [book.sheetnames for book in books] == [["Sheet1"], ["Sheet1"]]


def test_side_and_view_stand_in_the_headers_alone(release):
    root, truth = release
    for film in readable(truth):
        data = pydicom.dcmread(root / film.path)
        assert data.PatientID == film.patient
        assert data.ImageLaterality == film.side
        assert data.ViewPosition == ""
        assert (
            data.ViewCodeSequence[0].CodeMeaning
            == {
                "CC": "cranio-caudal",
                "MLO": "medio-lateral oblique",
            }[film.view]
        )
        assert film.side not in film.path.rsplit("/", 1)[-1]
        assert "PixelSpacing" not in data
        assert data.pixel_array.shape == (film.rows, film.columns)
        assert data.BitsStored == (16 if "16 bits" in film.traps else 8)


def test_file_numbers_are_in_no_order_of_side_and_view(release):
    _, truth = release
    orders = {
        tuple(f"{film.side}{film.view}" for film in truth.films if film.patient == patient)
        for patient in {film.patient for film in truth.films}
    }
    assert len({order for order in orders if len(order) == 4}) > 1


def test_twins_have_the_same_pixels_and_another_header(release):
    root, truth = release
    films = {film.film_key: film for film in truth.films}
    pairs = [(film, films[film.twin_of]) for film in truth.films if film.twin_of]
    assert len(pairs) == 10
    for film, other in pairs:
        mine, theirs = (pydicom.dcmread(root / one.path) for one in (film, other))
        assert np.array_equal(mine.pixel_array, theirs.pixel_array)
        assert mine.PatientID != theirs.PatientID


def test_outlines_run_along_the_drawn_lesion_in_whole_pixels(release):
    root, truth = release
    checked = 0
    for film in truth.films:
        shown = {"L": "R", "R": "L"}[film.side] if "wrong side" in film.traps else film.side
        path = root / f"TOMPEI-CMMD_v01_20250123/{film.patient}_MLO_{shown}_AnnotationFile.json"
        if film.view == "CC" or not path.exists():
            assert not any(lesion.outline for lesion in film.lesions)
            continue
        outlined = [lesion for lesion in film.lesions if lesion.outline]
        for item, lesion in zip(json.loads(path.read_text()), outlined, strict=True):
            mask = load_mask(root, lesion.mask)
            clicks = [(at["x"], at["y"]) for at in item["cgPoints"]]
            assert all(isinstance(x, int) and mask[y, x] for x, y in clicks)
            assert clicks[0] != clicks[-1]
            assert lesion.outline == {"rings": [[[x + 0.5, y + 0.5] for x, y in clicks]]}
            checked += 1
    assert checked >= 10


def test_a_picture_under_the_wrong_side_hangs_as_the_other_breast(release):
    root, truth = release
    for film in truth.films:
        breast = load_mask(root, film.breast_mask)
        left = breast[:, 0].sum() > breast[:, -1].sum()
        assert left == ((film.side == "L") != ("wrong side" in film.traps)), film.film_key


def test_metadata_lists_the_folders_with_windows_separators(release):
    root, truth = release
    text = (root / META / "metadata.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["Number of Images"]) for row in rows) == len(truth.films)
    for row in rows:
        folder = row["File Location"]
        assert folder.startswith(".\\CMMD\\")
        assert (root / META / folder.replace("\\", "/")).is_dir()


def test_a_larger_release_begins_with_the_files_of_the_smaller(release, tmp_path):
    root, truth = release
    larger = cmmd.write(tmp_path / "cmmd", 10, SEED, **SMALL)
    before, after = digests(root), digests(tmp_path / "cmmd")
    same = {path for path in before if path.endswith((".dcm", ".json"))}
    assert {path: after[path] for path in same} == {path: before[path] for path in same}
    assert larger.films[: len(truth.films)] == truth.films
    assert Truth.load(root) == truth


def test_a_clean_release_has_no_trap(tmp_path):
    truth = cmmd.write(tmp_path / "c", 4, SEED, traps=False, **SMALL)
    assert not any(film.traps or film.flags for film in truth.films)
    assert {film.expect for film in truth.films} == {"sample"}
