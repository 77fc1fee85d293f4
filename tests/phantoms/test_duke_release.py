"""Phantom Duke MRI releases: true layout and titles, truth that holds, growth, and no shortcut."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import openpyxl
import pydicom
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from etl.phantoms import duke_mri
from etl.phantoms.breast_mri import draw_volume
from etl.phantoms.duke_tables import CODES
from etl.phantoms.texture import generator
from etl.phantoms.truth import Truth, load_mask
from etl.pixels.encode import decode_image
from etl.pixels.standardise import standardise
from schemas.errors import UsageError
from schemas.release import TissueRule
from schemas.spec import Spec
from tests.pixels.helpers import release
from tests.pixels.series_files import Runs, run_of, series_film

SLICES = 6


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("duke") / "duke_mri"
    return root, duke_mri.write(root, 5, 1, slices=SLICES)


def slices_of(root, patient):
    """Headers of a patient's slices by series description, in the order of InstanceNumber."""
    found = {}
    for path in sorted(root.rglob(f"{patient}/**/*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found.setdefault(header.SeriesDescription, []).append((path, header))
    return {
        name: sorted(one, key=lambda item: item[1].InstanceNumber) for name, one in found.items()
    }


def test_titles_are_those_of_the_real_tables(written, shared):
    root, _ = written
    folder = shared / "data/tables/duke-mri"
    if not folder.is_dir():
        pytest.skip("needs the real tables of Duke's MRI")

    def lines(where, name, sheet, count):
        book = openpyxl.load_workbook(where / name)
        rows = book[sheet] if sheet else book.worksheets[0]
        return [[cell.value for cell in rows[line]][:97] for line in range(1, count + 1)]

    name = "Annotation_Boxes.xlsx"
    assert lines(root, name, None, 1) == lines(folder, name, None, 1)
    name = "Clinical_and_Other_Features.xlsx"
    ours, theirs = (lines(where, name, "Data", 3) for where in (root, folder))
    assert ours[1] == theirs[1]
    assert [*ours[0], *[None] * 97][:97] == theirs[0]
    assert {k: theirs[2][k] for k in CODES} == CODES
    assert openpyxl.load_workbook(root / name).sheetnames == [
        "Data",
        "Legend",
        "Column Explanations",
    ]


def test_folders_and_names_are_those_of_a_download(written):
    root, truth = written
    for film in truth.films:
        parts = film.path.rstrip("/").split("/")
        assert parts[1:3] == ["Duke-Breast-Cancer-MRI", film.patient]
        assert parts[3].startswith("01-01-1990-NA-MRI BREAST BILATERAL WWO-")
        assert (root / film.path / "1-1.dcm").is_file()
    assert {path.name for path in root.rglob("Breast_MRI_001/**/300.*/*")} == {"1-1.dcm"}


@pytest.mark.parametrize(
    ("patient", "maker", "signed", "cosines", "falling"),
    [
        ("Breast_MRI_001", "SIEMENS", 0, [1, 0, 0, 0, 1, 0], False),
        ("Breast_MRI_002", "GE MEDICAL SYSTEMS", 1, [-1, 0, 0, 0, -1, 0], True),
        ("Breast_MRI_003", "GE MEDICAL SYSTEMS", 1, [-1, 0, 0, 0, -1, 0], False),
        ("Breast_MRI_004", "SIEMENS", 0, [1, 0, 0, 0, 1, 0], True),
    ],
)
def test_headers_are_those_of_the_scanner(written, patient, maker, signed, cosines, falling):
    root, _ = written
    for name, one in slices_of(root, patient).items():
        headers = [header for _, header in one if header.Modality == "MR"]
        assert {header.Manufacturer for header in headers} <= {maker}
        assert {header.PixelRepresentation for header in headers} <= {signed}
        assert {header.file_meta.TransferSyntaxUID for _, header in one} == {"1.2.840.10008.1.2"}
        assert all(list(header.ImageOrientationPatient) == cosines for header in headers), name
        heights = [header.ImagePositionPatient[2] for header in headers]
        assert heights == sorted(heights, reverse=falling)


def test_the_box_holds_the_brightest_change_in_the_stored_slices(written):
    """The table is held against the pixels alone: rows, columns and slices from 1, inclusive."""
    root, _ = written
    rows = list(openpyxl.load_workbook(root / "Annotation_Boxes.xlsx").worksheets[0].values)[1:]
    for patient, *box in rows:
        top, bottom, left, right, first, last = box
        series = slices_of(root, patient)
        dynamic = [one for one in series.values() if len(one) == SLICES]
        pre, post = sorted(dynamic, key=lambda one: one[0][1].SeriesNumber)[:2]
        change = np.stack(
            [
                pydicom.dcmread(b[0]).pixel_array.astype(int)
                - pydicom.dcmread(a[0]).pixel_array.astype(int)
                for a, b in zip(pre, post, strict=True)
            ]
        )
        inside = change[first - 1 : last, top - 1 : bottom, left - 1 : right]
        around = change[:, max(top - 9, 0) : bottom + 8, max(left - 9, 0) : right + 8]
        assert inside.max() == around.max(), patient
        assert inside.mean() > 2 * abs(around.mean()), patient


def test_the_truth_s_outline_is_the_box_of_its_mask_on_the_mip(written):
    root, truth = written
    assert len(truth.films) == 20
    for film in truth.films:
        for lesion in film.lesions:
            mask = load_mask(root, lesion.mask)
            ys, xs = np.nonzero(mask)
            held = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            if film.frame_kind == "mip":
                assert held == lesion.outline["values"]
            assert mask.sum() == lesion.area > 0
            assert load_mask(root, film.breast_mask)[mask].all()


def test_the_same_seed_draws_the_same_bytes_and_more_patients_begin_alike(tmp_path):
    def digests(root):
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    for name, patients in (("a", 2), ("b", 2), ("c", 3)):
        duke_mri.write(tmp_path / name / "duke_mri", patients, 5, slices=SLICES)
    one, same, more = (digests(tmp_path / name / "duke_mri") for name in "abc")
    assert one == same
    assert {path: one[path] for path in one if path.endswith(".dcm")}.items() <= more.items()
    few, many = (Truth.load(tmp_path / name / "duke_mri").films for name in "ac")
    assert few == many[: len(few)]


@pytest.mark.parametrize("layout", ["classic", "idc", "idc-index"])
def test_other_layouts_hold_the_same_slices(tmp_path, layout):
    root = tmp_path / "duke_mri"
    duke_mri.write(root, 1, 5, slices=SLICES, layout=layout, mapping=True)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in root.rglob("*.dcm")]
    assert len({header.SOPInstanceUID for header in headers}) == 5 * SLICES + 3 + 1
    book = openpyxl.load_workbook(
        io.BytesIO((root / "Breast-Cancer-MRI-filepath_filename-mapping.xlsx").read_bytes())
    )
    lines = list(book.worksheets[0].values)
    assert lines[0] == ("original_path_and_filename", "classic_path", "descriptive_path")
    assert lines[1][0] == "DICOM_Images/Breast_MRI_001/pre/Breast_MRI_001_pre_1.dcm"
    assert lines[1][1].endswith("/1-001.dcm")
    assert "//1-001.dcm" in lines[1][2]


def test_an_impossible_release_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no layout 'flat'"):
        duke_mri.write(tmp_path / "a", layout="flat")
    with pytest.raises(UsageError, match="at least 6 slices"):
        duke_mri.write(tmp_path / "a", slices=5)


# ---- no shortcut

PATIENTS, MATRIX = 100, 96


@pytest.fixture(scope="module")
def samples():
    """Samples of many women through the kernel: what can be said of each without its shapes."""
    rows = []
    for number in range(PATIENTS):
        side = "LR"[int(generator(8, number).integers(2))]
        drawn = draw_volume(
            8, str(number), side, matrix=MATRIX, count=8, fov_mm=320, slice_mm=3.0, num_phases=2
        )
        levels = [np.rint(one * 1000 + 200).astype(np.uint16) for one in drawn.phases]
        runs = Runs(*(run_of(one, PixelSpacing=[3.3, 3.3]) for one in levels))
        middle = int(np.flatnonzero(drawn.foci[0].mask.any(axis=(1, 2))).mean())
        for breast in "LR":
            for frame in (None, middle):
                film = series_film(breast, frame)
                sample = standardise(film, runs, Spec(), release(TissueRule.MRI))
                image = decode_image(sample.image)
                visible = image[image > 0]
                rows.append(
                    {
                        "patient": number,
                        "malignant": breast == side,
                        "kind": frame is None,
                        "depth": (middle + 0.5) / 8,
                        "height": image.shape[0],
                        "width": image.shape[1],
                        "mean": visible.mean(),
                        "sd": visible.std(),
                    }
                )
    return rows


NUMBERS = ("kind", "depth", "height", "width", "mean", "sd")


def test_no_number_of_a_sample_tells_the_breast_with_cancer(samples, capsys):
    truth = [row["malignant"] for row in samples]
    found = {name: roc_auc_score(truth, [row[name] for row in samples]) for name in NUMBERS}
    model = make_pipeline(StandardScaler(), LogisticRegression())
    told = cross_val_predict(
        model,
        [[row[name] for name in NUMBERS] for row in samples],
        truth,
        groups=[row["patient"] for row in samples],
        cv=GroupKFold(5),
        method="predict_proba",
    )
    found["all together"] = roc_auc_score(truth, told[:, 1])
    with capsys.disabled():
        print(f"\n{len(samples)} Duke samples: ", {k: round(v, 3) for k, v in found.items()})
    assert {name: value for name, value in found.items() if not 0.4 <= value <= 0.6} == {}
