"""The phantom MIAS release against its published layout, read here by the simplest means."""

from __future__ import annotations

import re

import numpy as np
import pytest

from etl.phantoms import mias
from etl.phantoms.truth import load_mask
from tests.phantoms.conftest import SEED

ROW = re.compile(
    r"^mdb\d{3} [FGD] (NORM |(CALC|CIRC|SPIC|MISC|ARCH|ASYM) [BM]"
    r"( \d+ \d+ \d+ ?| \*NOTE 3\* )?)$"
)


def rows(root, ending=b"\n"):
    lines = (root / "Info.txt").read_bytes().split(ending)
    return [line.decode() for line in lines if line.startswith(b"mdb")]


def pixels(path):
    data = path.read_bytes()
    return np.frombuffer(data[-1024 * 1024 :], np.uint8).reshape(1024, 1024)


def readable(truth):
    return truth.expected("sample")


def test_rows_have_the_shapes_of_the_official_table(mias_release):
    root, _ = mias_release
    found = rows(root)
    assert all(ROW.match(row) for row in found)
    assert {len(row.split()) for row in found} == {3, 4, 6, 7}
    assert any(row.endswith(" ") and len(row.split()) == 7 for row in found)


def test_readme_is_the_table(mias_release):
    root, _ = mias_release
    assert (root / "README").read_bytes() == (root / "Info.txt").read_bytes()


def test_headed_copies_have_no_legend_and_no_note(tmp_path):
    mias.write(tmp_path / "m", 4, SEED, headed=True, crlf=True, damage=False)
    text = (tmp_path / "m" / "Info.txt").read_bytes()
    assert text.startswith(b"REFNUM BG CLASS SEVERITY X Y RADIUS \r\nmdb001")
    assert b"NOTE" not in text
    assert text.count(b"\n") == text.count(b"\r\n")


def test_films_are_pgm_of_the_official_size_but_the_edited_one(mias_release):
    root, truth = mias_release
    for film in readable(truth):
        data = (root / film.path).read_bytes()
        if "comment" in film.traps:
            assert len(data) == 1_048_632
            assert data.startswith(b"P5\n# CREATOR: GIMP")
        else:
            assert len(data) == 1_048_593
            assert data.startswith(b"P5\n1024 1024\n255\n")


def test_the_film_stands_in_black_and_is_not_stretched_to_full_scale(mias_release):
    root, truth = mias_release
    for film in readable(truth):
        image = pixels(root / film.path)
        assert image.min() == 0
        assert 180 <= image.max() <= 250
        assert not image[:, :100].any()
        assert not image[:, -100:].any()


def test_even_films_are_left_breasts_that_open_to_the_right(mias_release):
    root, truth = mias_release
    for film in truth.films:
        breast = load_mask(root, film.breast_mask)
        left = np.flatnonzero(breast.any(axis=0))[0]
        chest = left if film.side == "L" else np.flatnonzero(breast.any(axis=0))[-1]
        assert (int(film.film_key[3:]) % 2 == 0) == (film.side == "L")
        assert breast[:, chest].sum() > 500
        assert (film.nipple[0] > chest) == (film.side == "L")


def test_table_circles_hold_the_drawn_mask_when_y_counts_from_the_bottom(mias_release):
    root, truth = mias_release
    table = [row.split() for row in rows(root)]
    held = 0
    for film in truth.films:
        circles = [row[4:7] for row in table if row[0] == film.film_key and len(row) == 7]
        drawn = [lesion for lesion in film.lesions if lesion.circle and lesion.mask]
        for circle, lesion in zip(circles, drawn, strict=bool(drawn)):
            x, y, radius = (int(word) for word in circle)
            ys, xs = np.nonzero(load_mask(root, lesion.mask))
            far = np.hypot(xs + 0.5 - (x + 0.5), ys + 0.5 - (1023.5 - y)).max()
            assert far <= radius
            assert far > 0.85 * radius or lesion.trap == "tiny"
            held += 1
    assert held >= 8


@pytest.mark.parametrize(
    ("trap", "check"),
    [
        ("several_rows", lambda film: len(film.lesions) == 3),
        ("mixed", lambda film: {x.pathology for x in film.lesions} == {"benign", "malignant"}),
        ("note_3", lambda film: film.annotation == "none" and film.lesions[0].circle is None),
        ("no_coordinates", lambda film: film.lesions[0].circle is None),
        ("tiny", lambda film: film.lesions[0].circle[2] == 3),
        ("suspect", lambda film: film.lesions[0].mask is None and film.pathology == "benign"),
        ("absent", lambda film: film.expect == "absent"),
        ("truncated", lambda film: film.expect == "reject"),
    ],
)
def test_each_trap_is_there_once(mias_release, trap, check):
    _, truth = mias_release
    caught = [film for film in truth.films if trap in film.traps]
    assert len(caught) == 1
    assert check(caught[0])


def test_the_suspect_circle_is_centred_on_the_black_outside_the_breast(mias_release):
    root, truth = mias_release
    film = next(film for film in truth.films if "suspect" in film.traps)
    x, y, _ = film.lesions[0].circle
    assert pixels(root / film.path)[1023 - y, x] < 30
    assert not load_mask(root, film.breast_mask)[1023 - y, x]


def test_damaged_files_are_missing_or_short(mias_release):
    root, truth = mias_release
    for film in truth.films:
        path = root / film.path
        assert path.exists() == (film.expect != "absent")
        assert film.expect != "reject" or path.stat().st_size < 1_000_000


def test_a_clean_release_has_no_trap(tmp_path):
    truth = mias.write(tmp_path / "m", 2, SEED, traps=False)
    assert not any(film.traps or film.flags for film in truth.films)
    assert {film.expect for film in truth.films} == {"sample"}
