"""The phantom INbreast release against its published layout, read here by the simplest means."""

from __future__ import annotations

import hashlib
import plistlib
import re

import numpy as np
import openpyxl
import pydicom
import pytest

from etl.phantoms import inbreast
from etl.phantoms.truth import load_mask
from schemas.errors import UsageError

NAME = re.compile(r"^(\d{8})_([0-9a-f]{16})_MG_([RL])_([A-Z]{2,3})_ANON\.dcm$")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "inbreast"
    return root, inbreast.write(root, 8, 5, scale=0.12)


def test_titles_are_those_of_the_official_tables_byte_for_byte(release, shared):
    root, _ = release
    folder = shared / "data/tables/inbreast"
    first = (folder / "INbreast.csv").read_bytes().split(b"\n")[0]
    assert (root / "INbreast.csv").read_bytes().split(b"\n")[0] == first
    sheet = openpyxl.load_workbook(root / "INbreast.xlsx")["Sheet1"]
    titles = (folder / "INbreast_xls_Sheet1.csv").read_text("utf-8").splitlines()[0]
    assert ",".join(str(cell.value) for cell in sheet[1]) == titles


def test_the_sheet_holds_floats_and_ends_with_its_totals(release):
    root, truth = release
    book = openpyxl.load_workbook(root / "INbreast.xlsx")
    lines = list(book["Sheet1"].iter_rows(values_only=True))
    assert len(lines) == 1 + len(truth.films) + 2
    assert lines[-1][5] is None
    assert isinstance(lines[1][5], int | float)
    assert lines[-1][8] == sum(line[8] == "X" for line in lines[1:-2])
    assert book.sheetnames == ["Sheet1", "Sheet2"]


def test_files_have_the_release_s_names_and_places(release):
    root, truth = release
    for film in truth.films:
        match = NAME.match(film.path.split("/")[1])
        assert match[1] == film.film_key
        assert match[2] == film.patient
        assert (match[3], match[4].replace("ML", "MLO")) == (film.side, film.view)
        assert (root / film.path).exists() == (film.expect != "absent")
        outlined = any(lesion.geometry for lesion in film.lesions)
        assert (root / f"AllXML/{film.film_key}.xml").exists() == outlined
    muscles = list(root.glob("PectoralMuscle/Pectoral Muscle XML/*_muscle.xml"))
    assert len(muscles) == sum(film.view == "MLO" for film in truth.films)


def test_films_are_14_bits_on_a_background_of_nothing(release):
    root, truth = release
    film = next(film for film in truth.films if "small" in film.traps)
    data = pydicom.dcmread(root / film.path)
    assert (data.BitsStored, data.BitsAllocated) == (14, 16)
    breast = load_mask(root, film.breast_mask)
    assert data.pixel_array.shape == (film.rows, film.columns) == (399, 307)
    assert not data.pixel_array[~breast].any()
    assert 2500 < data.pixel_array.max() < 4096


def test_points_of_the_outlines_lie_on_the_drawn_lesion(release):
    root, truth = release
    seen = 0
    for film in truth.films:
        for lesion in film.lesions:
            if lesion.mask is None or film.expect == "absent":
                continue
            tree = plistlib.loads((root / f"AllXML/{film.film_key}.xml").read_bytes())
            roi = tree["Images"][0]["ROIs"][int(lesion.lesion_id) - 1]
            points = [[float(v) for v in text.strip("()").split(",")] for text in roi["Point_px"]]
            xs, ys = np.array(points).T
            x0, y0, x1, y1 = lesion.box
            assert (xs.min(), ys.min()) == pytest.approx((x0, y0), abs=0.5)
            assert (xs.max(), ys.max()) == pytest.approx((x1, y1), abs=0.5)
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize(
    ("trap", "count"),
    [
        *[("fork", 1), ("points", 2), ("blank_acr", 1), ("asymmetry_marked", 2), ("not_marked", 2)],
        *[("beyond", 1), ("no_outlines", 1), ("no_spacing", 1), ("spacing_one", 1)],
        *[("absent", 1), ("truncated", 1), ("unknown_name", 1)],
    ],
)
def test_each_trap_is_there(release, trap, count):
    _, truth = release
    assert sum(trap in film.traps for film in truth.films) == count


def test_a_patient_has_two_examinations_and_one_view_is_from_below(release):
    _, truth = release
    exams = {}
    for film in truth.films:
        exams.setdefault(film.patient, set()).add(film.exam)
    assert sorted(len(found) for found in exams.values()) == [1] * 7 + [2]
    assert [film.view for film in truth.films].count("FB") == 1


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_more_patients_begin_with_the_files_of_fewer(release, tmp_path):
    root, _ = release
    inbreast.write(tmp_path / "inbreast", 2, 5, scale=0.12)
    few, many = digests(tmp_path / "inbreast"), digests(root)
    pictures = [name for name in few if name.endswith((".dcm", ".xml"))]
    assert pictures
    assert {name: few[name] for name in pictures} == {name: many[name] for name in pictures}
    table = (tmp_path / "inbreast/INbreast.csv").read_bytes()
    assert (root / "INbreast.csv").read_bytes().startswith(table)
    inbreast.write(tmp_path / "again", 2, 5, scale=0.12)
    assert digests(tmp_path / "again") == few


def test_a_clean_release_has_no_trap(tmp_path):
    truth = inbreast.write(tmp_path / "i", 2, 5, traps=False, scale=0.12)
    assert not any(film.traps or film.flags for film in truth.films)
    assert {film.expect for film in truth.films} == {"sample"}


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(UsageError, match="INbreast has no layout 'Z'; there are A, B, D"):
        inbreast.write(tmp_path / "i", 1, layout="Z")
