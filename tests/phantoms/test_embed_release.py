"""The phantom EMBED release against its published layout, read here by the simplest means."""

from __future__ import annotations

import csv
import re

import numpy as np
import pydicom
import pytest

from etl.phantoms import embed
from etl.phantoms.truth import load_mask
from schemas.errors import UsageError

PATH = re.compile(r"images/cohort_[12]/9000000\d/[\d.]+/[\d.]+/(?P<sop>[\d.]+)\.dcm")
STANDARD = ("CC", "MLO", "ML")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "embed"
    return root, embed.write(root, 8, 5, scale=0.4)


def rows(root, name):
    with (root / "tables" / f"EMBED_OpenData_{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def readable(truth):
    return truth.expected("sample")


def test_files_lie_four_levels_below_images_under_their_instance_uid(release):
    root, truth = release
    for film in readable(truth):
        assert PATH.fullmatch(film.path)["sop"] == film.film_key
        data = pydicom.dcmread(root / film.path, stop_before_pixels=True)
        study, series = film.path.split("/")[3:5]
        assert (data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID) == (
            *(film.film_key, study, series),
        )
        assert data.PatientID == film.patient
        assert (data.Rows, data.Columns) == (film.rows, film.columns)


@pytest.mark.parametrize("name", ["metadata", "clinical"])
def test_titles_are_those_that_the_specification_s_examples_have(release, shared, name):
    root, _ = release
    example = shared / f"data/tables/embed/SYNTHETIC_{name}.csv"
    known = set(example.read_text().splitlines()[0].split(","))
    assert known <= set(rows(root, name)[0])


def test_the_datathon_s_metadata_titles_are_verbatim(tmp_path, shared):
    embed.write(tmp_path / "embed", 1, 5, edition="nus", scale=0.3)
    [table] = (tmp_path / "embed" / "tables").glob("*metadata_reduced.csv")
    titles = table.read_text().splitlines()[0].split(",")
    page = (shared / "datasets/embed.md").read_text()
    [verbatim] = re.findall(r"NUS reduced header verbatim \[nb\]: `([^`]+)`", page)
    assert titles == verbatim.split(", ")


def test_boxes_on_the_png_hold_the_drawn_lesions(release):
    """Mirror the picture as the release did; the box as written then holds what was drawn."""
    root, truth = release
    table = {
        row["anon_dicom_path"].rpartition("/")[2].strip(): row for row in rows(root, "metadata")
    }
    held = 0
    for film in readable(truth):
        if film.flags and {"geometry_mirrored", "geometry_suspect"} & set(film.flags):
            continue
        masks = [load_mask(root, lesion.mask) for lesion in film.lesions if lesion.mask]
        row = table[f"{film.film_key}.dcm"]
        numbers = [int(word) for word in re.findall(r"\d+", row["ROI_coords"])]
        if not numbers:
            continue
        assert int(float(row["num_roi"])) == len(numbers) / 4
        header = pydicom.dcmread(root / film.path, stop_before_pixels=True)
        turned = str(header.get("PatientOrientation") or ("P" if film.side == "R" else "A"))
        flip = "P" in turned and row["ViewPosition"] in STANDARD
        for at, mask in enumerate(masks):
            top, left, bottom, right = numbers[4 * at : 4 * at + 4]
            ys, xs = np.nonzero(mask[:, ::-1] if flip else mask)
            assert (ys.min() - 4, xs.min() - 4) == (top, left)
            assert (ys.max() + 4, xs.max() + 4) == (bottom, right)
            held += 1
    assert held >= 12


def test_the_chest_wall_is_where_the_orientation_says(release):
    root, truth = release
    for film in readable(truth):
        header = pydicom.dcmread(root / film.path, stop_before_pixels=True)
        columns = np.flatnonzero(load_mask(root, film.breast_mask).any(axis=0))
        at_left = columns[0] == 0
        assert at_left != (columns[-1] == film.columns - 1)
        assert (film.nipple[0] > film.columns / 3) if at_left else film.nipple[0] < film.columns
        said = header.get("PatientOrientation")
        assert (str(said[0]) == "A" if said else film.side == "L") == at_left


@pytest.mark.parametrize(
    ("trap", "count"),
    [
        ("c_view", 2),
        ("repeated", 1),
        ("no_finding_row", 1),
        ("two_boxes", 1),
        ("spot", 2),
        ("not_examined", 1),
        ("implant_displaced", 1),
        ("tagless", 4),
        ("flipped", 1),
        ("unflipped", 1),
        ("mirrored", 1),
        ("suspect", 1),
        ("other_view", 1),
        ("male", 1),
        ("later_cancer", 1),
        ("truncated", 1),
        ("absent", 1),
        ("no_row", 1),
        ("screen_save", 1),
    ],
)
def test_each_trap_is_there(release, trap, count):
    _, truth = release
    assert sum(trap in film.traps for film in truth.films) == count


def test_a_larger_release_begins_with_the_same_files(release, tmp_path):
    root, truth = release
    more = embed.write(tmp_path / "embed", 9, 5, scale=0.4)
    assert len(more.films) == len(truth.films) + 4
    for before, after in zip(truth.films, more.films, strict=False):
        assert before == after
        if before.expect != "absent":
            assert (root / before.path).read_bytes() == (
                tmp_path / "embed" / after.path
            ).read_bytes()
    for name in ("metadata", "clinical"):
        assert rows(tmp_path / "embed", name)[: len(rows(root, name))] == rows(root, name)


def test_clean_releases_have_no_trap_and_no_damage(tmp_path):
    truth = embed.write(tmp_path / "embed", 4, 5, traps=False, scale=0.3)
    assert len(truth.films) == 16
    assert all(
        film.expect == "sample" and not film.traps and not film.flags for film in truth.films
    )


@pytest.mark.parametrize("options", [{"layout": "C"}, {"edition": "full"}, {"patients": 0}])
def test_what_cannot_be_written_is_refused(tmp_path, options):
    with pytest.raises(UsageError, match=r"EMBED has no layout|holds 1 to"):
        embed.write(tmp_path / "embed", **options)
