"""The phantom CDD-CESM against its published layout, read here by openpyxl, csv and OpenCV."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import openpyxl
import pytest

from etl.phantoms import cdd_cesm
from etl.phantoms.truth import Truth, load_mask

SEED = 5
WORKBOOK = "Radiology-manual-annotations.xlsx"
REGIONS = "Radiology_hand_drawn_segmentations_v2.csv"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "cdd_cesm"
    return root, cdd_cesm.write(root, 8, SEED, scale=0.2)


def sheets(path):
    book = openpyxl.load_workbook(path, read_only=True)
    return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}


def regions(root):
    with (root / REGIONS).open(newline="") as stream:
        return list(csv.DictReader(stream))


def films(truth):
    return {film.film_key: film for film in truth.films}


def test_sheets_and_titles_are_those_of_the_real_workbook(release, shared):
    real = sheets(shared / "data/tables/cdd-cesm" / WORKBOOK)
    drawn = sheets(release[0] / WORKBOOK)
    assert list(drawn) == list(real)
    for name, lines in drawn.items():
        assert lines[0] == real[name][0]


def test_the_csv_s_title_line_is_that_of_the_real_one(release, shared):
    real = (shared / "data/tables/cdd-cesm" / REGIONS).read_bytes()
    drawn = (release[0] / REGIONS).read_bytes()
    assert drawn.split(b"\n")[0] == real.split(b"\n")[0]
    assert b"\r" not in drawn


def test_images_are_grey_jpegs_of_their_own_size_in_two_folders(release):
    root, truth = release
    sizes = set()
    for film in truth.expected("sample"):
        folder = "Low energy" if film.modality == "CESM_LE" else "Subtracted"
        assert film.path.startswith(f"PKG - CDD-CESM/CDD-CESM/{folder} images of CDD-CESM/P")
        image = cv2.imread(str(root / film.path), cv2.IMREAD_UNCHANGED)
        grey = image if image.ndim == 2 else image[..., 0]
        assert grey.shape == (film.rows, film.columns)
        sizes.add(grey.shape)
        outside = grey[~load_mask(root, film.breast_mask)]
        background = 0 if film.modality == "CESM_LE" else cdd_cesm.GREY
        assert np.median(outside) == background
    assert len(sizes) > 10


def test_regions_lie_about_what_was_drawn(release):
    root, truth = release
    told = {(row["#filename"], row["region_id"]): row for row in regions(root)}
    seen = set()
    for film in truth.films:
        for lesion in film.lesions:
            if lesion.geometry is None:
                continue
            row = told.pop((f"{film.film_key}.jpg", lesion.lesion_id))
            shape = json.loads(row["region_shape_attributes"])
            seen.add(shape["name"])
            if lesion.mask is None:
                continue
            ys, xs = np.nonzero(load_mask(root, lesion.mask))
            if "cx" in shape:
                assert abs(shape["cx"] - (xs.min() + xs.max()) / 2) <= 0.2 * np.ptp(xs) + 2
                assert abs(shape["cy"] - (ys.min() + ys.max()) / 2) <= 0.2 * np.ptp(ys) + 2
            else:
                assert (min(shape["all_points_x"]), max(shape["all_points_x"])) == (
                    *(xs.min(), xs.max()),
                )
                assert (min(shape["all_points_y"]), max(shape["all_points_y"])) == (
                    *(ys.min(), ys.max()),
                )
    assert told == {}
    assert {"polygon", "polyline", "point"} <= seen


def test_the_two_images_of_a_view_differ_in_size_and_place(release):
    found = films(release[1])
    low, subtracted = found["P3_R_DM_CC"], found["P3_R_CM_CC"]
    assert (low.rows, low.columns) != (subtracted.rows, subtracted.columns)
    assert low.pair == subtracted.pair


def test_each_trap_is_there(release):
    root, truth = release
    found = films(truth)
    lines = sheets(root / WORKBOOK)["all"]
    table = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    names = [line[0] for line in lines[1:]]
    assert {"P1_L_CM_CC ", "P1_R_DM_MLO "} <= set(table)
    assert names.count("P2_L_DM_MLO") == names.count("P2_L_CM_MLO") == 2
    assert "$" in table["P2_R_DM_CC"]["BIRADS"]
    assert (found["P3_L_DM_CC"].pathology, found["P3_L_CM_CC"].pathology) == ("benign", "normal")
    assert found["P4_R_DM_CC"].flags == ["label_conflict", "lossy"]
    assert found["P4_L_DM_CC"].flags == ["label_conflict", "lossy", "unlinked_geometry"]
    assert {key[3] for key in found if key.startswith("P5")} == {"L"}
    assert {table[f"P6_{side}_DM_CC"]["Breast density (ACR)"] for side in "LR"} == {"B", "C"}
    assert "P7_R_DM_MLO" not in table
    assert "-12" in next(
        row["region_shape_attributes"] for row in regions(root)[::-1]
        if row["#filename"] == "P7_L_DM_CC.jpg"
    )  # fmt: skip
    assert not (root / found["P7_R_CM_CC"].path).exists()
    assert {key for key in found if key.startswith("P8_L_DM")} == {"P8_L_DM_MLO"}
    assert [film.reason for film in truth.expected("reject")] == ["no_table_row", "truncated"]


def test_sizes_in_the_csv_are_those_of_the_files(release):
    root, truth = release
    found = films(truth)
    for row in regions(root):
        film = found[row["#filename"].removesuffix(".jpg")]
        if film.expect == "sample":
            assert int(row["file_size"]) == (root / film.path).stat().st_size


def test_more_patients_begin_with_the_same_files(release, tmp_path):
    few = cdd_cesm.write(tmp_path / "few", 2, SEED, scale=0.2)
    for film in few.films:
        assert (tmp_path / "few" / film.path).read_bytes() == (release[0] / film.path).read_bytes()
    assert Truth.load(tmp_path / "few").films == few.films == release[1].films[: len(few.films)]


def test_a_clean_release_in_the_authors_form_has_no_trap(tmp_path):
    truth = cdd_cesm.write(tmp_path / "c", 3, SEED, traps=False, scale=0.12, flat=True)
    assert {film.expect for film in truth.films} == {"sample"}
    assert not any(film.traps for film in truth.films)
    assert (tmp_path / "c/annotations.xlsx").exists()
    assert all(film.path.startswith("data/images/P") for film in truth.films)
    again = cdd_cesm.write(tmp_path / "d", 3, SEED, traps=False, scale=0.12, flat=True)
    assert again == truth
    name = "annotations.xlsx"
    assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
