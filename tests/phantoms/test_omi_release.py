"""The phantom OMI-DB release against the owner's layout, read here by json and pydicom alone."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pydicom
import pytest

from etl.phantoms import omi_db
from etl.phantoms.truth import load_mask
from tests.phantoms.conftest import SEED

SCALE = 0.6


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "omi_db"
    return root, omi_db.write(root, 8, SEED, scale=SCALE)


def digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def table(root, client, kind):
    (path,) = [
        path for path in (root / "data" / client).iterdir() if path.name.lower().startswith(kind)
    ]
    return path.name, json.loads(path.read_text())


def test_json_and_images_of_a_client_lie_apart_without_series_folder(release):
    root, truth = release
    assert {path.name for path in root.iterdir()} == {"data", "images"}
    for film in truth.films:
        kind, client, study, name = film.path.split("/")
        assert (kind, client, study) == ("images", film.patient, film.exam)
        assert name == f"{film.film_key}.dcm"
        assert (root / film.path).exists() == (film.expect != "absent")


def test_both_spellings_of_each_name_occur(release):
    root, _ = release
    names = {path.name.split("_")[0] for path in (root / "data").rglob("*_*.json")}
    assert names == {"nbss", "NBSS", "imagedb", "IMAGEDB"}
    assert list((root / "data/demd9000004").rglob("*.dcm.json"))


def test_keys_are_those_of_the_owner_s_synthetic_clients(release, shared):
    root, _ = release
    other = shared / "data/tables/omi-db/synthetic"

    def fields(folder, client):
        _, whole = table(folder, client, "nbss")
        (one,) = [value for value in whole.values() if isinstance(value, dict)]
        _, images = table(folder, client, "imagedb")
        marks = [
            mark
            for study in images["STUDIES"].values()
            for series in study.values()
            if isinstance(series, dict)
            for entries in series.values()
            for mark in (entries or {}).values()
        ]
        return set(one), set(one["BIOPSYWIDE"]), set(images), set(marks[0])

    assert fields(root, "demd9000002") == fields(other, "demd900002")


def test_every_header_json_is_the_header_of_its_image(release):
    root, truth = release
    for film in truth.films:
        if film.expect != "sample" or set(film.traps) & {"no_json", "cut_json"}:
            continue
        (path,) = (root / "data").rglob(f"{film.film_key}*.json")
        header = json.loads(path.read_text())
        image = pydicom.dcmread(root / film.path)
        assert header["00080018"]["Value"] == [image.SOPInstanceUID] == [film.film_key]
        assert header["00280010"]["Value"] == [film.rows] == [image.Rows]
        assert "7FE00010" not in header
        assert header["00020010"]["Value"] == ["1.2.840.10008.1.2.1"]


def test_marks_are_the_first_and_last_pixels_of_a_box_about_the_drawn_mask(release):
    root, truth = release
    marks = {}
    for client in {film.patient for film in truth.films}:
        _, images = table(root, client, "imagedb")
        for study in images["STUDIES"].values():
            for series in (value for value in study.values() if isinstance(value, dict)):
                for uid, entries in series.items():
                    marks |= {(uid, key): mark for key, mark in (entries or {}).items()}
    drawn = [(film, lesion) for film in truth.films for lesion in film.lesions if lesion.geometry]
    assert len(drawn) == len(marks) >= 8
    for film, lesion in drawn:
        mark = marks[film.film_key, lesion.raw["mark"]]
        xs, ys = sorted(int(mark[f"X{n}"]) for n in "12"), sorted(int(mark[f"Y{n}"]) for n in "12")
        rows, columns = np.nonzero(load_mask(root, lesion.mask))
        assert xs[0] <= columns.min() <= columns.max() <= xs[1]
        assert ys[0] <= rows.min() <= rows.max() <= ys[1]
        assert lesion.outline == {"values": [xs[0], ys[0], xs[1] + 1, ys[1] + 1]}
        assert int(mark["Height"]) != abs(int(mark["Y2"]) - int(mark["Y1"]))


def test_pictures_for_processing_are_monochrome1_with_14_bits(release):
    root, truth = release
    images = [pydicom.dcmread(path) for path in sorted((root / "images").rglob("*.dcm"))[:60]]
    raw = [image for image in images if image.PresentationIntentType == "FOR PROCESSING"]
    assert len(raw) == 3
    assert {(image.PhotometricInterpretation, image.BitsStored) for image in raw} == {
        ("MONOCHROME1", 14)
    }
    assert sum(film.pair is not None for film in truth.films) == 2


def test_each_trap_is_there(release):
    _, truth = release
    traps = {trap for film in truth.films for trap in film.traps}
    assert traps == {
        *("unnamed_twin", "falling_corners", "no_json", "cut_json", "strange_view"),
        *("described_side", "absent", "truncated", "unlisted"),
    }
    flags = {flag for film in truth.films for flag in film.flags}
    assert flags == {"prior", "postoperative", "processing_only", "spot", "unlinked_geometry"}
    assert {film.expect for film in truth.films} == {"sample", "reject", "absent"}


def test_more_patients_begin_with_the_same_files_and_the_same_seed_gives_the_same(
    release, tmp_path
):
    root, truth = release
    more = omi_db.write(tmp_path / "omi_db", 9, SEED, scale=SCALE)
    again, first = digests(tmp_path / "omi_db"), digests(root)
    assert first.items() <= again.items()
    assert more.films[: len(truth.films)] == truth.films


def test_a_clean_release_has_no_trap_and_both_layouts_hold_the_same_images(tmp_path):
    plain = omi_db.write(tmp_path / "a", 2, SEED, scale=0.4, traps=False)
    assert {film.expect for film in plain.films} == {"sample"}
    assert not any(film.traps or film.flags for film in plain.films)
    omi_db.write(tmp_path / "b", 2, SEED, scale=0.4, traps=False, upper=True)
    lower, upper = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert sorted(lower.values()) == sorted(upper.values())
    assert {path.split("/")[1] for path in upper} == {"DATA", "IMAGES"}
