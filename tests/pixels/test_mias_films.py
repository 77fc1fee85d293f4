"""The kernel on the 160 real films of mini-MIAS that the shared folder holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etl.pixels.encode import decode_image, decode_mask
from etl.pixels.placement import Placement
from etl.pixels.standardise import standardise
from etl.sources import mias
from schemas.film import Film, Geometry
from schemas.release import HeaderIndex, Release
from schemas.sample import Sample
from schemas.spec import Spec
from schemas.vocabulary import GeometryKind, Margin

Made = list[tuple[Film, Sample]]


@pytest.fixture(scope="module")
def copy(shared: Path) -> Release:
    folder = shared / "data" / "mias"
    if not folder.is_dir():
        pytest.skip("the shared MIAS films are not here")
    return Release.open(str(folder))


def make(copy: Release, films: list[Film]) -> Made:
    out = []
    for film in films:
        one = standardise(film, lambda ref: copy.read(ref.path), Spec(), mias.RELEASE, mias.resolve)
        assert isinstance(one, Sample), one
        out.append((film, one))
    return out


@pytest.fixture(scope="module")
def films(copy: Release) -> list[Film]:
    return [item for item in mias.plan(copy, HeaderIndex()) if isinstance(item, Film)]


@pytest.fixture(scope="module")
def samples(copy: Release, films: list[Film]) -> Made:
    return make(copy, films)


def test_every_film_becomes_a_sample(samples: Made) -> None:
    assert len(samples) == 160


def test_the_breast_is_on_the_left_edge_of_every_film(samples: Made) -> None:
    """mias.md: odd films are right breasts, attached to the right edge."""
    for film, one in samples:
        odd = int(film.film_key[3:]) % 2 == 1
        assert one.row["orientation"] == ("hflip" if odd else "identity"), film.film_key
        assert one.row["quality_flags"] == [], film.film_key
        image = decode_image(one.image)
        sixth = image.shape[1] // 6
        left, right = image[:, :sixth], image[:, -sixth:]
        fills = (image > 0).mean() > 0.9  # mdb151 and mdb152: breast from border to border
        assert fills or (left > 0).mean() > (right > 0).mean(), film.film_key
        assert (image[:, :12] > 3000).any(axis=1).mean() > 0.7, film.film_key


def test_every_circle_centre_lies_inside_the_breast(samples: Made) -> None:
    centres = 0
    for film, one in samples:
        image = decode_image(one.image)
        for lesion in film.lesions:
            if lesion.geometry is None:
                continue
            x, y, _ = lesion.geometry.values
            column, row = np.floor(Placement.from_row(one.row).to_standard((x, y))).astype(int)
            around = image[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4]
            assert around.size, film.film_key
            assert np.median(around) > 3000, film.film_key
            centres += 1
    assert centres == 59


def brighter_than_ring(copy: Release, films: list[Film]) -> tuple[int, int]:
    """Count circumscribed masses whose mean exceeds that of the ring of equal width around them."""
    more = count = 0
    for film, one in make(copy, films):
        image = decode_image(one.image).astype(float)
        place = Placement.from_row(one.row)
        row, column = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
        for lesion in film.lesions:
            if Margin.CIRCUMSCRIBED in lesion.margin and lesion.geometry is not None:
                x, y, radius = lesion.geometry.values
                cx, cy = place.to_standard((x, y))
                distance = np.hypot(column - cx, row - cy) / (radius * place.scale_x)
                ring = (distance > 1.2) & (distance < 1.8) & (image > 0)
                core = distance < 0.8
                count += 1
                if core.any() and ring.any():
                    more += image[core].mean() > image[ring].mean()
    return int(more), count


def upside_down(film: Film) -> Film:
    """Read y from the top, as if Info.txt did not say otherwise."""

    def turned(geometry: Geometry) -> Geometry:
        x, y, radius = geometry.values
        return Geometry(kind=GeometryKind.CIRCLE, values=(x, 1024 - y, radius))

    lesions = tuple(
        replace(lesion, geometry=turned(lesion.geometry)) if lesion.geometry else lesion
        for lesion in film.lesions
    )
    return replace(film, lesions=lesions)


def test_circumscribed_masses_are_brighter_than_their_ring_unless_y_is_not_flipped(
    copy: Release, films: list[Film]
) -> None:
    masses = [
        film
        for film in films
        if any(Margin.CIRCUMSCRIBED in lesion.margin and lesion.geometry for lesion in film.lesions)
    ]
    more, count = brighter_than_ring(copy, masses)
    wrong, same = brighter_than_ring(copy, [upside_down(film) for film in masses])
    print(f"brighter than their ring: {more} of {count}; y not flipped: {wrong} of {same}")
    assert more >= 0.8 * count
    assert wrong < 0.7 * count


def test_masks_hold_the_circles_at_their_size(samples: Made) -> None:
    for film, one in samples:
        if one.mask is None or len(one.lesions) != 1 or film.lesions[0].geometry is None:
            continue
        lesion: dict[str, Any] = one.lesions[0]
        radius = film.lesions[0].geometry.values[2]
        pixels = np.count_nonzero(decode_mask(one.mask))
        inside = all(
            0 < lesion[name] < one.row[side]
            for name, side in (("x0", "width"), ("y0", "height"), ("x1", "width"), ("y1", "height"))
        )
        if inside:
            allowed = max(0.02 * np.pi * radius**2, 3 * radius**0.5)
            assert abs(pixels - np.pi * radius**2) <= allowed, film.film_key
        assert lesion["area_mm2"] <= np.pi * radius**2 * 0.04 * 1.005
