"""The phantom CBIS-DDSM release against its published layout, tables and traps."""

from __future__ import annotations

import csv
import re

import cv2
import numpy as np
import pydicom
import pytest

from etl.phantoms import cbis_ddsm
from etl.phantoms.cbis_layout import LAYOUTS, table_name
from etl.phantoms.truth import load_mask
from tests.phantoms.conftest import SEED

FOLDER = re.compile(r"^(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)(?:_(\d+))?$")
UID = r"[0-9]+(?:\.[0-9]+)+"
PATHS = {
    "A": rf"^[^/]+/{UID}/{UID}/00000[01]\.dcm$",
    "B": r"^CBIS-DDSM/[^/]+/\d\d-\d\d-\d{4}-DDSM-\d{5}/"
    r"1\.000000-(full mammogram images|ROI mask images|cropped images)-\d{5}/1-[12]\.dcm$",
    "C": rf"^{UID}/1-[12]\.dcm$",
    "D": rf"^CBIS-DDSM/[^/]+/{UID}/{UID}/00000[01]\.dcm$",
    "E": rf"^jpeg/{UID}/[12]-\d{{3}}\.jpg$",
    "F": rf"^[^/]+/{UID}/{UID}/00000[01]\.png$",
}
TABLES = [(table, split) for table in ("Mass", "Calc") for split in ("Training", "Test")]
LOST = ("mask_scaled", "mask_padded", "mask_wrong_shape", "mask_empty")


def records(root, table, split):
    with (root / table_name(table, split)).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def lesions(truth):
    return [(film, lesion) for film in truth.films for lesion in film.lesions]


@pytest.mark.parametrize(("table", "split"), TABLES)
def test_headers_are_those_of_the_official_tables(cbis_release, shared, table, split):
    root, _ = cbis_release
    official = shared / "data" / "tables" / "cbis-ddsm" / table_name(table, split)
    if not official.exists():
        pytest.skip("the official CBIS-DDSM tables are not in the shared folder")
    with official.open("rb") as real, (root / table_name(table, split)).open("rb") as ours:
        assert ours.readline() == real.readline()


@pytest.mark.parametrize(("table", "split"), TABLES)
def test_records_end_in_crlf_and_one_quoted_cell_ends_in_a_bare_lf(cbis_release, table, split):
    root, _ = cbis_release
    data = (root / table_name(table, split)).read_bytes()
    count = len(records(root, table, split))
    assert count > 0
    assert data.count(b"\r\n") == count + 1
    assert data.count(b"\n") - data.count(b"\r\n") == count
    quoted = {"Mass": rb',"[^"\r\n]+\.dcm\n"\r\n', "Calc": rb',"[^"\r\n]+\.dcm\n",'}[table]
    assert len(re.findall(quoted, data)) == count


def test_tables_hold_each_drawn_lesion_once_in_the_release_s_words(cbis_release):
    root, truth = cbis_release
    found = [row for table in TABLES for row in records(root, *table)]
    drawn = lesions(truth)
    assert len(found) == len(drawn)
    keys = {(row["image file path"].split("/")[0], row["abnormality id"]) for row in found}
    assert keys == {(film.film_key, lesion.lesion_id) for film, lesion in drawn}
    for row in found:
        assert FOLDER.match(row["image file path"].split("/")[0])
        assert row["pathology"] in ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_lie_where_the_layout_puts_them(tmp_path, layout):
    root = tmp_path / "release"
    truth = cbis_ddsm.write(root, 2, SEED, layout=layout, scale=0.2, traps=False)
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in (".dcm", ".jpg", ".png")
    }
    assert found
    assert all(re.match(PATHS[layout], name) for name in found)
    named = {film.path for film in truth.films}
    named |= {path for _, lesion in lesions(truth) for path in lesion.files.values()}
    assert named == found
    if layout in "ABDF":
        folders = {name.removeprefix("CBIS-DDSM/").split("/")[0] for name in found}
        assert all(FOLDER.match(folder) for folder in folders)


def test_windows_tables_have_backslashes_and_no_line_feed_in_cells(tmp_path):
    cbis_ddsm.write(tmp_path / "r", 1, SEED, layout="D", scale=0.2, traps=False)
    text = b"".join(path.read_bytes() for path in sorted((tmp_path / "r").glob("*_set.csv")))
    assert b"\\000000.dcm" in text
    assert text.count(b"\n") == text.count(b"\r\n")


def test_nbia_list_names_real_folders_and_counts_their_files(cbis_release):
    root, _ = cbis_release
    with (root / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        files = sorted((root / row["File Location"]).glob("*.dcm"))
        assert len(files) == int(row["Number of Images"])
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
        assert {header.SeriesInstanceUID for header in headers} == {row["Series UID"]}
        assert {header.PatientID for header in headers} == {row["Subject ID"]}
    assert len({row["Series UID"] for row in rows}) == len(rows)


def test_films_have_the_collection_s_header(cbis_release):
    root, truth = cbis_release
    for film in truth.expected("sample"):
        header = pydicom.dcmread(root / film.path)
        assert header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert header.PatientID == film.film_key == str(header.PatientName)
        assert (header.Laterality, header.PatientOrientation) == (film.side, film.view)
        assert (header.BitsStored, header.PixelRepresentation) == (16, 0)
        for absent in ("PixelSpacing", "ImagerPixelSpacing", "WindowCenter", "ViewPosition"):
            assert absent not in header
        image = header.pixel_array
        assert image.shape == (film.rows, film.columns)
        assert image.max() == header.LargestImagePixelValue


def test_both_little_endian_syntaxes_occur(cbis_release):
    root, _ = cbis_release
    files = sorted(root.rglob("*.dcm"))
    syntaxes = {
        pydicom.dcmread(f, stop_before_pixels=True).file_meta.TransferSyntaxUID for f in files
    }
    assert syntaxes == {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}


def test_mask_files_are_the_drawn_masks(cbis_release):
    root, truth = cbis_release
    same = 0
    for _, lesion in lesions(truth):
        if "mask" not in lesion.files or lesion.trap in LOST:
            continue
        stored = pydicom.dcmread(root / lesion.files["mask"]).pixel_array
        assert stored.dtype == np.uint8
        assert set(np.unique(stored)) == {0, 255}
        assert np.array_equal(stored > 0, load_mask(root, lesion.mask))
        same += 1
    assert same >= 12


def test_crops_are_the_box_and_twenty_pixels_stretched_to_full_scale(cbis_release):
    root, truth = cbis_release
    for film, lesion in lesions(truth):
        if film.expect != "sample":
            continue
        crop = pydicom.dcmread(root / lesion.files["crop"]).pixel_array
        image = pydicom.dcmread(root / film.path).pixel_array
        x0, y0, x1, y1 = lesion.box
        part = image[max(y0 - 20, 0) : y1 + 20, max(x0 - 20, 0) : x1 + 20]
        assert crop.shape == part.shape
        assert crop.max() == 65535
        assert np.corrcoef(crop.ravel(), part.ravel())[0, 1] > 0.9999


def test_tables_name_mask_and_crop_rightly_for_some_and_wrongly_for_others(cbis_release):
    root, truth = cbis_release
    traps = [lesion.trap for _, lesion in lesions(truth)]
    assert 3 <= traps.count("swapped") <= len(traps) - 3
    films = {film.film_key: film for film in truth.films}
    for row in (row for table in TABLES for row in records(root, *table)):
        film = films[row["image file path"].split("/")[0]]
        lesion = next(x for x in film.lesions if x.lesion_id == row["abnormality id"])
        if lesion.trap not in (None, "swapped") or "apart" in film.traps:
            continue
        number = int(row["ROI mask file path"].strip()[-8:-4])
        told = lesion.files["mask"].endswith(f"1-{number + 1}.dcm")
        assert told == (lesion.trap is None)


def trapped(truth, trap):
    return [film for film in truth.films if trap in film.traps]


def test_masks_of_another_size_are_of_the_kinds_seen_in_the_collection(cbis_release):
    root, truth = cbis_release

    def sizes(trap):
        (film,) = trapped(truth, trap)
        mask = pydicom.dcmread(root / film.lesions[0].files["mask"])
        return (mask.Rows, mask.Columns), (film.rows, film.columns), film

    (h, w), (rows, columns), _ = sizes("mask_scaled")
    assert h < rows
    assert (h / w) / (rows / columns) == pytest.approx(1, abs=0.01)
    (h, w), (rows, columns), _ = sizes("mask_padded")
    assert 0 < h - rows < 30
    assert 0 < w - columns < 30
    assert abs((h / w) / (rows / columns) - 1) > 0.01
    (h, w), (rows, columns), film = sizes("mask_wrong_shape")
    assert abs((h / w) / (rows / columns) - 1) > 0.2
    assert (film.annotation, film.flags) == ("none", ["geometry_dropped"])


def test_empty_and_missing_masks_leave_the_film_without_annotation(cbis_release):
    root, truth = cbis_release
    (empty,), (missing,) = trapped(truth, "mask_empty"), trapped(truth, "mask_missing")
    assert not pydicom.dcmread(root / empty.lesions[0].files["mask"]).pixel_array.any()
    assert "mask" not in missing.lesions[0].files
    assert {empty.annotation, missing.annotation} == {"none"}


def test_crop_and_mask_may_lie_in_two_series(cbis_release):
    _, truth = cbis_release
    for film in trapped(truth, "apart"):
        files = film.lesions[0].files
        assert files["mask"].rsplit("/", 1)[0] != files["crop"].rsplit("/", 1)[0]


def test_twins_share_pixels_and_label_but_not_lesions_or_split(cbis_release):
    root, truth = cbis_release
    mass, calc = trapped(truth, "twin")
    assert (mass.twin_of, calc.twin_of) == (calc.film_key, mass.film_key)
    one, two = (pydicom.dcmread(root / film.path) for film in (mass, calc))
    assert np.array_equal(one.pixel_array, two.pixel_array)
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert mass.pathology == calc.pathology
    assert {mass.annotation, calc.annotation} == {"partial"}
    assert (mass.official_split, calc.official_split) == ("train", "test")
    assert {mass.patient_split, calc.patient_split} == {"test"}
    assert mass.lesions[0].kind == "mass"
    assert calc.lesions[0].kind == "calcification"


def test_the_patient_without_density_and_words_is_there(cbis_release):
    root, _ = cbis_release
    rows = [row for table in TABLES for row in records(root, *table)]
    blank = [row for row in rows if "N/A" in row.values()]
    assert {row.get("breast density") or row.get("breast_density") for row in blank} == {"0"}


def test_one_film_is_absent_and_one_is_cut_short(cbis_release):
    root, truth = cbis_release
    (gone,), (short,) = truth.expected("absent"), truth.expected("reject")
    assert not (root / gone.path).exists()
    assert (root / short.path).stat().st_size < 0.7 * 2 * short.rows * short.columns


def test_mixed_films_are_malignant(cbis_release):
    _, truth = cbis_release
    for film in trapped(truth, "mixed"):
        assert {lesion.pathology for lesion in film.lesions} == {"benign", "malignant"}
        assert film.pathology == "malignant"


def test_jpeg_copies_are_lossy_and_of_eight_bits(tmp_path):
    truth = cbis_ddsm.write(tmp_path / "r", 1, SEED, layout="E", scale=0.2, traps=False)
    image = cv2.imread(str(tmp_path / "r" / truth.films[0].path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    assert image.shape == (truth.films[0].rows, truth.films[0].columns)
    assert (tmp_path / "r" / "csv" / "dicom_info.csv").exists()
