"""The phantom BCDR against its published layout, read here by csv and OpenCV."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from etl.phantoms import bcdr
from etl.phantoms.truth import load_mask

SEED = 5


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "bcdr"
    return root, bcdr.write(root, 8, SEED, scale=0.12)


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


def films(truth):
    return {film.film_key: film for film in truth.films}


@pytest.mark.parametrize("kind", ["img", "outlines"])
def test_title_lines_and_blanks_are_those_of_the_real_tables(release, shared, kind):
    real = (shared / f"data/tables/bcdr/bcdr_d01_{kind}.excerpt.csv").read_bytes().split(b"\n")
    drawn = (release[0] / f"BCDR-D01_dataset/bcdr_d01_{kind}.csv").read_bytes().split(b"\n")
    assert drawn[0] == real[0]
    assert drawn[1].count(b", ") == real[1].count(b", ") == drawn[0].count(b",")
    assert drawn[1].endswith(b" ") == real[1].endswith(b" ")


def test_the_sets_lie_in_their_folders(release):
    root, _ = release
    tables = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.csv"))
    assert tables == [
        "BCDR-D01_dataset/bcdr_d01_img.csv",
        "BCDR-D01_dataset/bcdr_d01_outlines.csv",
        "BCDR-D02_dataset/bcdr_d02_img.csv",
        "BCDR-D02_dataset/bcdr_d02_outlines.csv",
        "BCDR-DN01_dataset/bcdr_dn01_img.csv",
        "BCDR-F01_dataset/bcdr_f01_img.csv",
        "BCDR-F01_dataset/bcdr_f01_outlines.csv",
        "BCDR-F03_dataset/BCDR-F03/bcdr_f03_outlines.csv",
    ]


def test_images_are_tiffs_of_their_depth_and_hang_as_their_name_says(release):
    root, truth = release
    for film in truth.expected("sample"):
        image = cv2.imread(str(root / film.path), cv2.IMREAD_UNCHANGED)
        assert image.dtype == (np.uint16 if "deep" in film.traps else np.uint8)
        assert image.shape == (film.rows, film.columns)
        breast = load_mask(root, film.breast_mask)
        assert (breast[:, 0].sum() > breast[:, -1].sum()) == (film.side == "L")
        name = film.film_key.rpartition("_")[2]
        assert name == {"CC": f"{film.side}CC", "MLO": f"{film.side}O"}[film.view]


def test_outlines_are_open_and_lie_on_what_was_drawn(release):
    root, truth = release
    lesions = {x.lesion_id: x for film in truth.films for x in film.lesions}
    for path in root.rglob("*outlines.csv"):
        for row in rows_of(path):
            xs, ys = ([int(n) for n in row[f"lw_{axis}_points"].split()] for axis in "xy")
            assert len(xs) == len(ys)
            ends = abs(xs[0] - xs[-1]) + abs(ys[0] - ys[-1])
            assert ends > 1 or len(xs) < 25
            lesion = lesions[row["segmentation_id"]]
            x0, y0, x1, y1 = lesion.box
            assert min(xs) >= x0
            assert max(xs) < x1
            assert min(ys) >= y0
            assert max(ys) < y1
            assert lesion.raw["classification"] == row["classification"]


def test_codes_of_the_two_tables_differ_by_one(release):
    root, _ = release
    folder = root / "BCDR-F01_dataset"
    views = {row["image_filename"]: int(row["image_type_id"])
             for row in rows_of(folder / "bcdr_f01_img.csv")}  # fmt: skip
    for row in rows_of(folder / "bcdr_f01_outlines.csv"):
        assert int(row["image_view"]) == views[row["image_filename"]] + 1


def test_each_trap_is_there(release):
    root, truth = release
    caught = {trap: film for film in truth.films for trap in film.traps}
    assert set(caught) == set(bcdr.TRAPS.values())
    shared_film = caught["two_sets"]
    twin = shared_film.path.replace("D01", "D02")
    assert (root / shared_film.path).read_bytes() == (root / twin).read_bytes()
    beside = root / caught["mask_beside"].path
    assert beside.with_name(f"{beside.stem}_mask_id_10.tif").exists()
    assert not (root / caught["absent"].path).exists()
    text = (root / "BCDR-D02_dataset/bcdr_d02_img.csv").read_text()
    assert "\\" in text
    assert caught["no_density"].density is None
    assert len(caught["two_outlines"].lesions) == 2
    assert caught["wrong_code"].flags == ["laterality_conflict"]
    assert [film.reason for film in truth.expected("reject")] == ["truncated"]


def test_views_without_outline_are_unknown_and_dn01_is_normal(release):
    for film in release[1].films:
        if not film.lesions:
            normal = "DN01" in film.path
            assert film.pathology == ("normal" if normal else "unknown")


def test_more_patients_begin_with_the_same_films(release, tmp_path):
    few = bcdr.write(tmp_path / "few", 2, SEED, scale=0.12)
    assert few.films == release[1].films[:8]
    for film in few.films:
        assert (tmp_path / "few" / film.path).read_bytes() == (release[0] / film.path).read_bytes()


def test_a_clean_flattened_release_has_no_trap(tmp_path):
    truth = bcdr.write(tmp_path / "c", 3, SEED, traps=False, scale=0.1, flat=True)
    assert not any(film.traps or film.flags for film in truth.films)
    assert {film.expect for film in truth.films} == {"sample"}
    assert all("/patient_" in film.path and film.path.count("/") == 1 for film in truth.films)
